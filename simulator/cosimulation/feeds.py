"""Signals and induction loops of a running SUMO, as their controllers and units say them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from simulator.cosimulation.signals import ends_s
from simulator.cosimulation.stepper import Header, Loop, Passed, Phase, Report, Signal
from simulator.emission import Emitter, topic_id
from simulator.replay.side_feeds import LOOPS_WITHOUT_RSU
from simulator.replay.sumo_words import PHASE_OF_LETTER
from simulator.rsus import Rsus
from simulator.world import Outgoing

LOOP_PERIOD_S = 60.0
END_NAMES = ("min_end_ns", "max_end_ns", "likely_end_ns")


@dataclass
class LiveSignals:
    """Every signal group each second, with the ends its program allows."""

    epoch_ns: int
    _phases: dict[str, list[Phase]] = field(default_factory=dict)
    _now_s: float = 0.0
    _signals: list[Signal] = field(default_factory=list)

    def see(self, report: Report) -> None:
        """The newest report."""
        self._now_s, self._signals = report.time_s, report.signals
        for signal in report.signals:
            if signal.phases is not None:
                self._phases[signal.signal_id] = signal.phases

    def messages(self, emitter: Emitter, zone_time_ns: int) -> list[Outgoing]:
        """See Feed. Groups that tell their ends go before those that do not."""
        if not self._signals:
            return []
        names = [s.signal_id for s in self._signals for _ in s.state]
        groups = np.array([g for s in self._signals for g in range(len(s.state))], np.int64)
        letters = [letter for s in self._signals for letter in s.state]
        ends = np.concatenate(
            [
                ends_s(self._now_s, signal, self._phases.get(signal.signal_id, []))
                for signal in self._signals
            ],
            axis=1,
        )
        is_known = np.isfinite(ends).all(axis=0)
        messages = []
        for part in (np.flatnonzero(is_known), np.flatnonzero(~is_known)):
            if not part.size:
                continue
            chosen = [names[k] for k in part.tolist()]
            columns = {
                "sampled_at_ns": np.full(len(part), zone_time_ns, np.int64),
                "intersection_id": chosen,
                "signal_group": groups[part],
                "phase": [PHASE_OF_LETTER[letters[k]] for k in part.tolist()],
            }
            if is_known[part[0]]:
                ends_ns = self.epoch_ns + np.round(ends[:, part] * NS_PER_S).astype(np.int64)
                columns |= dict(zip(END_NAMES, ends_ns, strict=True))
            sources = np.array([emitter.source("signal", topic_id(name)) for name in chosen])
            words = [f"{name}:{group}" for name, group in zip(chosen, groups[part], strict=True)]
            subjects = (np.arange(len(part), dtype=np.int32), words)
            messages += emitter.emit("signal_state", sources, subjects, columns)
        return messages


@dataclass
class LiveLoops:
    """Counts of every loop each minute of zone time, said by the nearest roadside unit."""

    epoch_ns: int
    road_map: RoadMap
    rsus: Rsus
    _loops: list[Loop] = field(default_factory=list)
    _units: list[str] = field(default_factory=list)
    _since_s: float = 0.0
    _now_s: float = 0.0
    _n_reports: int = 0
    _sums: list[Passed] = field(default_factory=list)

    def begin(self, header: Header) -> None:
        """Which loops there are; those on lanes that the map leaves out are passed over."""
        lanes = {name: lane for lane, name in enumerate(self.road_map.lane_ids)}
        self._loops = header.loops
        self._units = [self._nearest(loop, lanes) for loop in header.loops]
        self._since_s = self._now_s = header.begin_s
        self._sums = [Passed(0, 0.0, 0.0) for _ in header.loops]

    def _nearest(self, loop: Loop, lanes: dict[str, int]) -> str:
        lane = lanes.get(loop.lane)
        if lane is None or not self.rsus.ids:
            return LOOPS_WITHOUT_RSU
        points = self.road_map.lane_points(lane)
        along_m = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        at = [np.interp(loop.at_m, along_m, points[:, axis]) for axis in (0, 1)]
        return self.rsus.ids[int(np.argmin(np.hypot(*(self.rsus.xy_m - at).T)))]

    def see(self, report: Report) -> None:
        """The newest report."""
        self._now_s = report.time_s
        self._n_reports += 1
        for total, seen in zip(self._sums, report.passed, strict=True):
            total.count += seen.count
            total.speed_sum_mps += seen.speed_sum_mps
            total.occupied_share += seen.occupied_share

    def messages(self, emitter: Emitter, zone_time_ns: int) -> list[Outgoing]:
        """See Feed."""
        if not self._loops or self._now_s - self._since_s < LOOP_PERIOD_S:
            return []
        n = len(self._loops)
        counts = np.array([total.count for total in self._sums], np.int64)
        sums_mps = np.array([total.speed_sum_mps for total in self._sums])
        columns = {
            "sampled_at_ns": np.full(n, zone_time_ns, np.int64),
            "segment_id": [loop.lane.rpartition("_")[0] for loop in self._loops],
            "lane_index": np.array([int(loop.lane.rpartition("_")[2]) for loop in self._loops]),
            "period_s": np.full(n, self._now_s - self._since_s),
            "count": counts,
            "speed_mps": np.where(counts > 0, sums_mps / np.maximum(counts, 1), np.nan),
            "occupancy_ratio": np.array([t.occupied_share for t in self._sums]) / self._n_reports,
        }
        self._since_s, self._n_reports = self._now_s, 0
        self._sums = [Passed(0, 0.0, 0.0) for _ in self._loops]
        sources = np.array([emitter.source("rsu", unit) for unit in self._units])
        subjects = (np.arange(n, dtype=np.int32), [topic_id(loop.loop_id) for loop in self._loops])
        return emitter.emit("loop_counts", sources, subjects, columns)
