"""Sockets of the GB/T 32960.3 server: one event loop in a thread of the edge, everything bounded.

A frame goes into the inbox as soon as it is read; when that is full nobody is read from until
there is room, so that TCP holds senders back. Time limits are looked after in one sweep, not by a
timer for each of many thousand connections.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections import Counter
from pathlib import Path
from typing import cast

import uvloop

from edge.gbt32960.rules import Outcome, Rules
from edge.gbt32960.session import Session
from edge.gbt32960.vault import Vault, read_keys
from edge.inbox import Delivery, Inbox
from openvrc.contracts.errors import SettingsError
from openvrc.contracts.gbt32960.frame import Garbage, Scanner
from openvrc.settings import Gbt32960Settings

LOG = logging.getLogger("edge.gbt32960")

SWEEP_EVERY_S = 1.0
STATUS_EVERY_S = 60.0
MAX_REPLY_BYTES = 65_536
"""Replies that a client does not read: it is closed."""
STOP_S = 5.0
BACKLOG = 1024


class Connection(asyncio.Protocol):
    """One socket."""

    __slots__ = ("_frame_since_s", "_scanner", "heard_s", "part_since_s", "server", "session",
                 "transport")  # fmt: skip

    def __init__(self, server: Gbt32960Server) -> None:
        self.server = server
        self.session = Session(server.rules, server.vault)
        self.transport: asyncio.Transport | None = None
        self.heard_s = self.part_since_s = self._frame_since_s = time.monotonic()
        self._scanner = Scanner(server.settings.max_unit_bytes)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refused at once where there are too many."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's TLS transport is none
        self.server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's)
        """What waited for its rest goes on without; a cut frame is told."""
        self._do(self.session.flush())
        for piece in self._scanner.finish():
            if isinstance(piece, Garbage) and self.session.is_known:
                self._do(self.session.on_garbage(piece))
        self.server.lost(self)

    def data_received(self, data: bytes) -> None:
        """Every frame that is whole now."""
        now_s = time.monotonic()
        if not self._scanner.held_bytes:
            self._frame_since_s = now_s
        for piece in self._scanner.feed(data):
            self._frame_since_s = now_s
            if isinstance(piece, Garbage):
                self._do(self.session.on_garbage(piece))
            else:
                self.heard_s = now_s
                self.server.counts["frames"] += 1
                self._do(self.session.on_frame(piece, time.time_ns()))
            if self.transport is None or self.transport.is_closing():
                break
        if not self.session.holds_a_part:
            self.part_since_s = now_s

    def _do(self, outcome: Outcome) -> None:
        server = self.server
        for source_id, codec, payload in outcome.deliveries:
            server.deliver(source_id, codec, payload)
        if outcome.refused is not None:
            server.counts[f"refused {outcome.refused}"] += 1
        if outcome.logged_in:
            server.logged_in(outcome.logged_in, self)
        if outcome.logged_out:
            server.logged_out(outcome.logged_out, self)
        if outcome.reply and self.transport is not None and not self.transport.is_closing():
            self.transport.write(outcome.reply)
            if self.transport.get_write_buffer_size() > MAX_REPLY_BYTES:
                self.close("replies are not read")
        if outcome.close:
            self.close(outcome.close)

    def overdue(self, now_s: float) -> str:
        """Why this connection has to end now, "" if it may go on."""
        settings = self.server.settings
        if not self.session.is_known:
            late = now_s - self.heard_s > settings.login_timeout_s
            return "no login in time" if late else ""
        if self._scanner.held_bytes and now_s - self._frame_since_s > settings.frame_timeout_s:
            return "a frame took too long"
        return "idle" if now_s - self.heard_s > settings.idle_timeout_s else ""

    def hand_on_parts(self, now_s: float) -> None:
        """A part whose rest does not come waits no longer."""
        if self.session.holds_a_part and now_s - self.part_since_s > SWEEP_EVERY_S:
            self._do(self.session.flush())

    def close(self, why: str) -> None:
        """End it; what is written goes out first."""
        if self.transport is not None and not self.transport.is_closing():
            self.server.counts[f"closed: {why}"[:60].rstrip("0123456789 ")] += 1
            self.transport.close()


class Gbt32960Server:
    """Listens in a thread of its own; hands deliveries to an inbox."""

    def __init__(self, settings: Gbt32960Settings, zone: str, queue_messages: int) -> None:
        """Raises SettingsError for keys or certificates that cannot be read."""
        self.settings = settings
        self.vault = Vault(
            read_keys(settings.keys_file) if settings.keys_file else {}, settings.cipher_mode
        )
        self.rules = Rules(
            users=settings.users(),
            needs_login=settings.needs_login,
            needs_signature=settings.needs_signature,
            asks_period=settings.asks_period,
            max_vehicles=settings.max_vehicles_per_connection,
        )
        self.inbox = Inbox(queue_messages, on_room=self._on_room)
        self.counts: Counter[str] = Counter()
        self.port = 0
        """Where it listens, once started."""
        self._topic = f"vrc/v1/{zone}/vehicle"
        self._tls = _tls(settings.tls_certificate, settings.tls_key)
        self._connections: set[Connection] = set()
        self._owner_of: dict[str, Connection] = {}
        self._is_paused = False
        self._loop = uvloop.new_event_loop()
        self._started = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="gbt32960", daemon=True)

    def start(self) -> None:
        """Listen. Raises SettingsError if the address cannot be had."""
        self._thread.start()
        self._started.wait()
        if self._problem is not None:
            where = f"{self.settings.host}:{self.settings.port}"
            raise SettingsError(f"gbt32960 cannot listen on {where}: {self._problem}")

    def stop_reading(self) -> None:
        """Take nothing more in."""
        self._loop.call_soon_threadsafe(self._pause)

    def stop(self) -> None:
        """Close every connection and end the thread."""
        if self._thread.is_alive() and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(STOP_S)

    @property
    def n_connections(self) -> int:
        """How many sockets are open."""
        return len(self._connections)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        try:
            listener = _listener(self.settings.host, self.settings.port)
            server = await self._loop.create_server(
                lambda: Connection(self), sock=listener, ssl=self._tls, backlog=BACKLOG
            )
        except OSError as error:
            self._problem = error
            self._started.set()
            return
        self.port = listener.getsockname()[1]
        LOG.info("GB/T 32960 terminals are served at %s:%d", self.settings.host, self.port)
        self._started.set()
        sweeper = asyncio.ensure_future(self._sweep())
        await self._stopping.wait()
        sweeper.cancel()
        server.close()
        for connection in list(self._connections):
            connection.close("the edge stops")
        await asyncio.sleep(0)
        await asyncio.gather(sweeper, return_exceptions=True)

    async def _sweep(self) -> None:
        status_due_s, told = time.monotonic() + STATUS_EVERY_S, Counter[str]()
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            now_s = time.monotonic()
            for connection in list(self._connections):
                connection.hand_on_parts(now_s)
                # While nobody is read from, silence is ours.
                if not self._is_paused and (why := connection.overdue(now_s)):
                    connection.close(why)
            if now_s >= status_due_s:
                status_due_s = now_s + STATUS_EVERY_S
                if self.counts != told:
                    told = self.counts.copy()
                    LOG.info("gbt32960 %s", {"connections": self.n_connections, **told})

    def opened(self, connection: Connection) -> None:
        """A socket was accepted."""
        self._connections.add(connection)
        self.counts["connections"] += 1
        if len(self._connections) > self.settings.max_connections:
            connection.close("too many connections")
        elif self._is_paused and connection.transport is not None:
            connection.transport.pause_reading()

    def lost(self, connection: Connection) -> None:
        """A socket is gone."""
        self._connections.discard(connection)
        for vin in connection.session.vehicles:
            if self._owner_of.get(vin) is connection:
                del self._owner_of[vin]

    def logged_in(self, vin: str, connection: Connection) -> None:
        """A newer connection of a vehicle ends its older one (annex B)."""
        before = self._owner_of.get(vin)
        self._owner_of[vin] = connection
        if before is None or before is connection:
            return
        if before.session.platform:
            before.session.forget(vin)
        else:
            before.close("the vehicle logged in again elsewhere")

    def logged_out(self, vin: str, connection: Connection) -> None:
        """A vehicle said goodbye."""
        if self._owner_of.get(vin) is connection:
            del self._owner_of[vin]

    def deliver(self, source_id: str, codec: str, payload: bytes) -> None:
        """Hand one payload to the edge's main loop."""
        topic = f"{self._topic}/{source_id}/battery_state/{codec}"
        has_room = self.inbox.put(Delivery(topic, payload, time.time_ns(), None, None))
        if not has_room and not self._is_paused:
            self._pause()

    def _pause(self) -> None:
        self._is_paused = True
        for connection in self._connections:
            if connection.transport is not None and not connection.transport.is_closing():
                connection.transport.pause_reading()

    def _on_room(self) -> None:
        """Called by the main loop's thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._resume)

    def _resume(self) -> None:
        if self._stopping is not None and self._stopping.is_set():
            return
        self._is_paused = False
        now_s = time.monotonic()
        for connection in self._connections:
            connection.heard_s = max(connection.heard_s, now_s - SWEEP_EVERY_S)
            if connection.transport is not None and not connection.transport.is_closing():
                connection.transport.resume_reading()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"gbt32960.tls_certificate {certificate}: {error}") from error
    return context
