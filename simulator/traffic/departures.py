"""Entering the road: at an edge's start when there is room, or anywhere at the beginning."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.demand import Demand
from simulator.traffic.following import STANDSTILL_GAP_M
from simulator.traffic.network import NOWHERE, TrafficNetwork
from simulator.traffic.plans import Plans
from simulator.traffic.vehicles import STALE_M, STRIDE_M, TURNS, Rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TIGHTEST_RATIO = 0.8
"""Share of the wanted headway with which somebody enters."""
LATE_S = 0.5
SLOWEST_RATIO = 0.7
"""Who would have to enter slower than this share of the last one's speed waits."""


@dataclass
class Departures:
    """Queues before the entries of a network."""

    network: TrafficNetwork
    plans: Plans
    demand: Demand
    _queues: dict[int, deque[int]] = field(default_factory=dict)
    _next: int = 0
    _gone: set[int] = field(default_factory=set)

    @property
    def n_waiting(self) -> int:
        """Vehicles in the queues."""
        return sum(map(len, self._queues.values()))

    def enter(self, rows: Rows, now_s: float, limit_mps: FloatArray) -> None:
        """Let in who is due and has room, at most one for each lane."""
        due = int(self.demand.depart_s.searchsorted(now_s, side="right"))
        for vehicle in range(self._next, due):
            if vehicle in self._gone:
                continue
            edge = int(self.demand.entry_edge[vehicle])
            self._queues.setdefault(edge, deque()).append(vehicle)
        self._next = due
        vehicles: list[int] = []
        lanes: list[int] = []
        speeds: list[float] = []
        extras_m: list[float] = []
        key = rows.key() if self._queues else None
        for edge in sorted(self._queues):
            queue = self._queues[edge]
            taken: set[int] = set()
            assert key is not None
            while queue:
                found = self._place(rows, key, queue[0], edge, taken, limit_mps)
                if found is None:
                    break
                taken.add(found[0])
                vehicles.append(queue.popleft())
                lanes.append(found[0])
                speeds.append(found[1])
                extras_m.append(found[2])
            if not queue:
                del self._queues[edge]
        if vehicles:
            who = np.array(vehicles, np.int64)
            lane = np.array(lanes, np.int64)
            length_m = self.network.length_m[lane]
            offset_m = np.minimum(self.demand.length_m[who] + extras_m, 0.5 * length_m)
            self._add(rows, who, lane, offset_m, np.array(speeds))

    def _place(
        self,
        rows: Rows,
        key: FloatArray,
        vehicle: int,
        edge: int,
        taken: set[int],
        limit_mps: FloatArray,
    ) -> tuple[int, float, float] | None:
        """Lane, speed and way already driven: in the roomiest of the lanes good for one's way."""
        demand, plan = self.demand, int(self.demand.plan[vehicle])
        first, last = self.network.edge_lanes[edge : edge + 2]
        best: tuple[int, float, float] | None = None
        best_m = -np.inf
        for lane in range(int(first), int(last)):
            if lane in taken or not (self.network.is_for_cars[lane] or self.plans.is_bus[plan]):
                continue
            row = int(key.searchsorted(lane * STRIDE_M))
            there = row < rows.n and rows.lane[row] == lane
            rear_m = float(rows.offset_m[row] - rows.length_m[row]) if there else np.inf
            room_m = rear_m - min(demand.length_m[vehicle], 0.5 * self.network.length_m[lane])
            wanted = min(limit_mps[lane] * demand.speed_ratio[vehicle], demand.top_mps[vehicle])
            tight_s = demand.headway_s[vehicle] * TIGHTEST_RATIO
            speed = min(wanted, max((room_m - STANDSTILL_GAP_M) / tight_s, 0.0))
            slowest = min(SLOWEST_RATIO * float(rows.speed_mps[row]), wanted) if there else 0.0
            if room_m < STANDSTILL_GAP_M or speed < slowest:
                continue
            if there:  # the one ahead may be slow: enter so that one can adapt softly
                ahead_mps = float(rows.speed_mps[row])
                soft = np.sqrt(ahead_mps**2 + 2 * demand.braking_mps2[vehicle] * room_m)
                speed = min(speed, float(soft))
            goodness_m = min(room_m, 1e4) - 1e4 * abs(int(self.plans.change[plan, lane]))
            if goodness_m > best_m:
                needed_m = STANDSTILL_GAP_M + speed * tight_s
                # It came within the last step, not at its end.
                extra_m = min(max(room_m - needed_m, 0.0), speed * LATE_S)
                best, best_m = (lane, float(speed), extra_m), goodness_m
        return best

    def put(
        self, rows: Rows, who: IntArray, lane: IntArray, offset_m: FloatArray, speed: FloatArray
    ) -> None:
        """Put vehicles on the road at once; their departures are over."""
        self._add(rows, who, lane, offset_m, speed)
        self._gone.update(who.tolist())

    def fill(self, rows: Rows, who: IntArray, seed: int, reach: float = 0.9) -> None:
        """Spread vehicles over all lanes evenly and let them stand: a start with a full net.

        Raises ValueError if they do not fit.
        """
        network = self.network
        random = np.random.default_rng(seed)
        n = network.n_normal
        spacing_m = 4.0 * STANDSTILL_GAP_M + float(self.demand.length_m[who].max(initial=0.0))
        usable = network.length_m[:n] * reach * network.is_for_cars[:n]
        most = np.floor(usable / spacing_m).astype(np.int64)
        if most.sum() < len(who):
            raise ValueError(f"{len(who)} vehicles, expected at most {most.sum()} on this network")
        slots = np.repeat(np.arange(n), most)
        chosen = np.sort(random.choice(len(slots), len(who), replace=False))
        lane = slots[chosen]
        rank = chosen - (np.cumsum(most) - most)[lane]
        offset_m = (rank + 1) * usable[lane] / most[lane]
        self.put(rows, who, lane, offset_m, np.zeros(len(who)))

    def _add(
        self, rows: Rows, who: IntArray, lane: IntArray, offset_m: FloatArray, speed: FloatArray
    ) -> None:
        demand, n = self.demand, len(who)
        new = Rows(
            lane=lane,
            offset_m=offset_m,
            speed_mps=speed,
            accel_mps2=np.zeros(n),
            vehicle=who,
            plan=demand.plan[who],
            next_lane=self.plans.connector[demand.plan[who], lane].astype(np.int64),
            came_from=np.full(n, NOWHERE, np.int64),
            came_from2=np.full(n, NOWHERE, np.int64),
            to_left_m=np.zeros(n),
            changed_s=np.full(n, -np.inf),
            waited_s=np.zeros(n),
            is_stopping=np.zeros(n, np.bool_),
            length_m=demand.length_m[who],
            headway_s=demand.headway_s[who],
            max_accel_mps2=demand.accel_mps2[who],
            braking_mps2=demand.braking_mps2[who],
            turn=(who % TURNS).astype(np.int8),
            lane_m=np.full(n, STALE_M),
            free_mps=np.zeros(n),
            next_mps=np.zeros(n),
            slow_at_m=np.zeros(n),
            until_m=np.zeros(n),
            change=np.zeros(n, np.int8),
            is_fast=np.zeros(n, np.bool_),
        )
        old = rows.n
        rows.append(new)
        rows.restore_order(np.arange(rows.n) >= old, np.ones(rows.n, np.bool_))
