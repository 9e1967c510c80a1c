"""Batch: one Arrow record batch of one message type, one zone, one run, with numpy views.

From admit to COPY and detectors every record lives in a Batch; per-record Python objects exist
only at the door. Views are zero copy and read-only; an input Batch is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openvrc.contracts.columns import (
    ARROW_TYPE,
    Column,
    Kind,
    arrow_schema,
    column_of,
    columns_of,
)
from openvrc.contracts.units import ABSENT_I64
from openvrc.contracts.words import Words, words_of

Made = TypeVar("Made")
_NUMPY = {"i64": np.int64, "f64": np.float64, "f32": np.float32, "code": np.int8}
_ABSENT_ROWS = 4096
_ABSENT: dict[Kind, pa.Array] = {}
"""The longest column without a value so far, by kind. Never changed, only replaced."""
_EMPTY_ROWS: dict[str, pa.RecordBatch] = {}
"""The longest rows of such columns so far, by message."""
_FEW_COLUMNS = 16
"""Up to so many columns are set one by one."""

Lists = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]
"""A list column: all values one after the other (n_values,), and offsets (n_rows + 1,)."""


@dataclass(frozen=True)
class Batch:
    """Records of one message type that share zone, run and origin."""

    message: str
    zone: str
    run_id: str
    origin: str
    data: pa.RecordBatch
    absent: frozenset[str] = field(default=frozenset(), compare=False)
    """Columns known to hold no value in any row; others may hold none either."""
    _found: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was once made from `data`, which never changes; a changed batch begins with nothing."""

    @property
    def n_rows(self) -> int:
        """How many records it holds."""
        return int(self.data.num_rows)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Numpy view (n_rows,) of an `i64`, `f64`, `f32` or `code` column; no copy."""
        return self.data.column(name).to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]

    def codes(self, name: str) -> npt.NDArray[np.int32]:
        """Codes (n_rows,) of a text column into `dictionary(name)`; no copy."""
        return self.data.column(name).indices.to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]

    def dictionary(self, name: str) -> list[str]:
        """The strings a text column refers to (some may be unused); a list for all to share."""
        return self.once(f"dictionary of {name}", self.data.column(name).dictionary.to_pylist)

    def used_words(self, name: str) -> tuple[Words, npt.NDArray[np.signedinteger[Any]]]:
        """The words that rows of a text column hold, and each row's place (n_rows,) in them.

        Made once for everybody who looks words up in a `WordTable`.
        """
        return self.once(f"words of {name}", lambda: self._used_words(name))

    def _used_words(self, name: str) -> tuple[Words, npt.NDArray[np.signedinteger[Any]]]:
        codes, words = self.codes(name), self.data.column(name).dictionary
        is_used = np.zeros(len(words), np.bool_)
        is_used[codes] = True
        if is_used.all():
            return words_of(words), codes
        # A slice keeps the dictionary of the batch it was cut from.
        used = np.flatnonzero(is_used)
        return words_of(words.take(pa.array(used))), (np.cumsum(is_used) - 1)[codes]

    def once(self, what: str, make: Callable[[], Made]) -> Made:
        """What `make` makes of this batch, made at the first call under this name."""
        if what not in self._found:
            self._found[what] = make()
        made: Made = self._found[what]
        return made

    def texts(self, name: str) -> list[str]:
        """Strings (n_rows,) of a text column, "" where absent. A Python list: not for hot paths."""
        words = self.dictionary(name)
        return [words[code] for code in self.codes(name)]

    def lists(self, name: str) -> Lists:
        """Values and offsets of a list column, offsets starting at 0; no copy unless sliced."""
        array = self.data.column(name)
        offsets = array.offsets.to_numpy(zero_copy_only=True)
        values = array.values.to_numpy(zero_copy_only=True)
        if offsets[0] != 0 or offsets[-1] != len(values):  # a slice shares its parent's values
            values, offsets = values[offsets[0] : offsets[-1]], offsets - offsets[0]
        return values, offsets

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Batch:
        """The given rows in the given order."""
        return replace(self, data=self.data.take(pa.array(rows)))

    def filter(self, mask: npt.NDArray[np.bool_]) -> Batch:
        """Rows where `mask` (n_rows,) is true."""
        return replace(self, data=self.data.filter(pa.array(mask)))

    def slice(self, start: int, length: int | None = None) -> Batch:
        """A window of rows; no copy."""
        return replace(self, data=self.data.slice(start, length))

    def with_columns(self, changed: Mapping[str, Any]) -> Batch:
        """A Batch with the given columns replaced (values as `from_columns` takes them)."""
        n_rows = self.n_rows
        arrays = {
            name: to_arrow(column_of(self.message, name), values, n_rows)
            for name, values in changed.items()
        }
        absent = self.absent.difference(changed)
        return replace(self, data=_with_arrays(self.data, arrays), absent=absent)

    def to_records(self, *, with_marks: bool = True) -> list[dict[str, Any]]:
        """Plain dicts, absent values left out; for the door, the API and tests, not for hot paths.

        `with_marks=False` leaves out what the edge adds: a record as its sender said it.
        """
        full: dict[str, list[Any]] = {}
        sparse: dict[str, list[Any]] = {}
        for column in columns_of(self.message):
            if column.is_mark and not with_marks:
                continue
            values = _to_python(column, self)
            (sparse if None in values else full)[column.name] = values
        full = {"origin": [self.origin] * self.n_rows, "run_id": [self.run_id] * self.n_rows} | full
        records = [dict(zip(full, row, strict=True)) for row in zip(*full.values(), strict=True)]
        for name, values in sparse.items():
            for record, value in zip(records, values, strict=True):
                if value is not None:
                    record[name] = value
        return records


def from_columns(
    message: str, *, zone: str, run_id: str, origin: str, columns: Mapping[str, Any], n_rows: int
) -> Batch:
    """A Batch from arrays by column name; columns not given are absent in every row.

    Values: numpy array or sequence (n_rows,), or one scalar for all rows; text as sequence of
    str, one str, or (codes int32 (n_rows,), words); lists as `Lists` or a sequence of sequences.
    Raises KeyError for a name the contract does not know.
    """
    known = columns_of(message)
    if unknown := columns.keys() - _names_of(message):
        raise KeyError(f"{message} has no columns {sorted(unknown)}")
    arrays: dict[str, pa.Array] = {}
    left_out: list[str] = []
    for column in known:
        values = columns.get(column.name)
        if values is None:
            left_out.append(column.name)
        else:
            arrays[column.name] = to_arrow(column, values, n_rows)
    data = rows_of(message, arrays, n_rows)
    return Batch(message, zone, run_id, origin, data, frozenset(left_out))


def rows_of(message: str, arrays: Mapping[str, pa.Array], n_rows: int) -> pa.RecordBatch:
    """Rows of a message from Arrow arrays (n_rows,) by column; the others hold no value."""
    return _with_arrays(_empty_rows(message, n_rows), arrays)


@cache
def _names_of(message: str) -> frozenset[str]:
    return frozenset(column.name for column in columns_of(message))


def _with_arrays(data: pa.RecordBatch, arrays: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """`data` with these columns instead of its own.

    A column set costs 2.5 us, the way through lists of all 28 of a vehicle's 40 and more.
    """
    schema = data.schema
    if len(arrays) > _FEW_COLUMNS:
        columns = [
            arrays[name] if name in arrays else data.column(place)
            for place, name in enumerate(schema.names)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)
    for name, array in arrays.items():
        place = schema.get_field_index(name)
        data = data.set_column(place, schema.field(place), array)
    return data


def _empty_rows(message: str, n_rows: int) -> pa.RecordBatch:
    """Rows of a message without a value: a slice of some that all batches share."""
    longest = _EMPTY_ROWS.get(message)
    if longest is None or longest.num_rows < n_rows:
        n_most = max(n_rows, _ABSENT_ROWS)
        columns = [absent_column(column.kind, n_most) for column in columns_of(message)]
        longest = pa.RecordBatch.from_arrays(columns, schema=arrow_schema(message))
        _EMPTY_ROWS[message] = longest
    return longest.slice(0, n_rows)


def concat(batches: Sequence[Batch]) -> Batch:
    """One Batch of several that share message, zone, run and origin, in order."""
    first = batches[0]
    if len(batches) == 1:
        return first
    table = pa.Table.from_batches([b.data for b in batches]).unify_dictionaries()
    data = table.combine_chunks().to_batches()[0] if table.num_rows else first.data
    return replace(first, data=data, absent=first.absent.intersection(*(b.absent for b in batches)))


def to_arrow(column: Column, values: Any, n_rows: int) -> pa.Array:
    """One Arrow array of a column's kind. See `from_columns` for what `values` may be."""
    if isinstance(values, pa.Array):  # of the column's own type, as a codec read it
        return values
    if values is None:
        return absent_column(column.kind, n_rows)
    if column.kind == "text":
        return _text_to_arrow(values, n_rows)
    if column.kind == "f32_list":
        return _lists_to_arrow(values)
    if column.kind == "code":
        return _codes_to_arrow(column, values, n_rows)
    dtype = _NUMPY[column.kind]
    if np.isscalar(values):
        return pa.array(np.full(n_rows, values, dtype))
    if isinstance(values, np.ndarray):
        return pa.array(np.ascontiguousarray(values, dtype))
    gap: Any = ABSENT_I64 if column.kind == "i64" else np.nan
    return pa.array(np.array([gap if v is None else v for v in values], dtype))


def absent_column(kind: Kind, n_rows: int) -> pa.Array:
    """A column without a value in any row: a slice of one that all batches share."""
    longest = _ABSENT.get(kind)
    if longest is None or len(longest) < n_rows:
        longest = _ABSENT[kind] = _made_absent(kind, max(n_rows, _ABSENT_ROWS))
    return longest.slice(0, n_rows)


def _made_absent(kind: Kind, n_rows: int) -> pa.Array:
    if kind == "text":
        return _text_to_arrow("", n_rows)
    if kind == "f32_list":
        return _lists_to_arrow((np.empty(0, np.float32), np.zeros(n_rows + 1, np.int32)))
    fill: Any = {"i64": ABSENT_I64, "code": -1}.get(kind, np.nan)
    return pa.array(np.full(n_rows, fill, _NUMPY[kind]))


def _codes_to_arrow(column: Column, values: Any, n_rows: int) -> pa.Array:
    if isinstance(values, np.ndarray):
        return pa.array(values.astype(np.int8))
    code = {word: place for place, word in enumerate(column.values)}
    code |= {None: -1, False: 0, True: 1} if column.is_bool else {None: -1}  # type: ignore[dict-item]
    if isinstance(values, str | bool):
        values = code[values]  # type: ignore[index]
    if isinstance(values, int):
        return pa.array(np.full(n_rows, values, np.int8))
    return pa.array(np.array([code[v] for v in values], np.int8))


def _text_to_arrow(values: Any, n_rows: int) -> pa.Array:
    if isinstance(values, str):
        indices = pa.array(np.zeros(n_rows, np.int32))
        return pa.DictionaryArray.from_arrays(indices, _one_word(values))
    if isinstance(values, tuple) and len(values) == 2 and isinstance(values[0], np.ndarray):
        codes, words = values
        indices = pa.array(np.ascontiguousarray(codes, np.int32))
        return pa.DictionaryArray.from_arrays(indices, pa.array(list(words), pa.utf8()))
    plain = pa.array(["" if v is None else v for v in values], pa.utf8())
    return plain.dictionary_encode().cast(ARROW_TYPE["text"])


@lru_cache(maxsize=1024)
def _one_word(word: str) -> pa.Array:
    return pa.array([word], pa.utf8())


def _lists_to_arrow(values: Any) -> pa.Array:
    if not (isinstance(values, tuple) and len(values) == 2 and isinstance(values[1], np.ndarray)):
        lengths = [len(row) for row in values]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        items = [np.nan if item is None else item for row in values for item in row]
        flat = np.array(items, np.float32)
        values = (flat, offsets)
    flat, offsets = values
    return pa.ListArray.from_arrays(
        pa.array(np.ascontiguousarray(offsets, np.int32)),
        pa.array(np.ascontiguousarray(flat, np.float32)),
        type=ARROW_TYPE["f32_list"],
    )


def _to_python(column: Column, batch: Batch) -> list[Any]:
    if column.kind == "text":
        return [text or None for text in batch.texts(column.name)]
    if column.kind == "f32_list":
        values, offsets = batch.lists(column.name)
        rounded = _rounded(column, values)
        return [rounded[a:b] or None for a, b in pairwise(offsets)]
    array = batch.column(column.name)
    if column.kind == "code":
        words: list[Any] = [False, True] if column.is_bool else list(column.values)
        return [None if code < 0 else words[code] for code in array.tolist()]
    if column.kind == "i64":
        return [None if value == ABSENT_I64 else value for value in array.tolist()]
    return _rounded(column, array)


def _rounded(column: Column, array: npt.NDArray[Any]) -> list[Any]:
    digits = column.decimals if column.decimals is not None else 6
    return [None if v != v else round(v, digits) for v in array.astype(np.float64).tolist()]
