"""Fan-out of events to pages (SSE): one bounded queue per client, a fresh snapshot when it broke.

A slow client never blocks the pipeline and never grows memory: when its queue is full, everything
in it is dropped and the next thing it gets is a whole snapshot. That is also what a client gets
that comes (back) with any `Last-Event-ID`: a snapshot heals whatever was missed, so no history of
events is kept. Runs in the event loop; `publish` is called there.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

QUEUE_EVENTS = 256
"""Some ten seconds of a busy zone (about 20 events a second); more is cheaper as a snapshot."""
HEARTBEAT_S = 10.0
"""Proxies close silent connections after 30 to 60 s; a page declares the link dead after 25 s."""
MAX_CLIENTS = 200
"""Each client costs a task and a socket; beyond this a reverse proxy should fan out."""
RETRY_MS = 2000

Accepts = Callable[["Event"], bool]


class StreamFullError(Exception):
    """MAX_CLIENTS are connected already."""


@dataclass(frozen=True)
class Event:
    """One thing that happened in a zone and run ("" concerns everybody)."""

    name: str
    data: Any
    zone: str = ""
    run_id: str = ""


@dataclass(eq=False)
class StreamClient:
    """One connected page: its filter and what it has not been sent yet."""

    accepts: Accepts
    queue: deque[Event] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    needs_snapshot: bool = True
    dropped: int = 0

    def offer(self, event: Event) -> None:
        """Queue an event; a full queue is given up for a snapshot."""
        if self.needs_snapshot or not self.accepts(event):
            return  # the snapshot it is about to get is newer than this event
        if len(self.queue) >= QUEUE_EVENTS:
            self.dropped += len(self.queue) + 1
            self.queue.clear()
            self.needs_snapshot = True
        else:
            self.queue.append(event)
        self.wake.set()


class StreamHub:
    """All connected clients."""

    def __init__(self, *, epoch: str) -> None:
        self.clients: set[StreamClient] = set()
        self.is_closed = False
        self.dropped = 0
        self._epoch = epoch
        self._number = 0

    def publish(self, event: Event) -> None:
        """Offer an event to everybody."""
        self._number += 1
        for client in self.clients:
            client.offer(event)

    def is_followed(self, event: Event) -> bool:
        """Whether anybody would be told of such an event."""
        return any(client.accepts(event) for client in self.clients)

    def refresh(self) -> None:
        """Make every client start from a new snapshot (a run appeared or ended)."""
        for client in self.clients:
            client.queue.clear()
            client.needs_snapshot = True
            client.wake.set()

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        self.is_closed = True
        for client in self.clients:
            client.wake.set()

    async def follow(
        self, accepts: Accepts, snapshot: Callable[[], Any], *, heartbeat_s: float = HEARTBEAT_S
    ) -> AsyncIterator[bytes]:
        """Server-sent events for one client, until it leaves or the hub closes.

        `snapshot` may be a coroutine function; it gives the data of the `snapshot` event.
        """
        client = StreamClient(accepts)
        self.clients.add(client)
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            while not self.is_closed:
                async for chunk in self._drain(client, snapshot):
                    yield chunk
                try:
                    await asyncio.wait_for(client.wake.wait(), heartbeat_s)
                except TimeoutError:
                    yield b": heartbeat\n\n"
        finally:
            self.clients.discard(client)
            self.dropped += client.dropped

    def check_room(self) -> None:
        """Raise StreamFullError when no further client may come."""
        if len(self.clients) >= MAX_CLIENTS:
            raise StreamFullError(f"{MAX_CLIENTS} clients are connected, expected fewer")

    async def _drain(
        self, client: StreamClient, snapshot: Callable[[], Any]
    ) -> AsyncIterator[bytes]:
        client.wake.clear()
        if client.needs_snapshot:
            # From here on events queue up again: one that comes while the snapshot is made is
            # sent behind it, and applying it twice changes nothing.
            client.needs_snapshot = False
            data = snapshot()
            if asyncio.iscoroutine(data):
                data = await data
            yield self.encode(Event("snapshot", data))
        while client.queue:
            yield self.encode(client.queue.popleft())

    def encode(self, event: Event) -> bytes:
        """One event as SSE text. JSON has no line breaks, so no id can break out of its line."""
        data = json.dumps(event.data, separators=(",", ":"))
        return f"id: {self._epoch}-{self._number}\nevent: {event.name}\ndata: {data}\n\n".encode()
