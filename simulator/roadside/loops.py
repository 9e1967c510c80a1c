"""Induction loops: vehicles counted, their mean speed and the occupancy, per lane and period.

One loop of 2 m in every lane of the edges long enough, AHEAD_M before the lane's end: behind the
usual queue's head, where approaches are counted. A vehicle counts when its front comes over the
loop's start. Occupancy is the share of time in which a body is over the loop, at even speed within
a step of the engine. A small share of vehicles is not counted (FHWA, Traffic Detector Handbook,
FHWA-HRT-06-108, has miscounts of a few percent).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.sampling import mixed, name_hashes, uniform
from simulator.traffic.engine import Traffic
from simulator.traffic.events import Truth

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

AHEAD_M, LOOP_M = 40.0, 2.0
LEAST_EDGE_M = 80.0
MISSED_RATIO = 0.01


class LoopPeriod(NamedTuple):
    """What all loops counted over one period; every array (n_loops,)."""

    lane: IntArray
    vehicles: IntArray
    speed_mps: FloatArray  # NaN where nobody came
    occupancy_ratio: FloatArray


class Loops:
    """All loops of a network; a Runner of the traffic engine."""

    def __init__(self, traffic: Traffic, seed: int) -> None:
        network = traffic.network
        normal = np.arange(network.n_normal)
        self.lane = normal[network.length_m[normal] >= LEAST_EDGE_M]
        self.at_m = network.length_m[self.lane] - AHEAD_M
        self._of_lane = np.full(network.n_lanes, -1, np.int64)
        self._of_lane[self.lane] = np.arange(len(self.lane))
        self._hashes = name_hashes(seed, "loop", [network.lane_name[k] for k in self.lane.tolist()])
        self._lane = np.full(traffic.demand.n, -1, np.int64)  # of each vehicle, a step ago
        self._front_m = np.zeros(traffic.demand.n)
        self._begin()

    def _begin(self) -> None:
        n = len(self.lane)
        self._count = np.zeros(n, np.int64)
        self._speeds_mps, self._covered_s, self._time_s = np.zeros(n), np.zeros(n), 0.0

    def before_step(self, traffic: Traffic) -> None:
        """See Runner: where everybody is."""
        rows = traffic.rows
        self._lane[rows.vehicle] = rows.lane
        self._front_m[rows.vehicle] = rows.offset_m

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """See Runner: who came over which loop."""
        del truth
        rows, dt_s = traffic.rows, traffic.dt_s
        self._time_s += dt_s
        near = np.flatnonzero(self._of_lane[rows.lane] >= 0)
        loop, vehicle = self._of_lane[rows.lane[near]], rows.vehicle[near]
        now_m, speed_mps = rows.offset_m[near], rows.speed_mps[near]
        moved_m = np.maximum((speed_mps - 0.5 * rows.accel_mps2[near] * dt_s) * dt_s, 0.0)
        stayed = self._lane[vehicle] == rows.lane[near]
        was_m = np.where(stayed, self._front_m[vehicle], now_m - moved_m)
        at_m = self.at_m[loop]
        covered_s = _covered(was_m, now_m, at_m, at_m + LOOP_M + rows.length_m[near]) * dt_s
        np.add.at(self._covered_s, loop, covered_s)
        draw = uniform(mixed(self._hashes[loop], vehicle))
        over = (was_m < at_m) & (at_m <= now_m) & (draw >= MISSED_RATIO)
        np.add.at(self._count, loop[over], 1)
        np.add.at(self._speeds_mps, loop[over], speed_mps[over])

    def take(self) -> LoopPeriod:
        """What was counted since the last call."""
        count, time_s = self._count, max(self._time_s, 1e-9)
        mean = np.divide(self._speeds_mps, count, out=np.full(len(count), np.nan), where=count > 0)
        found = LoopPeriod(self.lane, count, mean, np.minimum(self._covered_s / time_s, 1.0))
        self._begin()
        return found

    def __hash__(self) -> int:
        return id(self)


def _covered(was_m: FloatArray, now_m: FloatArray, from_m: FloatArray, to_m: FloatArray
             ) -> FloatArray:  # fmt: skip
    """Share of a step in which a front that goes evenly from one place to another is between."""
    way_m = np.maximum(now_m - was_m, 1e-6)
    first, last = np.clip((from_m - was_m) / way_m, 0, 1), np.clip((to_m - was_m) / way_m, 0, 1)
    return np.maximum(last - first, 0.0)
