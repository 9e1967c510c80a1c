"""Lanes as arrays: lengths, neighbours, who follows whom by which turn, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

RIGHT, STRAIGHT, LEFT = 0, 1, 2
NO_LANE = -1


@dataclass(frozen=True)
class LaneNetwork:
    """All lanes of a small road network, those inside junctions included.

    `following[lane, turn]` is the lane behind a lane's end, NO_LANE where the turn is not allowed
    from it; an internal lane has the same follower for every turn.
    """

    length_m: FloatArray  # (n_lanes,)
    speed_limit_mps: FloatArray  # (n_lanes,)
    is_internal: NDArray[np.bool_]  # (n_lanes,)
    segment: IntArray  # (n_lanes,) numbers of segments
    index: IntArray  # (n_lanes,) 0 is the rightmost
    left: IntArray  # (n_lanes,) neighbour lane or NO_LANE
    right: IntArray  # (n_lanes,)
    following: IntArray  # (n_lanes, 3)
    signal: IntArray  # (n_lanes,) number of the signal an internal lane is entered by, or -1
    points_xy_m: tuple[FloatArray, ...]  # per lane (n, 2)

    @cached_property
    def _flat(self) -> tuple[FloatArray, FloatArray, IntArray]:
        """Every lane's points, distance along it plus a lane's own offset, and first points."""
        along = []
        for lane, points in enumerate(self.points_xy_m):
            steps_m = np.hypot(*np.diff(points, axis=0).T)
            drawn_m = np.concatenate([[0.0], np.cumsum(steps_m)])
            along.append(drawn_m * self.length_m[lane] / drawn_m[-1] + lane * _LANE_STRIDE_M)
        firsts = np.cumsum([0, *(len(points) for points in self.points_xy_m)])
        return np.concatenate(self.points_xy_m), np.concatenate(along), firsts

    def place(
        self, lane: IntArray, offset_m: FloatArray, to_left_m: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x, y (m) and course (deg, 0 north, clockwise) of points along lanes, all (n,).

        `to_left_m` moves a point across its lane.
        """
        points, along, firsts = self._flat
        key = lane * _LANE_STRIDE_M + np.clip(offset_m, 0.0, self.length_m[lane])
        end = np.clip(
            np.searchsorted(along, key, side="right"), firsts[lane] + 1, firsts[lane + 1] - 1
        )
        step = points[end] - points[end - 1]
        share = (key - along[end - 1]) / (along[end] - along[end - 1])
        length_m = np.hypot(step[:, 0], step[:, 1])
        course = np.degrees(np.arctan2(step[:, 0], step[:, 1])) % 360.0
        x_m = points[end - 1, 0] + share * step[:, 0] - to_left_m * step[:, 1] / length_m
        y_m = points[end - 1, 1] + share * step[:, 1] + to_left_m * step[:, 0] / length_m
        return x_m, y_m, course


_LANE_STRIDE_M = 1e5
"""Longer than any lane, so that one sorted array holds the distances of all lanes."""
