"""A Batch to JSON texts: columns to values once for all parts, then one Struct per record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import BATCH_LEVEL, Column, columns_of
from openvrc.contracts.messages import message_type
from openvrc.contracts.units import ABSENT_I64

Values = Callable[[int, int], list[Any]]
"""The values of the rows from the first to before the second, UNSET where absent."""
DEFAULT_DECIMALS = 6
"""Of columns whose contract states no resolution."""
_EXACT = 2.0**53
"""From here on a double's own steps are coarser than any decimal."""
CHUNK_ROWS = 512
"""Records made at once: so many fit the cache until they are written."""
_ENCODER = msgspec.json.Encoder()


def encode_parts(batch: Batch, bounds: Sequence[tuple[int, int]]) -> list[bytes]:
    """One JSON text for each range of rows: an array, or one object for one row.

    Fields stand in the contract's order; absent values are left out, numbers are rounded to their
    contract's decimals.
    """
    columns = _sent_columns(batch)
    record = _struct_of(tuple(columns))
    texts: list[bytes] = []
    for chunk in _chunks(bounds):
        first, last = chunk[0][0], chunk[-1][1]
        records = list(map(record, *[values(first, last) for values in columns.values()]))
        if all(end - start == 1 for start, end in chunk):
            texts.extend(map(_ENCODER.encode, records))
        else:
            parts = [records[start - first : end - first] for start, end in chunk]
            texts.extend(_ENCODER.encode(p[0] if len(p) == 1 else p) for p in parts)
    return texts


def _chunks(bounds: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Ranges that follow one another, about CHUNK_ROWS rows at a time."""
    chunk: list[tuple[int, int]] = []
    for start, end in bounds:
        if chunk and (start != chunk[-1][1] or end - chunk[0][0] > CHUNK_ROWS):
            yield chunk
            chunk = []
        chunk.append((start, end))
    if chunk:
        yield chunk


@lru_cache(maxsize=256)
def _struct_of(names: tuple[str, ...]) -> type[msgspec.Struct]:
    return msgspec.defstruct("Sent", [(name, Any, UNSET) for name in names], gc=False)


def _sent_columns(batch: Batch) -> dict[str, Values]:
    """Per field how to get its values; without fields that are absent in every row."""
    known = {column.name: column for column in columns_of(batch.message)}
    found: dict[str, Values | None] = {}
    for name in message_type(batch.message).model.model_fields:
        if name in BATCH_LEVEL:
            found[name] = _constant(getattr(batch, name))
        else:
            found[name] = _VALUES[known[name].kind](known[name], batch)
    return {name: values for name, values in found.items() if values is not None}


def _constant(value: Any) -> Values:
    """A value that all rows share, written once."""
    written = msgspec.Raw(_ENCODER.encode(value))
    return lambda start, end: [written] * (end - start)


def _is_constant(array: npt.NDArray[Any]) -> bool:
    return len(array) > 1 and array[0] == array[-1] and bool((array == array[0]).all())


def _codes(column: Column, batch: Batch) -> Values | None:
    codes = batch.column(column.name)
    words: list[Any] = [False, True] if column.is_bool else list(column.values)
    by_code = np.array([*words, UNSET], object)  # of which -1 is the last
    if _is_constant(codes):
        return None if codes[0] < 0 else _constant(by_code[codes[0]])
    return lambda start, end: list(by_code[codes[start:end]].tolist())


def _integers(column: Column, batch: Batch) -> Values | None:
    array = batch.column(column.name)
    return _numbers(array, array == ABSENT_I64)


def _floats(column: Column, batch: Batch) -> Values | None:
    array = batch.column(column.name)
    return _numbers(rounded(array, column.decimals), np.isnan(array))


def _numbers(array: npt.NDArray[Any], is_absent: npt.NDArray[np.bool_]) -> Values | None:
    if is_absent.all():
        return None
    if _is_constant(array):
        return _constant(array[0].item())
    if not is_absent.any():
        return lambda start, end: list(array[start:end].tolist())

    def values(start: int, end: int) -> list[Any]:
        found: list[Any] = array[start:end].tolist()
        for row in np.flatnonzero(is_absent[start:end]).tolist():
            found[row] = UNSET
        return found

    return values


def _texts(column: Column, batch: Batch) -> Values | None:
    array, codes = batch.data.column(column.name), batch.codes(column.name)
    words = array.dictionary
    if len(words) > batch.n_rows:  # a whole zone's names: only the rows' own are made
        words, codes = words.take(array.indices), np.arange(batch.n_rows, dtype=np.int32)
    by_code = words.to_numpy(zero_copy_only=False)
    if not column.is_required:
        by_code = np.array([word or UNSET for word in by_code], object)
        if all(word is UNSET for word in by_code[np.unique(codes)]):
            return None
    return lambda start, end: list(by_code[codes[start:end]].tolist())


def _lists(column: Column, batch: Batch) -> Values | None:
    values, offsets = batch.lists(column.name)
    if not len(values):
        return None

    def lists(start: int, end: int) -> list[Any]:
        ends = offsets[start : end + 1].tolist()
        some = values[ends[0] : ends[-1]]  # rounded while it fits the cache
        found: list[float | None] = rounded(some, column.decimals).tolist()
        for place in np.flatnonzero(np.isnan(some)).tolist():
            found[place] = None
        return [found[a - ends[0] : b - ends[0]] or UNSET for a, b in pairwise(ends)]

    return lists


_VALUES: dict[str, Callable[[Column, Batch], Values | None]] = {
    "i64": _integers,
    "f64": _floats,
    "f32": _floats,
    "code": _codes,
    "text": _texts,
    "f32_list": _lists,
}
"""By a column's kind: how to get its values, or None if it is absent in every row."""


def rounded(array: npt.NDArray[Any], decimals: int | None) -> npt.NDArray[np.float64]:
    """Doubles nearest to a number of so many decimals, so that they are written short.

    >>> rounded(np.array([1.0000004, 13.37], np.float32), 2).tolist()
    [1.0, 13.37]
    """
    scale = 10.0 ** (DEFAULT_DECIMALS if decimals is None else decimals)
    wide = array.astype(np.float64)
    scaled = wide * scale
    # Dividing a whole number by a power of ten that is exact rounds once, to the nearest double.
    return np.where(np.abs(scaled) < _EXACT, np.rint(scaled) / scale, wide)
