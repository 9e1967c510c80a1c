"""Which lane pieces could a vehicle be on, and what speaks against each?

The cost of a piece is half the squared distance and turn, each in standard deviations: the
negative log-likelihood of Gaussian errors (Newson and Krumm, ACM GIS 2009,
doi:10.1145/1653771.1653818), plus a penalty for standing just behind a stop line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.aggregate.lane_grid import LaneGrid, lane_pieces
from edge.aggregate.runs import counts_up, group_starts
from openvrc.contracts.maps import RoadMap

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IndexArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
BoolArray = NDArray[np.bool_]


MOTOR_CLASSES = {"motor", "bus"}
OTHER_CLASSES = {"bicycle", "pedestrian"}


@dataclass(frozen=True)
class Likelihood:
    """What a position and a heading say about a lane piece."""

    distance_sd_m: float = 1.5
    # Wide, for headings lag in bends and lanes are drawn as chords (measured: 15 deg costs 0.15 %).
    heading_sd_deg: float = 25.0
    # Capped, so that a vehicle on a lane in the wrong direction is still nearer to it than to
    # the other carriageway 8 m away.
    max_heading_cost: float = 12.0
    # Roads further than this from the position are not it: twice a bad urban GNSS fix.
    max_distance_m: float = 15.0
    # Vehicles stop before the line, not in the first metres of the junction behind it.
    stop_line_m: float = 3.0
    stop_line_speed_mps: float = 0.6
    stop_line_cost: float = 4.0


class Candidates(NamedTuple):
    """Lane pieces near positions, one row each, in the order of `position`."""

    position: IndexArray  # index into the positions asked for
    piece: Int32Array  # index into the roads' pieces
    along_m: Float32Array  # along the piece
    distance_squared_m2: Float32Array
    cost: Float32Array


class Roads:
    """The lanes of a map, indexed apart for motor vehicles and for everybody else."""

    def __init__(self, road_map: RoadMap, likelihood: Likelihood) -> None:
        """Take the lanes that cars, buses, cyclists or pedestrians may use."""
        self.likelihood = likelihood
        motor, other = (
            np.array([bool(classes & set(allows)) for allows in road_map.lane_allows])
            for classes in (MOTOR_CLASSES, OTHER_CLASSES)
        )
        pieces = lane_pieces(road_map, motor | other)
        self.geometry = pieces.geometry
        reach_m = likelihood.max_distance_m
        self._grids = [
            LaneGrid(pieces, np.flatnonzero(usable[pieces.lane]), reach_m)
            for usable in (motor, other)
        ]
        self._listed = np.concatenate([grid.listed for grid in self._grids])
        segment = road_map.lane_segment[pieces.lane]
        self.segment: Int32Array = segment
        self.lane_index = road_map.lane_index[pieces.lane].astype(np.int8)
        self._start_m = pieces.start_m
        # Behind a stop line: how far into a junction the piece starts; inf elsewhere.
        internal = road_map.segment_is_internal[segment]
        self._inside_m = np.where(internal, pieces.start_m, np.inf).astype(np.float32)
        self._stated_per_drawn = (
            road_map.segment_length_m[segment] / pieces.drawn_length_m
        ).astype(np.float32)

    def offset_m(self, piece: Int32Array, along_m: Float32Array) -> Float32Array:
        """Offset along the segment, in its stated length, of points on pieces."""
        return (self._start_m[piece] + along_m) * self._stated_per_drawn[piece]

    def near(
        self,
        x_m: FloatArray,
        y_m: FloatArray,
        heading_deg: FloatArray,
        speed_mps: FloatArray,
        is_motor: BoolArray | None,
    ) -> Candidates:
        """All candidates of finite positions (n,); NaN heading or speed is unknown."""
        samples = np.column_stack((x_m, y_m, heading_deg, speed_mps)).astype(np.float32)
        start, count = self._lists(x_m, y_m, heading_deg, is_motor)
        found = self._weigh(samples, np.arange(len(x_m)), start, count)
        best = np.full(len(x_m), np.inf, dtype=np.float32)
        groups = group_starts(found.position)
        if len(groups):
            best[found.position[groups]] = np.minimum.reduceat(found.cost, groups)
        # Nothing good that way: look at every direction, for wrong-way drivers and reversing.
        doubtful = np.flatnonzero((best > self.likelihood.max_heading_cost) & (heading_deg >= 0.0))
        if not doubtful.size:
            return found
        start, count = self._lists(
            x_m[doubtful],
            y_m[doubtful],
            np.full(len(doubtful), np.nan),
            None if is_motor is None else is_motor[doubtful],
        )
        wider = self._weigh(samples, doubtful, start, count)
        settled = best[found.position] <= self.likelihood.max_heading_cost
        # Those without a heading have been looked at in every direction already.
        settled |= np.isnan(heading_deg)[found.position]
        return _merged(found, settled, wider)

    def _lists(
        self,
        x_m: FloatArray,
        y_m: FloatArray,
        heading_deg: FloatArray,
        is_motor: BoolArray | None,
    ) -> tuple[IndexArray, IndexArray]:
        """Start in `_listed` and count of each position's pieces."""
        motor, other = self._grids
        start, count = motor.lists(x_m, y_m, heading_deg)
        if is_motor is None or is_motor.all():
            return start, count
        other_start, other_count = other.lists(x_m, y_m, heading_deg)
        start = np.where(is_motor, start, other_start + len(motor.listed))
        return start, np.where(is_motor, count, other_count)

    def _weigh(
        self, samples: Float32Array, position: IndexArray, start: IndexArray, count: IndexArray
    ) -> Candidates:
        weights = self.likelihood
        listed = np.repeat(start, count) + counts_up(count)
        piece = self._listed[listed]
        of = np.repeat(position, count)
        x_m, y_m, east, north, length_m, heading_deg = self.geometry.take(piece, axis=0).T
        at_x_m, at_y_m, course_deg, speed_mps = samples.take(of, axis=0).T
        away_x_m, away_y_m = at_x_m - x_m, at_y_m - y_m
        along_m = np.minimum(np.maximum(away_x_m * east + away_y_m * north, 0.0), length_m)
        away_x_m -= along_m * east
        away_y_m -= along_m * north
        squared_m2 = away_x_m * away_x_m + away_y_m * away_y_m
        turn_deg = np.abs(course_deg - heading_deg)
        turn_deg = np.minimum(turn_deg, 360.0 - turn_deg)
        turn_cost = turn_deg * turn_deg * np.float32(0.5 / weights.heading_sd_deg**2)
        cost = np.fmin(turn_cost, np.float32(weights.max_heading_cost))
        unknown = np.flatnonzero(np.isnan(course_deg))
        if unknown.size:
            cost[unknown] = 0.0
        cost += squared_m2 * np.float32(0.5 / weights.distance_sd_m**2)
        stands = np.flatnonzero(speed_mps < weights.stop_line_speed_mps)
        at_line = self._inside_m[piece[stands]] + along_m[stands] < weights.stop_line_m
        cost[stands[at_line]] += np.float32(weights.stop_line_cost)
        near = np.flatnonzero(squared_m2 <= np.float32(weights.max_distance_m**2))
        return Candidates(
            of.take(near), piece.take(near), along_m.take(near), squared_m2.take(near),
            cost.take(near),
        )  # fmt: skip


def _merged(found: Candidates, kept: BoolArray, more: Candidates) -> Candidates:
    """The kept rows of `found` and all of `more`, in the order of their positions."""
    order = np.argsort(np.concatenate((found.position[kept], more.position)), kind="stable")
    return Candidates(
        position=np.concatenate((found.position[kept], more.position))[order],
        piece=np.concatenate((found.piece[kept], more.piece))[order],
        along_m=np.concatenate((found.along_m[kept], more.along_m))[order],
        distance_squared_m2=np.concatenate(
            (found.distance_squared_m2[kept], more.distance_squared_m2)
        )[order],
        cost=np.concatenate((found.cost[kept], more.cost))[order],
    )
