"""Simulated traffic as a world: network, demand, seed and events in; frames and truth out.

Who is connected reports itself, or is relayed by the roadside unit in whose reach it is. Everybody
is simulated: `traffic` holds the true state of all, connected or not.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openvrc.contracts.columns import column_of
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from simulator.emission import Emitter, topic_id
from simulator.replay.options import DEFAULT_EPOCH_NS
from simulator.replay.traffic_world import rsu_status
from simulator.rsus import Rsus, place_rsus
from simulator.sampling import share_of
from simulator.scenarios import ScenarioError
from simulator.traffic.actuated import ActuatedSignals
from simulator.traffic.demand import Demand
from simulator.traffic.engine import Traffic
from simulator.traffic.events import BrakingWatch, Event, Runner, Truth, runners
from simulator.traffic.network import TrafficNetwork
from simulator.traffic.plans import Plans
from simulator.traffic.signals import PHASE_WORDS, SignalProgram
from simulator.world import Frame, Origin, Outgoing, TruthEvent

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

RSU_STATUS_EVERY_S, SOURCE_STATUS_EVERY_S, MAP_EVERY_S = 5, 10, 30
END_NAMES = ("min_end_ns", "max_end_ns", "likely_end_ns")
BRAKE_LIGHT_MPS2 = -0.5
BLINK_S = 3.0


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """How a simulated zone is looked at."""

    seed: int = 1
    duration_s: float | None = None
    warm_up_s: float = 0.0  # simulated before the first frame, so that roads are not empty
    connected_share: float = 1.0
    rsu_share: float = 0.8  # of the connected: relayed where a roadside unit is in reach
    time_zone: str = "Europe/Berlin"

    def __post_init__(self) -> None:
        """Raises ScenarioError for a number out of range."""
        if self.duration_s is not None and not self.duration_s > 0:
            raise ScenarioError(f"duration_s is {self.duration_s}, expected more than 0")
        for name in ("connected_share", "rsu_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ScenarioError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if self.warm_up_s < 0:
            raise ScenarioError(f"warm_up_s is {self.warm_up_s}, expected 0 or more")


class Extra(Protocol):
    """Somebody beside vehicles and signals."""

    def __call__(
        self, emitter: Emitter, world: TrafficWorld, second: int, now_ns: int
    ) -> list[Outgoing]:
        """What there is to say at this second."""
        ...


class Roadside(Runner, Protocol):
    """What units perceive and loops count; it acts on nobody."""

    def begin(self, world: TrafficWorld) -> None:
        """Set up, before the first step."""
        ...

    def is_up(self, now_s: float) -> NDArray[np.bool_]:
        """Which units work, (n_rsus,)."""
        ...

    def messages(
        self, emitter: Emitter, world: TrafficWorld, second: int, now_ns: int
    ) -> list[Outgoing]:
        """What was perceived and counted since the last call."""
        ...

    def heartbeats(self, emitter: Emitter, now_ns: int, relayed: IntArray) -> list[Outgoing]:
        """`rsu_status` of the units."""
        ...

    def sightings(self, world: TrafficWorld) -> pa.Table:
        """Truth of who was seen."""
        ...


@dataclass
class TrafficWorld:
    """See `simulator.world.World`. Times of demand and events count from the warm-up's end."""

    zone: str
    run_id: str
    network: TrafficNetwork
    plans: Plans
    demand: Demand
    options: TrafficOptions = field(default_factory=TrafficOptions)
    events: Sequence[Event] = ()
    title: str = "Traffic"
    start_ns: int = DEFAULT_EPOCH_NS
    signals: SignalProgram | None = None
    rsus: Rsus | None = None  # by default placed from the map
    also: Sequence[Runner] = ()
    """What else acts on the traffic, beside the events."""
    always: Sequence[Runner] = ()
    """What acts on it from the warm-up on."""
    extras: Sequence[Extra] = ()
    """Who else says something each second."""
    roadside: Roadside | None = None
    """Sensors and loops, at the units of `rsus`."""
    origin: Origin = "simulated"
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.traffic = Traffic(self.network, self.plans, self.demand, signals=self.signals)
        self.traffic.now_s = -self.options.warm_up_s
        self.ids = [topic_id(name) for name in self.demand.ids]
        self.truth = Truth(self.start_ns, self.ids)
        self._runners: list[Runner] = [
            *runners(self.events, self.traffic),
            *self.always,
            *self.also,
        ]
        self._watch = BrakingWatch()
        self._rsus = self.rsus if self.rsus is not None else place_rsus(self.road_map)
        seed = self.options.seed
        self._is_connected = share_of(seed, "penetration", self.ids) < self.options.connected_share
        self._is_relayed = share_of(seed, "rsu", self.ids) < self.options.rsu_share
        words = column_of("vehicle_state", "vehicle_class").values
        codes = [words.index(kind.vehicle_class) for kind in self.demand.kinds]
        self._class = np.array(codes, np.int8)[self.demand.kind]
        if self.roadside is not None:
            self.roadside.begin(self)
            self._runners.append(self.roadside)

    @property
    def time_zone(self) -> str:
        """See World."""
        return self.options.time_zone

    @property
    def road_map(self) -> RoadMap:
        """See World."""
        return self.network.road_map

    def stop(self) -> None:
        """See World."""
        self._stop.set()

    def ground_truth(self) -> list[TruthEvent]:
        """See World."""
        return sorted(self.truth.events, key=lambda event: (event.from_ns, event.rule))

    def is_connected(self, number: int) -> bool:
        """Whether a road user of that number reports itself."""
        return 0 <= number < len(self.ids) and bool(self._is_connected[number])

    def sightings(self) -> pa.Table | None:
        """Truth of who was seen by roadside units; None without any."""
        return None if self.roadside is None else self.roadside.sightings(self)

    def frames(self) -> Iterator[Frame]:
        """See World: one frame a second."""
        emitter = Emitter(
            zone=self.zone, run_id=self.run_id, origin=self.origin, seed=self.options.seed
        )
        while self.traffic.now_s < 0.0:
            for runner in self.always:
                runner.before_step(self.traffic)
            self.traffic.step()
        second, now_ns = 0, self.start_ns
        while not self._stop.is_set():
            if second > 0:
                self._drive(float(second))
            now_ns = self.start_ns + second * NS_PER_S
            yield Frame(now_ns, tuple(self._messages(emitter, second, now_ns)))
            second += 1
            if second > (self.options.duration_s or np.inf):
                break
        yield emitter.final_frame(now_ns)

    def _drive(self, until_s: float) -> None:
        traffic = self.traffic
        while traffic.now_s < until_s:
            for runner in self._runners:
                runner.before_step(traffic)
            traffic.step()
            for runner in self._runners:
                runner.after_step(traffic, self.truth)
            self._watch.after_step(traffic, self.truth)

    def _messages(self, emitter: Emitter, second: int, now_ns: int) -> list[Outgoing]:
        if self.roadside is not None:
            down = np.flatnonzero(~self.roadside.is_up(float(second))).tolist()
            emitter.silence("rsu", [self._rsus.ids[unit] for unit in down])
        messages, relayed = self._vehicle_messages(emitter, now_ns)
        messages += self._signal_messages(emitter, second, now_ns)
        for extra in self.extras:
            messages += extra(emitter, self, second, now_ns)
        if self.roadside is not None:
            messages += self.roadside.messages(emitter, self, second, now_ns)
        if second % MAP_EVERY_S == 0:
            messages += self._map_messages(emitter, now_ns)
        if second % RSU_STATUS_EVERY_S == 0 and self._rsus.ids:
            messages += (
                rsu_status(emitter, self._rsus, now_ns, relayed)
                if self.roadside is None
                else self.roadside.heartbeats(emitter, now_ns, relayed)
            )
        if second % SOURCE_STATUS_EVERY_S == 0:
            messages += emitter.status(now_ns)
        return messages

    def _vehicle_messages(self, emitter: Emitter, now_ns: int) -> tuple[list[Outgoing], IntArray]:
        rows, demand = self.traffic.rows, self.demand
        x_m, y_m, course_deg = self.traffic.places()
        shown = np.flatnonzero(self._is_connected[rows.vehicle])
        shown = shown[np.argsort(rows.vehicle[shown], kind="stable")]
        vehicle = rows.vehicle[shown]
        relay = self._rsus.nearest(x_m[shown], y_m[shown])
        relay[~self._is_relayed[vehicle]] = -1
        if self.roadside is not None and len(self._rsus.ids):
            relay[(relay >= 0) & ~self.roadside.is_up(self.traffic.now_s)[relay]] = -1
        relayed = np.bincount(relay[relay >= 0], minlength=len(self._rsus.ids))
        sources = np.array(
            [
                emitter.source("rsu", self._rsus.ids[rsu])
                if rsu >= 0
                else emitter.source("vehicle", self.ids[number])
                for rsu, number in zip(relay.tolist(), vehicle.tolist(), strict=True)
            ],
            np.int64,
        )
        lat_deg, lon_deg = self.road_map.frame.to_lat_lon_deg(x_m[shown], y_m[shown])
        columns = self._lights(shown) | {
            "sampled_at_ns": np.full(len(shown), now_ns, np.int64),
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "speed_mps": rows.speed_mps[shown],
            "heading_deg": course_deg[shown],
            "accel_long_mps2": rows.accel_mps2[shown],
            "vehicle_class": self._class[vehicle],
            "length_m": demand.length_m[vehicle],
            "width_m": demand.width_m[vehicle],
        }
        subjects = (vehicle.astype(np.int32), self.ids)
        return emitter.emit("vehicle_state", sources, subjects, columns), relayed

    def _lights(self, shown: IntArray) -> dict[str, NDArray[np.int8]]:
        rows, traffic = self.traffic.rows, self.traffic
        drift_m = rows.to_left_m[shown]
        blinks = (drift_m != 0) | (traffic.now_s - rows.changed_s[shown] < BLINK_S)
        broken = np.isin(rows.vehicle[shown], list(traffic.stop_at_m))
        speed_mps, accel_mps2 = rows.speed_mps[shown], rows.accel_mps2[shown]
        return {
            "brake_on": ((accel_mps2 < BRAKE_LIGHT_MPS2) | (speed_mps < 0.1)).astype(np.int8),
            "left_blinker_on": (blinks & (drift_m < 0)).astype(np.int8),
            "right_blinker_on": (blinks & (drift_m > 0)).astype(np.int8),
            "hazard_lights_on": (broken & (speed_mps < 0.1)).astype(np.int8),
        }

    def _signal_messages(self, emitter: Emitter, second: int, now_ns: int) -> list[Outgoing]:
        """Every head each second; those that tell no ends (a recording's) go last."""
        plans = self.network.signals
        if not plans.heads:
            return []
        shown = self.traffic.shown
        ends_s = self._ends_s(float(second))
        is_known: NDArray[np.bool_] = np.isfinite(ends_s.sum(axis=0))
        messages = []
        for part in (np.flatnonzero(is_known), np.flatnonzero(~is_known)):
            if not part.size:
                continue
            heads = [plans.heads[head] for head in part.tolist()]
            columns = {
                "sampled_at_ns": np.full(len(part), now_ns, np.int64),
                "intersection_id": [name for name, _ in heads],
                "signal_group": np.array([group for _, group in heads], np.int64),
                "phase": [PHASE_WORDS[code] for code in shown[part].tolist()],
            }
            if is_known[part[0]]:
                ends_ns = self.start_ns + np.round(ends_s[:, part] * NS_PER_S).astype(np.int64)
                columns |= dict(zip(END_NAMES, ends_ns, strict=True))
            sources = np.array([emitter.source("signal", topic_id(name)) for name, _ in heads])
            words = [f"{name}:{group}" for name, group in heads]
            subjects = (np.arange(len(part), dtype=np.int32), words)
            messages += emitter.emit("signal_state", sources, subjects, columns)
        return messages

    def _ends_s(self, now_s: float) -> FloatArray:
        """Earliest, latest and likely end (3, n_heads) of what is shown; not finite: unknown.

        A fixed-time controller knows its ends exactly, one that listens by its timers.
        """
        plans = self.network.signals
        if self.signals is None:
            return np.asarray(np.tile(plans.ends_s(now_s), (3, 1)))
        if isinstance(self.signals, ActuatedSignals):
            return self.signals.ends_s(now_s)
        unknown: FloatArray = np.full((3, len(plans.heads)), np.nan)
        return unknown

    @cached_property
    def _geometries(self) -> dict[str, tuple[float, float, str]]:
        """Latitude, longitude and GeoJSON of each signalled junction: its lanes and heads."""
        features = self.road_map.to_geojson()["features"]
        of_junction: dict[str, list[dict[str, object]]] = defaultdict(list)
        for feature in features:
            properties = feature["properties"]
            name = properties.get("intersection_id") or (
                properties.get("from_id") if properties.get("is_internal") else None
            )
            if name:
                of_junction[str(name)].append(feature)
        middle: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for head in self.road_map.signal_heads:
            middle[head.intersection_id].append((head.lat_deg, head.lon_deg))
        return {
            name: (
                float(np.mean([lat_deg for lat_deg, _ in points])),
                float(np.mean([lon_deg for _, lon_deg in points])),
                json.dumps(
                    {"type": "FeatureCollection", "features": of_junction[name]},
                    separators=(",", ":"),
                ),
            )
            for name, points in sorted(middle.items())
        }

    def _map_messages(self, emitter: Emitter, now_ns: int) -> list[Outgoing]:
        if not self._geometries or not self._rsus.ids:
            return []
        names = list(self._geometries)
        rows = list(self._geometries.values())
        lat_deg, lon_deg = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
        nearest = Rsus.nearest(self._rsus, *self.road_map.frame.to_xy_m(lat_deg, lon_deg))
        columns = {
            "sampled_at_ns": np.full(len(rows), now_ns, np.int64),
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "geometry_geojson": [row[2] for row in rows],
        }
        sources = np.array(
            [emitter.source("rsu", self._rsus.ids[max(rsu, 0)]) for rsu in nearest.tolist()]
        )
        subjects = (np.arange(len(rows), dtype=np.int32), [topic_id(name) for name in names])
        return emitter.emit("intersection_map", sources, subjects, columns)
