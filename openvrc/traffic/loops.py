"""Counts of induction loops, held until the windows they are compared with are closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from openvrc.contracts.batch import Batch
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S

MAX_PERIOD_S = 600.0
"""Windows are not kept longer."""
MAX_HELD = 20_000
"""Counts of the future wait for their windows; a clock far ahead must not fill the memory."""


class Counted(NamedTuple):
    """All vehicles that crossed a segment, over all of its lanes, in a time."""

    segment: int
    first_ns: int
    end_ns: int
    vehicles: float


_Key = tuple[int, int, int]
"""(end_ns, first_ns, segment)"""


class LoopBook:
    """The counts that are not due yet, by period and segment."""

    def __init__(self) -> None:
        self._held: dict[_Key, dict[int, tuple[float, int]]] = {}
        self._lanes: dict[int, int] = {}

    def take(self, batch: Batch, road_map: RoadMap) -> None:
        """Note each count; loops that name no segment of the map are left out."""
        ends_ns = batch.column("sampled_at_ns").tolist()
        periods_s = batch.column("period_s").tolist()
        lanes, counts = (batch.column(name).tolist() for name in ("lane_index", "count"))
        for row, segment_id in enumerate(batch.texts("segment_id")):
            if segment_id not in road_map or periods_s[row] > MAX_PERIOD_S:
                continue
            segment = road_map.index_of(segment_id)
            self._lanes[segment] = int(road_map.segment_lane_count[segment])
            first_ns = ends_ns[row] - round(periods_s[row] * NS_PER_S)
            if len(self._held) < MAX_HELD:
                held = self._held.setdefault((ends_ns[row], first_ns, segment), {})
                count, n_loops = held.get(lanes[row], (0.0, 0))
                held[lanes[row]] = (count + counts[row], n_loops + 1)

    def due(self, closed_ns: int) -> Sequence[Counted]:
        """Counts whose period lies in closed windows, of segments with every lane counted.

        Several loops on one lane count the same vehicles: their mean stands for the lane.
        """
        if not self._held:
            return ()
        ready = sorted(key for key in self._held if key[0] <= closed_ns)
        found = []
        for end_ns, first_ns, segment in ready:
            lanes = self._held.pop((end_ns, first_ns, segment))
            if len(lanes) >= self._lanes[segment]:
                count = sum(total / n_loops for total, n_loops in lanes.values())
                found.append(Counted(segment, first_ns, end_ns, count))
        return found

    def snapshot(self) -> dict[str, Any]:
        """Plain facts for a checkpoint."""
        held = [
            [*key, [[lane, *counts] for lane, counts in lanes.items()]]
            for key, lanes in self._held.items()
        ]
        return {"held": held, "lanes": [list(pair) for pair in self._lanes.items()]}

    @classmethod
    def restore(cls, facts: Mapping[str, Any]) -> LoopBook:
        """What `snapshot` wrote."""
        book = cls()
        book._lanes = dict(facts["lanes"])
        for end_ns, first_ns, segment, lanes in facts["held"]:
            book._held[(end_ns, first_ns, segment)] = {
                lane: (count, n_loops) for lane, count, n_loops in lanes
            }
        return book
