"""The frame: head, data unit, check byte; and frames found again in a stream of bytes.

| offset | bytes | what |
|---|---|---|
| 0 | 2 | `##` (2016) or `$$` (2025) |
| 2 | 1 | command |
| 3 | 1 | response flag, FE for a command |
| 4 | 17 | VIN, or a platform's own id |
| 21 | 1 | encryption of the data unit |
| 22 | 2 | length N of the data unit |
| 24 | N | data unit |
| 24 + N | 1 | BCC: exclusive or of all bytes from the command on |

The check byte is judged before anything inside is believed (2016 edition 6.3.1 and table 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from openvrc.contracts.gbt32960.units import EDITION_OF_START, Edition, Encryption, Response
from openvrc.contracts.reasons import Reason

HEAD_BYTES = 24
OVERHEAD_BYTES = HEAD_BYTES + 1
MAX_UNIT_BYTES = 65_531
MAX_FRAME_BYTES = MAX_UNIT_BYTES + OVERHEAD_BYTES
VIN_SLICE = slice(4, 21)
VIN_BYTES = 17
_START = re.compile(rb"##|\$\$")
_ENCRYPTIONS = frozenset(Encryption)
_RESPONSES = frozenset(Response)
# I, O and Q are in no VIN (ISO 3779), yet in test vehicles' ids; a lower-case letter or a space
# is what damage and unset terminals look like.
_VIN = re.compile(r"[A-Z0-9]{17}")


@dataclass(frozen=True)
class Head:
    """What stands before the data unit."""

    edition: Edition
    command: int
    response: int
    vin: str
    """As sent, one character a byte; see `is_vin`."""
    encryption: int
    unit_bytes: int


def is_vin(text: str) -> bool:
    """Whether a vehicle id is 17 capital letters and digits.

    >>> is_vin("LTEST000000000001"), is_vin("LTEST00000000000 ")
    (True, False)
    """
    return _VIN.fullmatch(text) is not None


def bcc(data: bytes) -> int:
    """Exclusive or of all bytes.

    >>> bcc(bytes([0x02, 0xFE, 0x0F]))
    243
    """
    return int(np.bitwise_xor.reduce(np.frombuffer(data, np.uint8))) if data else 0


def head_of(frame: bytes) -> Head:
    """The head of a frame of at least `HEAD_BYTES` that begins with a start."""
    return Head(
        EDITION_OF_START[frame[:2]],
        frame[2],
        frame[3],
        frame[VIN_SLICE].decode("latin-1"),
        frame[21],
        int.from_bytes(frame[22:24], "big"),
    )


def build(
    edition: Edition,
    command: int,
    vin: str,
    unit: bytes,
    *,
    response: int = Response.COMMAND,
    encryption: int = Encryption.NONE,
) -> bytes:
    """A whole frame. Raises ValueError for an id of another length or a unit too long."""
    name = vin.encode("latin-1")
    if len(name) != VIN_BYTES:
        raise ValueError(f"id {vin!r} has {len(name)} bytes, expected {VIN_BYTES}")
    if len(unit) > MAX_UNIT_BYTES:
        raise ValueError(f"data unit has {len(unit)} bytes, expected at most {MAX_UNIT_BYTES}")
    checked = bytes([command, response]) + name + bytes([encryption])
    checked += len(unit).to_bytes(2, "big") + unit
    return edition.start + checked + bytes([bcc(checked)])


@dataclass(frozen=True)
class Garbage:
    """Bytes in which no frame was found."""

    reason: Reason
    detail: str
    data: bytes


Piece = bytes | Garbage
"""A frame whose length and check byte hold, or what was skipped."""


class Scanner:
    """Cuts a stream into frames, and finds the next one after garbage.

    A frame is believed when its check byte holds. Where it does not, its length may be the lie, so
    the search goes on inside it; all that is skipped in a row is one piece, with the reason of its
    first byte. Memory: one longest frame, and as much garbage.
    """

    def __init__(self, max_unit_bytes: int = MAX_UNIT_BYTES) -> None:
        self._held = bytearray()
        self._garbage = bytearray()
        self._max_unit_bytes = max_unit_bytes
        self._why = (Reason.BAD_START, "no start")

    @property
    def held_bytes(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that are whole with these bytes; iterate to the end."""
        self._held += data
        yield from self._pieces(is_last=False)

    def finish(self) -> Iterator[Piece]:
        """What is left when no more bytes come."""
        yield from self._pieces(is_last=True)
        self._skip(len(self._held), Reason.TRUNCATED, "bytes end inside a frame")
        yield from self._dropped()

    def _pieces(self, *, is_last: bool) -> Iterator[Piece]:
        while True:
            found = _START.search(self._held)
            keep_one = not is_last and bool(self._held) and self._held[-1] in b"#$"
            start = found.start() if found else len(self._held) - keep_one
            self._skip(start, Reason.BAD_START, "bytes without a frame's start")
            if found is None or len(self._held) < HEAD_BYTES:
                break
            length = self._believable_length()
            if length == 0:
                self._skip(1, Reason.BAD_START, "a start that no head follows")
            elif len(self._held) < length and not is_last:
                break
            elif len(self._held) < length:
                self._skip(1, Reason.TRUNCATED, f"frame of {length} bytes ends early")
            elif bcc(bytes(self._held[2:length])) == 0:
                yield from self._dropped()
                yield bytes(self._held[:length])
                del self._held[:length]
            else:
                self._skip_bad(length)
        if not self._held or len(self._garbage) > MAX_FRAME_BYTES:
            yield from self._dropped()

    def _believable_length(self) -> int:
        """Length of the frame that the head announces, 0 for a head that is none."""
        held = self._held
        unit_bytes = int.from_bytes(held[22:24], "big")
        is_head = held[3] in _RESPONSES and held[21] in _ENCRYPTIONS
        return unit_bytes + OVERHEAD_BYTES if is_head and unit_bytes <= self._max_unit_bytes else 0

    def _skip_bad(self, length: int) -> None:
        found, expected = self._held[length - 1], bcc(bytes(self._held[2 : length - 1]))
        text = f"check byte is {found:02X}, expected {expected:02X}"
        self._skip(1, Reason.BAD_CHECKSUM, text)

    def _skip(self, n_bytes: int, reason: Reason, detail: str) -> None:
        if n_bytes and not self._garbage:
            self._why = (reason, detail)
        self._garbage += self._held[:n_bytes]
        del self._held[:n_bytes]

    def _dropped(self) -> Iterator[Garbage]:
        if self._garbage:
            reason, detail = self._why
            yield Garbage(reason, f"{detail} ({len(self._garbage)} bytes)", bytes(self._garbage))
            self._garbage.clear()


def split(payload: bytes) -> list[Piece]:
    """The pieces of bytes that are complete, such as one MQTT payload.

    >>> [type(piece).__name__ for piece in split(b"junk")]
    ['Garbage']
    """
    scanner = Scanner()
    return [*scanner.feed(payload), *scanner.finish()]
