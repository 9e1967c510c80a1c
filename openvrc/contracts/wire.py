"""The uplink's body: Arrow IPC streams, one per Batch, in one zstd frame.

Layout after decompression: magic b"VRC1", uint32 little-endian count, then `count` IPC streams,
each with message, zone, run_id and origin in its schema metadata, in the order to be processed.
Columns that hold nothing are left out.
Bodies put one behind the other are a body too: their batches in that order.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from openvrc.contracts.batch import Batch, rows_of
from openvrc.contracts.columns import arrow_schema, columns_of
from openvrc.contracts.errors import VrcError
from openvrc.contracts.messages import MESSAGES

MAGIC = b"VRC1"
CONTENT_TYPE = "application/vnd.openvrc.batches+zstd"
_HEAD = struct.Struct("<4sI")
MAX_UNPACKED_BYTES = 256 * 1024 * 1024
"""A bound against decompression bombs; an edge sends a few MB at most."""
ZSTD_LEVEL = -1
"""Against level 1: two thirds of the time for 10 % more bytes of vehicles' states, half of it for a
quarter more of cell voltages, which hardly shrink at any level."""
SPARE_WORDS = 64
"""Unused words that are not worth looking for."""
_CHUNK_BYTES = 1024 * 1024
_OPTIONS = pa.ipc.IpcWriteOptions()
"""Given, or each stream asks the environment five times."""
_META = ("message", "zone", "run_id", "origin")


class WireError(VrcError):
    """A body that is not what `pack` writes: says where and why."""


def pack(batches: Sequence[Batch]) -> bytes:
    """The body of one ingest request."""
    plain = pa.BufferOutputStream()
    plain.write(_HEAD.pack(MAGIC, len(batches)))
    for batch in batches:
        meta = {name: getattr(batch, name) for name in _META}
        data = _with_own_words(batch).data
        if batch.absent:
            data = data.select([name for name in data.schema.names if name not in batch.absent])
        data = data.replace_schema_metadata(meta)
        with pa.ipc.new_stream(plain, data.schema, options=_OPTIONS) as writer:
            writer.write_batch(data)
    zstd = pa.Codec("zstd", ZSTD_LEVEL)
    return zstd.compress(plain.getvalue(), asbytes=True)  # type: ignore[no-any-return]


@cache
def _text_columns(message: str) -> tuple[str, ...]:
    return tuple(column.name for column in columns_of(message) if column.kind == "text")


def _with_own_words(batch: Batch) -> Batch:
    """The batch without words it does not use, where they are many: a slice keeps its whole's."""
    changed: dict[str, object] = {}
    for name in _text_columns(batch.message):
        place = batch.data.schema.get_field_index(name)
        if place < 0 or name in batch.absent:  # below 0: not its contract's columns
            continue
        words = batch.data.column(place).dictionary
        if len(words) > 2 * batch.n_rows + SPARE_WORDS:
            used, codes = np.unique(batch.codes(name), return_inverse=True)
            changed[name] = (codes.astype(np.int32), words.take(pa.array(used)).to_pylist())
    return batch.with_columns(changed) if changed else batch


def unpack(body: bytes) -> list[Batch]:
    """The batches of a body, each checked to fit its contract's schema. Raises WireError."""
    plain = _decompressed(body)
    source = pa.BufferReader(plain)
    batches: list[Batch] = []
    while True:
        head = source.read(_HEAD.size)
        if head[:4] != MAGIC or len(head) < _HEAD.size:
            where = f" behind {len(batches)} batches" if batches else ""
            raise WireError(f"body starts with {head[:4]!r}{where}, expected {MAGIC!r}")
        (count,) = struct.unpack("<I", head[4:])
        batches += [_read_one(source, place) for place in range(count)]
        if source.tell() == len(plain):
            return batches


def _decompressed(body: bytes) -> bytes:
    parts: list[bytes] = []
    n_bytes = 0
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
            # read() sets its whole size aside at once and keeps it for ever after an error.
            while part := stream.read_buffer(_CHUNK_BYTES).to_pybytes():
                n_bytes += len(part)
                if n_bytes > MAX_UNPACKED_BYTES:
                    raise WireError(f"body unpacks to more than {MAX_UNPACKED_BYTES} bytes")
                parts.append(part)
    except (pa.ArrowException, OSError) as error:
        raise WireError(f"body is no zstd frame: {error}") from error
    return b"".join(parts)


def _read_one(source: pa.BufferReader, place: int) -> Batch:
    try:
        reader = pa.ipc.open_stream(source)
        batches = list(reader)
        data = batches[0] if len(batches) == 1 else reader.schema.empty_table().combine_chunks()
        if len(batches) != 1:
            raise WireError(f"stream {place} holds {len(batches)} record batches, expected 1")
        data.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise WireError(f"stream {place} is no Arrow IPC stream: {error}") from error
    meta = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (data.schema.metadata or {}).items()
    }
    message = meta.get("message", "")
    if message not in MESSAGES or any(name not in meta for name in _META):
        raise WireError(
            f"stream {place} has metadata {sorted(meta)}, expected {_META} of a known message"
        )
    data, absent = _completed(data.replace_schema_metadata(None), message, place)
    return Batch(message, meta["zone"], meta["run_id"], meta["origin"], data, absent)


def _completed(
    data: pa.RecordBatch, message: str, place: int
) -> tuple[pa.RecordBatch, frozenset[str]]:
    """The data with all columns of its message, and which of them were left out."""
    layout = _layout(message, tuple(data.schema.names))
    if not data.schema.equals(layout.given, check_metadata=False):
        raise WireError(f"stream {place} does not have the columns of {message}")
    if not layout.left_out:
        return data, layout.left_out
    if layout.missing:
        raise WireError(
            f"stream {place} of {message} lacks the required columns {list(layout.missing)}"
        )
    arrays = dict(zip(data.schema.names, data.columns, strict=True))
    return rows_of(message, arrays, data.num_rows), layout.left_out


class _Layout(NamedTuple):
    """What columns of a body mean."""

    given: pa.Schema
    left_out: frozenset[str]
    missing: tuple[str, ...]


@lru_cache(maxsize=256)
def _layout(message: str, names: tuple[str, ...]) -> _Layout:
    given = pa.schema([field for field in arrow_schema(message) if field.name in names])
    left_out = [c for c in columns_of(message) if c.name not in names]
    # A mark that is missing belongs to records that are not admitted yet.
    missing = tuple(c.name for c in left_out if c.is_required and not c.is_mark)
    return _Layout(given, frozenset(c.name for c in left_out), missing)
