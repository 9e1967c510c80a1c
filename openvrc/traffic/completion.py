"""State of every segment of a zone, completed in time and over the map: a fold over batches.

Reads the edge's 10 s windows (`segment_state`; a higher `revision` replaces one), `loop_counts`
and the edge's ticks; `states` gives what is believed of a window of 10 or 60 s that ends with the
newest closed cell (`segment_model` has the method). Windows older than 60 s fade with a time
constant of 450 s. A segment that nobody has been seen on for long has no state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.traffic.loops import LoopBook
from openvrc.traffic.penetration import MEMORY_S, Penetration, of_queues
from openvrc.traffic.queues import LaneQueues, Queues
from openvrc.traffic.segment_model import (
    Beliefs,
    Floats,
    Seen,
    Speeds,
    own_speeds,
    roads_of,
    speeds,
)
from openvrc.traffic.service_level import levels
from openvrc.traffic.signals import Delays, SignalTimes, pass_delays

CELL_S = 10
CELL_NS = CELL_S * NS_PER_S
MINUTE_CELLS = 6
WINDOWS_S = (10, 60)
FADE_S = 450.0
"""Signal programs and demand last longer, incidents shorter; 300 to 600 s differ by 2 %."""
RECENT_CELLS = 60
KEPT_CELLS = 66
"""The edge revises windows of the last 600 s."""
MAX_GAP_CELLS = 3600
"""Ten hours without a tick: what was before is forgotten at once."""
MIN_PASSES = 0.05
"""Own evidence below which no state is given: a twentieth of one vehicle's pass."""

STEADY = Beliefs(past_weight=(1.0, 1.0), max_past_passes=(1e9, 1e9))
"""The past counts as much as the window: measured on trips, docs/traffic.md."""

_FADE = float(np.exp(-CELL_S / FADE_S))
_KEEP_SHARE = float(np.exp(-CELL_S / MEMORY_S))
_TIME, _DISTANCE = 0, 1


class States(NamedTuple):
    """What is believed of each segment (n_segments,); NaN where there is no state."""

    window_end_ns: int
    window_s: int
    share: float | None
    """Estimated penetration, None where nothing tells it."""
    speed_mps: Floats
    speed_sd_mps: Floats
    model_speed_mps: Floats
    """The same without gaps: of segments without a state what the map's model expects."""
    model_speed_sd_mps: Floats
    density_vpkm: Floats
    """Of all vehicles; NaN, like the flow, where the penetration is not known."""
    flow_vph: Floats
    travel_time_s: Floats
    delay_s: Floats
    """Of a pass, against driving at the limit."""
    level: npt.NDArray[np.int8]
    """Index into `service_level.LEVELS`, -1 without a state."""
    is_observed: npt.NDArray[np.bool_]
    """Somebody was seen in this very window; otherwise the state is an estimate."""
    queues: LaneQueues
    """Longest queue of the last minute, of segments that end at a signal."""


class Completion:
    """The fold of one (zone, run) with one map."""

    def __init__(self, road_map: RoadMap, beliefs: Beliefs | None = None) -> None:
        self.road_map = road_map
        self.roads = roads_of(road_map)
        self.penetration = Penetration()
        self._beliefs = beliefs or Beliefs()
        self._loops = LoopBook()
        self._queues = Queues(road_map)
        self.signals = SignalTimes(known=_group_names(road_map))
        self._cells: dict[int, npt.NDArray[np.float32]] = {}
        self._past = np.zeros((2, road_map.n_segments))
        self._first = 0
        """The oldest cell that counts; known once there is a newest closed one."""
        self._closed: int | None = None
        self.version = 0
        """Another number whenever `states` may give something else."""

    @property
    def share(self) -> float | None:
        """Estimated penetration: from loops, else from queues; None where neither tells."""
        return self.penetration.share or of_queues(self._queues.seen, self._queues.places)

    @property
    def closed_ns(self) -> int | None:
        """End of the newest closed cell; None before the first."""
        return None if self._closed is None else (self._closed + 1) * CELL_NS

    def fold(self, batch: Batch) -> None:
        """Take one batch; messages that tell nothing about segments change nothing."""
        if batch.message == "segment_state":
            self._take_windows(batch)
        elif batch.message == "vehicle_state":
            self._queues.take(batch)
        elif batch.message == "signal_state":
            self.signals.take(batch)
        elif batch.message == "loop_counts":
            self._loops.take(batch, self.road_map)
        elif batch.message == "tick":
            marks = batch.column("watermark_ns")
            self.advance(int(marks.max()) if marks.max() != ABSENT_I64 else 0)

    def _take_windows(self, batch: Batch) -> None:
        words = batch.dictionary("subject_id")
        places = np.array([self._place(word) for word in words], np.int64)
        segment = places[batch.codes("subject_id")]
        wanted = (batch.column("window_s") == CELL_S) & (segment >= 0)
        if batch.n_rows and self.road_map.map_version not in batch.dictionary("map_version"):
            return
        numbers = batch.column("window_start_ns") // CELL_NS
        values = np.stack((batch.column("vehicle_s"), batch.column("distance_m")))
        for number in np.unique(numbers[wanted]).tolist():
            rows = np.flatnonzero(wanted & (numbers == number))
            self._replace(number, segment[rows], values[:, rows])

    def _place(self, segment_id: str) -> int:
        return self.road_map.index_of(segment_id) if segment_id in self.road_map else -1

    def _replace(self, number: int, segment: npt.NDArray[np.int64], values: Any) -> None:
        if self._closed is not None and number <= self._closed - KEPT_CELLS:
            return
        cell = self._cells.get(number)
        if cell is None:
            cell = self._cells[number] = np.zeros((2, self.road_map.n_segments), np.float32)
        if self._closed is not None and number <= self._closed - MINUTE_CELLS:
            age = self._closed - MINUTE_CELLS - number
            self._past[:, segment] += (values - cell[:, segment]) * _FADE**age
        self._first = min(self._first, number)  # `begin` sets it before it counts
        cell[:, segment] = values
        self.version += self._closed is None or number <= self._closed

    def advance(self, watermark_ns: int) -> None:
        """Cells that end by the watermark are closed."""
        self._queues.advance(watermark_ns, CELL_S, self.share)
        goal = watermark_ns // CELL_NS - 1
        if self._closed is None:
            if not self._cells:
                return
            self.begin(min(self._cells) * CELL_NS)
        if goal - (self._closed or 0) > MAX_GAP_CELLS:
            self._forget(goal)
        for number in range((self._closed or 0) + 1, goal + 1):
            self._close(number)

    def begin(self, at_ns: int) -> None:
        """The first cell is the one that holds this moment; by itself, that of the first window."""
        self._first = at_ns // CELL_NS
        self._closed = self._first - 1

    def _forget(self, goal: int) -> None:
        """Begin again with what came of the last minutes before the cell `goal`."""
        self._past[:], self._closed = 0.0, goal - KEPT_CELLS
        for number in [number for number in self._cells if number <= self._closed]:
            del self._cells[number]
        self._first = min(self._cells, default=goal)

    @property
    def _past_s(self) -> float:
        """Time that `_past` is of, faded like it: of empty cells as of others, else roads fill."""
        if self._closed is None:
            return 0.0
        n_cells = max(0, self._closed - MINUTE_CELLS - self._first + 1)
        return CELL_S * (1.0 - _FADE**n_cells) / (1.0 - _FADE)

    def _close(self, number: int) -> None:
        self._closed = number
        self.version += 1
        self._past *= _FADE
        leaves = self._cells.get(number - MINUTE_CELLS)
        if leaves is not None:
            self._past += leaves
        self._cells.pop(number - KEPT_CELLS, None)
        self.penetration.fade(CELL_S)
        self._queues.fade(_KEEP_SHARE)
        if (number + 1) % MINUTE_CELLS == 0:
            self._queues.close_minute(range(number - MINUTE_CELLS + 1, number + 1), self.share)
        for segment, first_ns, end_ns, counted in self._loops.due((number + 1) * CELL_NS):
            passed_m = self._distance_m(segment, first_ns, end_ns)
            if passed_m is not None:
                self.penetration.learn(counted, passed_m / float(self.roads.length_m[segment]))

    def _distance_m(self, segment: int, first_ns: int, end_ns: int) -> float | None:
        """What was driven on a segment in a time; None if its windows are no longer kept."""
        first, last = first_ns // CELL_NS, (end_ns - 1) // CELL_NS
        if self._closed is None or first <= self._closed - KEPT_CELLS:
            return None
        total_m = 0.0
        for number in range(first, last + 1):
            if number in self._cells:
                begins_ns = max(first_ns, number * CELL_NS)
                part = (min(end_ns, (number + 1) * CELL_NS) - begins_ns) / CELL_NS
                total_m += part * float(self._cells[number][_DISTANCE, segment])
        return total_m

    def states(self, window_s: int) -> States | None:
        """The newest closed window of this length, 10 or 60 s; None before the first."""
        if self._closed is None:
            return None
        n_cells = window_s // CELL_S
        window = self._sum(self._closed - n_cells + 1, self._closed, 1.0)
        past = self._past + self._sum(self._closed - MINUTE_CELLS + 1, self._closed - n_cells, 1.0)
        past_s = self._past_s + (MINUTE_CELLS - n_cells) * CELL_S
        return self._states(window_s, Seen(*window), Seen(*past), past_s)

    def steady_pass_s(self) -> Floats | None:
        """Time of a pass of each segment over the last minutes, NaN nowhere; None before any.

        For ways longer than a minute: a window's own signal phases are over before one gets there.
        """
        if self._closed is None:
            return None
        window = self._sum(self._closed - MINUTE_CELLS + 1, self._closed, 1.0)
        found = speeds(self.roads, Seen(*window), Seen(*self._past), 1.0, STEADY)
        steady_s: Floats = self.roads.length_m / np.maximum(found.speed_mps, 0.3)
        return steady_s

    def recent(self) -> Speeds | None:
        """What was seen in the last ten minutes, by itself; None before the first window.

        Long enough for several cycles of a signal, and for a speed to be held against typical days.
        """
        if self._closed is None:
            return None
        seen = self._sum(self._closed - RECENT_CELLS + 1, self._closed, 1.0)
        return own_speeds(self.roads, Seen(*seen), 1.0 if self.share is None else 1.0 - self.share)

    def approaches(self) -> tuple[Delays, LaneQueues] | None:
        """Delay of a pass of each segment lately, faded, and the longest queue of the last minute.

        None before the first window.
        """
        if self._closed is None:
            return None
        minute = self._sum(self._closed - MINUTE_CELLS + 1, self._closed, 1.0)
        delays = pass_delays(self.roads, Seen(*(minute + self._past)))
        return delays, self._queues.lengths(self._minute(), self.share)

    def _minute(self) -> range:
        last = self._closed or 0
        return range(last - MINUTE_CELLS + 1, last + 1)

    def _sum(self, first: int, last: int, weight: float) -> Floats:
        total = np.zeros((2, self.road_map.n_segments))
        for number in range(first, last + 1):
            if number in self._cells:
                total += weight * self._cells[number]
        return total

    def _states(self, window_s: int, window: Seen, past: Seen, past_s: float) -> States:
        roads, share = self.roads, self.share
        found = speeds(roads, window, past, 1.0 if share is None else 1.0 - share, self._beliefs)
        is_given = (found.passes >= MIN_PASSES) & roads.is_road
        speed_mps = np.where(is_given, found.speed_mps, np.nan)
        seen_m = window.distance_m + found.past_weight * past.distance_m
        seen_s = window_s + found.past_weight * past_s
        flow_vph = seen_m / roads.length_m / seen_s * 3600.0 / (np.nan if share is None else share)
        density_vpkm = flow_vph / np.maximum(found.speed_mps, 0.1) / 3.6
        standing = window.time_s + found.past_weight * past.time_s
        slow = found.speed_mps < 0.1  # nobody moves: time tells the density, distance does not
        if share is not None:
            by_time = standing / roads.length_m / seen_s * 1000.0 / share
            density_vpkm = np.where(slow, by_time, density_vpkm)
        travel_time_s = roads.length_m / np.maximum(speed_mps, 0.1)
        delay_s = np.maximum(travel_time_s - roads.length_m / roads.limit_mps, 0.0)
        return States(
            window_end_ns=(self._closed or 0) * CELL_NS + CELL_NS,
            window_s=window_s,
            share=share,
            speed_mps=speed_mps,
            speed_sd_mps=np.where(is_given, found.speed_sd_mps, np.nan),
            model_speed_mps=found.speed_mps,
            model_speed_sd_mps=found.speed_sd_mps,
            density_vpkm=np.where(is_given, density_vpkm, np.nan),
            flow_vph=np.where(is_given, flow_vph, np.nan),
            travel_time_s=travel_time_s,
            delay_s=delay_s,
            level=levels(
                roads.at_signal, roads.limit_mps, delay_s, density_vpkm / roads.lane_count,
                speed_mps,
            ),
            is_observed=window.time_s > 0.0,
            queues=self._queues.lengths(self._minute(), share),
        )  # fmt: skip

    def snapshot(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Plain facts and arrays, copied, for a checkpoint."""
        numbers = sorted(self._cells)
        cells = [self._cells[number] for number in numbers]
        shape = (0, 2, self.road_map.n_segments)
        queue_facts, queue_arrays = self._queues.snapshot()
        facts = {
            "queues": queue_facts,
            "signals": self.signals.snapshot(),
            "closed": self._closed,
            "first": self._first,
            "penetration": self.penetration.snapshot(),
            "loops": self._loops.snapshot(),
            "numbers": numbers,
        }
        arrays: dict[str, npt.NDArray[Any]] = {
            "past": self._past.copy(),
            "cells": np.stack(cells) if cells else np.zeros(shape, np.float32),
        }
        return facts, arrays | queue_arrays

    @classmethod
    def restore(
        cls, road_map: RoadMap, facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> Completion:
        """What `snapshot` wrote."""
        completion = cls(road_map)
        completion._closed = facts["closed"]
        # Not told until 2026-11-27.
        completion._first = facts.get("first", min(facts["numbers"], default=0))
        completion.penetration = Penetration.restore(facts["penetration"])
        completion._loops = LoopBook.restore(facts["loops"])
        completion._queues = Queues.restore(road_map, facts["queues"], arrays)
        completion.signals = SignalTimes.restore(
            facts.get("signals", {}),  # since 2026-11-27
            known=_group_names(road_map),
        )
        completion._past = arrays["past"]
        completion._cells = dict(zip(facts["numbers"], arrays["cells"], strict=True))
        return completion


def _group_names(road_map: RoadMap) -> frozenset[str]:
    """Signal groups of a map, named as their records."""
    return frozenset(f"{h.intersection_id}:{h.signal_group}" for h in road_map.signal_heads)
