"""Deliveries between the network's thread and the main loop: bounded in messages and in bytes.

One thread puts, one takes. A queue.Queue takes two locks and often a switch of threads for each
message; here the taker sleeps until there is enough, and takes it all at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_QUEUED_BYTES = 16_000_000
"""The bound in memory: four of the largest groups, or one map announcement."""


class Delivery(NamedTuple):
    """One message as it came; hand it back to `ack` when it is durable.

    `ticket` is what the client needs to acknowledge it (None: nothing to acknowledge), and
    `connection` the connection it came by: no ticket is good for another one.
    """

    topic: str
    payload: bytes
    received_at_ns: int
    ticket: Any
    connection: Any
    is_retained: bool = False
    kind: int = 0
    """What the payload is, as `edge.journal` names it: 0 a message as it came."""
    n_messages: int = 1


class Inbox:
    """The queue."""

    def __init__(
        self,
        most_messages: int,
        most_bytes: int = MAX_QUEUED_BYTES,
        *,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_room` is called by the taker when there is room again after `put` said no."""
        self._most_messages, self._most_bytes = most_messages, most_bytes
        self._on_room = on_room
        self._deliveries: deque[Delivery] = deque()
        # Each count is written by one thread only, so no lock is needed.
        self._put_bytes = self._taken_bytes = 0
        self._is_waited_for = False
        self._enough_messages, self._enough_bytes = 1, 1
        self._has_enough = threading.Event()

    @property
    def n_bytes(self) -> int:
        """Payload bytes in the queue."""
        return self._put_bytes - self._taken_bytes

    @property
    def n_messages(self) -> int:
        """Messages in the queue."""
        return len(self._deliveries)

    @property
    def is_full(self) -> bool:
        """Whether a bound is reached."""
        return len(self._deliveries) >= self._most_messages or self.n_bytes >= self._most_bytes

    def put(self, delivery: Delivery) -> bool:
        """Add one; False says that it is full now: put no more before `on_room`."""
        self._put_bytes += len(delivery.payload)
        self._deliveries.append(delivery)
        if not self._has_enough.is_set() and self._is_enough():
            self._has_enough.set()
        return not self._must_wait()

    def _must_wait(self) -> bool:
        """Whether it is full, with the taker knowing that somebody waits."""
        if not self.is_full:
            return False
        self._is_waited_for = True
        # Looked at again: it may have been emptied before the taker could know.
        return self.is_full

    def take(self, wait_s: float, gather_s: float, most: int, most_bytes: int) -> list[Delivery]:
        """Deliveries of up to `gather_s` after the first, for which `wait_s` is waited."""
        self._wait(1, 1, wait_s)
        if not self._deliveries:
            return []
        self._wait(min(most, self._most_messages), min(most_bytes, self._most_bytes), gather_s)
        found: list[Delivery] = []
        n_bytes = 0
        while self._deliveries and len(found) < most and n_bytes < most_bytes:
            found.append(self._deliveries.popleft())
            n_bytes += len(found[-1].payload)
        self._taken_bytes += n_bytes
        if self._is_waited_for and not self.is_full:
            self._is_waited_for = False
            self._on_room()
        return found

    def clear(self) -> None:
        """Forget what is in it. For the taker."""
        while self._deliveries:
            self.take(0.0, 0.0, len(self._deliveries), self._most_bytes)

    def _is_enough(self) -> bool:
        return len(self._deliveries) >= self._enough_messages or self.n_bytes >= self._enough_bytes

    def _wait(self, messages: int, n_bytes: int, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        self._enough_messages, self._enough_bytes = messages, n_bytes
        while not self._is_enough():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            self._has_enough.clear()
            if not self._is_enough():
                self._has_enough.wait(left_s)
