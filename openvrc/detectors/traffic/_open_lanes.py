"""Lanes of a map in cells of 50 m, and where vehicles are slow for no reason but the road's shape.

Near a segment's start and end, further from one where others cross or a signal stands, and before
bus stops drivers slow down anyway: such cells are not open.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openvrc.detectors.traffic._roads import Roads

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MIN_LIMIT_MPS = 8.0
CELL_M = 50.0
AHEAD_CELLS = 2  # 100 m ahead of the cell: where a queue would continue
END_M = 60.0  # drivers slow down for a junction
START_M = 50.0  # vehicles turn in slowly
QUEUE_M = 150.0  # and for what one red, or a minute of giving way, collects: 20 vehicles
BUS_STOP_M = 100.0  # who waits behind a bus at its stop


class Cells:
    """The lanes of a map in cells; a lane has cells beyond its end, so that none is last."""

    def __init__(self, roads: Roads) -> None:
        road_map = roads.road_map
        self.n_lanes = road_map.segment_lane_count.astype(np.int64)
        self.n_cells = np.ceil(road_map.segment_length_m / CELL_M).astype(np.int64) + AHEAD_CELLS
        self.first = np.concatenate(([0], np.cumsum(self.n_lanes * self.n_cells)))
        self.segment = np.repeat(np.arange(road_map.n_segments), self.n_lanes * self.n_cells)
        within = np.arange(int(self.first[-1])) - self.first[self.segment]
        self.lane = within // self.n_cells[self.segment]
        self.start_m = within % self.n_cells[self.segment] * CELL_M
        queues = road_map.segment_ends_at_signal | roads.ends_in_conflict[:-1]
        room_m = np.where(queues, QUEUE_M, END_M)
        usable_m = (road_map.segment_length_m - room_m)[self.segment]
        self.is_open = (self.start_m + CELL_M <= usable_m) & (self.start_m >= START_M)
        self.is_open &= ~road_map.segment_is_internal[self.segment]
        self.is_open &= road_map.segment_speed_limit_mps[self.segment] > MIN_LIMIT_MPS
        for stop in road_map.bus_stops:
            at = (self.lane == 0) & (self.segment == road_map.index_of(stop.segment_id))
            at &= (self.start_m < stop.end_m) & (self.start_m + CELL_M > stop.start_m - BUS_STOP_M)
            self.is_open &= ~at

    def of(self, segment: IndexArray, lane: IndexArray, offset_m: FloatArray) -> IndexArray:
        """Cell of each place."""
        lane = np.maximum(np.minimum(lane, self.n_lanes[segment] - 1), 0)
        within = (offset_m / CELL_M).astype(np.int64)
        # Who stands at the very end, or is matched beyond it, is in the last cell of the lane.
        within = np.maximum(np.minimum(within, self.n_cells[segment] - AHEAD_CELLS - 1), 0)
        cell: IndexArray = self.first[segment] + lane * self.n_cells[segment] + within
        return cell

    def slow_since(self, last_s: IndexArray, cell: IndexArray, since_s: int) -> BoolArray:
        """Whether `last_s` (n_cells,) is later in each cell or in those ahead of it, (n,)."""
        later = [last_s[cell + step] > since_s for step in range(AHEAD_CELLS + 1)]
        found: BoolArray = np.logical_or.reduce(later)
        return found
