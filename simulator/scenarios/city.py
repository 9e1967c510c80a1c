"""A town: any imported network, or a grid of signals; traffic over all of it.

`map` is a SUMO net or an OpenStreetMap or GeoJSON file. Somebody brakes hard on the busiest
streets, and a vehicle breaks down on one of them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from simulator.faults.kind import Parameter
from simulator.roadside.equipment import EQUIPMENT
from simulator.scenarios import ScenarioError
from simulator.scenarios.roads import BUS_STOPS, share_of_usual, traffic_world, values_of
from simulator.traffic import generators
from simulator.traffic.actuated import ActuatedSignals
from simulator.traffic.demand import TOWN_MIX, Flow
from simulator.traffic.events import Event, HardBrake, StoppedVehicle
from simulator.traffic.from_map import read_network
from simulator.traffic.network import NOWHERE, TrafficNetwork
from simulator.traffic.plans import Plans
from simulator.traffic.rerouting import Rerouting
from simulator.traffic.world import TrafficWorld

USUAL_PER_H = 5000
MOST_FLOWS = 60
LEAST_M = 120.0
"""A street long enough to break down on."""
BUSY_STREETS = 6
SIGNALS = ("fixed", "actuated")


class CityScenario:
    """The scenario as a plug-in."""

    name = "city"
    description = "a town on any imported network (--map FILE) or a grid; breakdown, hard braking"
    parameters = (
        Parameter("map", "", "SUMO net, OpenStreetMap or GeoJSON file; empty: a grid"),
        Parameter("columns", 4.0, "of the grid", low=2.0, high=40.0),
        Parameter("rows", 3.0, "of the grid", low=2.0, high=40.0),
        Parameter("breakdown_s", 20.0, "when a vehicle breaks down"),
        Parameter("breakdown_for_s", 180.0, "how long it stands"),
        Parameter(
            "signals",
            "fixed",
            "or actuated: greens end when nobody comes any more",
            choices=SIGNALS,
        ),
        Parameter("reroute_s", 0.0, "drivers choose their way anew by the traffic, 0 never"),
        *BUS_STOPS,
        *EQUIPMENT,
    )

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
        """See Scenario; `vehicles` are those of an hour."""
        values = values_of(self.parameters, more)
        per_h = USUAL_PER_H * share_of_usual(vehicles, USUAL_PER_H)
        if path := str(values["map"]):
            network = read_network(Path(path))
        else:
            network = generators.grid(int(values["columns"]), int(values["rows"]))
        if values["signals"] not in SIGNALS:
            raise ScenarioError(
                f"signals is {values['signals']!r}, expected {' or '.join(SIGNALS)}"
            )
        is_actuated = values["signals"] == "actuated"
        reroute_s = float(values["reroute_s"])
        pairs, streets = _ways(network, seed)
        flows = [Flow(start, end, per_h / len(pairs), mix=TOWN_MIX) for start, end in pairs]
        events: list[Event] = [HardBrake(street, at_s=2.0, least_mps=5.0) for street in streets]
        if streets:
            events.append(
                StoppedVehicle(
                    streets[0],
                    lane=0,
                    at_m=LEAST_M / 2,
                    from_s=float(values["breakdown_s"]),
                    for_s=float(values["breakdown_for_s"]),
                )
            )
        return traffic_world(
            f"City {Path(path).name}" if path else "City", network, flows, events, zone=zone,
            run_id=run_id, seed=seed, duration_s=duration_s, start_ns=start_ns, flags=values,
            signals=ActuatedSignals(network.signals) if is_actuated else None,
            also=[Rerouting(reroute_s)] if reroute_s > 0 else [],
        )  # fmt: skip


def _ways(network: TrafficNetwork, seed: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Origins and destinations drawn by the seed, and the streets most of their ways share.

    Raises ScenarioError for a network that nobody can cross.
    """
    entries, exits = network.entries(), network.exits()
    if not len(entries) or not len(exits):
        raise ScenarioError("the network has no edge to enter or none to leave by")
    plans = Plans(network)
    rows = plans.to_edges(exits)
    random = np.random.default_rng(seed)
    pairs = list[tuple[str, str]]()
    used = Counter[int]()
    for _ in range(MOST_FLOWS * 4):
        start, place = int(random.choice(entries)), int(random.integers(len(exits)))
        way = _way(plans.next_edge[rows[place]], start, int(exits[place]))
        if len(way) >= 3 and len(pairs) < MOST_FLOWS:
            pairs.append((network.edge_ids[start], network.edge_ids[int(exits[place])]))
            used.update(way[1:-1])
    if not pairs:
        raise ScenarioError("no way leads over three edges of the network")
    lengths_m = network.edge_length_m
    busy = [e for e, _ in used.most_common() if lengths_m[e] >= LEAST_M][:BUSY_STREETS]
    return pairs, [network.edge_ids[edge] for edge in busy]


def _way(next_edge: np.ndarray[Any, np.dtype[np.int64]], start: int, goal: int) -> list[int]:
    """Edges from start to goal; shorter than two where no way leads there."""
    way = [start]
    while way[-1] != goal:
        after = int(next_edge[way[-1]])
        if after == NOWHERE or len(way) > len(next_edge):
            return []
        way.append(after)
    return way


PLUGIN = CityScenario()
