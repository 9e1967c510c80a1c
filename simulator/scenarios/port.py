"""A container terminal: automated electric trucks between quay cranes and stacks, and chargers.

They charge at stalls that share the grid's power, and queue for them; trucks from outside come
through a gate to the other end of the stacks. One charger fails, one pack loses its insulation, and
one truck breaks down before a crane.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from simulator.energy.driven import DrivenPacks
from simulator.energy.faults import drawn_fault
from simulator.faults.kind import Parameter, Value
from simulator.roadside.equipment import EQUIPMENT
from simulator.scenarios import ScenarioError
from simulator.scenarios.port_map import AUTOMATED_MPS, Terminal, build
from simulator.scenarios.port_power import PORT_TRUCK, ChargerFault, Power
from simulator.scenarios.port_work import Work
from simulator.scenarios.roads import ENDLESS_S, demand_world, values_of
from simulator.traffic.demand import TRUCK, Demand, VehicleKind, demand_of
from simulator.traffic.engine import Traffic
from simulator.traffic.events import Event, StoppedVehicle
from simulator.traffic.plans import Plans
from simulator.traffic.world import TrafficWorld

AUTOMATED = VehicleKind("truck", 14.8, 3.0, 2.0, 0.6, 1.5, 1.0, 0.0, AUTOMATED_MPS)
OUTSIDE = replace(TRUCK, length_m=16.5, top_mps=12.0)
USUAL_AUTOMATED, LEAST_AUTOMATED, MOST_AUTOMATED = 24, 6, 60
SLOT_M = 30.0  # between trucks on the road at the start
CHARGE_TO, FAULT_SOON_S = 0.8, 30.0
LOWEST_RATIO, HIGHEST_RATIO = 0.3, 0.85


class PortScenario:
    """The scenario as a plug-in."""

    name = "port"
    description = (
        "a terminal's 24 automated electric trucks, cranes, stacks, a gate, shared chargers"
    )
    parameters = (
        Parameter("cranes", 6.0, "quay cranes, and as many stacks", low=2.0, high=12.0),
        Parameter("stalls", 4.0, "chargers", low=1.0, high=12.0),
        Parameter("grid_kw", 500.0, "what all chargers share", low=10.0, high=10_000.0),
        Parameter("charge_below_ratio", 0.45, "charge at which a truck goes to charge", low=0.1,
                  high=0.7),
        Parameter("gates", 3.0, "lanes of the gate for trucks from outside", low=1.0, high=8.0),
        Parameter("outside_per_h", 90.0, "such trucks an hour", high=400.0),
        Parameter("charger_fault_s", 5.0, "when a charger fails"),
        Parameter("charger_fault_for_s", 300.0, "for how long, 0 never"),
        Parameter("battery_fault_s", 4.0, "when a truck's pack begins to lose its insulation"),
        Parameter("breakdown_s", 20.0, "when a truck breaks down before the third crane"),
        Parameter("breakdown_for_s", 180.0, "how long it stands"),
        *EQUIPMENT,
    )  # fmt: skip

    def make(
        self,
        *,
        zone: str,
        run_id: str,
        seed: int = 1,
        duration_s: float | None = None,
        vehicles: int | None = None,
        start_ns: int | None = None,
        **more: Any,
    ) -> TrafficWorld:
        """See Scenario; `vehicles` are the automated trucks."""
        values = values_of(self.parameters, more)
        n = USUAL_AUTOMATED if vehicles is None else vehicles
        if not LEAST_AUTOMATED <= n <= MOST_AUTOMATED:
            raise ScenarioError(f"vehicles is {n}, expected {LEAST_AUTOMATED} to {MOST_AUTOMATED}")
        terminal = build(*(int(float(values[name])) for name in ("cranes", "stalls", "gates")))
        places = _places(terminal)
        if n - _at_stalls(terminal, n) > len(places):
            fits = [k for k in range(n) if k - _at_stalls(terminal, k) <= len(places)]
            raise ScenarioError(
                f"vehicles is {n}, expected at most {max(fits)} with "
                f"{terminal.cranes} cranes and {terminal.stalls} stalls"
            )
        random = np.random.default_rng([seed, 7])
        power = _power(values, n, random)
        plans = Plans(terminal.network)
        work = Work(terminal, plans, n, seed, float(values["charge_below_ratio"]), CHARGE_TO,
                    power.soc_ratio)  # fmt: skip
        power.work = work
        until_s = ENDLESS_S if duration_s is None else max(duration_s, 0.0)  # else refused below
        demand = _demand(terminal, work, n, float(values["outside_per_h"]), until_s, random)
        start = _Start(work, places, random)
        world = demand_world(
            "Port", terminal.network, plans, demand, _events(terminal, values), zone=zone,
            run_id=run_id, seed=seed, duration_s=duration_s, start_ns=start_ns, warm_up_s=0.0,
            flags=values, also=[power, work], extras=[power],
        )  # fmt: skip
        start.put(world.traffic)
        return world


def _events(terminal: Terminal, values: Mapping[str, Value]) -> list[Event]:
    crane = min(2, terminal.cranes - 1)
    return [
        StoppedVehicle(
            f"apron_{crane}",
            lane=1,
            at_m=70.0,
            from_s=float(values["breakdown_s"]),
            for_s=float(values["breakdown_for_s"]),
        )
    ]


def _power(values: Mapping[str, Value], n: int, random: np.random.Generator) -> Power:
    """The packs, the first ones emptiest: they stand at the chargers at the start."""
    ids = [f"agv-{number + 1:03d}" for number in range(n)]
    soc = np.sort(random.uniform(LOWEST_RATIO, HIGHEST_RATIO, n))
    from_s = float(values["battery_fault_s"])
    fault = drawn_fault("insulation", n - 1, PORT_TRUCK, from_s=from_s, random=random)
    fault.detail["falls_for_s"] = FAULT_SOON_S
    packs = DrivenPacks(PORT_TRUCK, ids, soc, random, faults=[fault])
    charger_fault = ChargerFault(
        float(values["charger_fault_s"]), float(values["charger_fault_for_s"])
    )
    return Power(packs, float(values["grid_kw"]) * 1000.0, charger_fault, CHARGE_TO)


def _demand(
    terminal: Terminal, work: Work, n: int, per_h: float, until_s: float,
    random: np.random.Generator,
) -> Demand:  # fmt: skip
    """The automated trucks, and those that come to the gate."""
    times = np.sort(random.uniform(0.0, until_s, random.poisson(per_h * until_s / 3600.0)))
    m = len(times)
    network = terminal.network
    ids = [f"agv-{k + 1:03d}" for k in range(n)] + [f"truck-{k + 1:04d}" for k in range(m)]
    return demand_of(
        np.concatenate([np.full(n, -1.0), times]),
        np.concatenate([np.full(n, network.edge("hand_0")), np.full(m, network.edge("in_gate"))]),
        np.concatenate([np.full(n, work.plan_to("crane_0")), np.full(m, work.plan_to("gate_0"))]),
        np.concatenate([np.zeros(n, np.int64), np.ones(m, np.int64)]),
        int(random.integers(1 << 31)),
        (AUTOMATED, OUTSIDE),
        ids,
    )


def _places(terminal: Terminal) -> list[tuple[int, float]]:
    """Where trucks can be on the road at the start: lanes and offsets apart from each other."""
    network = terminal.network
    found = []
    for k in range(terminal.cranes):
        for name in (f"apron_{k}", f"hand_{k}"):
            for index in (0, 1):
                lane = network.lane(name, index)
                length_m = float(network.length_m[lane])
                found += [(lane, at_m) for at_m in np.arange(20.0, length_m - 10.0, SLOT_M)]
    return found


def _at_stalls(terminal: Terminal, n: int) -> int:
    """How many of n automated trucks stand at chargers at the start; the others need a place."""
    return min(terminal.stalls, n // 4)


class _Start:
    """Where everybody is at the beginning, and on which errand."""

    def __init__(
        self, work: Work, places: list[tuple[int, float]], random: np.random.Generator
    ) -> None:
        self._work, self._places, self._random = work, places, random

    def put(self, traffic: Traffic) -> None:
        """Trucks at every charger, if there are enough, and the others on the road."""
        work, n = self._work, self._work.n_automated
        n_charging = _at_stalls(work.terminal, n)
        stalls = [f"stall_{k}" for k in range(n_charging)]
        chosen = self._random.choice(len(self._places), n - n_charging, replace=False)
        places = [work.terminal.berth(stall) for stall in stalls]
        places += [self._places[k] for k in chosen.tolist()]
        speed = np.where(np.arange(n) < n_charging, 0.0, 0.8 * AUTOMATED_MPS)
        traffic.put(
            np.arange(n),
            np.array([lane for lane, _ in places], np.int64),
            np.array([at_m for _, at_m in places]),
            speed,
        )
        kinds = self._random.permutation(n - n_charging) % 2
        for vehicle in range(n):
            if vehicle < n_charging:
                work.begin(traffic, vehicle, stalls[vehicle], is_served=True)
            else:
                kind = ("crane", "stack")[int(kinds[vehicle - n_charging])]
                work.begin(traffic, vehicle, work.least_busy(kind))


PLUGIN = PortScenario()
