"""The work of a terminal: which truck goes where, who is served when, who charges.

An automated truck goes from a crane to a stack with a container, back empty, and to the chargers
when its charge is low. A truck from outside stops at a gate, at a bay, and leaves. Each berth
serves one truck at a time, in the order of arrival; those behind it wait on the berth's own edge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.sampling import mixed, name_hash, uniform
from simulator.scenarios.port_map import Terminal
from simulator.traffic.engine import Traffic
from simulator.traffic.events import Truth
from simulator.traffic.plans import Plans

CRANE_S, STACK_S, BAY_S, GATE_S = (60.0, 100.0), (35.0, 70.0), (60.0, 150.0), (15.0, 40.0)
"""Least and most of a service: 36 to 60 moves an hour of a crane, and what follows from it."""
AT_BERTH_M, STANDING_MPS = 3.0, 0.2
CONTAINER_KG = 20_000.0
MOST_QUEUED = 4
"""As many wait for a charger at most, if they can still drive; more would block the loop."""
RESERVE_RATIO = 0.12
"""With less charge a truck goes and waits, however many do."""
WAITING = "charge_in"
"""Edge at whose end trucks wait for a free charger."""

FloatArray = NDArray[np.float64]


@dataclass
class Errand:
    """What a truck is about."""

    berth: str  # edge it goes to or stands on; "" on its way out
    ends_s: float = np.inf  # of the service under way
    is_served: bool = False


@dataclass
class Work:
    """A Runner of the traffic engine; vehicles 0 to n_automated - 1 are automated trucks."""

    terminal: Terminal
    plans: Plans
    n_automated: int
    seed: int
    charge_below: float
    charge_to: float
    soc_ratio: Callable[[], FloatArray]
    """(n_automated,) charge as trucks know it."""
    errands: dict[int, Errand] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    """Stalls that do not work."""
    n_services: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        terminal = self.terminal
        counts = {"crane": terminal.cranes, "stack": terminal.stacks, "bay": terminal.stacks,
                  "gate": terminal.gates, "stall": terminal.stalls}  # fmt: skip
        self._berths = {kind: [f"{kind}_{k}" for k in range(n)] for kind, n in counts.items()}
        names = [*(name for kind in self._berths.values() for name in kind), WAITING, "out_gate"]
        goals = np.array([terminal.network.edge(name) for name in names], np.int64)
        rows: list[int] = self.plans.to_edges(goals).tolist()
        self._plan = dict(zip(names, rows, strict=True))

    def plan_to(self, edge_id: str) -> int:
        """Row of the plan that leads to a berth, to the chargers' queue, or out."""
        return self._plan[edge_id]

    def charging(self) -> dict[str, int]:
        """Which automated truck is plugged in at which stall."""
        return {
            errand.berth: vehicle
            for vehicle, errand in self.errands.items()
            if errand.is_served and errand.berth.startswith("stall")
        }

    def is_laden(self, vehicle: int) -> bool:
        """Whether an automated truck carries a container."""
        errand = self.errands.get(vehicle)
        return errand is not None and errand.berth.startswith("stack")

    def begin(self, traffic: Traffic, vehicle: int, berth: str, *, is_served: bool = False) -> None:
        """Give a truck an errand; `is_served` says that it is under way at its berth."""
        self.errands[vehicle] = Errand(berth, is_served=is_served)
        traffic.halt_at_m[vehicle] = self.terminal.berth(berth)
        traffic.send(vehicle, self._plan[berth])

    def before_step(self, traffic: Traffic) -> None:
        """Serve who has come to its berth, send on who is done, and give newcomers a gate."""
        for vehicle in traffic.rows.vehicle[traffic.rows.vehicle >= self.n_automated].tolist():
            if vehicle not in self.errands:
                self.begin(traffic, vehicle, self.least_busy("gate"))
        for vehicle in sorted(self.errands):
            errand = self.errands[vehicle]
            if errand.is_served:
                if self._is_done(errand, vehicle, traffic.now_s):
                    self._send_on(traffic, vehicle, errand)
            elif errand.berth and self._has_come(traffic, vehicle):
                self._serve(traffic, vehicle, errand)

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """Work is no incident."""

    def _has_come(self, traffic: Traffic, vehicle: int) -> bool:
        row = int(traffic.rows_of(np.array([vehicle]))[0])
        lane, at_m = traffic.halt_at_m[vehicle]
        rows = traffic.rows
        return (
            row >= 0
            and bool(rows.lane[row] == lane)
            and abs(float(rows.offset_m[row]) - at_m) < AT_BERTH_M
            and float(rows.speed_mps[row]) < STANDING_MPS
        )

    def _serve(self, traffic: Traffic, vehicle: int, errand: Errand) -> None:
        """Begin the service; who waits for a charger goes to a free one."""
        if errand.berth == WAITING:
            free = [s for s in self._berths["stall"] if s not in self.failed | self._taken()]
            if free:
                self.begin(traffic, vehicle, free[0])
            return
        errand.is_served = True
        kind = errand.berth.split("_")[0]
        if kind in _SERVICE_S:
            low_s, high_s = _SERVICE_S[kind]
            errand.ends_s = traffic.now_s + low_s + (high_s - low_s) * self._drawn(errand.berth)
        self.n_services[errand.berth] += 1

    def _drawn(self, berth: str) -> float:
        name = np.array([name_hash(self.seed, "service", berth)], np.uint64)
        return float(uniform(mixed(name, np.array([self.n_services[berth]])))[0])

    def _is_done(self, errand: Errand, vehicle: int, now_s: float) -> bool:
        if not errand.berth.startswith("stall"):
            return now_s >= errand.ends_s
        return errand.berth in self.failed or bool(self.soc_ratio()[vehicle] >= self.charge_to)

    def _send_on(self, traffic: Traffic, vehicle: int, errand: Errand) -> None:
        kind = errand.berth.split("_")[0]
        if vehicle >= self.n_automated:
            if kind == "gate":
                self.begin(traffic, vehicle, self.least_busy("bay"))
            else:
                traffic.release(vehicle)
                traffic.send(vehicle, self._plan["out_gate"])
                self.errands[vehicle] = Errand("")
        elif kind == "crane":
            self.begin(traffic, vehicle, self.least_busy("stack"))
        elif self._wants_charge(vehicle):
            self.begin(traffic, vehicle, WAITING)
        else:
            self.begin(traffic, vehicle, self.least_busy("crane"))

    def _wants_charge(self, vehicle: int) -> bool:
        charge = float(self.soc_ratio()[vehicle])
        queued = sum(errand.berth == WAITING for errand in self.errands.values())
        return charge < RESERVE_RATIO or (charge < self.charge_below and queued < MOST_QUEUED)

    def _taken(self) -> set[str]:
        return {errand.berth for errand in self.errands.values()}

    def least_busy(self, kind: str) -> str:
        """The berth that the fewest go to; of those the one that has served least."""
        busy = Counter(errand.berth for errand in self.errands.values())
        return min(self._berths[kind], key=lambda name: (busy[name], self.n_services[name], name))


_SERVICE_S = {"crane": CRANE_S, "stack": STACK_S, "bay": BAY_S, "gate": GATE_S}
