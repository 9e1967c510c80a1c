"""Fastest way over a road map when each segment takes its own time now.

A way is a chain of segments, those inside junctions included. Dijkstra (1959) over segments as
nodes, begun at each place where the way may start and ended at the first goal that is reached.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from openvrc.contracts.maps import RoadMap

Floats = npt.NDArray[np.float64]

MAX_PLACE_DISTANCE_M = 50.0
"""A point further from every road is off the map: half a block."""
BESIDE_M = 12.0
"""Roads this much further away than the nearest may be meant as well: the other direction."""


class Place(NamedTuple):
    """A point on a segment."""

    segment: int
    offset_m: float


class Way(NamedTuple):
    """Segments in order, and the metres driven on each."""

    segments: tuple[int, ...]
    driven_m: tuple[float, ...]
    time_s: float


class RoadGraph:
    """The segments motor vehicles can use, and what follows each directly."""

    def __init__(self, road_map: RoadMap) -> None:
        """Junctions are driven through where the map knows their inside."""
        self.road_map = road_map
        drivable = np.zeros(road_map.n_segments, np.bool_)
        allowed = [bool({"motor", "bus"} & set(classes)) for classes in road_map.lane_allows]
        np.logical_or.at(drivable, road_map.lane_segment, np.array(allowed))
        self.drivable = drivable
        self.following = [self._direct(segment) for segment in range(road_map.n_segments)]

    def _direct(self, segment: int) -> list[int]:
        """Successors without those that are reached through another, internal, one."""
        found = [s for s in self.road_map.successors_of(segment).tolist() if self.drivable[s]]
        is_internal = self.road_map.segment_is_internal
        behind: set[int] = set()
        for inner in found:
            if is_internal[inner]:
                behind.update(self.road_map.successors_of(inner).tolist())
        return [s for s in found if s not in behind]

    def places(self, lat_deg: float, lon_deg: float) -> list[Place]:
        """Where on the map a point may be: on the nearest road, and on those beside it."""
        road_map = self.road_map
        x_m, y_m = (float(v) for v in road_map.frame.to_xy_m(lat_deg, lon_deg))
        first = np.arange(len(road_map.segment_points_xy_m) - 1)
        first = np.delete(first, road_map.segment_point_offsets[1:-1] - 1)
        of = np.searchsorted(road_map.segment_point_offsets, first, side="right") - 1
        usable = (self.drivable & ~road_map.segment_is_internal)[of]
        first, of = first[usable], of[usable]
        begin = road_map.segment_points_xy_m[first]
        step = road_map.segment_points_xy_m[first + 1] - begin
        squared = np.maximum((step**2).sum(axis=1), 1e-9)
        part = np.clip(((np.array([x_m, y_m]) - begin) * step).sum(axis=1) / squared, 0.0, 1.0)
        away_m = np.hypot(*(begin + part[:, None] * step - [x_m, y_m]).T)
        if not away_m.size or away_m.min() > MAX_PLACE_DISTANCE_M:
            return []
        near = np.flatnonzero(away_m <= away_m.min() + BESIDE_M)
        best: dict[int, int] = {}
        for row in near[np.argsort(away_m[near], kind="stable")].tolist():
            best.setdefault(int(of[row]), row)
        return [
            Place(segment, self._offset_m(segment, int(first[row]), float(part[row])))
            for segment, row in best.items()
        ]

    def _offset_m(self, segment: int, point: int, part: float) -> float:
        points = self.road_map.segment_points(segment)
        steps_m = np.hypot(*np.diff(points, axis=0).T)
        place = point - int(self.road_map.segment_point_offsets[segment])
        drawn_m = float(steps_m[:place].sum() + part * steps_m[place])
        length_m = float(self.road_map.segment_length_m[segment])
        return drawn_m / float(steps_m.sum()) * length_m

    def fastest(
        self, time_s: Floats, starts: Sequence[Place], goals: Sequence[Place]
    ) -> Way | None:
        """The fastest way; `time_s` (n_segments,) is a whole pass's. None if there is none."""
        best = self._on_one_segment(time_s, starts, goals)
        limit_s = best.time_s if best else np.inf
        length_m = self.road_map.segment_length_m
        wanted = {goal.segment: goal for goal in goals}
        heap = [
            (_part_s(time_s, length_m, start.segment, float(length_m[start.segment])
                     - start.offset_m), follower, -1 - number)
            for number, start in enumerate(starts)
            for follower in self.following[start.segment]
        ]  # fmt: skip
        heapq.heapify(heap)
        before: dict[int, int] = {}
        while heap and heap[0][0] < limit_s:
            reached_s, segment, came_from = heapq.heappop(heap)
            if segment in before:
                continue
            before[segment] = came_from
            if segment in wanted:
                goal = wanted[segment]
                total_s = reached_s + _part_s(time_s, length_m, segment, goal.offset_m)
                if total_s < limit_s:
                    limit_s = total_s
                    best = self._way(before, starts, goal, total_s)
            leaves_s = reached_s + float(time_s[segment])
            for follower in self.following[segment]:
                if follower not in before:
                    heapq.heappush(heap, (leaves_s, follower, segment))
        return best

    def _on_one_segment(
        self, time_s: Floats, starts: Sequence[Place], goals: Sequence[Place]
    ) -> Way | None:
        ways = []
        for start in starts:
            for goal in goals:
                driven_m = goal.offset_m - start.offset_m
                if start.segment == goal.segment and driven_m >= 0.0:
                    length_m = self.road_map.segment_length_m
                    takes_s = _part_s(time_s, length_m, goal.segment, driven_m)
                    ways.append(Way((goal.segment,), (driven_m,), takes_s))
        return min(ways, key=lambda way: way.time_s, default=None)

    def _way(
        self, before: dict[int, int], starts: Sequence[Place], goal: Place, time_s: float
    ) -> Way:
        """The chain that led to a goal; a number below 0 stands for a start."""
        chain = [goal.segment]
        while (came_from := before[chain[-1]]) >= 0:
            chain.append(came_from)
        start = starts[-1 - came_from]
        chain.append(start.segment)
        chain.reverse()
        driven_m = [float(self.road_map.segment_length_m[segment]) for segment in chain]
        driven_m[0] -= start.offset_m
        driven_m[-1] = goal.offset_m
        return Way(tuple(chain), tuple(driven_m), time_s)


def _part_s(time_s: Floats, length_m: Floats, segment: int, driven_m: float) -> float:
    """Time of a part of a segment, at its mean pace."""
    return float(time_s[segment]) * driven_m / float(length_m[segment])
