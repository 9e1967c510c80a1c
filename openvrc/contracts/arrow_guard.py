"""Refuse Arrow IPC streams that would unpack to far more than they weigh, before reading them.

A compressed body of a few kilobytes may claim gigabytes, and a column of type null claims any
number of rows for nothing. pyarrow has no limit to set, so the metadata of each message is read
here first: a flatbuffer whose layout the Arrow format fixes (Message.fbs: header is field 2;
RecordBatch: length field 0, compression field 3; DictionaryBatch: data field 1).
"""

from __future__ import annotations

import struct

import pyarrow as pa

from openvrc.contracts.errors import ContractError

_MESSAGE_HEADER, _BATCH_LENGTH, _BATCH_COMPRESSION, _DICTIONARY_DATA = 2, 0, 3, 1
LEAST_ROW_BYTES = {"record batch": 8, "dictionary": 4}
"""Every record has an int64 time, every word of a dictionary an int32 offset."""


def refuse_bombs(payload: bytes) -> None:
    """Raises ContractError for a compressed body or more rows than the payload can hold."""
    reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(payload))
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type not in LEAST_ROW_BYTES:
            continue
        n_rows, is_compressed = _claims(message.metadata.to_pybytes(), message.type)
        if is_compressed:
            raise ContractError("Arrow body", "compressed", "an uncompressed IPC stream")
        most = len(payload) // LEAST_ROW_BYTES[message.type]
        if not 0 <= n_rows <= most:
            raise ContractError("Arrow rows", n_rows, f"0 to {most} in {len(payload)} bytes")


def _claims(metadata: bytes, kind: str) -> tuple[int, bool]:
    """Rows and whether the body is compressed, of a record or dictionary batch."""
    try:
        (root,) = struct.unpack_from("<I", metadata, 0)
        batch = _table(metadata, root, _MESSAGE_HEADER)
        if kind == "dictionary":
            batch = _table(metadata, batch, _DICTIONARY_DATA)
        length_at = _field(metadata, batch, _BATCH_LENGTH)
        n_rows = struct.unpack_from("<q", metadata, batch + length_at)[0] if length_at else 0
        return n_rows, bool(_field(metadata, batch, _BATCH_COMPRESSION))
    except struct.error as error:
        raise ContractError("Arrow metadata", "damaged", "a flatbuffer") from error


def _field(metadata: bytes, table: int, number: int) -> int:
    """Offset of a field within its table, 0 if absent."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    (vtable_bytes,) = struct.unpack_from("<H", metadata, vtable)
    place = 4 + 2 * number
    return struct.unpack_from("<H", metadata, vtable + place)[0] if place < vtable_bytes else 0


def _table(metadata: bytes, table: int, number: int) -> int:
    """Position of the table that a field refers to."""
    field = table + _field(metadata, table, number)
    return int(field + struct.unpack_from("<I", metadata, field)[0])
