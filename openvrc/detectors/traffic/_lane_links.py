"""Which lane leads onto which lane of a segment that follows, and how far it is in between.

Maps say which segments follow one another; which lane becomes which shows in their lines: a lane
goes on where another begins, also through the lanes inside a junction. Of two segments between
which no line goes on (a map without the insides of its junctions) nothing is known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

JOINED_M = 1.0
"""SUMO's lines meet to 0.05 m, and the next lane is over 2 m away."""
STEPS = 3
"""Lanes in a row up to the one asked for: a turn may wait half way through a junction."""


class LaneLinks:
    """Pairs of lanes that follow one another; made once per map."""

    def __init__(self, road_map: RoadMap) -> None:
        self._n_lanes, self._n_segments = road_map.n_lanes, road_map.n_segments
        direct = _direct(road_map)
        is_internal = road_map.segment_is_internal[road_map.lane_segment].tolist()
        length_m = road_map.segment_length_m[road_map.lane_segment].tolist()
        between_m: dict[tuple[int, int], float] = {}
        for lane, following in direct.items():
            ahead = [(other, 0.0) for other in following]
            for _ in range(STEPS):
                further = []
                for other, away_m in ahead:
                    pair = lane, other
                    between_m[pair] = min(away_m, between_m.get(pair, np.inf))
                    if is_internal[other]:
                        reach_m = away_m + length_m[other]
                        further += [(behind, reach_m) for behind in direct.get(other, ())]
                ahead = further
        pairs = np.array(sorted(between_m), np.int64).reshape(-1, 2)
        self._keys = pairs[:, 0] * self._n_lanes + pairs[:, 1]
        self._between_m = np.array([between_m[one, two] for one, two in pairs.tolist()])
        segments = road_map.lane_segment.astype(np.int64)[pairs]
        self._known = np.unique(segments[:, 0] * self._n_segments + segments[:, 1])
        self._first = np.searchsorted(road_map.lane_segment, np.arange(self._n_segments))
        self._count = road_map.segment_lane_count.astype(np.int64)

    def between(
        self, segment: IndexArray, lane: IndexArray, other: IndexArray, other_lane: IndexArray
    ) -> tuple[FloatArray, BoolArray]:
        """From the end of each lane to the begin of the other in m, NaN if it does not lead there.

        All (n,), on the map; the second is whether anything is known of the two segments.
        """
        one, two = self._lane(segment, lane), self._lane(other, other_lane)
        at, is_link = _found(self._keys, one * self._n_lanes + two)
        between_m = np.full(len(one), np.nan)
        between_m[is_link] = self._between_m[at[is_link]]
        return between_m, _found(self._known, segment * self._n_segments + other)[1]

    def _lane(self, segment: IndexArray, lane: IndexArray) -> IndexArray:
        number: IndexArray = self._first[segment] + np.clip(lane, 0, self._count[segment] - 1)
        return number


def _found(keys: IndexArray, asked: IndexArray) -> tuple[IndexArray, BoolArray]:
    if not len(keys):
        return np.zeros(len(asked), np.int64), np.zeros(len(asked), np.bool_)
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return at, keys[at] == asked


def _direct(road_map: RoadMap) -> dict[int, list[int]]:
    """Lanes that begin where a lane of a segment before them ends."""
    offsets = road_map.lane_point_offsets
    begins_m = road_map.lane_points_xy_m[offsets[:-1]]
    ends_m = road_map.lane_points_xy_m[offsets[1:] - 1]
    first = np.searchsorted(road_map.lane_segment, np.arange(road_map.n_segments + 1)).tolist()
    found: dict[int, list[int]] = {}
    for segment in range(road_map.n_segments):
        lanes = np.arange(first[segment], first[segment + 1])
        for other in road_map.successors_of(segment).tolist():
            others = np.arange(first[other], first[other + 1])
            gap_m = np.hypot(*(ends_m[lanes][:, None] - begins_m[others][None]).transpose(2, 0, 1))
            for one, two in np.argwhere(gap_m < JOINED_M).tolist():
                found.setdefault(int(lanes[one]), []).append(int(others[two]))
    return found
