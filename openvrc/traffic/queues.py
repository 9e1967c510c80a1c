"""Queues before signals, from where reporting vehicles stand: a fold over `vehicle_state`.

Every other second, the halting vehicles of a lane that follow one another from the stop line on are
its queue; the place of the last one, counted in lengths of 7.5 m, is a lower bound of how many
stand there. Behind it more may stand unseen: n vehicles are what a Bayesian expects who believes
in a gamma-Poisson number of vehicles with the lane's own mean and saw none of the n - m behind
place m,

    P(n) ~ NB(n; r, mean) * (1 - p)^(n - m)   for n >= m

with p the penetration. A segment's queue is the longest of its lanes'. That vehicles between the
line and the last one are there, seen or not, also tells p (Zhao et al., arXiv 1810.09237).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S

Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int64]

HALTING_MPS = 1.39
"""5 km/h: SUMO's and the guidelines' definition of a jam."""
PLACE_M = 7.5
"""A car of 5 m and a gap of 2.5 m."""
LOOK_EVERY_S = 2
"""Each fifth second misses the last to arrive: 4 points of error more at 50 % penetration; every
second takes off one point only."""
FIRST_M = 25.0
"""The first of a queue stands within this of the line, when everybody reports."""
NEXT_M = 20.0
UNSEEN_BY_CHANCE = 0.05
"""A longer gap than this explains belongs to another stop."""
MAX_PLACES = 60
DISPERSION = 6.0
"""r: queues of one lane differ from cycle to cycle a bit more than a Poisson number does."""
BELIEF_PLACES = 2.0
"""Mean of a lane of which nothing is known, worth one minute."""
MEMORY_MINUTES = 15.0
MIDDLE = (0.1, 0.6, 0.9)
"""Quantiles told; the sixth tenth has the least error, for the tail is long."""
MAX_SHARE = 0.98
"""At full penetration the last one seen is still only the last one matched to this lane."""


class LaneQueues(NamedTuple):
    """Of each segment (n_segments,), NaN where no signal is at its end."""

    low_m: Floats
    middle_m: Floats
    high_m: Floats
    is_observed: npt.NDArray[np.bool_]
    """Somebody who reports stood in it."""


class Queues:
    """The fold of one (zone, run) with one map; times are whole seconds since 1970."""

    def __init__(self, road_map: RoadMap) -> None:
        at_signal = road_map.segment_ends_at_signal & ~road_map.segment_is_internal
        self._road_map = road_map
        self._number = {road_map.segment_ids[n]: n for n in np.flatnonzero(at_signal).tolist()}
        """Of segments that end at a signal."""
        self._first_lane = np.searchsorted(road_map.lane_segment, np.arange(road_map.n_segments))
        self._lanes = np.flatnonzero(at_signal[road_map.lane_segment])
        """Lanes that end at a signal; n_asked in all."""
        self._segments, self._first_asked = np.unique(
            road_map.lane_segment[self._lanes], return_index=True
        )
        self._waiting: list[Floats] = []
        self._done_s: int | None = None
        self._reach: dict[int, npt.NDArray[np.float32]] = {}
        self._sums = np.zeros(road_map.n_lanes) + BELIEF_PLACES
        self._weights = np.ones(road_map.n_lanes)
        self.seen, self.places = 0.0, 0.0
        """Vehicles that report among those ahead of the last one in queues, and all of those."""

    def take(self, batch: Batch) -> None:
        """Keep who halts before a signal, (3, n): second, lane, metres to the line."""
        second = batch.column("sampled_at_ns") // NS_PER_S
        is_looked_at = second % LOOK_EVERY_S == LOOK_EVERY_S - 1
        if not is_looked_at.any():
            return
        slow = np.flatnonzero(is_looked_at & (batch.column("speed_mps") < HALTING_MPS))
        if not slow.size:
            return
        places = batch.once(
            f"places before signals on {self._road_map.map_version}",
            lambda: np.array(
                [self._number.get(w, -1) for w in batch.dictionary("segment_id")], np.int64
            ),
        )
        segment = places[batch.codes("segment_id")[slow]]
        lane_index = batch.column("lane_index")[slow]
        chosen = np.flatnonzero((segment >= 0) & (lane_index >= 0))
        if not chosen.size:
            return
        rows, segment, lane_index = slow[chosen], segment[chosen], lane_index[chosen]
        second = second[rows]
        if self._done_s is not None:
            fresh = second > self._done_s
            rows, segment, lane_index = rows[fresh], segment[fresh], lane_index[fresh]
            second = second[fresh]
        to_line_m = self._road_map.segment_length_m[segment]
        to_line_m = to_line_m - batch.column("segment_offset_m")[rows]
        lane_count = self._road_map.segment_lane_count[segment]
        lane = self._first_lane[segment] + np.minimum(lane_index, lane_count - 1)
        self._waiting.append(np.stack((second, lane, to_line_m)).astype(np.float64))

    def advance(self, watermark_ns: int, cell_s: int, share: float | None) -> None:
        """Look at the seconds of whole cells before the watermark; `share` is the penetration.

        By cells, for a look costs most by itself.
        """
        last_s = watermark_ns // NS_PER_S // cell_s * cell_s - 1
        if self._done_s is not None and last_s <= self._done_s:
            return
        self._done_s = last_s
        if not self._waiting:
            return
        rows = np.concatenate(self._waiting, axis=1)
        is_due = rows[0] <= last_s
        self._waiting = [rows[:, ~is_due]] if not is_due.all() else []
        if is_due.any():
            self._look(rows[:, is_due], cell_s, share)

    def _look(self, rows: Floats, cell_s: int, share: float | None) -> None:
        second, lane, to_line_m = rows[:, np.lexsort(rows[::-1])]
        starts = np.ones(len(lane), np.bool_)
        starts[1:] = (second[1:] != second[:-1]) | (lane[1:] != lane[:-1])
        before_m = np.where(starts, 0.0, np.roll(to_line_m, 1))
        in_queue = _unbroken(to_line_m - before_m > _limits_m(starts, share), starts)
        lanes, cells = lane[in_queue].astype(np.int64), second[in_queue].astype(np.int64) // cell_s
        for cell in np.unique(cells).tolist():
            reach_m = self._reach.get(cell)
            if reach_m is None:
                reach_m = self._reach[cell] = np.zeros(self._road_map.n_lanes, np.float32)
            mine = cells == cell
            np.maximum.at(reach_m, lanes[mine], np.maximum(to_line_m[in_queue][mine], 0.1))
        # Once in a cell, at its last second: the queue a moment later is the same queue.
        asked = second % cell_s == cell_s - 1
        if asked.any():
            self._learn(to_line_m[asked], starts[asked])

    def _learn(self, to_line_m: Floats, starts: npt.NDArray[np.bool_]) -> None:
        """How many of those ahead of the last one report; at most 100 m of a lane."""
        near = to_line_m < 100.0
        number = np.cumsum(starts) - 1
        count = np.bincount(number[near], minlength=number[-1] + 1)
        last_m = np.zeros(number[-1] + 1)
        np.maximum.at(last_m, number[near], to_line_m[near])
        several = count >= 1
        self.seen += float((count[several] - 1).sum())
        self.places += float(np.round(last_m[several] / PLACE_M).sum())

    def fade(self, keep: float) -> None:
        """What was learned of the penetration loses weight."""
        self.seen *= keep
        self.places *= keep

    def close_minute(self, cells: range, share: float | None) -> None:
        """Learn each lane's mean from the minute, and forget cells before it."""
        keep = math.exp(-1.0 / MEMORY_MINUTES)
        mean = (self._posterior(self._places(cells), share) * np.arange(MAX_PLACES + 1)).sum(axis=1)
        self._sums[self._lanes] = self._sums[self._lanes] * keep + mean
        self._weights[self._lanes] = self._weights[self._lanes] * keep + 1.0
        for cell in [cell for cell in self._reach if cell < cells.start]:
            del self._reach[cell]

    def _places(self, cells: range) -> Indexes:
        """Place of the last one seen in these cells (n_asked,); 0 where nobody was."""
        reach_m = self._reach_m(cells)
        places = np.where(reach_m > 0.0, np.round(reach_m / PLACE_M) + 1, 0).astype(np.int64)
        return np.minimum(places, MAX_PLACES)

    def _reach_m(self, cells: range) -> Floats:
        reach_m = np.zeros(len(self._lanes))
        for cell in cells:
            if cell in self._reach:
                reach_m = np.maximum(reach_m, self._reach[cell][self._lanes])
        return reach_m

    def _posterior(self, places: Indexes, share: float | None) -> Floats:
        """P(n) of each lane that ends at a signal, (n_asked, MAX_PLACES + 1)."""
        lanes = self._lanes
        mean = np.maximum(self._sums[lanes] / self._weights[lanes], 0.2)[:, None]
        numbers = np.arange(MAX_PLACES + 1)
        log_p = _LOG_WAYS + numbers * np.log(mean / (DISPERSION + mean))
        unseen = numbers - places[:, None]
        log_p = log_p + unseen * math.log(1.0 - min(share or 0.0, MAX_SHARE))
        log_p[unseen < 0] = -np.inf
        weight = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        p: Floats = weight / weight.sum(axis=1, keepdims=True)
        return p

    def lengths(self, cells: range, share: float | None) -> LaneQueues:
        """The longest queue of each segment in these cells, line to the last one's front."""
        n_segments = self._road_map.n_segments
        found = [np.full(n_segments, np.nan) for _ in MIDDLE]
        is_observed = np.zeros(n_segments, np.bool_)
        if not len(self._lanes):
            return LaneQueues(found[0], found[1], found[2], is_observed)
        reach_m, places = self._reach_m(cells), self._places(cells)
        below = np.cumsum(self._posterior(places, share), axis=1)
        first, segments = self._first_asked, self._segments
        together = np.multiply.reduceat(below, first, axis=0)
        seen = np.maximum.reduceat(places, first)
        seen_m = np.maximum.reduceat(reach_m, first)
        is_observed[segments] = seen > 0
        for length_of, quantile in zip(found, MIDDLE, strict=True):
            places_now = (together < quantile).sum(axis=1)
            more_m = (places_now - np.maximum(seen, 1)) * PLACE_M
            # Who stands in the first place is at the line: its queue is no metre long.
            length_m = np.maximum(seen_m + more_m, seen_m)
            length_of[segments] = np.minimum(length_m, self._road_map.segment_length_m[segments])
        return LaneQueues(found[0], found[1], found[2], is_observed)

    def snapshot(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Plain facts and arrays for a checkpoint."""
        cells = sorted(self._reach)
        waiting = np.concatenate(self._waiting, axis=1) if self._waiting else np.zeros((3, 0))
        reach = [self._reach[cell] for cell in cells]
        empty = np.zeros((0, self._road_map.n_lanes), np.float32)
        facts = {"done_s": self._done_s, "cells": cells, "seen": self.seen, "places": self.places}
        return facts, {
            "queue_reach": np.stack(reach) if reach else empty,
            "queue_sums": self._sums.copy(),
            "queue_weights": self._weights.copy(),
            "queue_waiting": waiting,
        }

    @classmethod
    def restore(
        cls, road_map: RoadMap, facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> Queues:
        """What `snapshot` wrote."""
        queues = cls(road_map)
        queues._done_s = facts["done_s"]
        queues.seen, queues.places = facts["seen"], facts["places"]
        queues._reach = dict(zip(facts["cells"], arrays["queue_reach"], strict=True))
        queues._sums, queues._weights = arrays["queue_sums"], arrays["queue_weights"]
        waiting = arrays["queue_waiting"]
        queues._waiting = [waiting] if waiting.shape[1] else []
        return queues


_LOG_WAYS = np.array(
    [
        math.lgamma(n + DISPERSION) - math.lgamma(DISPERSION) - math.lgamma(n + 1)
        for n in range(MAX_PLACES + 1)
    ]
)


def _limits_m(starts: npt.NDArray[np.bool_], share: float | None) -> Floats:
    """Longest gap that still is one queue; unseen vehicles lengthen it."""
    seen = min(share or 0.3, MAX_SHARE)
    unseen_m = PLACE_M * math.log(UNSEEN_BY_CHANCE) / math.log(1.0 - seen)
    return np.maximum(np.where(starts, FIRST_M, NEXT_M), unseen_m)


def _unbroken(is_gap: npt.NDArray[np.bool_], starts: npt.NDArray[np.bool_]) -> Any:
    """Rows of a group before its first gap."""
    gaps = np.cumsum(is_gap)
    before_group = np.maximum.accumulate(np.where(starts, gaps - is_gap, 0))
    return gaps == before_group
