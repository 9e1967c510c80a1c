"""Arrow streams of the same shape, read once for all of them.

Reading a stream costs by its columns, not by its rows: a message of 50 records costs about what
one of 5,000 costs. Messages of one sender share their schema, and mostly the metadata of their
record batch too: row count, and place and length of every buffer. So pyarrow reads one payload of
each such shape, in full and behind the guard; of every other payload with the very same bytes
before the body and the same length, the buffers stand at the same places and are joined as bytes.

What has no shape (dictionaries, nulls, several record batches, other types) is read by itself and
then brought into columns with others of its schema.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openvrc.contracts.arrow_guard import refuse_bombs
from openvrc.contracts.codecs.arrow_columns import (
    FROM_TOPIC,
    defaults_of,
    known_columns,
    normalised,
    run_of,
)
from openvrc.contracts.columns import Column
from openvrc.contracts.errors import ContractError

READ_ERRORS = (pa.ArrowException, ContractError, ValueError, TypeError, OSError, KeyError)
"""What reading a payload may raise because of what it holds."""
MAX_SHAPES = 4096
"""Shapes remembered, 3 kB each: senders with ids of varying length have some hundred."""
_CONTINUATION = 0xFFFFFFFF
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_OFFSET_BYTES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One schema of one message; the same object for the same bytes."""

    run_id: str
    origin: str
    columns: tuple[tuple[Column, pa.DataType], ...]
    defaults: dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Where a payload's buffers stand."""

    layout: Layout
    n_rows: int
    cuts: tuple[slice, ...]
    """Per column: of fixed width its values; else its offsets, then all it may refer to."""
    has_end: bool


class Shapes:
    """The shapes seen so far; None stands for payloads that must be read by themselves."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes, int], Shape | None] = {}
        self._layouts: dict[tuple[str, bytes], Layout] = {}

    def find(self, message: str, payload: bytes) -> Shape | None:
        """The payload's shape; raises nothing."""
        schema_end, head_end = _heads(payload)
        if not head_end:
            return None
        key = (message, payload[:head_end], len(payload))
        try:
            shape = self._known[key]
        except KeyError:
            shape = self._learn(message, payload, payload[:schema_end])
            if len(self._known) >= MAX_SHAPES:
                self._known.clear()
                self._layouts.clear()
            self._known[key] = shape
        if shape is not None and shape.has_end and not payload.endswith(END_OF_STREAM):
            return None
        return shape

    def _learn(self, message: str, payload: bytes, schema: bytes) -> Shape | None:
        try:
            refuse_bombs(payload)
            whole = pa.py_buffer(payload)
            source = pa.BufferReader(whole)
            with pa.ipc.open_stream(source) as reader:
                batch = reader.read_next_batch()
                tail = payload[source.tell() :]
                if tail not in (b"", END_OF_STREAM) or not batch.num_rows:
                    return None
                cuts = [_cuts(array, whole) for array in batch.columns]
                layout = self._layout(message, schema, batch.schema)
        except (*READ_ERRORS, StopIteration):
            return None
        if any(not found for found in cuts):
            return None
        return Shape(layout, batch.num_rows, tuple(c for found in cuts for c in found), bool(tail))

    def _layout(self, message: str, key: bytes, schema: pa.Schema) -> Layout:
        if (message, key) not in self._layouts:
            self._layouts[message, key] = layout_of(message, schema)
        return self._layouts[message, key]


def layout_of(message: str, schema: pa.Schema) -> Layout:
    """What a schema says of a message. Raises ContractError."""
    run_id, origin = run_of(schema.metadata or {})
    columns = known_columns(message, schema.names)
    if len(columns) != len(schema.names):
        raise ContractError("columns", schema.names, "each name once")
    given = tuple(zip(columns.values(), schema.types, strict=True))
    return Layout(run_id, origin, given, defaults_of(message, schema.names))


def _heads(payload: bytes) -> tuple[int, int]:
    """Where the schema ends and where the second message's body begins; zeros if there is none."""
    ends = [0, 0]
    place = 0
    for which in (0, 1):
        if len(payload) < place + 8:
            return 0, 0
        mark, length = struct.unpack_from("<Ii", payload, place)
        if mark != _CONTINUATION or length <= 0:
            return 0, 0
        place += 8 + length
        ends[which] = place
    return ends[0], ends[1]


def _width(dtype: pa.DataType) -> int:
    """Bytes of one value of a type that is taken as it stands, 0 for others."""
    is_plain = (
        pa.types.is_integer(dtype) or pa.types.is_float32(dtype) or pa.types.is_float64(dtype)
    )
    return dtype.bit_width // 8 if is_plain else 0


def _cuts(array: pa.Array, whole: pa.Buffer) -> tuple[slice, ...]:
    """Where in the payload an array's buffers stand; empty for one that cannot be joined."""
    buffers = array.buffers()
    offsets_bytes = (len(array) + 1) * _OFFSET_BYTES
    if buffers[0] is not None:
        return ()
    if width := _width(array.type):
        return _places(whole, (buffers[1], len(array) * width))
    if pa.types.is_string(array.type):
        return _places(whole, (buffers[1], offsets_bytes), (buffers[2], -1))
    if (
        pa.types.is_list(array.type)
        and buffers[2] is None
        and (width := _width(array.type.value_type))
    ):
        n_bytes = len(array.values) * width
        return _places(whole, (buffers[1], offsets_bytes), (buffers[3], n_bytes))
    return ()


def _places(whole: pa.Buffer, *wanted: tuple[pa.Buffer | None, int]) -> tuple[slice, ...]:
    """Slices of the payload; as many bytes as wanted of each, -1 for all of a buffer."""
    places = []
    for buffer, n_bytes in wanted:
        size = 0 if buffer is None else buffer.size
        start = buffer.address - whole.address if buffer is not None and size else 0
        end = start + (size if n_bytes < 0 else n_bytes)
        if end - start > size or start < 0 or end > whole.size:
            return ()
        places.append(slice(start, end))
    return tuple(places)


def join(shapes: Sequence[Shape], payloads: Sequence[bytes]) -> dict[str, object]:
    """Columns of all payloads of one layout, one after the other, as `from_columns` takes them.

    Raises one of READ_ERRORS if any payload cannot be read, without saying which.
    """
    layout = shapes[0].layout
    n_rows = np.array([shape.n_rows for shape in shapes])
    by_payload = [[p[c] for c in s.cuts] for s, p in zip(shapes, payloads, strict=True)]
    by_buffer = iter(zip(*by_payload, strict=True))
    columns: dict[str, object] = dict(layout.defaults)
    for column, dtype in layout.columns:
        if _width(dtype):
            array = _fixed(dtype, b"".join(next(by_buffer)))
        elif pa.types.is_string(dtype):
            offsets, text = _varying(n_rows, next(by_buffer), next(by_buffer), 1)
            buffers = (pa.py_buffer(offsets), pa.py_buffer(text))
            array = pa.StringArray.from_buffers(len(offsets) - 1, *buffers)
            array.validate(full=True)
            array = array.dictionary_encode()
        else:
            width = _width(dtype.value_type)
            offsets, data = _varying(n_rows, next(by_buffer), next(by_buffer), width)
            array = pa.ListArray.from_arrays(
                pa.array(offsets), _fixed(dtype.value_type, data), type=dtype
            )
        columns[column.name] = normalised(column, array)
    return columns


def join_tables(layout: Layout, tables: Sequence[pa.Table]) -> dict[str, object]:
    """The same of payloads without a shape, as pyarrow read each. Raises one of READ_ERRORS."""
    whole = tables[0] if len(tables) == 1 else pa.concat_tables(tables).unify_dictionaries()
    columns: dict[str, object] = dict(layout.defaults)
    for (column, _), array in zip(layout.columns, whole.columns, strict=True):
        columns[column.name] = normalised(column, array.combine_chunks())
    return columns


def _fixed(dtype: pa.DataType, data: bytes) -> pa.Array:
    buffers = [None, pa.py_buffer(data)]
    return pa.Array.from_buffers(dtype, len(data) // _width(dtype), buffers)


def _varying(
    n_rows: npt.NDArray[np.int64], offsets: Sequence[bytes], data: Sequence[bytes], width: int
) -> tuple[npt.NDArray[np.int32], bytes]:
    """Offsets (all rows + 1,) and joined data of a column whose values vary in length.

    `n_rows` (n_payloads,); `width` is the bytes of what an offset counts. Raises ValueError.
    """
    said = np.frombuffer(b"".join(offsets), np.int32)
    starts = np.cumsum(n_rows + 1) - (n_rows + 1)
    lengths = np.delete(np.diff(said), starts[1:] - 1)
    firsts, lasts = said[starts], said[starts + n_rows]
    have = np.array([len(part) for part in data]) // width
    if lengths.min() < 0 or firsts.min() < 0 or (lasts > have).any():
        raise ValueError("offsets lie outside their data or fall")
    ends = np.zeros(len(lengths) + 1, np.int32)
    total = np.cumsum(lengths, dtype=np.int64)
    if total[-1] > np.iinfo(np.int32).max:
        raise ValueError("more text than one column can hold")
    ends[1:] = total
    cut = zip(data, (firsts * width).tolist(), (lasts * width).tolist(), strict=True)
    return ends, b"".join([part[first:last] for part, first, last in cut])


def missing_ids(layout: Layout) -> list[str]:
    """Which ids the topic has to give."""
    given = {column.name for column, _ in layout.columns}
    return [name for name in FROM_TOPIC if name not in given]
