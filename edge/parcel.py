"""What a decoding worker and the owner of the spool say to one another, message by message.

Worker to owner: a parcel, the entries of one drain in the order they came by, with their number.
Owner to worker: the settings at the start, then the numbers of parcels that are durable.
Layout of a parcel: uint64 number, then entries (uint8 kind, int64 time ns, uint32 messages,
uint16 + text, uint32 + bytes).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

PAYLOAD, BATCH, CONTROL, UP, JOINED, FENCE, PROBLEM = range(7)
"""A payload as it came; packed batches; what every worker hears; the worker's own news."""
_NUMBER = struct.Struct("<Q")
_HEAD = struct.Struct("<BqIHI")


@dataclass(frozen=True)
class Entry:
    """One step of a worker's stream; `n_messages` is how many MQTT messages are in it."""

    kind: int
    at_ns: int = 0
    text: str = ""
    payload: bytes = b""
    n_messages: int = 0


def write(number: int, entries: Sequence[Entry]) -> bytes:
    """The bytes of a parcel."""
    parts = [_NUMBER.pack(number)]
    for entry in entries:
        text = entry.text.encode("utf-8", "surrogatepass")
        head = (entry.kind, entry.at_ns, entry.n_messages, len(text), len(entry.payload))
        parts += [_HEAD.pack(*head), text, entry.payload]
    return b"".join(parts)


def read(parcel: bytes) -> tuple[int, list[Entry]]:
    """The number and the entries of a parcel."""
    (number,) = _NUMBER.unpack_from(parcel)
    place, entries = _NUMBER.size, []
    while place < len(parcel):
        kind, at_ns, n_messages, n_text, n_payload = _HEAD.unpack_from(parcel, place)
        place += _HEAD.size
        text = parcel[place : place + n_text].decode("utf-8", "surrogatepass")
        place += n_text
        payload = parcel[place : place + n_payload]
        place += n_payload
        entries.append(Entry(kind, at_ns, text, payload, n_messages))
    return number, entries
