"""The journal: every input of the core in order, so that its state can be made again.

The spool keeps it from the newest checkpoint on. One blob is the input of one group; feeding it to
a restored core, and taking the group, leads to the very state that was lost with the process.
Records that were admitted stand in the group's blob already: a copy of it leads to the same state
at a fraction of the payloads' bytes and time (edge/group_log.py).
Layout of a blob: lz4 of entries (uint8 kind, int64 time ns, uint16 + text, uint32 + bytes).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from edge.core import EdgeCore
from edge.giving_up import losses_from
from edge.group_log import UNNUMBERED, Kept, Step
from openvrc.contracts.batch import Batch
from openvrc.contracts.errors import VrcError
from openvrc.contracts.wire import unpack

PAYLOAD, WALL_CLOCK, REFUSED, GIVEN_UP, BATCHES = range(5)
GROUP, FOLDED = 100, 101
"""Written by `write` only: a copy of the group's blob, and the place of a batch in it."""
MAX_BLOB_BYTES = 1 << 30
"""Far above the bytes of one group (service.py); a damaged length is not allocated."""
_HEAD = struct.Struct("<BqHI")


class JournalError(VrcError):
    """A blob that is no journal."""


class Input(NamedTuple):
    """One input of the core: a payload, a time, packed batches, refused or lost records."""

    kind: int
    at_ns: int
    text: str = ""
    payload: bytes = b""

    def apply(self, core: EdgeCore, number: int = UNNUMBERED) -> None:
        """Give it to the core, as the input of this place in the group."""
        if self.kind == PAYLOAD:
            if not core.on_payload(self.text, self.payload, self.at_ns, number):
                return
        elif self.kind == WALL_CLOCK:
            core.on_wall_clock(self.at_ns)
        elif self.kind == BATCHES:
            core.on_batches(unpack(self.payload), self.at_ns, self.text, number)
            return
        elif self.kind == GIVEN_UP:
            core.on_given_up(losses_from(self.payload), self.text, self.at_ns)
        else:
            for batch in unpack(self.payload):
                core.on_refused(batch, self.text, self.at_ns)
        core.note(number)


def write(inputs: Sequence[Input], steps: Sequence[Step], group_blob: bytes | None) -> bytes:
    """The blob of one group: of its inputs, and of `group_blob`, what its steps name."""
    entries = [
        inputs[step.number] if isinstance(step, Kept) else Input(FOLDED, step.place)
        for step in steps
    ]
    if group_blob and any(entry.kind == FOLDED for entry in entries):
        entries.insert(0, Input(GROUP, 0, payload=group_blob))
    return _packed(entries)


def _packed(entries: Sequence[Input]) -> bytes:
    parts = []
    for entry in entries:
        text = entry.text.encode("utf-8", "surrogatepass")
        parts += [_HEAD.pack(entry.kind, entry.at_ns, len(text), len(entry.payload)), text]
        parts.append(entry.payload)
    body = b"".join(parts)
    packed: bytes = pa.Codec("lz4_raw").compress(body, asbytes=True)
    return struct.pack("<Q", len(body)) + packed


def read(blob: bytes) -> Iterator[Input]:
    """The inputs of a blob. Raises JournalError."""
    try:
        (length,) = struct.unpack_from("<Q", blob)
        if length > MAX_BLOB_BYTES:
            raise ValueError(f"length {length}, expected at most {MAX_BLOB_BYTES}")
        body = pa.Codec("lz4_raw").decompress(blob[8:], length, asbytes=True)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        raise JournalError(f"journal blob cannot be read: {error}") from error
    place = 0
    while place < len(body):
        kind, at_ns, n_text, n_payload = _HEAD.unpack_from(body, place)
        place += _HEAD.size
        text = body[place : place + n_text].decode("utf-8", "surrogatepass")
        place += n_text
        yield Input(kind, at_ns, text, body[place : place + n_payload])
        place += n_payload


def replay(core: EdgeCore, blobs: list[bytes]) -> None:
    """Bring a restored core to the state after these groups; their outputs are in the spool."""
    for blob in blobs:
        batches: list[Batch] = []
        for entry in read(blob):
            if entry.kind == GROUP:
                batches = unpack(entry.payload)
            elif entry.kind == FOLDED:
                core.on_folded(batches[entry.at_ns])
            else:
                entry.apply(core)
        core.take_group()
