"""One frame read whole: every field's place and raw value, and the same bytes written back.

For tools, tests, sessions and senders; many reports at once go through `bulk.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openvrc.contracts.gbt32960 import beijing
from openvrc.contracts.gbt32960.frame import HEAD_BYTES, Head, build, head_of
from openvrc.contracts.gbt32960.nodes import (
    Item,
    Node,
    Tree,
    Walk,
    WalkStopped,
    number,
    tree_of,
    write,
)
from openvrc.contracts.gbt32960.units import (
    REPORTS,
    SET,
    TIME,
    UNITS,
    Command,
    Edition,
    Encryption,
    Response,
    body_of,
)
from openvrc.contracts.reasons import Reason

SIGNATURE_TYPE = 0xFF


@dataclass(frozen=True)
class Body:
    """One body of a report: raw values, and where each field lies in the frame."""

    kind: int
    name: str
    tree: Tree
    items: tuple[Item, ...]
    offset: int
    """Of the type byte."""


@dataclass(frozen=True)
class Stop:
    """Why the rest of a frame could not be read, and from which byte on."""

    reason: Reason
    detail: str
    offset: int


@dataclass(frozen=True)
class Message:
    """A frame whose check byte holds."""

    head: Head
    data: bytes
    tree: Tree
    """Raw values of the data unit, of a report only its time."""
    items: tuple[Item, ...] = ()
    bodies: tuple[Body, ...] = ()
    stop: Stop | None = None

    @property
    def time_ns(self) -> int | None:
        """UTC time of the unit; None where it has none or it is no time."""
        six = self.tree.get("time")
        return beijing.to_ns(six) if isinstance(six, bytes) else None

    @property
    def is_command(self) -> bool:
        """Whether it is no reply."""
        return self.head.response == Response.COMMAND

    def body(self, name: str) -> Tree | None:
        """Raw values of the last body of this name."""
        found = [body.tree for body in self.bodies if body.name == name]
        return found[-1] if found else None


def read(frame: bytes) -> Message:
    """A frame from `frame.split`; what cannot be read is told by `stop`, nothing raises."""
    head = head_of(frame)
    end = HEAD_BYTES + head.unit_bytes
    if head.encryption != Encryption.NONE:
        detail = f"data unit is encrypted (rule {head.encryption:02X})"
        return Message(head, frame, {}, stop=Stop(Reason.ENCRYPTED, detail, HEAD_BYTES))
    if head.response != Response.COMMAND:
        return _read_reply(head, frame, end)
    if head.command in REPORTS:
        return _read_report(head, frame, end)
    nodes = UNITS[head.edition].get(head.command)
    if nodes is None:
        detail = f"command {head.command:02X} has no unit in the {head.edition} edition"
        return Message(head, frame, {}, stop=Stop(Reason.UNKNOWN_COMMAND, detail, HEAD_BYTES))
    tree, items, stop, at = _read_nodes(frame, HEAD_BYTES, end, nodes)
    if stop is None and at < end:
        stop = Stop(Reason.TRAILING_BYTES, f"{end - at} bytes behind the last field", at)
    return Message(head, frame, tree, items, stop=stop)


def _read_reply(head: Head, frame: bytes, end: int) -> Message:
    """A reply is the time alone, or the time and the command's own unit: both are in use.

    6.3.2 drops the rest, 2016 annex B.3.3.2 keeps it; the rest is not read again. The answer to a
    query has what was asked for.
    """
    if head.unit_bytes == 0:
        return Message(head, frame, {})
    is_answer = head.command == Command.QUERY and head.unit_bytes > TIME.width
    nodes = SET[head.edition] if is_answer else (TIME,)
    tree, items, stop, _ = _read_nodes(frame, HEAD_BYTES, end, nodes)
    return Message(head, frame, tree, items, stop=stop)


def _read_nodes(
    data: bytes, start: int, end: int, nodes: Sequence[Node]
) -> tuple[Tree, tuple[Item, ...], Stop | None, int]:
    walk = Walk(data, start, end)
    try:
        walk.body(nodes)
    except WalkStopped as error:
        return {}, tuple(walk.items), Stop(error.reason, str(error), walk.end), walk.end
    return tree_of(data, walk.items, nodes), tuple(walk.items), None, walk.end


def _read_report(head: Head, frame: bytes, end: int) -> Message:
    tree, items, stop, at = _read_nodes(frame, HEAD_BYTES, end, (TIME,))
    bodies: list[Body] = []
    while stop is None and at < end:
        kind, offset = frame[at], at
        known = body_of(head.edition, kind)
        if known is None:
            detail = f"type {kind:02X} is no body of the {head.edition} edition, {end - at} bytes"
            stop = Stop(Reason.UNKNOWN_BODY, f"{detail} are left unread", at)
            break
        name, nodes = known
        found, walked, stop, at = _read_nodes(frame, at + 1, end, nodes)
        if stop is None:
            bodies.append(Body(kind, name, found, walked, offset))
        else:
            stop = Stop(stop.reason, f"{name}: {stop.detail}", offset)
    return Message(head, frame, tree, items, tuple(bodies), stop)


def report(
    edition: Edition, command: int, vin: str, time_ns: int, bodies: Sequence[tuple[int, Tree]]
) -> bytes:
    """A report's frame from raw values by type. Raises ValueError for what does not fit."""
    return build(edition, command, vin, report_unit(edition, beijing.to_bytes(time_ns), bodies))


def report_unit(edition: Edition, six: bytes, bodies: Sequence[tuple[int, Tree]]) -> bytes:
    """A report's data unit: time, then each type byte and body."""
    parts = [six]
    for kind, tree in bodies:
        known = body_of(edition, kind)
        if known is None:
            raise ValueError(f"type {kind:02X} is no body of the {edition} edition")
        parts.append(bytes([kind]) + write(known[1], tree))
    return b"".join(parts)


def command(edition: Edition, command_id: int, vin: str, tree: Tree, **head: Any) -> bytes:
    """A frame of another command from raw values. Raises ValueError for an unknown one."""
    nodes = UNITS[edition].get(command_id)
    if nodes is None:
        raise ValueError(f"command {command_id:02X} has no unit in the {edition} edition")
    return build(edition, command_id, vin, write(nodes, tree), **head)


def rewritten(message: Message) -> bytes:
    """The frame again, from its raw values: byte for byte what was read if `stop` is None."""
    head = message.head
    if head.command in REPORTS and message.is_command:
        bodies = [(body.kind, body.tree) for body in message.bodies]
        unit = report_unit(head.edition, message.tree["time"], bodies)
    elif message.is_command:
        unit = write(UNITS[head.edition][head.command], message.tree)
    else:
        unit = message.data[HEAD_BYTES : HEAD_BYTES + head.unit_bytes]
    return build(
        head.edition,
        head.command,
        head.vin,
        unit,
        response=head.response,
        encryption=head.encryption,
    )


def reply(frame: bytes, response: int, *, time_ns: int | None = None) -> bytes:
    """The six-byte form of a reply: flag changed, the command's time kept, the rest dropped.

    A command without a unit (heartbeat) is answered without one; `time_ns` puts another time in
    (time calibration asks for the platform's).
    """
    head = head_of(frame)
    unit = frame[HEAD_BYTES : HEAD_BYTES + min(6, head.unit_bytes)]
    if head.encryption != Encryption.NONE or head.command == Command.EXCHANGE_KEY:
        unit = b""  # its first bytes are no time
    if time_ns is not None:
        unit = beijing.to_bytes(time_ns)
    return build(head.edition, head.command, head.vin, unit, response=response)


@dataclass(frozen=True)
class Check:
    """What a server needs to know of a report before it hands it on."""

    stop: Stop | None
    time_ns: int | None
    is_part: bool
    """Whether a list of cells goes on in a further frame of the same moment (2016)."""
    signature: Body | None = None


def check_report(frame: bytes) -> Check:
    """A report walked without taking its values: a third of the cost of `read`."""
    head, at = head_of(frame), HEAD_BYTES
    end = HEAD_BYTES + head.unit_bytes
    if end - at < TIME.width:
        return Check(Stop(Reason.TRUNCATED, "no time", at), None, is_part=False)
    time_ns = beijing.to_ns(frame[at : at + TIME.width])
    at, is_part, signature = at + TIME.width, False, None
    while at < end:
        known = body_of(head.edition, frame[at])
        if known is None:
            detail = f"type {frame[at]:02X} is no body of the {head.edition} edition"
            return Check(Stop(Reason.UNKNOWN_BODY, detail, at), time_ns, is_part)
        walk = Walk(frame, at + 1, end)
        try:
            walk.body(known[1])
        except WalkStopped as error:
            stop = Stop(error.reason, f"{known[0]}: {error}", at)
            return Check(stop, time_ns, is_part)
        if known[0] == "cells":
            is_part |= _goes_on(frame, walk.items)
        elif frame[at] == SIGNATURE_TYPE and known[0] == "signature":
            tree = tree_of(frame, walk.items, known[1])
            signature = Body(frame[at], known[0], tree, tuple(walk.items), at)
        at = walk.end
    return Check(None, time_ns, is_part, signature)


def _goes_on(frame: bytes, items: Sequence[Item]) -> bool:
    total = first = 0
    for item in items:
        name = item.path[-1]
        if name == "total_cells":
            total = number(frame, item)
        elif name == "first_cell":
            first = number(frame, item)
        elif name == "cells_v" and first and first - 1 + item.count < total:
            return True
    return False
