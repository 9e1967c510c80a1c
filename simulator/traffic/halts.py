"""Who is made to stand at a place of the road, or means to halt there: a berth, a bus stop.

Such a vehicle sees a wall where it shall stand. One that means to halt gets into the lane of its
halt on that edge, whatever lane its way would need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.ahead import Ahead
from simulator.traffic.following import STANDSTILL_GAP_M
from simulator.traffic.vehicles import Rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

RowsOf = Callable[[IntArray], IntArray]
"""The row of each vehicle, negative where it is not on the road."""


class Places(NamedTuple):
    """Where vehicles on the road shall stand, each array (n,)."""

    row: IntArray
    lane: IntArray
    at_m: FloatArray


def on_the_road(places: Mapping[int, tuple[int, float]], rows_of: RowsOf) -> Places:
    """Of places (lane, offset in m) by vehicle those of vehicles that are on the road."""
    row = rows_of(np.fromiter(places, np.int64, len(places)))
    lane = np.array([lane for lane, _ in places.values()], np.int64)
    at_m = np.array([at_m for _, at_m in places.values()], np.float64)
    on = row >= 0
    return Places(row[on], lane[on], at_m[on])


def guide(rows: Rows, lane_edge: IntArray, halts: Places) -> IntArray:
    """On the edge of a halt its lane counts, not that of the way; returns the rows in that lane."""
    row, lane, at_m = halts
    here = (lane_edge[rows.lane[row]] == lane_edge[lane]) & (rows.offset_m[row] <= at_m + 1.0)
    row, lane, at_m = row[here], lane[here], at_m[here]
    rows.change[row] = lane - rows.lane[row]
    rows.until_m[row] = at_m
    return np.asarray(row[rows.lane[row] == lane])


def put_walls(rows: Rows, ahead: Ahead, places: Places) -> None:
    """Let them see a wall where they shall stand, unless something nearer is ahead."""
    row, lane, at_m = places
    gap_m = at_m - rows.offset_m[row] + STANDSTILL_GAP_M
    nearer = (rows.lane[row] == lane) & (gap_m < ahead.gap_m[row])
    row = row[nearer]
    ahead.gap_m[row], ahead.leader_mps[row] = np.maximum(gap_m[nearer], 0.1), 0.0
