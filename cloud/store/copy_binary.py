"""Columns to PostgreSQL's binary COPY format, vectorised: arrays in, bytes out.

A row is int16 field count, then per field int32 length and the value, big-endian; NULL is length
-1 without a value. We fill a matrix of full-width rows from a template and drop the bytes of
absent values with one boolean mask: 0.9 us a row of 178 B, against 1.5 with `write_row`.
Source: PostgreSQL manual, COPY, "Binary Format"; array and timestamp forms as in its *_recv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud.store.columns import SqlColumn
from openvrc.contracts.batch import Batch
from openvrc.contracts.units import ABSENT_I64
from openvrc.contracts.words import Words

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_EPOCH_2000_US = 946_684_800_000_000
_INT2_OID = 21
_LENGTH = 4
MAX_MATRIX_BYTES = 32 * 1024 * 1024
"""Wider tables (long texts) are encoded in halves, so that memory stays bounded."""

_FIXED: dict[str, str] = {
    "key": ">i4",
    "time": ">i8",
    "int2": ">i2",
    "int4": ">i4",
    "int8": ">i8",
    "float4": ">f4",
    "float8": ">f8",
    "code": ">i2",
}

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Field:
    """One column, ready to be laid into rows.

    `values` is (n_rows,) big-endian numbers, or (n_rows, width) bytes of which the first
    `lengths` (n_rows,) count; `is_null` (n_rows,) or None when nothing is absent.
    """

    values: npt.NDArray[np.generic]
    is_null: Bools | None = None
    lengths: npt.NDArray[np.int32] | None = None

    @property
    def width(self) -> int:
        """Bytes of the widest value."""
        return self.values.shape[1] if self.values.ndim == 2 else self.values.dtype.itemsize


_EMPTY = Field(np.empty((0, 0), np.uint8))
"""A column without a single value: four bytes a row, in the template."""


def key_field(keys: npt.NDArray[np.int64]) -> Field:
    """Integer keys (n_rows,); 0 means none."""
    return _numbers(keys, ">i4", keys == 0)


def encode_rows(fields: Sequence[Field], n_rows: int) -> bytes:
    """The rows of one COPY, without header and trailer."""
    fields = [_EMPTY if f.is_null is not None and f.is_null.all() else f for f in fields]
    row_bytes = 2 + sum(_LENGTH + field.width for field in fields)
    if n_rows > 1 and n_rows * row_bytes > MAX_MATRIX_BYTES:
        half = n_rows // 2
        first = encode_rows([_part(f, slice(0, half)) for f in fields], half)
        return first + encode_rows([_part(f, slice(half, None)) for f in fields], n_rows - half)
    template = np.zeros(row_bytes, np.uint8)
    template[:2] = np.frombuffer(np.array(len(fields), ">i2").tobytes(), np.uint8)
    place = 2
    for field in fields:
        width = np.array(-1 if field is _EMPTY else field.width, ">i4").tobytes()
        template[place : place + _LENGTH] = np.frombuffer(width, np.uint8)
        place += _LENGTH + field.width
    rows = np.empty((n_rows, row_bytes), np.uint8)
    rows[:] = template
    kept: Bools | None = None
    place = 2
    for field in fields:
        if field is not _EMPTY:
            kept = _lay(rows, kept, field, place)
        place += _LENGTH + field.width
    return (rows if kept is None else rows[kept]).tobytes()


def _part(field: Field, rows: slice) -> Field:
    if field is _EMPTY:
        return field
    is_null = None if field.is_null is None else field.is_null[rows]
    lengths = None if field.lengths is None else field.lengths[rows]
    values = field.values[rows]
    if lengths is not None:
        values = values[:, : max(int(lengths.max(initial=0)), 1)]
    return Field(values, is_null, lengths)


def _lay(rows: Bytes, kept: Bools | None, field: Field, place: int) -> Bools | None:
    """Write a field's values behind its length; note in `kept` which bytes to leave out."""
    start, end = place + _LENGTH, place + _LENGTH + field.width
    if field.values.ndim == 2:
        rows[:, start:end] = field.values
    else:
        cells = np.ndarray(
            len(rows), field.values.dtype, rows, offset=start, strides=(rows.shape[1],)
        )
        cells[:] = field.values
    if field.is_null is None and field.lengths is None:
        return kept
    kept = np.ones(rows.shape, np.bool_) if kept is None else kept
    heads = np.ndarray(len(rows), ">i4", rows, offset=place, strides=(rows.shape[1],))
    if field.lengths is not None:
        heads[:] = field.lengths
        kept[:, start:end] = np.arange(field.width) < field.lengths[:, None]
    if field.is_null is not None:
        heads[field.is_null] = -1
        kept[:, start:end] &= ~field.is_null[:, None]
    return kept


def text_field(words: Words) -> Field:
    """Texts (n_rows,), none absent."""
    text = np.ascontiguousarray(words.cells[:, 1:]).view(np.uint8).reshape(len(words), -1)
    return Field(text, lengths=words.cells[:, 0].astype(np.int32))


def field_of(column: SqlColumn, batch: Batch) -> Field:
    """A contract column of any kind but "key" (keys need the identity tables)."""
    name = column.contract.name
    if column.kind == "text":
        return _text(batch.codes(name), batch.dictionary(name), column.is_nullable)
    if column.kind == "list":
        return _list(*batch.lists(name), column.scale)
    array = batch.column(name)
    if column.kind in ("float4", "float8"):
        return _numbers(array, _FIXED[column.kind], np.isnan(array))
    if column.kind == "code":
        return _numbers(array, ">i2", array < 0)
    is_null = array == ABSENT_I64
    if column.kind == "time":
        array = array // 1000 - _EPOCH_2000_US
    return _numbers(array, _FIXED[column.kind], is_null)


def _numbers(array: npt.NDArray[np.generic], dtype: str, is_null: Bools) -> Field:
    return Field(array.astype(dtype), is_null if is_null.any() else None)


def _text(codes: npt.NDArray[np.int32], words: list[str], empty_is_null: bool) -> Field:
    used, place = np.unique(codes, return_inverse=True)
    encoded = [words[code].encode() for code in used]
    lengths = np.array([len(word) for word in encoded], np.int32)
    width = max(int(lengths.max(initial=0)), 1)
    table = np.frombuffer(b"".join(word.ljust(width, b"\0") for word in encoded), np.uint8)
    of_row = lengths[place]
    is_null = of_row == 0 if empty_is_null else np.zeros(len(codes), np.bool_)
    return Field(table.reshape(len(used), width)[place], is_null if is_null.any() else None, of_row)


def _list(values: npt.NDArray[np.float32], offsets: npt.NDArray[np.int32], scale: float) -> Field:
    """smallint[] of one dimension; NaN becomes a NULL element, the empty list NULL."""
    counts = np.diff(offsets)
    is_known = ~np.isnan(values)
    flat = np.empty((len(values), 6), np.uint8)
    scaled = np.where(is_known, np.rint(values.astype(np.float64) * scale), 0)
    flat[:, :4] = np.frombuffer(
        np.where(is_known, 2, -1).astype(">i4").tobytes(), np.uint8
    ).reshape(-1, 4)
    flat[:, 4:] = np.frombuffer(scaled.astype(">i2").tobytes(), np.uint8).reshape(-1, 2)
    kept = np.ones(flat.shape, np.bool_)
    kept[~is_known, 4:] = False
    ends = np.concatenate([[0], np.cumsum(np.where(is_known, 6, 4))])[offsets]
    n_bytes = np.diff(ends)
    head = np.zeros((len(counts), 5), ">i4")
    head[:, 0], head[:, 1], head[:, 2], head[:, 4] = 1, 1, _INT2_OID, 1
    head[:, 3] = counts
    width = int(n_bytes.max(initial=0))
    rows = np.zeros((len(counts), 20 + width), np.uint8)
    rows[:, :20] = np.frombuffer(head.tobytes(), np.uint8).reshape(-1, 20)
    rows[:, 20:][np.arange(width) < n_bytes[:, None]] = flat[kept]
    lengths = (20 + n_bytes).astype(np.int32)
    is_null = counts == 0
    return Field(rows, is_null if is_null.any() else None, lengths)
