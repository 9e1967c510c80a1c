"""What the battery scenarios share: a live fleet as a world of messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Lists
from openvrc.contracts.columns import column_of
from openvrc.contracts.geo import LocalFrame, normalised_heading_deg
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from simulator.emission import Emitter
from simulator.energy.charging import Site
from simulator.energy.driving import FRAME_S
from simulator.energy.faults import Fault
from simulator.energy.fleet import Fleet, FleetParameters
from simulator.energy.live import CHARGING, LiveFleet
from simulator.energy.reports import Reports
from simulator.energy.telling import Vehicle
from simulator.replay.options import DEFAULT_EPOCH_NS
from simulator.scenarios import ScenarioError
from simulator.world import Frame, Origin, Outgoing, TruthEvent

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PLACE = LocalFrame(31.22, 121.47)
TOWN_M, ROAD_M, SITE_APART_M = 6_000.0, 4_000.0, 800.0
STATUS_EVERY_S, CHARGER_EVERY_S = 10, 10
LENGTH_M, WIDTH_M = 4.5, 1.85


@dataclass
class FleetLiveWorld:
    """See `simulator.world.World`. Every car drives to and fro on a road of its own."""

    zone: str
    run_id: str
    title: str
    vehicles: int
    seed: int
    duration_s: float | None
    start_ns: int
    battery_every_s: int
    sites: Sequence[Site]
    drawn_faults: Callable[[list[Vehicle], np.random.Generator], list[Fault]]
    origin: Origin = "simulated"
    time_zone: str = "Asia/Shanghai"
    road_map: RoadMap | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        parameters = FleetParameters(
            vehicles=self.vehicles, days=1, seed=self.seed, start_ns=self.start_ns
        )
        fleet = Fleet(parameters)
        random = np.random.default_rng([self.seed, 9])
        faults = self.drawn_faults(fleet.vehicles, random)
        self.live = LiveFleet(fleet, faults, self.sites, random)
        self.vehicle_ids = [v.vehicle_id for v in fleet.vehicles]
        n = self.vehicles
        self._home_m = random.uniform(-TOWN_M, TOWN_M, (2, n))
        self._course_deg = random.uniform(0.0, 360.0, n)
        self._from_m = self.live.odometer_m.copy()

    def stop(self) -> None:
        """See World."""
        self._stop.set()

    def ground_truth(self) -> list[TruthEvent]:
        """See World: the faults that have begun."""
        events = [
            TruthEvent(
                rule=fault.rule,
                subject_id=self.vehicle_ids[fault.vehicle],
                from_ns=self.start_ns + round(fault.from_s * NS_PER_S),
                to_ns=None if fault.to_s is None else self.start_ns + round(fault.to_s * NS_PER_S),
                component=fault.component,
                detail={"mode": fault.mode, "severity": fault.severity, "unit": fault.unit}
                | {"cells": list(fault.cells), "probe": fault.probe}
                | fault.detail,
            )
            for fault in self.live.faults
            if fault.from_s <= self.live.time_s
        ]
        return sorted(events, key=lambda event: (event.from_ns, event.subject_id))

    def frames(self) -> Iterator[Frame]:
        """See World: one frame a second."""
        emitter = Emitter(zone=self.zone, run_id=self.run_id, origin=self.origin, seed=self.seed)
        sources = np.array([emitter.source("vehicle", v) for v in self.vehicle_ids], np.int64)
        second, now_ns = 0, self.start_ns
        while not self._stop.is_set():
            if second > 0:
                self.live.step()
            now_ns = self.start_ns + second * NS_PER_S
            yield Frame(now_ns, tuple(self._messages(emitter, sources, second, now_ns)))
            second += 1
            if second > (self.duration_s or np.inf):
                break
        yield emitter.final_frame(now_ns)

    def _messages(
        self, emitter: Emitter, sources: IntArray, second: int, now_ns: int
    ) -> list[Outgoing]:
        messages: list[Outgoing] = []
        if second == 0:
            messages += self._profiles(emitter, sources, now_ns)
        awake = np.flatnonzero(self.live.is_awake)
        if awake.size:
            columns = self._states(awake, now_ns)
            messages += emitter.emit(
                "vehicle_state", sources[awake], self._subjects(awake), columns
            )
        due = awake[(awake + second) % self.battery_every_s == 0]
        if due.size:
            columns = battery_columns(self.live.reports(due))
            columns["sampled_at_ns"] = np.full(len(due), now_ns, np.int64)
            messages += emitter.emit("battery_state", sources[due], self._subjects(due), columns)
        if second % CHARGER_EVERY_S == 0:
            messages += self._chargers(emitter, now_ns)
        if second % STATUS_EVERY_S == 0:
            messages += emitter.status(now_ns)
        return messages

    def _subjects(self, rows: IntArray) -> tuple[NDArray[np.int32], list[str]]:
        return rows.astype(np.int32), self.vehicle_ids

    def _profiles(self, emitter: Emitter, sources: IntArray, now_ns: int) -> list[Outgoing]:
        models = [v.model for v in self.live.vehicles]
        columns = {
            "sampled_at_ns": np.full(len(models), now_ns, np.int64),
            "model": [m.name for m in models],
            "chemistry": [m.chemistry for m in models],
            "rated_capacity_ah": np.array([m.rated_capacity_ah for m in models]),
            "cells_in_series": np.array([m.series for m in models]),
            "probe_count": np.array([m.probes for m in models]),
            "mass_kg": np.array([m.mass_kg for m in models]),
            "report_period_s": np.full(len(models), float(self.battery_every_s)),
        }
        rows = np.arange(len(models))
        return emitter.emit("vehicle_profile", sources, self._subjects(rows), columns)

    def _states(self, rows: IntArray, now_ns: int) -> dict[str, Any]:
        """Position by the way driven: out on the car's road and back again."""
        way_m = (self.live.odometer_m - self._from_m)[rows] % (2 * ROAD_M)
        is_back = way_m > ROAD_M
        out_m = np.where(is_back, 2 * ROAD_M - way_m, way_m)
        course = np.radians(self._course_deg[rows])
        x_m = self._home_m[0, rows] + out_m * np.sin(course)
        y_m = self._home_m[1, rows] + out_m * np.cos(course)
        lat_deg, lon_deg = PLACE.to_lat_lon_deg(x_m, y_m)
        accel = self.live.accel_mps2[rows]
        code = column_of("vehicle_state", "vehicle_class").values.index("car")
        return {
            "sampled_at_ns": np.full(len(rows), now_ns, np.int64),
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "speed_mps": self.live.speed_mps[rows],
            "heading_deg": normalised_heading_deg(self._course_deg[rows] + 180.0 * is_back),
            "accel_long_mps2": accel,
            "brake_on": (accel < -0.5).astype(np.int8),
            "vehicle_class": np.full(len(rows), code, np.int8),
            "length_m": np.full(len(rows), LENGTH_M),
            "width_m": np.full(len(rows), WIDTH_M),
        }

    def _chargers(self, emitter: Emitter, now_ns: int) -> list[Outgoing]:
        """Every stall of every station."""
        stalls = [(number, s) for number, site in enumerate(self.sites) for s in range(site.stalls)]
        if not stalls:
            return []
        live = self.live
        at = {
            (int(live.site_of[v]), int(live.stall[v])): v
            for v in np.flatnonzero(live.activity == CHARGING).tolist()
        }
        users = [at.get(stall) for stall in stalls]
        power_w = -live.current_a * live.cell.voltage_v * live.fleet.series
        x_m = np.array([SITE_APART_M * number for number, _ in stalls])
        lat_deg, lon_deg = PLACE.to_lat_lon_deg(x_m, np.array([3.0 * s for _, s in stalls]))
        columns = {
            "sampled_at_ns": np.full(len(stalls), now_ns, np.int64),
            "station_id": [f"station-{number + 1}" for number, _ in stalls],
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "state": ["available" if user is None else "charging" for user in users],
            "power_w": np.array([0.0 if u is None else max(float(power_w[u]), 0.0) for u in users]),
            "energy_j": np.array([0.0 if u is None else float(live.charged_j[u]) for u in users]),
        }
        sources = np.array([emitter.source("charger", f"station-{n + 1}") for n, _ in stalls])
        words = [f"station-{number + 1}:{s + 1}" for number, s in stalls]
        subjects = (np.arange(len(stalls), dtype=np.int32), words)
        return emitter.emit("charger_state", sources, subjects, columns)


def battery_columns(reports: list[Reports]) -> dict[str, Any]:
    """`battery_state` columns of one record each."""

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(report, name) for report in reports])

    def lists(name: str, unit: float) -> Lists:
        parts = [getattr(report, name)[0] for report in reports]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        return (np.concatenate(parts) * unit).astype(np.float32), offsets.astype(np.int32)

    return {
        "pack_voltage_v": joined("pack_voltage_v"),
        "pack_current_a": joined("pack_current_a"),
        "soc_ratio": joined("soc_ratio"),
        "soh_ratio": joined("soh_ratio"),
        "cell_voltages_v": lists("cells_mv", 1e-3),
        "probe_temperatures_degc": lists("probes_degc", 1.0),
        "insulation_ohm": joined("insulation_ohm"),
        "charging_state": joined("charging_state"),
        "odometer_m": joined("odometer_m"),
        "vehicle_speed_mps": joined("speed_mps"),
        "bms_alarm_level": joined("alarm_level").astype(np.int64),
        "bms_alarm_bits": joined("alarm_bits").astype(np.int64),
    }


def make_world(
    title: str,
    drawn_faults: Callable[[list[Vehicle], np.random.Generator], list[Fault]],
    *,
    zone: str,
    run_id: str,
    seed: int,
    duration_s: float | None,
    vehicles: int,
    least_vehicles: int,
    start_ns: int | None,
    battery_every_s: int = int(FRAME_S),
    sites: Sequence[Site] = (),
) -> FleetLiveWorld:
    """The world. Raises ScenarioError for a number out of range."""
    if not least_vehicles <= vehicles <= MOST_VEHICLES:
        raise ScenarioError(f"vehicles is {vehicles}, expected {least_vehicles} to {MOST_VEHICLES}")
    if duration_s is not None and not duration_s > 0:
        raise ScenarioError(f"duration_s is {duration_s}, expected more than 0")
    return FleetLiveWorld(
        zone=zone,
        run_id=run_id,
        title=title,
        vehicles=vehicles,
        seed=seed,
        duration_s=duration_s,
        start_ns=DEFAULT_EPOCH_NS if start_ns is None else start_ns,
        battery_every_s=battery_every_s,
        sites=sites,
        drawn_faults=drawn_faults,
    )


MOST_VEHICLES = 20_000
