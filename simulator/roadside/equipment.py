"""Sensors, loops and weather of a zone at work in a world of the traffic engine; scenarios' flags.

`EQUIPMENT` are the flags; with the defaults of most scenarios nothing is perceived and everybody is
connected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.emission import Emitter
from simulator.faults.kind import Parameter
from simulator.roadside.loops import Loops
from simulator.roadside.perception import NOBODY, Perception, Sightings
from simulator.roadside.sensors import SensorModel, sensors_at
from simulator.roadside.users import CLASSES, RoadUsers, joined
from simulator.roadside.weather import KINDS, WeatherKind
from simulator.rsus import Rsus
from simulator.scenarios import ScenarioError
from simulator.traffic.engine import Traffic
from simulator.traffic.events import Truth
from simulator.traffic.world import TrafficWorld
from simulator.world import Outgoing, TruthEvent

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

LOOPS_WITHOUT_RSU = "loops"
MOST_SIGHTINGS = 5_000_000
"""Of the truth of who was seen the newest are kept: 160 MB."""
POOR_RANGE_RATIO = 0.5
"""Below it a unit says of itself that it is degraded."""
OUTAGE_RULE = "fault.rsu_outage"

EQUIPMENT = (
    Parameter("connected_ratio", 1.0, "share of vehicles that report themselves", high=1.0),
    Parameter("rsu_range_m", 0.0, "how far roadside units see in clear weather, 0 not at all",
              high=1000.0),
    Parameter("rsu_fov_deg", 360.0, "their field of view, along the road if narrow", low=1.0,
              high=360.0),
    Parameter("rsu_rate_hz", 2.0, "their scans: 1 or 2 a second", low=1.0, high=2.0),
    Parameter("rsu_latency_ms", 120.0, "from the scene to what they say of it, on average",
              high=5000.0),
    Parameter("rsu_clock_ms", 0.0, "standard deviation of their clocks' offsets", high=60_000.0),
    Parameter("rsu_outage_s", 0.0, "when the first unit fails"),
    Parameter("rsu_outage_for_s", 0.0, "for how long, 0 never"),
    Parameter("loop_period_s", 0.0, "induction loops count over periods of this, 0 none",
              high=3600.0),
    Parameter("weather", "clear", f"one of {', '.join(KINDS)}", choices=tuple(KINDS)),
)  # fmt: skip
"""Flags of scenarios on the traffic engine."""


class _Told(NamedTuple):
    """Of one scan, every array (n,): when it was so, by whom, under which number, who it was."""

    true_ns: IntArray
    unit: IntArray
    track: IntArray
    user: IntArray


class Walkers(Protocol):
    """People on foot."""

    def road_users(self, traffic: Traffic) -> RoadUsers:
        """Those at this moment."""
        ...

    def name_of(self, number: int) -> str | None:
        """What one of them is called; None for somebody else."""
        ...


def weather_of(values: Mapping[str, Any]) -> WeatherKind:
    """The weather that flags ask for. Raises ScenarioError for a word that is none."""
    word = str(values["weather"])
    if word not in KINDS:
        raise ScenarioError(f"weather is {word!r}, expected one of {', '.join(KINDS)}")
    return KINDS[word]


def model_of(values: Mapping[str, Any]) -> SensorModel:
    """The sensors that flags ask for. Raises ScenarioError."""
    return SensorModel(
        range_m=float(values["rsu_range_m"]),
        fov_deg=float(values["rsu_fov_deg"]),
        rate_hz=float(round(float(values["rsu_rate_hz"]))),
        latency_s=float(values["rsu_latency_ms"]) / 1000.0,
        clock_sd_s=float(values["rsu_clock_ms"]) / 1000.0,
        weather=weather_of(values),
    )


@dataclass
class Equipment:
    """A Runner of the traffic engine that perceives, and what it has to say each second."""

    rsus: Rsus
    model: SensorModel
    seed: int
    walkers: Sequence[Walkers] = ()
    loop_period_s: float = 0.0
    outage_s: tuple[float, float] | None = None
    """From, and for how long the first unit is away."""
    _held: list[Sightings] = field(default_factory=list)
    _seen: deque[_Told] = field(default_factory=deque)
    _n_seen: int = 0
    _loops: Loops | None = None
    _kinds: NDArray[np.int64] | None = None
    _is_told: bool = False

    def begin(self, world: TrafficWorld) -> None:
        """Set up in a world, before its first step."""
        traffic = world.traffic
        self._perception = Perception(sensors_at(self.rsus, world.road_map, self.model, self.seed))
        words = [CLASSES.index(kind.vehicle_class) for kind in traffic.demand.kinds]
        self._kinds = np.array(words, np.int64)[traffic.demand.kind]
        if self.loop_period_s > 0:
            self._loops = Loops(traffic, self.seed)

    def is_up(self, now_s: float) -> BoolArray:
        """Which units work, (n_units,)."""
        up = np.ones(len(self.rsus.ids), np.bool_)
        if self.outage_s is not None and len(up):
            from_s, for_s = self.outage_s
            up[0] = not from_s <= now_s < from_s + for_s
        return up

    def before_step(self, traffic: Traffic) -> None:
        """See Runner."""
        if self._loops is not None:
            self._loops.before_step(traffic)

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """See Runner."""
        if self._loops is not None:
            self._loops.after_step(traffic, truth)
        now_s = traffic.now_s
        self._tell_outage(now_s, truth)
        period_s = 1.0 / self.model.rate_hz
        if self.model.range_m <= 0 or now_s % period_s > 1e-6:
            return
        users = self.users(traffic)
        sightings = self._perception.scan(users, truth.ns(now_s), self.is_up(now_s))
        if sightings.n:
            self._held.append(sightings)

    def users(self, traffic: Traffic) -> RoadUsers:
        """Everybody on the road now."""
        assert self._kinds is not None, "begin comes first"
        rows, demand = traffic.rows, traffic.demand
        x_m, y_m, course_deg = traffic.places()
        vehicle = rows.vehicle
        driving = RoadUsers(
            vehicle, x_m, y_m, course_deg, rows.speed_mps, rows.accel_mps2, self._kinds[vehicle],
            demand.length_m[vehicle], demand.width_m[vehicle],
        )  # fmt: skip
        return joined([driving, *(group.road_users(traffic) for group in self.walkers)])

    def messages(
        self, emitter: Emitter, world: TrafficWorld, second: int, now_ns: int
    ) -> list[Outgoing]:
        """What was perceived and counted since the last call."""
        up = self.is_up(float(second))
        held, self._held = [one.of(up[one.unit]) for one in self._held], []
        for one in held:
            self._seen.append(_Told(one.true_ns, one.unit, one.track, one.user))
            self._n_seen += one.n
        while self._n_seen > MOST_SIGHTINGS:
            self._n_seen -= len(self._seen.popleft().unit)
        said = [message for one in held for message in self._objects(emitter, world, one)]
        if self._loops is not None and second and second % self.loop_period_s == 0:
            said += self._counts(emitter, world, now_ns)
        return said

    def heartbeats(self, emitter: Emitter, now_ns: int, relayed: IntArray) -> list[Outgoing]:
        """Of the units; each knows how far its clock is off."""
        names, n = list(self.rsus.ids), len(self.rsus.ids)
        poor = self.model.weather.range_ratio < POOR_RANGE_RATIO and self.model.range_m > 0
        columns = {
            "sampled_at_ns": np.full(n, now_ns, np.int64),
            "lat_deg": self.rsus.lat_deg,
            "lon_deg": self.rsus.lon_deg,
            "range_m": self.rsus.range_m,
            "health": "degraded" if poor else "ok",
            "clock_offset_ms": self._perception.sensors.clock_s * 1000.0,
            "vehicles_in_range": relayed,
        }
        sources = np.array([emitter.source("rsu", name) for name in names], np.int64)
        subjects = (np.arange(n, dtype=np.int32), names)
        return emitter.emit("rsu_status", sources, subjects, columns)

    def sightings(self, world: TrafficWorld) -> pa.Table:
        """Truth of who was seen: a row for each `rsu_objects` record, in order.

        `sampled_at_ns` is when it truly was so; `subject_id` who it truly is, empty for a false
        object; `is_connected` whether that one reports itself. Of long runs the newest
        MOST_SIGHTINGS.
        """
        seen = self._seen
        every = {
            name: np.concatenate([getattr(s, name) for s in seen]) if seen else np.empty(0, int)
            for name in _Told._fields
        }
        users, place = np.unique(every["user"], return_inverse=True)
        names = [self._name(world, number) for number in users.tolist()]
        words = pa.DictionaryArray.from_arrays
        on_board = np.array([world.is_connected(number) for number in users.tolist()], np.bool_)
        return pa.table(
            {
                "sampled_at_ns": every["true_ns"],
                "source_id": words(
                    every["unit"].astype(np.int32), pa.array(self.rsus.ids, pa.string())
                ),
                "object_id": pa.array(every["track"]).cast(pa.string()),
                "subject_id": words(place.astype(np.int32), pa.array(names, pa.string())),
                "is_connected": on_board[place],
            }
        )

    def _name(self, world: TrafficWorld, number: int) -> str:
        if number == NOBODY:
            return ""
        if number < len(world.ids):
            return world.ids[number]
        return next(name for group in self.walkers if (name := group.name_of(number)))

    def _objects(self, emitter: Emitter, world: TrafficWorld, seen: Sightings) -> list[Outgoing]:
        lat_deg, lon_deg = world.road_map.frame.to_lat_lon_deg(seen.x_m, seen.y_m)
        columns = {
            "sampled_at_ns": seen.said_ns,
            "object_class": seen.kind.astype(np.int8),
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "speed_mps": seen.speed_mps,
            "heading_deg": seen.heading_deg,
            "length_m": seen.length_m,
            "width_m": seen.width_m,
            "confidence_ratio": seen.confidence_ratio,
            "sensor": "fused",
        }
        units = np.array([emitter.source("rsu", name) for name in self.rsus.ids], np.int64)
        tracks, codes = np.unique(seen.track, return_inverse=True)
        subjects = (codes.astype(np.int32), [str(track) for track in tracks.tolist()])
        return emitter.emit("rsu_objects", units[seen.unit], subjects, columns)

    def _counts(self, emitter: Emitter, world: TrafficWorld, now_ns: int) -> list[Outgoing]:
        assert self._loops is not None
        network, found = world.network, self._loops.take()
        n, lanes = len(found.lane), found.lane
        if not n:
            return []
        x_m, y_m, _ = network.place(lanes, self._loops.at_m)
        unit = _nearest(self.rsus, x_m, y_m)
        names = [self.rsus.ids[k] if k >= 0 else LOOPS_WITHOUT_RSU for k in unit.tolist()]
        columns = {
            "sampled_at_ns": np.full(n, now_ns, np.int64),
            "segment_id": [network.edge_ids[edge] for edge in network.lane_edge[lanes].tolist()],
            "lane_index": network.lane_index[lanes],
            "period_s": np.full(n, self.loop_period_s),
            "count": found.vehicles,
            "speed_mps": found.speed_mps,
            "occupancy_ratio": found.occupancy_ratio,
        }
        sources = np.array([emitter.source("rsu", name) for name in names], np.int64)
        words = [f"loop:{network.lane_name[lane]}" for lane in lanes.tolist()]
        subjects = (np.arange(n, dtype=np.int32), words)
        return emitter.emit("loop_counts", sources, subjects, columns)

    def _tell_outage(self, now_s: float, truth: Truth) -> None:
        if self._is_told or self.outage_s is None or self.is_up(now_s).all():
            return
        from_s, for_s = self.outage_s
        self._is_told = True
        truth.events.append(
            TruthEvent(OUTAGE_RULE, self.rsus.ids[0], truth.ns(from_s), truth.ns(from_s + for_s))
        )


def _nearest(rsus: Rsus, x_m: FloatArray, y_m: FloatArray) -> NDArray[np.int64]:
    """Number of the nearest unit at any distance, -1 where there is none."""
    return replace(rsus, range_m=np.inf).nearest(x_m, y_m)


def equipment_of(
    values: Mapping[str, Any], rsus: Rsus, seed: int, walkers: Sequence[Walkers] = ()
) -> Equipment:
    """What flags ask for. Raises ScenarioError."""
    lasts_s = float(values["rsu_outage_for_s"])
    return Equipment(
        rsus,
        model_of(values),
        seed,
        walkers,
        float(round(float(values["loop_period_s"]))),
        (float(values["rsu_outage_s"]), lasts_s) if lasts_s > 0 else None,
    )
