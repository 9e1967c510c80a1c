"""What the edges last said of themselves: in memory only, each says it again within a second.

Written and read by requests, never by the pipeline, so that it is known while the database is slow
or away.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from openvrc.contracts.edge_status import EdgeStatus
from openvrc.contracts.units import NS_PER_S

KEPT_NS = 24 * 3600 * NS_PER_S
"""A day: an edge that is silent shows as such until somebody has noticed."""
SILENT_AFTER_S = 10.0
MAX_EDGES = 10_000


@dataclass(frozen=True)
class HeardEdge:
    """An edge's newest report."""

    edge_id: str
    heard_at_ns: int
    status: EdgeStatus

    def is_silent(self, now_ns: int) -> bool:
        """Whether its reports have stopped."""
        return now_ns - self.heard_at_ns > SILENT_AFTER_S * NS_PER_S


class Edges:
    """All edges heard within a day."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: dict[str, HeardEdge] = {}

    def hear(self, edge_id: str, status: EdgeStatus, now_ns: int) -> None:
        """A report came; those of the last day are kept, at most `MAX_EDGES`."""
        with self._lock:
            self._heard.pop(edge_id, None)
            self._heard[edge_id] = HeardEdge(edge_id, now_ns, status)
            while self._oldest_is_over(now_ns):
                del self._heard[next(iter(self._heard))]

    def _oldest_is_over(self, now_ns: int) -> bool:
        oldest = next(iter(self._heard.values()))
        return len(self._heard) > MAX_EDGES or now_ns - oldest.heard_at_ns > KEPT_NS

    def all(self) -> list[HeardEdge]:
        """By name."""
        with self._lock:
            return sorted(self._heard.values(), key=lambda edge: edge.edge_id)
