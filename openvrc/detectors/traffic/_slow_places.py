"""Where on its lanes a zone's traffic was slow lately: a queue has a history, an obstruction none.

A queue at an exit or a signal has a history: whoever stands in it stands where others stood, and
before it they stood further ahead. In front of an obstruction nobody was slow. Each lane is cut
into cells of 25 m that remember when somebody was slow in them last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CELL_M = 25.0  # three places in a queue
REMEMBERED_S = 600  # several signal cycles; a peak hour's queue is met by a connected car in it
NEVER_S = -(2**40)
AHEAD_CELLS = 4  # 100 m: a queue is continuous towards its bottleneck
SLOW_CELLS = 2  # of them: one alone may be a wrong lane


class SlowPlaces:
    """The memory of one zone."""

    def __init__(self, road_map: RoadMap) -> None:
        lanes = road_map.segment_lane_count.astype(np.int64)
        cells = np.ceil(road_map.segment_length_m / CELL_M).astype(np.int64) + 1
        self._lanes, self._cells = lanes, cells
        self._first = np.concatenate(([0], np.cumsum(lanes * cells)))
        self.last_s = np.full(int(self._first[-1]), NEVER_S, np.int64)

    def _cell(self, segment: IndexArray, lane: IndexArray, offset_m: FloatArray) -> IndexArray:
        lane = np.maximum(np.minimum(lane, self._lanes[segment] - 1), 0)
        place = (offset_m / CELL_M).astype(np.int64)
        place = np.maximum(np.minimum(place, self._cells[segment] - 1), 0)
        cell: IndexArray = self._first[segment] + lane * self._cells[segment] + place
        return cell

    def learn(
        self, segment: IndexArray, lane: IndexArray, offset_m: FloatArray, second: int
    ) -> None:
        """These vehicles, all (n,), are slow now."""
        self.last_s[self._cell(segment, lane, offset_m)] = second

    def slow_ahead(
        self, segment: IndexArray, lane: IndexArray, offset_m: FloatArray, second: int
    ) -> BoolArray:
        """Whether others were slow lately on the lane just ahead of each place, (n,)."""
        count = np.zeros(len(segment), np.int64)
        for step in range(1, AHEAD_CELLS + 1):
            ahead_m = offset_m + step * CELL_M
            cell = self._cell(segment, lane, ahead_m)
            recent = self.last_s[cell] > second - REMEMBERED_S
            count += recent & (ahead_m < self._cells[segment] * CELL_M)
        is_slow: BoolArray = count >= SLOW_CELLS
        return is_slow
