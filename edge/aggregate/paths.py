"""Which short segments lie between two positions of a vehicle: the shortest way by road."""

from __future__ import annotations

from heapq import heappop, heappush

from openvrc.contracts.maps import RoadMap

MAX_BETWEEN_M = 400.0
"""Five seconds (the longest step that is interpolated) at 288 km/h; longer ways are no way."""
MAX_SEARCHED = 200
"""Segments looked at before a pair counts as unconnected: bounds the cost of a bad match."""


class Paths:
    """Shortest ways between pairs of segments of one map, each searched once."""

    def __init__(self, road_map: RoadMap) -> None:
        self._length_m = road_map.segment_length_m.tolist()
        self._next = _direct_successors(road_map)
        self._known: dict[tuple[int, int], tuple[int, ...] | None] = {}

    def between(self, start: int, goal: int) -> tuple[int, ...] | None:
        """Segments strictly between `start` and `goal`, in order; None if there is no short way.

        `start` and `goal` differ.
        """
        pair = (start, goal)
        if pair not in self._known:
            self._known[pair] = self._search(start, goal)
        return self._known[pair]

    def _search(self, start: int, goal: int) -> tuple[int, ...] | None:
        ahead: list[tuple[float, tuple[int, ...]]] = [(0.0, (start,))]
        done: set[int] = set()
        while ahead and len(done) < MAX_SEARCHED:
            length_m, way = heappop(ahead)
            if way[-1] == goal:
                return way[1:-1]
            if way[-1] in done:
                continue
            done.add(way[-1])
            for following in self._next[way[-1]]:
                inside_m = 0.0 if following == goal else self._length_m[following]
                if length_m + inside_m <= MAX_BETWEEN_M and following not in done:
                    heappush(ahead, (length_m + inside_m, (*way, following)))
        return None


def _direct_successors(road_map: RoadMap) -> list[list[int]]:
    """Successors that touch each segment.

    The map lists those behind a junction as well: such a one follows an internal successor too.
    """
    reach = [set(road_map.successors_of(index).tolist()) for index in range(road_map.n_segments)]
    internal = road_map.segment_is_internal.tolist()
    direct = []
    for found in reach:
        inside = [index for index in found if internal[index]]
        behind = {far for near in inside for far in reach[near] if far != near}
        direct.append(sorted(found - behind))
    return direct
