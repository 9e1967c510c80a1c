"""Steps: what each vehicle drove between two matched samples, as pieces of time and distance.

A step of at most `MAX_STEP_S` is taken at constant speed along the road. On one segment it is one
piece; over several (Paths) each gets its share of the distance, and of the time in proportion.
Pieces are cut at the boundaries of the windows' cells, so that each lies in one cell.

A vehicle that stands is matched a little forward and backward by noise; such small backward steps
keep their sign, so that they cancel instead of adding up to motion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge.aggregate.paths import Paths
from edge.slots import Grouped, last_of_each, not_before
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S

NEVER_NS = np.iinfo(np.int64).min
MAX_STEP_S = 5.0
"""Longer gaps leave open where the vehicle was in between."""
MAX_BACK_M = 30.0
"""More than the noise of matching: a vehicle matched further back has left and come again."""

Times = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Pieces(NamedTuple):
    """Rows (n,): one vehicle's stay on one segment, inside one cell."""

    segment: Indexes
    vehicle: Indexes
    start_ns: Times
    end_ns: Times
    distance_m: Floats

    def at(self, rows: Indexes) -> Pieces:
        """The given rows."""
        return Pieces(
            self.segment[rows],
            self.vehicle[rows],
            self.start_ns[rows],
            self.end_ns[rows],
            self.distance_m[rows],
        )


class Samples(NamedTuple):
    """Matched samples (n,) in order of arrival; segment -1 is off the map."""

    vehicle: Indexes
    at_ns: Times
    segment: Indexes
    offset_m: Floats

    def at(self, rows: npt.NDArray[Any]) -> Samples:
        """The given rows."""
        return Samples(*(values[rows] for values in self))


class Steps:
    """The fold: samples in, pieces out; remembers each vehicle's newest sample."""

    def __init__(self, road_map: RoadMap, cell_ns: int) -> None:
        self._paths = Paths(road_map)
        self._length_m = road_map.segment_length_m
        self._cell_ns = cell_ns
        self._last_at_ns = np.empty(0, np.int64)
        self._last_segment = np.empty(0, np.int64)
        self._last_offset_m = np.empty(0, np.float64)

    def fold(self, samples: Samples) -> tuple[Pieces, Samples]:
        """Pieces of the steps that end with these samples, and the samples that were news.

        A sample not newer than its vehicle's last one (late, or the same from a second source)
        ends no step.
        """
        self._reserve(int(samples.vehicle.max()) + 1)
        newer = not_before(Grouped(samples.vehicle), samples.at_ns, self._last_at_ns, strictly=True)
        news = samples.at(np.flatnonzero(newer))
        ordered = news.at(np.argsort(news.vehicle, kind="stable"))
        before = self._before(ordered)
        last = ordered.at(last_of_each(ordered.vehicle)) if len(ordered.vehicle) else ordered
        self._last_at_ns[last.vehicle] = last.at_ns
        self._last_segment[last.vehicle] = last.segment
        self._last_offset_m[last.vehicle] = last.offset_m
        return self._cut(self._pieces(before, ordered)), news

    def forget(self, vehicles: Indexes) -> None:
        """These vehicle numbers are free for others."""
        known = vehicles[vehicles < len(self._last_at_ns)]
        self._last_at_ns[known] = NEVER_NS
        self._last_segment[known] = -1

    def _reserve(self, n_vehicles: int) -> None:
        more = max(n_vehicles, 2 * len(self._last_at_ns)) - len(self._last_at_ns)
        if n_vehicles > len(self._last_at_ns):
            self._last_at_ns = np.append(self._last_at_ns, np.full(more, NEVER_NS))
            self._last_segment = np.append(self._last_segment, np.full(more, -1))
            self._last_offset_m = np.append(self._last_offset_m, np.full(more, np.nan))

    def _before(self, now: Samples) -> Samples:
        """The sample before each one; rows of a vehicle stand together, in time order."""
        n_rows = len(now.vehicle)
        follows = np.zeros(n_rows, np.bool_)
        follows[1:] = now.vehicle[1:] == now.vehicle[:-1]
        row_before = np.maximum(np.arange(n_rows) - 1, 0)
        return Samples(
            now.vehicle,
            np.where(follows, now.at_ns[row_before], self._last_at_ns[now.vehicle]),
            np.where(follows, now.segment[row_before], self._last_segment[now.vehicle]),
            np.where(follows, now.offset_m[row_before], self._last_offset_m[now.vehicle]),
        )

    def _pieces(self, before: Samples, now: Samples) -> Pieces:
        is_known = before.at_ns != NEVER_NS
        elapsed_ns = np.where(is_known, now.at_ns - before.at_ns, 0)
        is_step = is_known & (elapsed_ns <= MAX_STEP_S * NS_PER_S)
        is_step &= (before.segment >= 0) & (now.segment >= 0)
        stays = before.segment == now.segment
        ahead_m = now.offset_m - before.offset_m
        rows = np.flatnonzero(is_step & stays & (ahead_m >= -MAX_BACK_M))
        simple = Pieces(
            now.segment[rows], now.vehicle[rows], before.at_ns[rows], now.at_ns[rows], ahead_m[rows]
        )
        changes = np.flatnonzero(is_step & ~stays)
        if not changes.size:
            return simple
        return _joined([simple, self._over_several(before.at(changes), now.at(changes))])

    def _over_several(self, before: Samples, now: Samples) -> Pieces:
        rows: list[tuple[int, int, int, int, float]] = []
        columns = (now.vehicle, before.at_ns, before.segment, before.offset_m, *now[1:])
        for vehicle, t0, start, from_m, t1, goal, to_m in zip(
            *(values.tolist() for values in columns), strict=True
        ):
            between = self._paths.between(start, goal)
            if between is None:
                continue
            shares = [(start, max(float(self._length_m[start]) - from_m, 0.0))]
            shares += [(segment, float(self._length_m[segment])) for segment in between]
            shares.append((goal, to_m))
            rows += _spread(vehicle, t0, t1, shares)
        if not rows:
            empty = np.empty(0, np.int64)
            return Pieces(empty, empty, empty, empty, np.empty(0))
        segment, of, start_ns, end_ns, distance_m = zip(*rows, strict=True)
        return Pieces(
            np.array(segment, np.int64),
            np.array(of, np.int64),
            np.array(start_ns, np.int64),
            np.array(end_ns, np.int64),
            np.array(distance_m, np.float64),
        )

    def _cut(self, pieces: Pieces) -> Pieces:
        """Pieces that end beyond their cell in two (a step is shorter than a cell)."""
        border_ns = (pieces.start_ns // self._cell_ns + 1) * self._cell_ns
        rows = np.flatnonzero(pieces.end_ns > border_ns)
        if not rows.size:
            return pieces
        long = pieces.at(rows)
        border_ns = border_ns[rows]
        share = (border_ns - long.start_ns) / (long.end_ns - long.start_ns)
        end_ns, distance_m = pieces.end_ns.copy(), pieces.distance_m.copy()
        end_ns[rows], distance_m[rows] = border_ns, long.distance_m * share
        heads = pieces._replace(end_ns=end_ns, distance_m=distance_m)
        tails = long._replace(start_ns=border_ns, distance_m=long.distance_m * (1.0 - share))
        return _joined([heads, tails])

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "at_ns": self._last_at_ns.copy(),
            "segment": self._last_segment.copy(),
            "offset_m": self._last_offset_m.copy(),
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Go on from what `snapshot` wrote."""
        self._last_at_ns = tree["at_ns"]
        self._last_segment = tree["segment"]
        self._last_offset_m = tree["offset_m"]


def _spread(
    vehicle: int, t0: int, t1: int, shares: list[tuple[int, float]]
) -> list[tuple[int, int, int, int, float]]:
    total_m = sum(distance_m for _, distance_m in shares)
    if total_m <= 0.0:  # stands at the border: its time belongs to where it arrived
        return [(shares[-1][0], vehicle, t0, t1, 0.0)]
    pieces, done_m, start_ns = [], 0.0, t0
    for segment, distance_m in shares:
        done_m += distance_m
        end_ns = t0 + round((t1 - t0) * done_m / total_m)
        if distance_m > 0.0:
            pieces.append((segment, vehicle, start_ns, end_ns, distance_m))
        start_ns = end_ns
    return pieces


def _joined(parts: list[Pieces]) -> Pieces:
    return Pieces(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
