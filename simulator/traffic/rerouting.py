"""Drivers who know the traffic: ways to goals are made anew by what edges take at the moment.

Once in `every_s` the mean speed of the vehicles on each edge is taken in, smoothed over a few looks
so that one red light is no jam, and every way to a goal (a fixed route is not one) follows the
quickest path by it. Who is near a junction has made up his mind and drives on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.engine import Traffic
from simulator.traffic.events import Truth

FloatArray = NDArray[np.float64]

LOOK_EVERY_S = 5.0
NEWEST_RATIO = 0.1
"""Weight of the newest look: half of a jam is known after half a minute."""
SLOWEST_MPS = 0.5
"""A standing edge is slow, not closed for ever."""
DECIDED_M = 80.0
"""This near to a junction nobody changes the way over it."""


@dataclass
class Rerouting:
    """See `simulator.traffic.events.Runner`."""

    every_s: float
    n_times: int = 0
    _mps: FloatArray | None = None  # (n_edges,)
    _look_s: float = -np.inf
    _reroute_s: float = -np.inf

    def before_step(self, traffic: Traffic) -> None:
        """Look at the edges, and make the ways anew when it is time."""
        now_s = traffic.now_s
        if now_s - self._look_s >= LOOK_EVERY_S:
            self._look_s = now_s
            self._look(traffic)
        if self._reroute_s == -np.inf:
            self._reroute_s = now_s  # at first the limits are as good as any measurement
        if now_s - self._reroute_s < self.every_s or self._mps is None:
            return
        self._reroute_s = now_s
        self.n_times += 1
        plans = traffic.plans
        rows = np.flatnonzero(plans.is_to_goal)
        plans.reroute(rows, traffic.network.edge_length_m / self._mps)
        traffic.replan(decided_m=DECIDED_M)

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """Choosing a way is no incident."""

    def _look(self, traffic: Traffic) -> None:
        network, rows = traffic.network, traffic.rows
        free = np.maximum(traffic.limit_mps[network.edge_lanes[:-1]], SLOWEST_MPS)
        edge = network.lane_edge[rows.lane]
        on = edge >= 0
        counts = np.bincount(edge[on], minlength=network.n_edges)
        sums = np.bincount(edge[on], weights=rows.speed_mps[on], minlength=network.n_edges)
        seen = np.where(counts > 0, sums / np.maximum(counts, 1), free)
        seen = np.clip(seen, SLOWEST_MPS, free)
        before = free if self._mps is None else self._mps
        self._mps = before + NEWEST_RATIO * (seen - before)
