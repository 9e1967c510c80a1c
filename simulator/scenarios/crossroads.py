"""Two signalled junctions, 200 electric cars, two roadside units, and things that go wrong.

Within the first seconds: an arm is blocked and jams, a car breaks down in a middle lane, somebody
brakes hard, one pack overheats, one has a weak cell, one loses its insulation. Cars follow the
IDM, obey signals and change lanes; packs follow an equivalent circuit. Zone time begins 3 s into
a ten-second window, so that three whole looks of ten seconds at the jam fit into half a minute.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.columns import column_of
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from simulator.emission import Emitter
from simulator.physics.battery import pack_voltage_v
from simulator.physics.traffic import AMBER, GREEN, RED
from simulator.replay.options import DEFAULT_EPOCH_NS
from simulator.replay.traffic_world import rsu_status
from simulator.rsus import rsus_at
from simulator.sampling import share_of
from simulator.scenarios import ScenarioError
from simulator.scenarios.crossroads_batteries import PROFILE, Faults, Packs
from simulator.scenarios.crossroads_events import EventTimes, RoadEvents
from simulator.scenarios.crossroads_map import JUNCTIONS, N_GROUPS, PLAN, Crossroads, build
from simulator.scenarios.crossroads_start import CAR_M, TRUCK_M, starting_traffic
from simulator.world import Frame, Origin, Outgoing, TruthEvent

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SUBSTEPS = 4
"""Steps of 0.25 s within a frame of 1 s: the IDM is stable well below its reaction of 1 s."""
RSU_RANGE_M = 450.0  # over an arm's whole length
RSU_STATUS_EVERY_S, SOURCE_STATUS_EVERY_S, MAP_EVERY_S, CHARGER_EVERY_S = 5, 10, 30, 10
WINDOW_NS, INTO_WINDOW_NS = 10 * NS_PER_S, 3 * NS_PER_S

PARKED = 4  # at the charging station: two charging, one done, one just standing there
STATION_XY_M = (-90.0, -80.0)
STATION_ID = "station-1"
PLACE_M = 3.0

MIN_VEHICLES, MAX_VEHICLES = 40, 600

_SIGNAL_CODES = {"green": GREEN, "amber": AMBER, "red": RED}


@dataclass(frozen=True, kw_only=True)
class CrossroadsParameters:
    """What can be chosen."""

    vehicles: int = 200
    seed: int = 1
    duration_s: float | None = None
    rsu_share: float = 0.8
    battery_every_s: int = 1
    events: EventTimes = field(default_factory=EventTimes)

    def __post_init__(self) -> None:
        """Raises ScenarioError for a number out of range."""
        if not MIN_VEHICLES <= self.vehicles <= MAX_VEHICLES:
            raise ScenarioError(
                f"vehicles is {self.vehicles}, expected {MIN_VEHICLES} to {MAX_VEHICLES}"
            )
        if self.duration_s is not None and not self.duration_s > 0:
            raise ScenarioError(f"duration_s is {self.duration_s}, expected more than 0")


@dataclass
class CrossroadsWorld:
    """See `simulator.world.World`. Vehicles 0 to n_moving - 1 drive, the rest are parked."""

    zone: str
    run_id: str
    parameters: CrossroadsParameters
    start_ns: int
    origin: Origin = "simulated"
    title: str = "Crossroads"
    time_zone: str = "Europe/Berlin"
    roads: Crossroads = field(default_factory=build)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        n, seed = self.parameters.vehicles, self.parameters.seed
        self._random = np.random.default_rng(seed)
        self.vehicle_ids = [f"veh-{number + 1:03d}" for number in range(n)]
        self._n_moving = n - PARKED
        self.traffic = starting_traffic(self.roads, self._n_moving, self._random)
        self.rsus = rsus_at(self.road_map, self.roads.junction_xy_m, RSU_RANGE_M)
        times = self.parameters.events
        self.events = RoadEvents(self.roads, times, self.vehicle_ids, self.start_ns)
        charging = np.arange(n) >= n - PARKED + 1
        full = np.arange(n) == n - 1
        faults = Faults(self._n_moving - 1, weak=self._n_moving, leaking=self._n_moving - 2)
        self.packs = Packs(n, charging, full, faults, times, np.random.default_rng(seed + 1))
        shares = share_of(seed, "rsu", self.vehicle_ids)
        self._is_relayed = shares < self.parameters.rsu_share
        is_truck = np.zeros(n, np.bool_)
        is_truck[: self._n_moving] = self.traffic.length_m == TRUCK_M[0]
        words = column_of("vehicle_state", "vehicle_class").values
        self._class = np.where(is_truck, words.index("truck"), words.index("car")).astype(np.int8)
        self._length_m = np.where(is_truck, TRUCK_M[0], CAR_M[0])
        self._width_m = np.where(is_truck, TRUCK_M[1], CAR_M[1])

    @property
    def road_map(self) -> RoadMap:
        """See World."""
        return self.roads.road_map

    def stop(self) -> None:
        """See World."""
        self._stop.set()

    def ground_truth(self) -> list[TruthEvent]:
        """See World."""
        events = self.events.truth + self.packs.truth(self.vehicle_ids, self.start_ns)
        return sorted(events, key=lambda event: (event.from_ns, event.rule))

    def frames(self) -> Iterator[Frame]:
        """See World: one frame a second."""
        emitter = Emitter(
            zone=self.zone, run_id=self.run_id, origin=self.origin, seed=self.parameters.seed
        )
        second = 0
        now_ns = self.start_ns
        while not self._stop.is_set():
            if second > 0:
                self._drive(second)
            now_ns = self.start_ns + second * NS_PER_S
            yield Frame(now_ns, tuple(self._messages(emitter, second, now_ns)))
            second += 1
            if second > (self.parameters.duration_s or np.inf):
                break
        yield emitter.final_frame(now_ns)

    def _drive(self, second: int) -> None:
        dt_s = 1.0 / SUBSTEPS
        for part in range(SUBSTEPS):
            time_s = second - 1 + part * dt_s
            self.events.apply(self.traffic, time_s)
            self.traffic.step(dt_s, signals_at(time_s), self._random)
            self.events.note(self.traffic, time_s + dt_s)
            speed_mps, accel_mps2 = self._kinematics()
            self.packs.step(dt_s, time_s + dt_s, speed_mps, accel_mps2)

    def _kinematics(self) -> tuple[FloatArray, FloatArray]:
        """Speed and acceleration of all vehicles (n,), 0 for the parked."""
        still = np.zeros(PARKED)
        traffic = self.traffic
        return np.append(traffic.speed_mps, still), np.append(traffic.accel_mps2, still)

    def _messages(self, emitter: Emitter, second: int, now_ns: int) -> list[Outgoing]:
        x_m, y_m, course_deg = self._places()
        relay = self.rsus.nearest(x_m, y_m)
        relay[~self._is_relayed] = -1
        sources = np.array(
            [
                emitter.source("rsu", self.rsus.ids[rsu])
                if rsu >= 0
                else emitter.source("vehicle", self.vehicle_ids[number])
                for number, rsu in enumerate(relay.tolist())
            ],
            np.int64,
        )
        messages = self._vehicle_messages(emitter, second, now_ns, sources, x_m, y_m, course_deg)
        messages += self._signal_messages(emitter, second, now_ns)
        if second % MAP_EVERY_S == 0:
            messages += self._map_messages(emitter, now_ns)
        if second % CHARGER_EVERY_S == 0:
            messages += self._charger_messages(emitter, second, now_ns)
        if second % RSU_STATUS_EVERY_S == 0:
            relayed = np.bincount(relay[relay >= 0], minlength=len(self.rsus.ids))
            messages += rsu_status(emitter, self.rsus, now_ns, relayed)
        if second % SOURCE_STATUS_EVERY_S == 0:
            messages += emitter.status(now_ns)
        return messages

    def _places(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x, y and course of all vehicles (n,)."""
        traffic = self.traffic
        x_m, y_m, course = self.roads.network.place(
            traffic.lane, traffic.offset_m, traffic.to_left_m
        )
        parked_x = STATION_XY_M[0] + PLACE_M * np.arange(PARKED)
        parked_y = np.full(PARKED, STATION_XY_M[1])
        return (
            np.append(x_m, parked_x),
            np.append(y_m, parked_y),
            np.append(course, np.zeros(PARKED)),
        )

    def _vehicle_messages(
        self,
        emitter: Emitter,
        second: int,
        now_ns: int,
        sources: IntArray,
        x_m: FloatArray,
        y_m: FloatArray,
        course_deg: FloatArray,
    ) -> list[Outgoing]:
        n = len(sources)
        subjects = (np.arange(n, dtype=np.int32), self.vehicle_ids)
        messages = []
        if second == 0:
            profile = PROFILE | {"sampled_at_ns": np.full(n, now_ns, np.int64)}
            messages += emitter.emit("vehicle_profile", sources, subjects, profile)
        lat_deg, lon_deg = self.roads.frame.to_lat_lon_deg(x_m, y_m)
        speed_mps, accel_mps2 = self._kinematics()
        columns = self._lights() | {
            "sampled_at_ns": np.full(n, now_ns, np.int64),
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "speed_mps": speed_mps,
            "heading_deg": course_deg,
            "accel_long_mps2": accel_mps2,
            "vehicle_class": self._class,
            "length_m": self._length_m,
            "width_m": self._width_m,
        }
        messages += emitter.emit("vehicle_state", sources, subjects, columns)
        rows = np.flatnonzero((np.arange(n) + second) % self.parameters.battery_every_s == 0)
        packs = self.packs.columns(rows, float(second), speed_mps)
        packs["sampled_at_ns"] = np.full(len(rows), now_ns, np.int64)
        chosen = (rows.astype(np.int32), self.vehicle_ids)
        return messages + emitter.emit("battery_state", sources[rows], chosen, packs)

    def _lights(self) -> dict[str, Any]:
        n = self.parameters.vehicles
        _, accel_mps2 = self._kinematics()
        speed_mps, _ = self._kinematics()
        blinker = np.append(self.traffic.blinker, np.zeros(PARKED, np.int64))
        hazard = np.zeros(n, np.int8)
        standing = self.events.standing
        if standing is not None and not np.isnan(self.traffic.forced_mps2[standing]):
            hazard[standing] = speed_mps[standing] < 0.1
        is_moving = np.arange(n) < self._n_moving
        brakes = (accel_mps2 < -0.5) | (is_moving & (speed_mps < 0.1))
        return {
            "brake_on": brakes.astype(np.int8),
            "left_blinker_on": (blinker > 0).astype(np.int8),
            "right_blinker_on": (blinker < 0).astype(np.int8),
            "hazard_lights_on": hazard,
        }

    def _signal_messages(self, emitter: Emitter, second: int, now_ns: int) -> list[Outgoing]:
        """Every group each second; a fixed-time controller knows its ends exactly."""
        rows = [(name, group) for name in JUNCTIONS for group in range(1, N_GROUPS + 1)]
        states = [PLAN.state(group, float(second)) for _, group in rows]
        ends_ns = np.array([self.start_ns + round(end_s * NS_PER_S) for _, end_s in states])
        columns = {
            "sampled_at_ns": np.full(len(rows), now_ns, np.int64),
            "intersection_id": [name for name, _ in rows],
            "signal_group": np.array([group for _, group in rows], np.int64),
            "phase": [phase for phase, _ in states],
            "min_end_ns": ends_ns,
            "max_end_ns": ends_ns,
            "likely_end_ns": ends_ns,
        }
        sources = np.array([emitter.source("signal", name) for name, _ in rows])
        words = [f"{name}:{group}" for name, group in rows]
        subjects = (np.arange(len(rows), dtype=np.int32), words)
        return emitter.emit("signal_state", sources, subjects, columns)

    def _map_messages(self, emitter: Emitter, now_ns: int) -> list[Outgoing]:
        lat_deg, lon_deg = self.roads.frame.to_lat_lon_deg(*self.roads.junction_xy_m.T)
        columns = {
            "sampled_at_ns": np.full(len(JUNCTIONS), now_ns, np.int64),
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "geometry_geojson": list(self._geometries),
        }
        sources = np.array([emitter.source("rsu", rsu_id) for rsu_id in self.rsus.ids])
        subjects = (np.arange(len(JUNCTIONS), dtype=np.int32), list(JUNCTIONS))
        return emitter.emit("intersection_map", sources, subjects, columns)

    @cached_property
    def _geometries(self) -> tuple[str, ...]:
        """Lanes and signal heads of each junction as GeoJSON."""
        features = self.road_map.to_geojson()["features"]
        return tuple(
            json.dumps(
                {
                    "type": "FeatureCollection",
                    "features": [
                        feature
                        for feature in features
                        if feature["properties"].get("intersection_id") == junction
                        or str(feature["properties"].get("id", "")).startswith(f":{junction}_")
                    ],
                },
                separators=(",", ":"),
            )
            for junction in JUNCTIONS
        )

    def _charger_messages(self, emitter: Emitter, second: int, now_ns: int) -> list[Outgoing]:
        plugged = np.flatnonzero(self.packs.charging)
        n = len(plugged)
        x_m = STATION_XY_M[0] + PLACE_M * (plugged - self._n_moving)
        lat_deg, lon_deg = self.roads.frame.to_lat_lon_deg(x_m, np.full(n, STATION_XY_M[1]))
        power_w = -self.packs.current_a[plugged] * pack_voltage_v(self.packs.state)[plugged]
        is_done = self.packs.full[plugged]
        columns = {
            "sampled_at_ns": np.full(n, now_ns, np.int64),
            "station_id": STATION_ID,
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "state": ["occupied" if done else "charging" for done in is_done.tolist()],
            "power_w": np.where(is_done, 0.0, power_w),
            "energy_j": np.where(is_done, 0.0, power_w) * second,
        }
        sources = np.full(n, emitter.source("charger", STATION_ID), np.int64)
        words = [f"{STATION_ID}:{number + 1}" for number in range(n)]
        return emitter.emit(
            "charger_state", sources, (np.arange(n, dtype=np.int32), words), columns
        )


def signals_at(time_s: float) -> IntArray:
    """What all signals (n_signals,) show; both junctions run the same plan in step."""
    one = [_SIGNAL_CODES[PLAN.state(group, time_s)[0]] for group in range(1, N_GROUPS + 1)]
    return np.array(one * len(JUNCTIONS), np.int64)


class CrossroadsScenario:
    """The scenario as a plug-in."""

    name = "crossroads"
    description = "two signalled junctions, 200 electric cars, jam, breakdown, battery faults"

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
    ) -> CrossroadsWorld:
        """See Scenario; `more` are other fields of `CrossroadsParameters`."""
        known = {field.name for field in fields(CrossroadsParameters)} - {"seed", "duration_s"}
        for name in more.keys() - known:
            raise ScenarioError(f"parameter {name!r}, expected of {', '.join(sorted(known))}")
        if vehicles is not None:
            more["vehicles"] = vehicles
        parameters = CrossroadsParameters(seed=seed, duration_s=duration_s, **more)
        asked_ns = DEFAULT_EPOCH_NS if start_ns is None else start_ns
        return CrossroadsWorld(
            zone=zone,
            run_id=run_id,
            parameters=parameters,
            start_ns=asked_ns // WINDOW_NS * WINDOW_NS + INTO_WINDOW_NS,
        )


PLUGIN = CrossroadsScenario()
