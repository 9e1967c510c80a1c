"""Every byte of a frame with its field, raw value, meaning and unit, for people.

The lines come from the same walk and the same tables that decode; nothing is described twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from openvrc.contracts.gbt32960 import alarms, beijing
from openvrc.contracts.gbt32960.frame import HEAD_BYTES, Garbage, bcc, is_vin, split
from openvrc.contracts.gbt32960.message import Message, read
from openvrc.contracts.gbt32960.nodes import Field, Item, Validity
from openvrc.contracts.gbt32960.units import (
    EDITION_OF_START,
    Edition,
    Encryption,
    Response,
    command_name,
)
from openvrc.contracts.units import iso_from_ns

GEARS = {0: "N", 13: "R", 14: "D", 15: "P"}
NO_FRAME = "no frame"
_ENCRYPTION = {e.value: e.name for e in Encryption}
_RESPONSE = {r.value: r.name.lower() for r in Response}


@dataclass(frozen=True)
class Line:
    """One field."""

    offset: int
    hex: str
    field: str
    raw: str
    meaning: str
    unit: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def inspect(data: bytes) -> list[list[Line]]:
    """The lines of each piece: a frame, or bytes in which none was found. Every byte once."""
    lines, at = [], 0
    for piece in split(data):
        if isinstance(piece, Garbage):
            lines.append(list(_garbage(piece, at)))
            at += len(piece.data)
        else:
            lines.append(list(_frame(read(piece), at)))
            at += len(piece)
    return lines


def _garbage(piece: Garbage, at: int) -> Iterator[Line]:
    """Bytes without a frame; what looks like a damaged one is told field by field all the same."""
    why, data = f"{piece.reason}: {piece.detail}", piece.data
    if len(data) <= HEAD_BYTES or data[:2] not in EDITION_OF_START:
        yield Line(at, data.hex(" "), NO_FRAME, "", why)
        return
    yield Line(at, "", NO_FRAME, "", why)
    announced = HEAD_BYTES + int.from_bytes(data[22:24], "big")
    end = min(announced, len(data))
    unit = data[HEAD_BYTES:end]
    clipped = read(data[:22] + len(unit).to_bytes(2, "big") + unit + b"\0")
    yield from _unit(replace(clipped, data=data), at, end)
    if end < len(data):
        yield _line(data, at, end, 1, "check byte", f"expected {bcc(data[2:end]):02X} (hex)")
        end += 1
    if end < len(data):
        yield _line(data, at, end, len(data) - end, "unread", "behind the damaged frame", raw="")


def _frame(message: Message, base: int) -> Iterator[Line]:
    data = message.data
    end = len(data) - 1
    yield from _unit(message, base, end)
    yield _line(data, base, end, 1, "check byte", f"exclusive or of bytes 2 to {end - 1}: holds")


def _unit(message: Message, base: int, end: int) -> Iterator[Line]:
    """Head and data unit, which ends before byte `end`."""
    yield from _head(message, base)
    data, at = message.data, HEAD_BYTES
    for item in message.items:
        yield from _item(message, item, base)
        at = item.offset + item.n_bytes
    for body in message.bodies:
        yield _line(data, base, body.offset, 1, "type", f"{body.name} body")
        for item in body.items:
            yield from _item(message, item, base)
            at = item.offset + item.n_bytes
        at = max(at, body.offset + 1)
    if at < end:
        why = message.stop
        text = f"{why.reason}: {why.detail}" if why else "kept as it came"
        yield _line(data, base, at, end - at, "unread", text, raw="")


def _head(message: Message, base: int) -> Iterator[Line]:
    head, data = message.head, message.data
    yield _line(data, base, 0, 2, "start", f"{head.edition} edition", raw=data[:2].decode())
    yield _line(data, base, 2, 1, "command", command_name(head.command))
    yield _line(data, base, 3, 1, "response flag", _RESPONSE.get(head.response, "undefined"))
    good = "17 capital letters and digits" if is_vin(head.vin) else "no VIN"
    yield _line(data, base, 4, 17, "VIN", good, raw=repr(head.vin)[1:-1])
    yield _line(data, base, 21, 1, "encryption", _ENCRYPTION.get(head.encryption, "undefined"))
    yield _line(data, base, 22, 2, "length", "of the data unit", "B")


def _line(
    data: bytes, base: int, at: int, n: int, name: str, meaning: str, unit: str = "",
    raw: str | None = None,
) -> Line:  # fmt: skip
    part = data[at : at + n]
    shown = str(int.from_bytes(part, "big")) if raw is None else raw
    return Line(base + at, part.hex(" "), name, shown, meaning, unit)


def _item(message: Message, item: Item, base: int) -> Iterator[Line]:
    """A field's line; a run of numbers has one for each element."""
    name = ".".join(str(p + 1) if isinstance(p, int) else p for p in item.path)
    if item.field.form in ("text", "bytes", "time"):
        yield _text(message, item, base, name)
        return
    for place in range(abs(item.count)):
        at = item.offset + place * item.field.width
        raw = int.from_bytes(message.data[at : at + item.field.width], "big")
        where = name if item.count < 0 else f"{name}.{place + 1}"
        meaning = f"{item.field.title}: {meaning_of(item.field, raw, message.head.edition)}"
        yield _line(message.data, base, at, item.field.width, where, meaning, item.field.unit)


def _text(message: Message, item: Item, base: int, name: str) -> Line:
    part = message.data[item.offset : item.offset + item.n_bytes]
    field = item.field
    meaning, raw = field.title, ""
    if field.form == "time":
        at_ns = beijing.to_ns(part)
        raw = ".".join(map(str, part))
        meaning = f"{field.title}: {'no time' if at_ns is None else iso_from_ns(at_ns)}"
    elif name == "password":
        return Line(base + item.offset, "** " * len(part), name, "**", f"{field.title}, not shown")
    elif field.form == "text":
        raw = repr(part.decode("latin-1"))[1:-1]
    return Line(base + item.offset, part.hex(" "), name, raw, meaning)


def meaning_of(field: Field, raw: int, edition: Edition) -> str:
    """What a raw value says, in words or scaled.

    >>> from openvrc.contracts.gbt32960.shared_bodies import SOC
    >>> meaning_of(SOC, 55, Edition.Y2016), meaning_of(SOC, 255, Edition.Y2016)
    ('0.55', 'invalid')
    """
    if field.form == "flags":
        return _flags(field.name, raw, edition)
    validity = field.validity(raw)
    if validity is not Validity.VALID:
        return validity.name.lower().replace("_", " ")
    if field.words is not None:
        return field.words[raw]
    if field.name == "brake_ratio" and raw == 101:
        return "pressed, no travel value"
    value = field.value(raw)
    return f"{value:.10g}"


def _flags(name: str, raw: int, edition: Edition) -> str:
    if name == "flags":
        return ", ".join(alarms.names_of(raw, edition is Edition.Y2025)) or "none"
    if name == "gear":
        words = [GEARS.get(raw & 0x0F, str(raw & 0x0F))]
        words += ["braking force"] * bool(raw & 0x10) + ["driving force"] * bool(raw & 0x20)
        words += ["gear invalid"] * (edition is Edition.Y2025 and bool(raw & 0x80))
        return ", ".join(words)
    fix = "invalid, last valid position" if raw & 1 else "valid fix"
    return f"{fix}, {'south' if raw & 2 else 'north'}, {'west' if raw & 4 else 'east'}"
