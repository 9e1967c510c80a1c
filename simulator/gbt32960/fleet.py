"""Terminals of a run's vehicles over TCP: one connection each, as real ones have.

A frame's records of vehicles go to their terminals, which report by the protocol's rules and not
every sample; everything else stays with the publisher. After the reports of a frame each terminal
sends a heartbeat and waits for its answer: the server has read what stood before it, so a tick
that is published then covers it.
"""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from openvrc.contracts.errors import SettingsError
from openvrc.contracts.gbt32960.frame import Scanner, build, head_of, is_vin
from openvrc.contracts.gbt32960.units import Command, Edition
from simulator.gbt32960.terminal import Record, Terminal
from simulator.sampling import name_hash
from simulator.world import Frame, Outgoing

TIMEOUT_S = 10.0
RETRY_NS = 5_000_000_000
"""Zone time between two attempts to connect."""
_CARRIED = ("battery_state", "vehicle_state", "vehicle_profile", "source_status")
_NOT_IN_VIN = re.compile(r"[^A-Z0-9]")


def vin_of(name: str) -> str:
    """A vehicle's name as a VIN of 17: a VIN stays, short names can still be read.

    >>> vin_of("ev-12"), vin_of("LTEST000000000001")
    ('LSIM000000000EV12', 'LTEST000000000001')
    """
    if is_vin(name):
        return name
    plain = _NOT_IN_VIN.sub("", name.upper())
    if not 0 < len(plain) <= 13:
        plain = f"{name_hash(0, 'vin', name) % 10**13}"
    return f"LSIM{plain:0>13}"


@dataclass
class _Link:
    """One terminal and its socket."""

    terminal: Terminal
    sock: socket.socket | None = None
    scanner: Scanner = field(default_factory=Scanner)
    next_try_ns: int = 0
    battery: Record | None = None
    motion: Record | None = None
    is_fresh: bool = False

    def said(self) -> dict[str, Any]:
        """The newest of both records; a car without a battery still has a speed."""
        newest = [record for record in (self.battery, self.motion) if record is not None]
        said = dict(self.battery or {})
        if self.motion is not None:
            said.setdefault("vehicle_speed_mps", self.motion["speed_mps"])
        return said | {"sampled_at_ns": max(record["sampled_at_ns"] for record in newest)}


class TerminalFleet:
    """See the module's text."""

    def __init__(
        self, url: str, *, edition: Edition = Edition.Y2016, run_id: str, origin: str
    ) -> None:
        """`url` is tcp://host:port, or tls://host:port. Raises SettingsError."""
        parts = urlsplit(url)
        if parts.scheme not in ("tcp", "tls") or not parts.hostname or not parts.port:
            raise SettingsError(f"gbt32960 url is {url!r}, expected tcp://host:port or tls://...")
        self._address = (parts.hostname, parts.port)
        self._tls = ssl.create_default_context() if parts.scheme == "tls" else None
        self._edition, self._mark = edition, (run_id, origin)
        self._links: dict[str, _Link] = {}
        self.frames_sent = 0

    def take(self, frame: Frame) -> tuple[Outgoing, ...]:
        """Report the vehicles' records of a frame; gives back what terminals do not speak of."""
        rest = []
        for outgoing in frame.messages:
            if outgoing.kind == "vehicle" and outgoing.message in _CARRIED:
                self._note(outgoing)
            else:
                rest.append(outgoing)
        for link in self._links.values():
            self._serve(link, frame.zone_time_ns)
        return tuple(rest)

    def _note(self, outgoing: Outgoing) -> None:
        if outgoing.message not in ("battery_state", "vehicle_state"):
            return  # a login is all the protocol says of a profile, and it numbers nothing
        for record in outgoing.batch.to_records():
            vin = vin_of(record["subject_id"])
            if vin not in self._links:
                terminal = Terminal(vin, self._edition, mark=self._mark)
                self._links[vin] = _Link(terminal)
            if outgoing.message == "battery_state":
                self._links[vin].battery = record
            else:
                self._links[vin].motion = record
            self._links[vin].is_fresh = True

    def _serve(self, link: _Link, now_ns: int) -> None:
        """One step of one terminal; a connection that breaks is opened again later."""
        terminal = link.terminal
        try:
            if link.sock is None and now_ns >= link.next_try_ns:
                link.next_try_ns = now_ns + RETRY_NS
                self._open(link, now_ns)
            if link.is_fresh:
                said = link.said()
                terminal.sample(said, link.motion, said["sampled_at_ns"])
                link.is_fresh = False
            frames = terminal.due(now_ns)
            if link.sock is not None and frames:
                self._send(link, frames, now_ns)
        except OSError:
            self._drop(link)

    def _open(self, link: _Link, now_ns: int) -> None:
        sock = socket.create_connection(self._address, TIMEOUT_S)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_hostname=self._address[0])
        link.sock, link.scanner = sock, Scanner()
        link.terminal.connected(now_ns)
        self._send(link, link.terminal.due(now_ns), now_ns)

    def _send(self, link: _Link, frames: list[bytes], now_ns: int) -> None:
        assert link.sock is not None
        terminal = link.terminal
        barrier = build(terminal.edition, Command.HEARTBEAT, terminal.vin, b"")
        link.sock.sendall(b"".join([*frames, barrier]))
        self.frames_sent += len(frames)
        while True:
            data = link.sock.recv(65_536)
            if not data:
                raise ConnectionError("closed by the server")
            pieces = [p for p in link.scanner.feed(data) if isinstance(p, bytes)]
            for piece in pieces:
                terminal.answered(piece, now_ns)
            if any(head_of(piece).command == Command.HEARTBEAT for piece in pieces):
                return

    def _drop(self, link: _Link) -> None:
        if link.sock is not None:
            link.sock.close()
        link.sock = None
        link.terminal.lost()

    def close(self, now_ns: int) -> None:
        """Log every terminal out and close its socket."""
        for link in self._links.values():
            try:
                link.terminal.log_out(now_ns)
                if link.sock is not None:
                    self._send(link, link.terminal.due(now_ns), now_ns)
            except OSError:
                pass  # the server went first
            self._drop(link)
