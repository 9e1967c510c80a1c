"""What is to be said to senders: kept until an edge comes for it with its next report.

In memory only, bounded, and soon too old: a command that came late would surprise more than none.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from openvrc.contracts.units import NS_PER_S

KEPT_NS = 10 * NS_PER_S
MAX_WAITING = 100
"""For one edge; it comes each second."""


@dataclass(frozen=True)
class Down:
    """One message to a sender."""

    topic: str
    payload: dict[str, Any]
    put_at_ns: int


class Mailbox:
    """By edge; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Down]] = {}

    def put(self, edge_id: str, down: Down) -> bool:
        """Leave one for an edge; False while it has not come for `MAX_WAITING` others."""
        with self._lock:
            waiting = self._waiting.setdefault(edge_id, deque())
            while waiting and down.put_at_ns - waiting[0].put_at_ns > KEPT_NS:
                waiting.popleft()
            if len(waiting) >= MAX_WAITING:
                return False
            waiting.append(down)
            return True

    def take(self, edge_id: str, now_ns: int) -> list[Down]:
        """What waits for an edge and is not too old, in order."""
        with self._lock:
            waiting = self._waiting.pop(edge_id, deque())
        return [down for down in waiting if now_ns - down.put_at_ns <= KEPT_NS]
