"""Deliveries between the network's thread and the main loop: bounded in messages and in bytes.

One thread puts, one takes. A queue.Queue takes two locks and often a switch of threads for each
message; here the taker sleeps until there is enough, and takes it all at once.

A group costs several milliseconds whatever it holds, and a driver's tick within it cuts it in two.
So gathering ends at a tick where that makes no group much shorter, and is stretched a little where
one is due: an edge fed by a driver has a third fewer groups to process.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_QUEUED_BYTES = 16_000_000
"""The bound in memory: four of the largest groups, or one map announcement."""
_TICK, _DRIVER = "/tick", "zone"
_LEAST_SHARE, _STRETCHED_SHARE = 0.25, 1.5
"""Of the time to gather: before the first a tick ends nothing; up to the second one is awaited."""
_TICKS_TO_EXPECT = 2.0
"""Times to gather after a tick in which the next one is due, or the zone's driver is a slow one."""


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

    @property
    def is_tick(self) -> bool:
        """Whether this is a driver's tick: what came before it is processed at it."""
        topic = self.topic
        return topic.endswith(_TICK) and topic.split("/")[3:4] == [_DRIVER]


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
        self._put_ticks = self._taken_ticks = 0
        self._last_tick_s = -math.inf
        self._known_ticks = math.inf
        self._ends_at_tick = False
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
        if delivery.is_tick:  # counted after it is in: a taker that sees the count finds it
            self._last_tick_s = time.monotonic()
            self._put_ticks += 1
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
        self._gather(gather_s, min(most, self._most_messages), min(most_bytes, self._most_bytes))
        found: list[Delivery] = []
        n_bytes = n_ticks = 0
        ends_at = self._put_ticks - self._taken_ticks if self._ends_at_tick else 0
        self._ends_at_tick = False
        while self._deliveries and len(found) < most and n_bytes < most_bytes:
            found.append(self._deliveries.popleft())
            n_bytes += len(found[-1].payload)
            n_ticks += found[-1].is_tick
            if n_ticks == ends_at > 0:
                break
        self._taken_ticks += n_ticks
        self._taken_bytes += n_bytes
        if self._is_waited_for and not self.is_full:
            self._is_waited_for = False
            self._on_room()
        return found

    def clear(self) -> None:
        """Forget what is in it. For the taker."""
        while self._deliveries:
            self.take(0.0, 0.0, len(self._deliveries), self._most_bytes)

    def _gather(self, gather_s: float, messages: int, n_bytes: int) -> None:
        """Wait until there is a group: after `gather_s`, at a tick, or when so much has come."""
        since_tick_s = time.monotonic() - self._last_tick_s
        is_due = gather_s / 2 <= since_tick_s < _TICKS_TO_EXPECT * gather_s
        least_s = _LEAST_SHARE * gather_s
        self._wait(messages, n_bytes, least_s)
        if self._is_enough():
            return
        known = self._put_ticks
        self._wait(
            messages, n_bytes, (_STRETCHED_SHARE if is_due else 1.0) * gather_s - least_s, known
        )
        self._ends_at_tick = self._put_ticks > known

    def _is_enough(self) -> bool:
        return (
            len(self._deliveries) >= self._enough_messages
            or self.n_bytes >= self._enough_bytes
            or self._put_ticks > self._known_ticks
        )

    def _wait(
        self, messages: int, n_bytes: int, timeout_s: float, known_ticks: float = math.inf
    ) -> None:
        """Until so much has come, or one tick more than `known_ticks`."""
        deadline_s = time.monotonic() + timeout_s
        self._enough_messages, self._enough_bytes = messages, n_bytes
        self._known_ticks = known_ticks
        while not self._is_enough():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            self._has_enough.clear()
            if not self._is_enough():
                self._has_enough.wait(left_s)
