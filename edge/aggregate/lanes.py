"""Which lane of its segment a vehicle is on, by all its positions since it came there.

The forward pass of a hidden Markov model (Viterbi) whose states are the segment's lanes side by
side: each position speaks for a lane by its distance across the road, a change of lane costs. So
one bad fix moves nobody to the next lane, and two or three that agree do. Distances across are
those of the reported position, whose errors differ from sample to sample; smoothed positions err
the same way for seconds. Only a vehicle's first position on a segment is taken smoothed, for it
holds what was seen before.

Lanes are not carried on over junctions: which lane leads to which is not on every map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.aggregate.candidates import MOTOR_CLASSES, Roads
from openvrc.contracts.maps import RoadMap

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IndexArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
BoolArray = NDArray[np.bool_]

LANES = 8
"""Side by side; on the few wider segments the nearest lane is taken."""
NEVER_M = np.float32(1e3)
"""Centre of a lane that does not exist: finite, so that costs stay comparable."""


@dataclass(frozen=True)
class Changing:
    """What positions and changes of lane are worth, as negative log-likelihoods."""

    position_sd_m: float = 1.5
    first_sd_m: float = 1.1
    """Of the smoothed position that a vehicle comes onto a segment with."""
    change_cost: float = 4.0
    """A change every 50 s, as in town and on motorways."""


class Across(NamedTuple):
    """Samples on segments of several lanes, all in m to the left of the segment's first lane."""

    reported_m: FloatArray  # (n,)
    smoothed_m: FloatArray  # (n,)
    centres_m: Float32Array  # (n, LANES)


class SideBySide:
    """Lanes of each segment across the road, made once per map."""

    def __init__(self, roads: Roads, road_map: RoadMap, changing: Changing) -> None:
        self._change_cost = np.float32(changing.change_cost)
        sd_m = np.array([changing.first_sd_m, changing.position_sd_m])
        self._worth = (0.5 / sd_m**2).astype(np.float32)
        self._centres_m = _centres_m(road_map)
        self._segment = roads.segment
        several = (self._centres_m < NEVER_M).sum(axis=1) > 1
        self.is_open: BoolArray = (several & (road_map.segment_lane_count <= LANES))[roads.segment]
        """Of each piece, (n_pieces,): more than one lane to be on."""
        # Left of the first lane, as a * x + b * y + c of the piece's line.
        x_m, y_m, east, north, _, _ = roads.geometry.astype(np.float64).T
        lane = np.minimum(roads.lane_index, LANES - 1)
        centre_m = self._centres_m[roads.segment, lane]
        self._line = np.column_stack((-north, east, north * x_m - east * y_m + centre_m))

    def across(
        self, piece: Int32Array, reported_m: Sequence[FloatArray], smoothed_m: Sequence[FloatArray]
    ) -> Across:
        """Where samples (n,) on these pieces are across the road; positions are x and y."""
        a, b, c = self._line.take(piece, axis=0).T
        return Across(
            a * reported_m[0] + b * reported_m[1] + c,
            a * smoothed_m[0] + b * smoothed_m[1] + c,
            self._centres_m.take(self._segment[piece], axis=0),
        )

    def follow(
        self, across: Across, part: slice, is_same: BoolArray, past: Float32Array
    ) -> tuple[IndexArray, Float32Array]:
        """The best lane of each sample of a part (n,), and costs (n, LANES): the next one's `past`.

        `is_same` (n,) tells whose `past` is of this segment; `past` (n, LANES) is overwritten.
        """
        at_m = np.where(is_same, across.reported_m[part], across.smoothed_m[part])
        cost: Float32Array = at_m.astype(np.float32)[:, None] - across.centres_m[part]
        cost *= cost
        cost *= self._worth[is_same.view(np.int8)][:, None]
        past *= is_same[:, None]
        cost += past
        best = cost.argmin(axis=1)
        cost -= cost.min(axis=1, keepdims=True)
        return best, np.minimum(cost, self._change_cost, out=cost)


def _centres_m(road_map: RoadMap) -> Float32Array:
    """Each lane's middle, left of the line of its segment's first lane."""
    centres_m = np.full((road_map.n_segments, LANES), NEVER_M, dtype=np.float32)
    first = np.searchsorted(road_map.lane_segment, np.arange(road_map.n_segments))
    for lane, (segment, index) in enumerate(
        zip(road_map.lane_segment.tolist(), road_map.lane_index.tolist(), strict=True)
    ):
        if index >= LANES or not MOTOR_CLASSES & set(road_map.lane_allows[lane]):
            continue
        base = road_map.lane_points(int(first[segment]))
        centres_m[segment, index] = _left_m(base, _middle(road_map.lane_points(lane)))
    return centres_m


def _middle(line: FloatArray) -> FloatArray:
    """The point half way along a polyline."""
    length_m = np.hypot(*np.diff(line, axis=0).T)
    along_m = np.concatenate(([0.0], np.cumsum(length_m)))
    return np.array([np.interp(along_m[-1] / 2.0, along_m, axis) for axis in line.T])


def _left_m(line: FloatArray, point: FloatArray) -> float:
    """Signed distance of a point from the nearest piece of a polyline, left is positive."""
    step = np.diff(line, axis=0)
    length_m = np.maximum(np.hypot(*step.T), 1e-9)
    unit = step / length_m[:, None]
    away = point - line[:-1]
    along_m = np.clip((away * unit).sum(axis=1), 0.0, length_m)
    gap = away - unit * along_m[:, None]
    piece = int(np.argmin(np.hypot(*gap.T)))
    return float(unit[piece, 0] * away[piece, 1] - unit[piece, 1] * away[piece, 0])
