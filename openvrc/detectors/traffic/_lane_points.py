"""The lanes of a map as points every 5 m with their direction: which lanes run by a place?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

STEP_M = 5.0
GRID_M = 20.0
ROW_CELLS = 1 << 20  # cells a grid row is numbered with
NEAR_M = 15.0  # as far as the matcher looks
ALONG_COS, AGAINST_COS = 0.5, -0.5  # within 60 deg of the lane's direction, or of its opposite


class LanePoints:
    """Points of all lanes; arrays are (n_points,)."""

    def __init__(self, road_map: RoadMap) -> None:
        parts, firsts, total = [], [], 0
        for lane in range(road_map.n_lanes):
            part = _along(road_map.lane_points(lane))
            firsts.append(total)
            total += len(part)
            parts.append(part)
        points = np.concatenate(parts)
        self.x_m, self.y_m, self.east, self.north = points.T
        self.first = np.array([*firsts, total], np.int64)
        lane_of = np.repeat(np.arange(road_map.n_lanes), np.diff(self.first))
        self.segment = road_map.lane_segment[lane_of].astype(np.int64)
        self.is_internal = road_map.segment_is_internal[self.segment]
        self._segment_first_lane = np.searchsorted(
            road_map.lane_segment, np.arange(road_map.n_segments)
        )
        self._n_lanes = road_map.segment_lane_count.astype(np.int64)
        self._length_m = road_map.segment_length_m
        cell = self._cell(self.x_m, self.y_m)
        self._order = np.argsort(cell, kind="stable")
        self._sorted_cell = cell[self._order]

    def _cell(self, x_m: FloatArray, y_m: FloatArray) -> IndexArray:
        column, row = np.floor(x_m / GRID_M), np.floor(y_m / GRID_M)
        cell: IndexArray = row.astype(np.int64) * ROW_CELLS + column.astype(np.int64)
        return cell

    def point_of(
        self, segment: IndexArray, lane_index: IndexArray, offset_m: FloatArray
    ) -> IndexArray:
        """The point nearest to each place on a lane, (n,)."""
        lane_index = np.maximum(np.minimum(lane_index, self._n_lanes[segment] - 1), 0)
        lane = self._segment_first_lane[segment] + lane_index
        first, last = self.first[lane], self.first[lane + 1] - 1
        share = np.maximum(np.minimum(offset_m / self._length_m[segment], 1.0), 0.0)
        point: IndexArray = first + np.rint(share * (last - first)).astype(np.int64)
        return point

    def on_line(
        self, segment: IndexArray, lane_index: IndexArray, offset_m: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Places on lanes' lines: x, y and the line's direction there, east and north, (n,)."""
        lane_index = np.maximum(np.minimum(lane_index, self._n_lanes[segment] - 1), 0)
        lane = self._segment_first_lane[segment] + lane_index
        first, steps = self.first[lane], self.first[lane + 1] - 1 - self.first[lane]
        share = np.maximum(np.minimum(offset_m / self._length_m[segment], 1.0), 0.0)
        whole = np.rint(share * steps)
        point = first + whole.astype(np.int64)
        step_m = self._length_m[segment] / np.maximum(steps, 1)
        beyond_m = (share * steps - whole) * step_m
        east, north = self.east[point], self.north[point]
        return self.x_m[point] + beyond_m * east, self.y_m[point] + beyond_m * north, east, north

    def across_m(self, point: IndexArray, x_m: FloatArray, y_m: FloatArray) -> FloatArray:
        """Distance of each place from the line through its point along the lane, (n,)."""
        dx_m, dy_m = x_m - self.x_m[point], y_m - self.y_m[point]
        across_m: FloatArray = np.abs(dx_m * self.north[point] - dy_m * self.east[point])
        return across_m

    def beside(
        self, x_m: FloatArray, y_m: FloatArray, east: FloatArray, north: FloatArray
    ) -> tuple[FloatArray, FloatArray, IndexArray]:
        """Distance to the next lane along each course, and to the next against it, with its point.

        NEAR_M and -1 where there is none. Lanes inside junctions lead every way: they count as
        lanes along a course only.
        """
        n = len(x_m)
        along_m, against_m = np.full(n, NEAR_M), np.full(n, NEAR_M)
        best = np.full(n, -1, np.int64)
        one, near = self._around(x_m, y_m)
        dx_m, dy_m = x_m[one] - self.x_m[near], y_m[one] - self.y_m[near]
        lane_east, lane_north = self.east[near], self.north[near]
        here = np.abs(dx_m * lane_east + dy_m * lane_north) <= STEP_M
        one, near, lane_east, lane_north = one[here], near[here], lane_east[here], lane_north[here]
        distance_m = np.abs(dx_m[here] * lane_north - dy_m[here] * lane_east)
        cosine = lane_east * east[one] + lane_north * north[one]
        with_it = cosine > ALONG_COS
        np.minimum.at(along_m, one[with_it], distance_m[with_it])
        against = np.flatnonzero((cosine < AGAINST_COS) & ~self.is_internal[near])
        against = against[distance_m[against] < NEAR_M]
        # Furthest first, so that the nearest of each is written last.
        against = against[np.argsort(-distance_m[against], kind="stable")]
        against_m[one[against]] = distance_m[against]
        best[one[against]] = near[against]
        return along_m, against_m, best

    def _around(self, x_m: FloatArray, y_m: FloatArray) -> tuple[IndexArray, IndexArray]:
        """Pairs of a place and a point in its cell or one of the eight around, by place."""
        middle = self._cell(x_m, y_m)
        rows = (middle[:, None] + np.array([-ROW_CELLS, 0, ROW_CELLS])).ravel()
        low = np.searchsorted(self._sorted_cell, rows - 1, side="left")
        count = np.searchsorted(self._sorted_cell, rows + 1, side="right") - low
        skipped = np.repeat(low - (np.cumsum(count) - count), count)
        one = np.repeat(np.repeat(np.arange(len(x_m)), 3), count)
        return one, self._order[np.arange(len(one)) + skipped]


def _along(line: FloatArray) -> FloatArray:
    """Points of a polyline every STEP_M: x, y and its direction's east and north parts, (n, 4)."""
    steps = np.diff(line, axis=0)
    length_m = np.hypot(steps[:, 0], steps[:, 1])
    kept = length_m > 0.0
    if not kept.any():
        return np.array([[line[0, 0], line[0, 1], 1.0, 0.0]])
    starts = np.concatenate(([0.0], np.cumsum(length_m[kept])))
    at_m = np.linspace(0.0, starts[-1], max(int(starts[-1] / STEP_M), 1) + 1)
    piece = np.clip(np.searchsorted(starts, at_m, side="right") - 1, 0, int(kept.sum()) - 1)
    direction = steps[kept] / length_m[kept][:, None]
    begin = line[:-1][kept]
    xy = begin[piece] + direction[piece] * (at_m - starts[piece])[:, None]
    return np.column_stack((xy, direction[piece]))
