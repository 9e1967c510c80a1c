"""What scenarios on the traffic engine share: their demand, their parameters, their world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator.faults.kind import Parameter, Value
from simulator.replay.options import DEFAULT_EPOCH_NS
from simulator.roadside.crossing import Crossing
from simulator.roadside.equipment import equipment_of, weather_of
from simulator.roadside.weather import KINDS
from simulator.rsus import place_rsus, rsus_at
from simulator.scenarios import ScenarioError
from simulator.traffic.bus_stops import BusStops, stops_of, with_stops_every
from simulator.traffic.demand import Demand, Flow, flows_to_demand
from simulator.traffic.events import Event, Weather
from simulator.traffic.network import TrafficNetwork
from simulator.traffic.plans import Plans
from simulator.traffic.world import TrafficOptions, TrafficWorld

WARM_UP_S = 40.0
"""Enough for the first vehicles of every flow to have come some hundred metres."""
ENDLESS_S = 7200.0
"""Demand of a run without an end; then roads empty."""
MIN_VEHICLES, MAX_VEHICLES = 10, 20_000


def values_of(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Value]:
    """All parameters of a scenario. Raises ScenarioError for one that it does not have."""
    known = {parameter.name: parameter for parameter in parameters}
    values: dict[str, Value] = {p.name: p.default for p in parameters}
    for name, value in given.items():
        if name not in known:
            raise ScenarioError(f"parameter {name!r}, expected of {', '.join(known) or 'none'}")
        values[name] = _checked(known[name], value)
    return values


def _checked(parameter: Parameter, value: Any) -> Value:
    if isinstance(parameter.default, str):
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ScenarioError(f"{parameter.name} is {value!r}, expected a number") from None
    if not parameter.low <= number <= parameter.high:
        raise ScenarioError(
            f"{parameter.name} is {number:g}, expected {parameter.low:g} to {parameter.high:g}"
        )
    return number


def share_of_usual(vehicles: int | None, usual: int) -> float:
    """How much of the usual demand brings so many vehicles an hour. Raises ScenarioError."""
    if vehicles is None:
        return 1.0
    if not MIN_VEHICLES <= vehicles <= MAX_VEHICLES:
        raise ScenarioError(f"vehicles is {vehicles}, expected {MIN_VEHICLES} to {MAX_VEHICLES}")
    return vehicles / usual


def traffic_world(
    title: str,
    network: TrafficNetwork,
    flows: Sequence[Flow],
    events: Sequence[Event],
    *,
    seed: int,
    duration_s: float | None,
    warm_up_s: float = WARM_UP_S,
    **more: Any,
) -> TrafficWorld:
    """The world of a scenario whose traffic are flows; `more` are other words of `demand_world`.

    Raises ScenarioError for a duration that is none, and for flags out of range.
    """
    network, always = _with_buses(network, more.get("flags"), seed)
    plans = Plans(network)
    until_s = ENDLESS_S if duration_s is None else duration_s
    demand = flows_to_demand(network, plans, flows, until_s, seed, warm_up_s=warm_up_s)
    return demand_world(
        title, network, plans, demand, events,
        seed=seed, duration_s=duration_s, warm_up_s=warm_up_s,
        always=always, **more,
    )  # fmt: skip


def _with_buses(
    network: TrafficNetwork, flags: Mapping[str, Any] | None, seed: int
) -> tuple[TrafficNetwork, list[BusStops]]:
    """The network with stops, its map's own or as `BUS_STOPS` asks, and buses that halt there."""
    every_m = float((flags or {}).get("bus_stop_every_m", 0.0))
    if flags is None or every_m <= 0:
        return network, []
    if not network.road_map.bus_stops:
        network = with_stops_every(network, every_m, seed)
    return network, [BusStops(network, stops_of(network), float(flags["bus_stop_s"]), seed)]


def demand_world(
    title: str,
    network: TrafficNetwork,
    plans: Plans,
    demand: Demand,
    events: Sequence[Event],
    *,
    zone: str,
    run_id: str,
    seed: int,
    duration_s: float | None,
    start_ns: int | None,
    warm_up_s: float,
    flags: Mapping[str, Any] | None = None,
    walkers: Sequence[Crossing] = (),
    **more: Any,
) -> TrafficWorld:
    """The world of a scenario; `more` are other fields of `TrafficWorld`.

    `flags` are values of `EQUIPMENT`: who is connected, what roadside units see, the weather (for
    the units alone where the events bring their own). `walkers` are told of by a camera, or seen
    by a sensor at their crossing. Raises ScenarioError for a duration that is none, and for flags
    out of range.
    """
    options = TrafficOptions(
        seed=seed,
        duration_s=duration_s,
        warm_up_s=warm_up_s,
        connected_share=1.0 if flags is None else float(flags["connected_ratio"]),
    )
    weather = KINDS["clear"] if flags is None else weather_of(flags)
    if weather != KINDS["clear"] and not any(isinstance(event, Weather) for event in events):
        events = [*events, weather.event(0.0, ENDLESS_S)]
    rsus = place_rsus(network.road_map)
    has_sensors = flags is not None and float(flags["rsu_range_m"]) > 0
    if has_sensors and walkers:
        places = [rsus.xy_m, *(crossing.place_xy_m(network) for crossing in walkers)]
        rsus = rsus_at(network.road_map, np.vstack(places))
    roadside = None if flags is None else equipment_of(flags, rsus, seed, walkers)
    return TrafficWorld(
        rsus=rsus,
        roadside=roadside,
        also=[*walkers, *more.pop("also", ())],
        extras=[*more.pop("extras", ()), *(() if has_sensors else walkers)],
        zone=zone,
        run_id=run_id,
        title=title,
        network=network,
        plans=plans,
        demand=demand,
        options=options,
        events=events,
        start_ns=DEFAULT_EPOCH_NS if start_ns is None else start_ns,
        **more,
    )


CROSSING_GROUP = 4
"""People who wait and cross together."""


BUS_STOPS = (
    Parameter(
        "bus_stop_every_m",
        450.0,
        "buses stop about that often where the map has no stops, 0 never",
        high=1e5,
    ),
    Parameter("bus_stop_s", 20.0, "how long on average", low=1.0, high=600.0),
)
"""Flags of scenarios with buses."""


def crossings(
    streets: tuple[str, str], every_s: float, at_m: float = 150.0
) -> tuple[Crossing, ...]:
    """People who cross a street and the one back, this far from its start; nobody for 0 s."""
    if every_s <= 0:
        return ()
    return (Crossing(streets, at_m, every_s, CROSSING_GROUP, name="walker", source_id="rsu-001"),)
