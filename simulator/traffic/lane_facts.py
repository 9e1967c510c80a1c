"""What a lane means for the driver who has come into it: worked out once, kept with the vehicle.

Looking these up at each step would cost more than the driving: tables of plans by lanes are larger
than the caches, and a vehicle stays in a lane for dozens of steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.demand import Demand
from simulator.traffic.network import TrafficNetwork
from simulator.traffic.plans import Plans
from simulator.traffic.vehicles import STALE_M, Rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FAST_ROAD_MPS = 22.0
"""On roads faster than 80 km/h one keeps right."""
LOWEST_DESIRED_MPS = 0.5


@dataclass
class LaneFacts:
    """The facts of one network and demand, under the limits and plans of the moment."""

    network: TrafficNetwork
    plans: Plans
    demand: Demand
    _limit_mps: FloatArray = field(default_factory=lambda: np.empty(0))
    _speed_ratio: float = 1.0
    _version: int = 0

    def refresh(self, rows: Rows, limit_mps: FloatArray, speed_ratio: float) -> None:
        """Work out what is stale; everything, where limits (n_lanes,), weather or plans changed."""
        is_new = (
            speed_ratio != self._speed_ratio
            or self._version != self.plans.version
            or not np.array_equal(limit_mps, self._limit_mps)
        )
        if is_new:
            self._limit_mps, self._speed_ratio = limit_mps.copy(), speed_ratio
            self._version = self.plans.version
            rows.lane_m.fill(STALE_M)
        stale = np.flatnonzero(rows.lane_m < 0.0)
        if stale.size:
            self._work_out(rows, stale)

    def _work_out(self, rows: Rows, who: IntArray) -> None:
        network, n = self.network, self.network.n_normal
        lane, vehicle = rows.lane[who], rows.vehicle[who]
        lane_m = network.length_m[lane]
        ratio = self.demand.speed_ratio[vehicle] * self._speed_ratio
        free = np.minimum(self._limit_mps[lane] * ratio, self.demand.top_mps[vehicle])
        free = np.maximum(free, LOWEST_DESIRED_MPS)
        behind = rows.next_lane[who]
        next_mps = np.where(behind >= 0, self._limit_mps[behind] * ratio, np.inf)
        next_mps = np.maximum(next_mps, LOWEST_DESIRED_MPS)
        slowing_m = (free * free - next_mps * next_mps) / (2.0 * rows.braking_mps2[who])
        is_normal = lane < n
        plan, normal = rows.plan[who], np.where(is_normal, lane, 0)
        rows.lane_m[who], rows.free_mps[who], rows.next_mps[who] = lane_m, free, next_mps
        rows.slow_at_m[who] = np.where(slowing_m > 0.0, lane_m - slowing_m, np.inf)
        rows.change[who] = np.where(is_normal, self.plans.change[plan, normal], 0)
        rows.until_m[who] = np.where(is_normal, self.plans.until_m[plan, normal], np.inf)
        rows.is_fast[who] = is_normal & (network.limit_mps[lane] > FAST_ROAD_MPS)
