"""What rules ask of a map again and again, made once for all of them."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap
from openvrc.detectors.roll import Roll
from openvrc.detectors.traffic._lane_links import LaneLinks
from openvrc.detectors.traffic._lane_points import LanePoints

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MAPS_KEPT = 8
"""A cloud serves few zones at a time; a map comes again with every new run of its zone."""


class Roads:
    """One map's segments as arrays (n_segments + 1,), so that -1 (off the map) has a value too."""

    def __init__(self, road_map: RoadMap) -> None:
        self.road_map = road_map
        # A batch names hundreds of segments, not thousands: a dict is quicker than a WordTable.
        self._number = {name: number for number, name in enumerate(road_map.segment_ids)}
        self.length_m = np.append(road_map.segment_length_m, 0.0)
        self.limit_mps = np.append(road_map.segment_speed_limit_mps, 0.0)
        self.is_internal = np.append(road_map.segment_is_internal, True)
        self.ends_at_signal = np.append(road_map.segment_ends_at_signal, False)
        self.roll = Roll()
        """Of the vehicles that all rules of a zone look up."""
        self.lane_count = np.append(road_map.segment_lane_count.astype(np.int64), 1)

    def numbers(self, segment_ids: list[str]) -> IndexArray:
        """The map's number of each id, -1 for "" and for what it does not have."""
        number = self._number.get
        return np.array([number(name, -1) for name in segment_ids], np.int64)

    @functools.cached_property
    def _successions(self) -> IndexArray:
        """Sorted numbers of all (segment, segment reachable next), as `leads_to` asks for them."""
        road_map, n = self.road_map, self.road_map.n_segments
        owner = np.repeat(np.arange(n), np.diff(road_map.successor_offsets))
        return np.unique(owner * n + road_map.successor_segments)

    def leads_to(self, segment: IndexArray, other: IndexArray) -> BoolArray:
        """Whether each segment leads to the other, through one junction at most; off the map no."""
        asked = segment * self.road_map.n_segments + other
        known = self._successions
        place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        leads: BoolArray = (segment >= 0) & (other >= 0)
        return leads & (known[place] == asked) if len(known) else leads & False

    @functools.cached_property
    def ends_in_conflict(self) -> BoolArray:
        """Whether others lead where each segment leads, so that somebody has to wait there.

        A road that only goes on does not, nor does turning back count. (n_segments + 1,)
        """
        road_map, n = self.road_map, self.road_map.n_segments
        owner = np.repeat(np.arange(n), np.diff(road_map.successor_offsets))
        behind = road_map.successor_segments.astype(np.int64)
        nodes = {name: number for number, name in enumerate(set(road_map.segment_from))}
        starts = np.array([nodes[name] for name in road_map.segment_from], np.int64)
        ends = np.array([nodes.get(name, -1) for name in road_map.segment_to], np.int64)
        kept = ~self.is_internal[owner] & ~self.is_internal[behind]
        kept &= starts[owner] != ends[behind]
        pairs = np.unique(owner[kept] * n + behind[kept])
        shared = np.bincount(pairs % n, minlength=n) >= 2 if len(pairs) else np.zeros(n, np.bool_)
        found = np.zeros(n + 1, np.bool_)
        found[pairs[shared[pairs % n]] // n] = True
        return found

    @functools.cached_property
    def junction(self) -> IndexArray:
        """The junction each segment leads into or lies in, -1 unknown, (n_segments + 1,)."""
        numbers = {name: number for number, name in enumerate(set(self.road_map.segment_to))}
        numbers[""] = -1
        return np.array([*(numbers[name] for name in self.road_map.segment_to), -1], np.int64)

    @functools.cached_property
    def crossed_m(self) -> FloatArray:
        """How far before its end each segment may be crossed by others of its junction.

        0 where the map has the junction's insides, for there roads end before it. Others run to the
        node, over the lanes that cross them: as far back as a lane of the junction ends, by the
        box around all these ends. (n_segments + 1,)
        """
        road_map, lanes = self.road_map, self.lanes
        of_lane = road_map.lane_segment.astype(np.int64)
        junction = self.junction[of_lane]
        is_open = (junction >= 0) & ~np.isin(junction, junction[self.is_internal[of_lane]])
        end, of_lane, junction = lanes.first[1:][is_open] - 1, of_lane[is_open], junction[is_open]
        back_m, n_junctions = np.zeros(len(end)), int(junction.max(initial=0)) + 1
        for at_m, part in ((lanes.x_m[end], lanes.east[end]), (lanes.y_m[end], lanes.north[end])):
            least_m = np.full(n_junctions, np.inf)
            most_m = np.full(n_junctions, -np.inf)
            np.minimum.at(least_m, junction, at_m)
            np.maximum.at(most_m, junction, at_m)
            furthest_m = np.where(part > 0.0, least_m[junction], most_m[junction])
            back_m += part * (at_m - furthest_m)
        crossed_m = np.zeros(road_map.n_segments + 1)
        np.maximum.at(crossed_m, of_lane, back_m)
        return crossed_m

    @functools.cached_property
    def lane_links(self) -> LaneLinks:
        """Which lane leads onto which."""
        return LaneLinks(self.road_map)

    @functools.cached_property
    def lanes(self) -> LanePoints:
        """Its lanes as points."""
        return LanePoints(self.road_map)


@functools.lru_cache(maxsize=MAPS_KEPT)
def roads_of(road_map: RoadMap) -> Roads:
    """The tables of a map, made at the first call."""
    return Roads(road_map)
