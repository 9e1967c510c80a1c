"""Buses that stop: where stops are, who halts there, for how long.

A bus halts at every stop of the edges it drives along, in the stop's lane, which it changes into in
time; one that cannot get there drives on, and is counted. It stands as long as people take to get
off and on: log-normal about the mean with a coefficient of variation of 0.6, the middle of what the
Transit Capacity and Quality of Service Manual (TCRP 165, chapter 6) gives for on-line stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from openvrc.contracts.maps import RoadMap
from simulator.sampling import mixed, name_hash, share_of, uniform
from simulator.traffic.engine import Traffic
from simulator.traffic.events import Truth
from simulator.traffic.network import TrafficNetwork

DWELL_VARIATION = 0.6
FAST_ROAD_MPS = 22.0
"""Nobody gets on and off beside faster roads."""
FROM_ENDS_M, LONG_M = 30.0, 18.0
SOFT_MPS2 = 1.5
"""How hard a bus brakes for a stop: people stand in it."""
THERE_M, STANDING_MPS = 3.0, 0.2


@dataclass(frozen=True)
class BusStop:
    """Where the front of a bus stands."""

    edge: str
    lane: int  # index from the right
    at_m: float


def with_stops_every(network: TrafficNetwork, every_m: float, seed: int) -> TrafficNetwork:
    """The network with stops on its map, about that far apart, beside the right lane of its edges.

    Short edges have one by the seed, in proportion to their length; fast roads have none.
    """
    lanes, length_m = network.edge_lanes[:-1], network.edge_length_m
    drawn = share_of(seed, "bus-stop", network.edge_ids)
    counts = np.floor(length_m / every_m + drawn).astype(np.int64)
    counts[(network.limit_mps[lanes] >= FAST_ROAD_MPS) | (length_m < 3 * FROM_ENDS_M)] = 0
    document = network.road_map.to_geojson()
    count_of = dict(zip(network.edge_ids, counts.tolist(), strict=True))
    for feature in document["features"]:
        edge_id = feature.get("id")
        n = count_of.get(edge_id, 0)
        if not n:
            continue
        room_m = float(length_m[network.edge(edge_id)]) - 2 * FROM_ENDS_M
        ends_m = [FROM_ENDS_M + room_m * (k + 0.5) / n for k in range(n)]
        feature["properties"]["bus_stops"] = [
            {"id": f"stop:{edge_id}:{k + 1}", "start_m": end_m - LONG_M, "end_m": end_m}
            for k, end_m in enumerate(ends_m)
        ]
    return replace(network, road_map=RoadMap.from_geojson(document))


def stops_of(network: TrafficNetwork) -> list[BusStop]:
    """The stops of a network's map, in the rightmost lane that buses use of each edge.

    A stop's end is where a bus stands; those inside junctions are left out.
    """
    found = []
    numbers = {name: edge for edge, name in enumerate(network.edge_ids)}
    for stop in network.road_map.bus_stops:
        edge = numbers.get(stop.segment_id)
        if edge is not None:
            lane = int(network.edge_lanes[edge])
            at_m = min(stop.end_m, float(network.length_m[lane]) - 1.0)
            found.append(BusStop(stop.segment_id, int(network.lane_index[lane]), at_m))
    return found


@dataclass
class _Visit:
    stop: int
    ends_s: float = np.inf


@dataclass
class BusStops:
    """A Runner of the traffic engine."""

    network: TrafficNetwork
    stops: Sequence[BusStop]
    dwell_s: float
    seed: int
    n_served: int = 0
    n_missed: int = 0
    _visits: dict[int, _Visit] = field(default_factory=dict)
    _served: dict[int, int] = field(default_factory=dict)
    """The stop each bus has just left, while it is on that edge."""

    def __post_init__(self) -> None:
        """Raises NetworkError for a stop that is nowhere."""
        network = self.network
        self._lane = [network.lane(stop.edge, stop.lane) for stop in self.stops]
        self._edge = [network.edge(stop.edge) for stop in self.stops]
        self._of_edge: dict[int, list[int]] = {}
        order = sorted(range(len(self.stops)), key=lambda k: self.stops[k].at_m)
        for number in order:
            self._of_edge.setdefault(self._edge[number], []).append(number)
        self._has_stops = np.zeros(network.n_edges + 1, np.bool_)  # the last one: of connectors
        self._has_stops[self._edge] = True
        self._is_bus: NDArray[np.bool_] | None = None

    def before_step(self, traffic: Traffic) -> None:
        """Let buses halt that come to a stop, and those drive on that have stood long enough."""
        rows, demand = traffic.rows, traffic.demand
        if self._is_bus is None:
            is_bus = np.array([kind.vehicle_class == "bus" for kind in demand.kinds])
            self._is_bus = is_bus[demand.kind]
        bus = np.flatnonzero(self._is_bus[rows.vehicle])
        edges = self.network.lane_edge[rows.lane[bus]]
        for row, edge in zip(bus.tolist(), edges.tolist(), strict=True):
            vehicle = int(rows.vehicle[row])
            if vehicle in self._visits:
                self._go_on(traffic, row, vehicle, edge)
            elif self._has_stops[edge]:
                self._look_out(traffic, row, vehicle, edge)
            elif vehicle in self._served:
                del self._served[vehicle]

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """A bus at its stop is no incident."""

    def _look_out(self, traffic: Traffic, row: int, vehicle: int, edge: int) -> None:
        """Mean to halt at the next stop ahead that one can still brake for."""
        rows = traffic.rows
        at_m, v = float(rows.offset_m[row]), float(rows.speed_mps[row])
        needed_m = v * v / (2 * SOFT_MPS2)
        if vehicle in self._served and self._edge[self._served[vehicle]] != edge:
            del self._served[vehicle]
        for number in self._of_edge[edge]:
            if number != self._served.get(vehicle) and self.stops[number].at_m >= at_m + needed_m:
                self._visits[vehicle] = _Visit(number)
                traffic.halt_at_m[vehicle] = (self._lane[number], self.stops[number].at_m)
                return

    def _go_on(self, traffic: Traffic, row: int, vehicle: int, edge: int) -> None:
        rows, visit = traffic.rows, self._visits[vehicle]
        away_m = self.stops[visit.stop].at_m - float(rows.offset_m[row])
        if edge != self._edge[visit.stop] or away_m < -THERE_M:
            self.n_missed += 1
        elif np.isinf(visit.ends_s):
            is_there = rows.lane[row] == self._lane[visit.stop] and abs(away_m) < THERE_M
            if is_there and rows.speed_mps[row] < STANDING_MPS:
                visit.ends_s = traffic.now_s + self._dwell_s(vehicle, visit.stop)
            return
        elif traffic.now_s < visit.ends_s:
            return
        else:
            self.n_served += 1
        traffic.release(vehicle)
        self._served[vehicle] = visit.stop
        del self._visits[vehicle]

    def _dwell_s(self, vehicle: int, stop: int) -> float:
        spread = np.sqrt(np.log1p(DWELL_VARIATION**2))
        name = np.array([name_hash(self.seed, "dwell", str(stop))], np.uint64)
        drawn = float(uniform(mixed(name, np.array([vehicle])))[0])
        normal = float(ndtri(np.clip(drawn, 1e-3, 1 - 1e-3)))
        return float(self.dwell_s * np.exp(spread * normal - spread**2 / 2))
