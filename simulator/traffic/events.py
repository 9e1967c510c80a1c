"""What happens on the road beside ordinary traffic, and its truth: incidents, closures, weather.

An event names a place and a time, not a vehicle: it takes the one that comes by and can do it.
Truth is written when it has come to be (the car stands, the lane is shut).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.units import NS_PER_S
from simulator.traffic.engine import Traffic
from simulator.world import TruthEvent

FloatArray = NDArray[np.float64]

SOFT_MPS2 = 3.0
"""How hard a vehicle may have to brake to break down at its place."""
REACH_M = 250.0
STANDING_MPS = 0.1
EMERGENCY_MPS2, SAME_BRAKING_S = -5.5, 3.0
"""Harder than anybody brakes by choice; a pause of 3 s makes it another braking."""


@dataclass(frozen=True)
class StoppedVehicle:
    """A vehicle breaks down in a lane; from `from_s` on the first that can stop there."""

    edge: str
    lane: int
    at_m: float
    from_s: float
    for_s: float


@dataclass(frozen=True)
class LaneClosure:
    """A lane is shut from a point to the edge's end; traffic changes lanes before it."""

    edge: str
    lane: int
    from_m: float
    from_s: float
    for_s: float


@dataclass(frozen=True)
class SlowVehicle:
    """A vehicle that comes by crawls for a while."""

    edge: str
    mps: float
    from_s: float
    for_s: float


@dataclass(frozen=True)
class HardBrake:
    """A vehicle at speed brakes for an emergency, then drives on."""

    edge: str
    at_s: float
    mps2: float = -7.0
    for_s: float = 1.25
    least_mps: float = 8.0


@dataclass(frozen=True)
class SpeedLimit:
    """Another limit on some edges: a work zone, a school's hours."""

    edges: tuple[str, ...]
    mps: float
    from_s: float
    for_s: float


@dataclass(frozen=True)
class Weather:
    """What weather does to the road, to drivers and to sensors.

    Defaults are heavy rain: friction 0.7 of dry asphalt; free speeds 0.93 (HCM 2010, exhibit
    10-15) and headways 1.1 of the usual.
    """

    from_s: float
    for_s: float
    friction_ratio: float = 0.7
    speed_ratio: float = 0.93
    headway_ratio: float = 1.1
    visibility_m: float = 1000.0
    noise_ratio: float = 1.5
    """Position noise of roadside sensors, as a multiple."""


Event = StoppedVehicle | LaneClosure | SlowVehicle | HardBrake | SpeedLimit | Weather


class Runner(Protocol):
    """An event under way."""

    def before_step(self, traffic: Traffic) -> None:
        """Begin or end what is due."""
        ...

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """See what has come to be."""
        ...


@dataclass
class Truth:
    """Where true events are written down."""

    start_ns: int
    ids: Sequence[str]
    events: list[TruthEvent] = field(default_factory=list)

    def ns(self, time_s: float) -> int:
        """Zone time of a time in the simulation."""
        return self.start_ns + round(time_s * NS_PER_S)

    def vehicle(
        self, rule: str, traffic: Traffic, row: int, from_s: float, to_s: float
    ) -> TruthEvent:
        """Something a vehicle does; it is added."""
        network, rows = traffic.network, traffic.rows
        at = np.array([row])
        x_m, y_m, _ = network.place(rows.lane[at], rows.offset_m[at], rows.to_left_m[at])
        lat_deg, lon_deg = network.road_map.frame.to_lat_lon_deg(x_m, y_m)
        lane = int(rows.lane[row])
        event = TruthEvent(
            rule=rule,
            subject_id=self.ids[int(rows.vehicle[row])],
            from_ns=self.ns(from_s),
            to_ns=self.ns(to_s),
            segment_id=network.road_map.segment_ids[network.lane_segment[lane]],
            component=str(network.lane_index[lane]),
            lat_deg=round(float(lat_deg[0]), 7),
            lon_deg=round(float(lon_deg[0]), 7),
        )
        self.events.append(event)
        return event

    def segment(self, rule: str, edge: str, lane: int, from_s: float, to_s: float) -> None:
        """Something that is true of a lane of an edge."""
        self.events.append(
            TruthEvent(
                rule=rule,
                subject_id=edge,
                from_ns=self.ns(from_s),
                to_ns=self.ns(to_s),
                segment_id=edge,
                component=str(lane),
            )
        )


def runners(events: Sequence[Event], traffic: Traffic) -> list[Runner]:
    """One for each event. Raises NetworkError for a place that is not there."""
    for event in events:
        edges = event.edges if isinstance(event, SpeedLimit) else ()
        for edge in edges or ([event.edge] if hasattr(event, "edge") else []):
            traffic.network.edge(edge)
        if isinstance(event, StoppedVehicle | LaneClosure):
            traffic.network.lane(event.edge, event.lane)
    return [_RUNNERS[type(event)](event) for event in events]


@dataclass
class _Stopped:
    event: StoppedVehicle
    vehicle: int | None = None
    until_s: float = np.inf
    stands: bool = False

    def before_step(self, traffic: Traffic) -> None:
        event = self.event
        if self.vehicle is None and event.from_s <= traffic.now_s < event.from_s + event.for_s:
            lane = traffic.network.lane(event.edge, event.lane)
            row = _next_behind(traffic, lane, event.at_m)
            if row is not None:
                self.vehicle = int(traffic.rows.vehicle[row])
                traffic.stop_at_m[self.vehicle] = (lane, event.at_m)
        if self.vehicle is not None and traffic.now_s >= self.until_s:
            traffic.stop_at_m.pop(self.vehicle, None)

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        if self.vehicle is None or self.stands:
            return
        row = _row_of(traffic, self.vehicle)
        if row is not None and traffic.rows.speed_mps[row] < STANDING_MPS:
            self.stands, self.until_s = True, traffic.now_s + self.event.for_s
            truth.vehicle("traffic.stopped_vehicle", traffic, row, traffic.now_s, self.until_s)


@dataclass
class _Closure:
    event: LaneClosure
    is_shut: bool = False
    is_told: bool = False

    def before_step(self, traffic: Traffic) -> None:
        event, now_s = self.event, traffic.now_s
        lane = traffic.network.lane(event.edge, event.lane)
        is_due = event.from_s <= now_s < event.from_s + event.for_s
        if is_due and not self.is_shut and _is_clear_before(traffic, lane, event.from_m):
            traffic.set_walls(self.event, [(lane, event.from_m)])
            traffic.plans.close(lane, event.from_m)
            traffic.replan()
            self.is_shut = True
        elif self.is_shut and not is_due:
            traffic.set_walls(self.event, [])
            traffic.plans.close(lane, np.inf)
            traffic.replan()
            self.is_shut = False

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        event = self.event
        if self.is_shut and not self.is_told:
            self.is_told = True
            end_s = event.from_s + event.for_s
            truth.segment("traffic.lane_closed", event.edge, event.lane, traffic.now_s, end_s)


@dataclass
class _Slow:
    event: SlowVehicle
    vehicle: int | None = None
    is_told: bool = False

    def before_step(self, traffic: Traffic) -> None:
        event = self.event
        end_s = event.from_s + event.for_s
        if self.vehicle is None and event.from_s <= traffic.now_s < end_s:
            row = _somebody_on(traffic, event.edge, event.mps)
            if row is not None:
                self.vehicle = int(traffic.rows.vehicle[row])
                traffic.top_mps_of[self.vehicle] = event.mps
        elif self.vehicle is not None and traffic.now_s >= end_s:
            traffic.top_mps_of.pop(self.vehicle, None)

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        if self.vehicle is None or self.is_told:
            return
        row = _row_of(traffic, self.vehicle)
        if row is not None and traffic.rows.speed_mps[row] < 1.2 * self.event.mps:
            self.is_told = True
            end_s = self.event.from_s + self.event.for_s
            truth.vehicle("traffic.slow_vehicle", traffic, row, traffic.now_s, end_s)


@dataclass
class _Brake:
    event: HardBrake
    vehicle: int | None = None
    until_s: float = np.inf

    def before_step(self, traffic: Traffic) -> None:
        event = self.event
        if self.vehicle is None and traffic.now_s >= event.at_s:
            row = _somebody_on(traffic, event.edge, event.least_mps)
            if row is not None:
                self.vehicle = int(traffic.rows.vehicle[row])
                self.until_s = traffic.now_s + event.for_s
                traffic.forced_mps2[self.vehicle] = event.mps2
        if self.vehicle is not None and traffic.now_s >= self.until_s:
            traffic.forced_mps2.pop(self.vehicle, None)

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """Hard brakings are all seen by `BrakingWatch`."""


@dataclass
class _Limit:
    event: SpeedLimit
    is_on: bool = False

    def before_step(self, traffic: Traffic) -> None:
        event = self.event
        is_due = event.from_s <= traffic.now_s < event.from_s + event.for_s
        if is_due == self.is_on:
            return
        self.is_on = is_due
        network = traffic.network
        for edge in event.edges:
            first, last = network.edge_lanes[network.edge(edge) :][:2]
            usual = network.limit_mps[first:last]
            traffic.limit_mps[first:last] = np.minimum(usual, event.mps) if is_due else usual

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """A limit is no incident."""


@dataclass
class _Weather:
    event: Weather
    is_on: bool = False

    def before_step(self, traffic: Traffic) -> None:
        event = self.event
        is_due = event.from_s <= traffic.now_s < event.from_s + event.for_s
        if is_due == self.is_on:
            return
        self.is_on = is_due
        traffic.friction_ratio = event.friction_ratio if is_due else 1.0
        traffic.speed_ratio = event.speed_ratio if is_due else 1.0
        traffic.caution_ratio = event.headway_ratio if is_due else 1.0

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """Weather is no incident."""


@dataclass
class BrakingWatch:
    """Writes down everybody who brakes for an emergency: reactions are events too."""

    _last_s: dict[int, float] = field(default_factory=dict)

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """See Runner."""
        rows = traffic.rows
        for row in np.flatnonzero(rows.accel_mps2 < EMERGENCY_MPS2).tolist():
            vehicle = int(rows.vehicle[row])
            is_new = traffic.now_s - self._last_s.get(vehicle, -np.inf) > SAME_BRAKING_S
            self._last_s[vehicle] = traffic.now_s
            if is_new:
                now_s = traffic.now_s
                truth.vehicle("traffic.hard_braking", traffic, row, now_s - traffic.dt_s, now_s)


_RUNNERS = {
    StoppedVehicle: _Stopped,
    LaneClosure: _Closure,
    SlowVehicle: _Slow,
    HardBrake: _Brake,
    SpeedLimit: _Limit,
    Weather: _Weather,
}


def _row_of(traffic: Traffic, vehicle: int) -> int | None:
    found = np.flatnonzero(traffic.rows.vehicle == vehicle)
    return int(found[0]) if found.size else None


def _next_behind(traffic: Traffic, lane: int, at_m: float) -> int | None:
    """The first vehicle before a place that can stop there softly and stays in its lane."""
    rows = traffic.rows
    away_m = at_m - rows.offset_m
    fits = (rows.lane == lane) & (away_m < REACH_M) & (rows.to_left_m == 0.0)
    fits &= away_m > rows.speed_mps**2 / (2 * SOFT_MPS2) + rows.speed_mps * traffic.dt_s
    found = np.flatnonzero(fits)
    return int(found[np.argmin(away_m[found])]) if found.size else None


def _is_clear_before(traffic: Traffic, lane: int, at_m: float) -> bool:
    """Whether everybody who comes can stop before a place, and nobody stands on it."""
    rows = traffic.rows
    away_m = at_m - rows.offset_m
    on_lane = (rows.lane == lane) & (away_m > -rows.length_m - 2.0)
    needed_m = rows.speed_mps**2 / (2 * SOFT_MPS2) + 2.0
    return not bool((on_lane & (away_m < needed_m) & (away_m > -rows.length_m)).any())


def _somebody_on(traffic: Traffic, edge: str, least_mps: float) -> int | None:
    """A vehicle on an edge, faster than that, in the middle half of it, all wheels in its lane."""
    network, rows = traffic.network, traffic.rows
    first, last = network.edge_lanes[network.edge(edge) :][:2]
    length_m = network.length_m[first]
    fits = (rows.lane >= first) & (rows.lane < last) & (rows.speed_mps > least_mps)
    fits &= (rows.to_left_m == 0.0) & (np.abs(rows.offset_m / length_m - 0.5) < 0.25)
    found = np.flatnonzero(fits)
    return int(found[0]) if found.size else None
