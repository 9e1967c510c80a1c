"""Structs of many JSON payloads to columns, without further Python objects per value.

Values are packed a few hundred records at a time, while they are in the processor's cache; then
each column is looked at once. Rows that break a range or an id are told, not why: that is the
slow path's (json_codec.py).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openvrc.contracts.codecs.json_struct import ABSENT_CODE
from openvrc.contracts.columns import Column
from openvrc.contracts.ranges import numbers_fit
from openvrc.contracts.units import ABSENT_I64

Bad = npt.NDArray[np.bool_] | None
"""Rows (n_rows,) that break their contract; None: none does."""
_NAN = float("nan")
_GREATEST_F32 = float(np.finfo(np.float32).max)


class Collector(Protocol):
    """One column while its values come in."""

    def add(self, values: Sequence[Any]) -> None:
        """The column's values of some more records."""
        ...

    def column(self) -> tuple[Any, Bad]:
        """All values as `from_columns` takes them, and the rows that are out of range."""
        ...


def packed_floats(values: Sequence[Any]) -> bytes:
    """Doubles; None (a null) is NaN."""
    try:
        return struct.pack(f"{len(values)}d", *values)
    except struct.error:
        return struct.pack(f"{len(values)}d", *[_NAN if v is None else v for v in values])


class Floats:
    """`f32` and `f64`; the range is that of the double the sender wrote."""

    def __init__(self, column: Column) -> None:
        self._limits = _limits(column)
        self._dtype = np.float64 if column.kind == "f64" else np.float32
        self._parts: list[bytes] = []

    def add(self, values: Sequence[float | None]) -> None:
        """See `Collector.add`."""
        self._parts.append(packed_floats(values))

    def column(self) -> tuple[npt.NDArray[Any], Bad]:
        """See `Collector.column`."""
        array = np.frombuffer(b"".join(self._parts), np.float64)
        bad = _outside(array, *self._limits)
        with np.errstate(over="ignore"):  # such rows are bad
            return array.astype(self._dtype, copy=False), bad


class Integers:
    """`i64`; their range was checked while decoding."""

    def __init__(self, column: Column) -> None:  # noqa: ARG002 (made like the others)
        self._parts: list[bytes] = []

    def add(self, values: Sequence[int | None]) -> None:
        """See `Collector.add`."""
        try:
            packed = struct.pack(f"{len(values)}q", *values)
        except struct.error:
            known = [ABSENT_I64 if v is None else v for v in values]
            packed = struct.pack(f"{len(values)}q", *known)
        self._parts.append(packed)

    def column(self) -> tuple[npt.NDArray[np.int64], Bad]:
        """See `Collector.column`."""
        return np.frombuffer(b"".join(self._parts), np.int64), None


class Codes:
    """`code`: words of a `Literal`, or booleans."""

    def __init__(self, column: Column) -> None:
        words: Sequence[Any] = (False, True) if column.is_bool else column.values
        self._codes: dict[Any, int] = {word: code for code, word in enumerate(words)}
        self._codes |= {None: ABSENT_CODE, ABSENT_CODE: ABSENT_CODE}
        self._parts: list[bytes] = []

    def add(self, values: Sequence[Any]) -> None:
        """See `Collector.add`."""
        try:
            packed = bytes(values)  # False, True and ABSENT_CODE are bytes already
        except TypeError:  # words and None are not
            packed = bytes(map(self._codes.__getitem__, values))
        self._parts.append(packed)

    def column(self) -> tuple[npt.NDArray[np.int8], Bad]:
        """See `Collector.column`."""
        return np.frombuffer(b"".join(self._parts), np.int8), None


class Texts:
    """`text`; its patterns and lengths were checked while decoding."""

    def __init__(self, column: Column) -> None:  # noqa: ARG002 (made like the others)
        self._parts: list[pa.Array] = []

    def add(self, values: Sequence[str | None]) -> None:
        """See `Collector.add`."""
        self._parts.append(pa.array(values, pa.utf8()))

    def column(self) -> tuple[pa.Array, Bad]:
        """See `Collector.column`."""
        words = pa.concat_arrays(self._parts)
        return words.fill_null("").dictionary_encode(), None


class Lists:
    """`f32_list`; how many values one may have was checked while decoding."""

    def __init__(self, column: Column) -> None:
        self._limits = _limits(column)
        self._lengths: list[int] = []
        self._parts: list[bytes] = []

    def add(self, values: Sequence[Sequence[float | None]]) -> None:
        """See `Collector.add`."""
        self._lengths.extend(map(len, values))
        self._parts.append(packed_floats(list(chain.from_iterable(values))))

    def column(self) -> tuple[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]], Bad]:
        """See `Collector.column`."""
        flat = np.frombuffer(b"".join(self._parts), np.float64)
        lengths = np.array(self._lengths, np.int32)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        bad: Bad = _outside(flat, *self._limits)
        if bad is not None:
            rows = np.repeat(np.arange(len(lengths)), lengths)[bad]
            bad = np.isin(np.arange(len(lengths)), rows)
        with np.errstate(over="ignore"):  # such rows are bad
            return (flat.astype(np.float32), offsets), bad


COLLECTORS: dict[str, type[Any]] = {
    "i64": Integers,
    "f64": Floats,
    "f32": Floats,
    "code": Codes,
    "text": Texts,
    "f32_list": Lists,
}
"""By a column's kind."""


def _limits(column: Column) -> tuple[float | None, float | None]:
    """The contract's range; without one, what a single-precision column can hold."""
    if column.kind == "f64":
        return column.low, column.high
    low = -_GREATEST_F32 if column.low is None else column.low
    return low, _GREATEST_F32 if column.high is None else column.high


def _outside(array: npt.NDArray[np.float64], low: float | None, high: float | None) -> Bad:
    if numbers_fit(array, low, high):
        return None
    least = -np.inf if low is None else low
    greatest = np.inf if high is None else high
    return np.isinf(array) | (array < least) | (array > greatest)
