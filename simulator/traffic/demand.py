"""Who drives: classes of vehicles, and demand from origins to destinations or along routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.network import NetworkError, TrafficNetwork
from simulator.traffic.plans import Plans

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class VehicleKind:
    """A class of vehicles; accelerations after Treiber and Kesting 2013, table 11.2."""

    vehicle_class: str  # word of the contract's vehicle_class
    length_m: float
    width_m: float
    headway_s: float
    accel_mps2: float
    braking_mps2: float
    speed_ratio: float  # mean desired speed over the limit
    speed_spread: float  # its standard deviation
    top_mps: float


CAR = VehicleKind("car", 4.6, 1.85, 1.2, 1.8, 2.5, 1.0, 0.06, 50.0)
TRUCK = VehicleKind("truck", 12.0, 2.5, 1.7, 1.0, 2.0, 0.98, 0.03, 24.5)
BUS = VehicleKind("bus", 12.0, 2.55, 1.5, 1.1, 2.0, 0.98, 0.03, 27.0)
TWO_WHEELER = VehicleKind("motorcycle", 2.2, 0.8, 1.0, 2.5, 3.0, 1.05, 0.08, 50.0)
KINDS = {"car": CAR, "truck": TRUCK, "bus": BUS, "two_wheeler": TWO_WHEELER}
TOWN_MIX = {"car": 0.88, "truck": 0.06, "bus": 0.02, "two_wheeler": 0.04}

HEADWAY_SPREAD, ACCEL_SPREAD = 0.15, 0.15  # relative, of drivers of a class
LEAST_RATIO, MOST_RATIO = 0.6, 1.6


@dataclass(frozen=True)
class Flow:
    """Vehicles per hour from one edge to another, or along a route of edges."""

    from_edge: str
    to_edge: str
    vehicles_per_h: float
    from_s: float = 0.0
    to_s: float = np.inf
    mix: Mapping[str, float] = field(default_factory=lambda: {"car": 1.0})
    route: tuple[str, ...] = ()  # all edges, first and last included; empty: the quickest way
    is_random: bool = True  # Poisson arrivals; else evenly spaced


@dataclass(frozen=True)
class Demand:
    """All vehicles of a run by number, in order of departure; every array (n,)."""

    depart_s: FloatArray
    entry_edge: IntArray
    plan: IntArray
    kind: IntArray  # place in `kinds`
    length_m: FloatArray
    width_m: FloatArray
    headway_s: FloatArray
    accel_mps2: FloatArray
    braking_mps2: FloatArray
    speed_ratio: FloatArray
    top_mps: FloatArray
    ids: tuple[str, ...]
    kinds: tuple[VehicleKind, ...] = (CAR, TRUCK, BUS, TWO_WHEELER)

    @property
    def n(self) -> int:
        """How many vehicles."""
        return len(self.depart_s)

    def with_ids(self, ids: Sequence[str]) -> Demand:
        """The same under other names."""
        return replace(self, ids=tuple(ids))


def demand_of(
    depart_s: FloatArray,
    entry_edge: IntArray,
    plan: IntArray,
    kind: IntArray,
    seed: int,
    kinds: Sequence[VehicleKind] = (CAR, TRUCK, BUS, TWO_WHEELER),
    ids: Sequence[str] | None = None,
) -> Demand:
    """Demand of these departures; drivers differ within their class by the seed."""
    random = np.random.default_rng(seed)
    n = len(depart_s)

    def of_kind(name: str) -> FloatArray:
        return np.array([getattr(k, name) for k in kinds], np.float64)[kind]

    spread = random.standard_normal((3, n))
    ratio = of_kind("speed_ratio") + of_kind("speed_spread") * spread[0]
    order = np.argsort(depart_s, kind="stable")
    names = tuple(ids) if ids is not None else tuple(f"veh-{k + 1:06d}" for k in range(n))
    headway_s = of_kind("headway_s") * np.clip(1.0 + HEADWAY_SPREAD * spread[1], 0.6, 1.6)
    accel_mps2 = of_kind("accel_mps2") * np.clip(1.0 + ACCEL_SPREAD * spread[2], 0.6, 1.5)
    picked = names if ids is None else tuple(names[k] for k in order.tolist())
    return Demand(
        depart_s=np.asarray(depart_s, np.float64)[order],
        entry_edge=np.asarray(entry_edge, np.int64)[order],
        plan=np.asarray(plan, np.int64)[order],
        kind=np.asarray(kind, np.int64)[order],
        length_m=of_kind("length_m")[order],
        width_m=of_kind("width_m")[order],
        headway_s=headway_s[order],
        accel_mps2=accel_mps2[order],
        braking_mps2=of_kind("braking_mps2")[order],
        speed_ratio=np.clip(ratio, LEAST_RATIO, MOST_RATIO)[order],
        top_mps=of_kind("top_mps")[order],
        ids=picked,
        kinds=tuple(kinds),
    )


def flows_to_demand(
    network: TrafficNetwork,
    plans: Plans,
    flows: Sequence[Flow],
    until_s: float,
    seed: int,
    *,
    warm_up_s: float = 0.0,
) -> Demand:
    """Departures of all flows up to `until_s`; flows from 0 on begin with the warm-up.

    Raises NetworkError for a flow no way leads along.
    """
    random = np.random.default_rng(seed)
    rows = _plans_of(network, plans, flows)
    words = tuple(KINDS)
    departs, entries, chosen, kinds = [], [], [], []
    for flow, row in zip(flows, rows, strict=True):
        start_s = flow.from_s if flow.from_s > 0.0 else -warm_up_s
        times = _times(flow, start_s, min(until_s, flow.to_s), random)
        shares = np.array([flow.mix.get(word, 0.0) for word in words])
        departs.append(times)
        entries.append(np.full(len(times), network.edge(flow.from_edge)))
        chosen.append(np.full(len(times), row))
        kinds.append(random.choice(len(words), len(times), p=shares / shares.sum()))
    if not departs:
        empty = np.empty(0, np.int64)
        return demand_of(np.empty(0), empty, empty, empty, seed)
    return demand_of(
        np.concatenate(departs),
        np.concatenate(entries),
        np.concatenate(chosen),
        np.concatenate(kinds),
        seed + 1,
        tuple(KINDS.values()),
    )


def _times(flow: Flow, from_s: float, until_s: float, random: np.random.Generator) -> FloatArray:
    span_s = until_s - from_s
    if span_s <= 0 or flow.vehicles_per_h <= 0:
        return np.empty(0, np.float64)
    expected = flow.vehicles_per_h * span_s / 3600.0
    if not flow.is_random:
        return np.asarray(from_s + np.arange(int(expected)) * 3600.0 / flow.vehicles_per_h)
    return np.sort(random.uniform(from_s, until_s, random.poisson(expected)))


def _plans_of(network: TrafficNetwork, plans: Plans, flows: Sequence[Flow]) -> list[int]:
    """A plan row for each flow: one for each goal, and one for each route."""
    goals = sorted({network.edge(flow.to_edge) for flow in flows if not flow.route})
    of_goal = dict(zip(goals, plans.to_edges(np.array(goals, np.int64)).tolist(), strict=True))
    routes = sorted({flow.route for flow in flows if flow.route})
    numbers = [[network.edge(edge) for edge in route] for route in routes]
    of_route = dict(zip(routes, plans.along(numbers).tolist(), strict=True)) if routes else {}
    rows = []
    for flow in flows:
        row = of_route[flow.route] if flow.route else of_goal[network.edge(flow.to_edge)]
        start = network.edge(flow.from_edge)
        if plans.next_edge[row, start] < 0 and plans.goal[row] != start:
            raise NetworkError(f"no way leads from {flow.from_edge} to {flow.to_edge}")
        rows.append(row)
    return rows
