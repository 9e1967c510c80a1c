"""A fleet second by second: cars that drive, queue, charge with shared power, and stand.

The same cells, packs, BMS, faults and reports as a fleet written by the day; here everything
happens together, so stations share their power among who is plugged in at that second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.energy import bms, cell, charging, fault_effects
from simulator.energy import pack as packs
from simulator.energy.cell import Float32Array, FloatArray, IntArray
from simulator.energy.charging import Site
from simulator.energy.driving import ROADS, SAMPLE_S, speed_trace_mps
from simulator.energy.faults import Fault
from simulator.energy.fleet import Fleet
from simulator.energy.incidents import WAKES_AFTER_S, runaway_s
from simulator.energy.models import MODELS
from simulator.energy.prepare import ASLEEP_W, COOLANT_DEGC, COOLED_S, DRIVEN_COOLING_S
from simulator.energy.reports import COMPLETE, NOT_CHARGING, PARKED_CHARGING, Reports
from simulator.energy.road_load import climate_power_w, traction_power_w
from simulator.energy.telling import Shown, Vehicle, told

DRIVING, PARKED, QUEUED, CHARGING, STANDING = range(5)
START_SHARES = (0.55, 0.25, 0.20)  # driving, parked, charging
TRACE_SAMPLES = 8192
TRIP_S, PAUSE_S = 1500.0, 1200.0
LOW_RATIO, TARGET_RATIO = 0.25, 0.85
AMBIENT_DEGC = 24.0
COOL_ABOVE_DEGC = 31.0
ASLEEP_AFTER_S = 20.0
"""A parked car says nothing any more this long after it stopped."""
DT_S = 1.0


@dataclass
class LiveFleet:
    """n cars in their newest second; `step` takes them on by one."""

    fleet: Fleet
    faults: Sequence[Fault]
    sites: Sequence[Site]
    draws: np.random.Generator
    time_s: float = 0.0
    activity: IntArray = field(init=False)  # (n,)
    left_s: FloatArray = field(init=False)  # (n,) of the trip or pause
    speed_mps: FloatArray = field(init=False)
    accel_mps2: FloatArray = field(init=False)
    charge_w: FloatArray = field(init=False)  # (n,) what the station gives
    charged_j: FloatArray = field(init=False)  # (n,) in this session
    stall: IntArray = field(init=False)  # (n,) -1 while at none

    def __post_init__(self) -> None:
        n = len(self.vehicles)
        state = self.fleet.state
        self.activity = self.draws.choice((DRIVING, PARKED, CHARGING), n, p=START_SHARES)
        self._stand_faulty()
        self.left_s = self.draws.uniform(60.0, TRIP_S, n)
        self.speed_mps, self.accel_mps2 = np.zeros(n), np.zeros(n)
        self.charge_w, self.charged_j = np.zeros(n), np.zeros(n)
        self.stall = np.full(n, -1)
        self.cell, self.believed_ratio = state.cell, state.believed_ratio
        self.odometer_m = state.odometer_m
        self.sensed_a = np.zeros(n, np.float32)
        self.current_a = np.zeros(n, np.float32)
        self._cells = self.fleet.cells()
        self._errors = self.fleet.errors
        self._awake_s = np.where(self.activity == PARKED, 0.0, np.inf)
        self._traces = np.stack([speed_trace_mps(r, TRACE_SAMPLES, self.draws) for r in ROADS])
        self._road = self.draws.integers(0, len(ROADS), n)
        self._place = self.draws.integers(0, TRACE_SAMPLES, n).astype(np.float64)
        self.site_of = np.arange(n) % max(len(self.sites), 1)
        self._queues: list[list[int]] = [[] for _ in self.sites]
        self._memories = {fault.vehicle: fault_effects.Memory() for fault in self.faults}
        self._model_rows = [np.flatnonzero(self.fleet.model == m) for m in range(len(MODELS))]
        for vehicle in np.flatnonzero(self.activity == CHARGING).tolist():
            self._arrive(vehicle)

    @property
    def vehicles(self) -> list[Vehicle]:
        """The cars."""
        return self.fleet.vehicles

    def _stand_faulty(self) -> None:
        """Cars with a fault are on the road, or parked where their fault says so."""
        for fault in self.faults:
            parked = bool(fault.detail.get("parked"))
            self.activity[fault.vehicle] = PARKED if parked else DRIVING

    def step(self) -> None:
        """One second on."""
        self.time_s += DT_S
        self._drive()
        self._share_power()
        asked_w = self._load_w()
        transfer = cell.kinetics(self.cell.temperature_degc, self._cells)
        relaxed = self.cell.ocv_v - self.cell.v1_v - self.cell.v2_v
        current = cell.current_for_power_a(asked_w, relaxed, transfer, self._cells)
        charges = np.flatnonzero(self.charge_w > 0)
        if charges.size:
            current[charges] = self._charge_a(charges, relaxed, transfer)
        is_hot = self.cell.temperature_degc > COOL_ABOVE_DEGC
        cooling = self._cells.heat_capacity_j_per_k / np.where(is_hot, COOLED_S, DRIVEN_COOLING_S)
        around = np.where(is_hot, max(COOLANT_DEGC, AMBIENT_DEGC), AMBIENT_DEGC)
        dt_s = np.full(len(current), DT_S, np.float32)
        self.cell = cell.step(
            self.cell,
            current,
            dt_s,
            self._cells,
            cooling_w_per_k=cooling.astype(np.float32),
            surroundings_degc=around.astype(np.float32),
        )
        self.current_a = current * self.fleet.parallel
        self._count(dt_s)
        self._change_activities()

    def _drive(self) -> None:
        is_driven = self.activity == DRIVING
        place = self._place.astype(np.int64) % TRACE_SAMPLES
        after = (place + 1) % TRACE_SAMPLES
        share = self._place % 1.0
        here, there = self._traces[self._road, place], self._traces[self._road, after]
        speed = np.where(is_driven, here + (there - here) * share, 0.0)
        self.accel_mps2 = np.where(is_driven, (there - here) / SAMPLE_S, 0.0)
        self.speed_mps = speed
        self.odometer_m = self.odometer_m + speed * DT_S
        self._place = (self._place + is_driven * DT_S / SAMPLE_S) % TRACE_SAMPLES

    def _load_w(self) -> Float32Array:
        """Power out of each car's mean cell while it does not charge."""
        load = np.zeros(len(self.speed_mps))
        for model, rows in zip(MODELS, self._model_rows, strict=True):
            if rows.size:
                load[rows] = traction_power_w(self.speed_mps[rows], self.accel_mps2[rows], model)
        climate_w = float(climate_power_w(np.array(AMBIENT_DEGC)))
        awake_w = self.fleet.auxiliary_w + climate_w
        load = np.where(self.is_awake, load + awake_w, ASLEEP_W)
        return (load / (self.fleet.series * self.fleet.parallel)).astype(np.float32)

    def _charge_a(
        self, rows: IntArray, relaxed: Float32Array, transfer: cell.Kinetics
    ) -> Float32Array:
        n_cells = (self.fleet.series * self.fleet.parallel)[rows]
        by_power = -self.charge_w[rows] / (n_cells * self.cell.voltage_v[rows])
        temperature = self.cell.temperature_degc[rows]
        rate = charging.allowed_c_rate(self.believed_ratio[rows], temperature)
        current = np.maximum(by_power, -rate * self._cells.capacity_ah[rows])
        current = np.minimum(current, -1e-3).astype(np.float32)
        limit_v = self.fleet.charge_limit_v[rows]
        by_voltage = cell.current_to_voltage_a(
            limit_v, relaxed[rows], current, transfer.rows(rows), self._cells.r0_ohm[rows]
        )
        return np.minimum(np.maximum(current, by_voltage), np.float32(-1e-3))

    def _count(self, dt_s: Float32Array) -> None:
        gain, offset = self._sensor()
        self.sensed_a = (self.current_a * gain + offset).astype(np.float32)
        capacity_ah = self._cells.capacity_ah * self.fleet.parallel * self._errors.capacity_ratio
        counting = np.where(self.is_awake, self.sensed_a, 0.0).astype(np.float32)
        self.believed_ratio = bms.counted(self.believed_ratio, counting, dt_s, capacity_ah)
        power_w = -self.current_a * self.cell.voltage_v * self.fleet.series
        self.charged_j = self.charged_j + np.where(self.charge_w > 0, power_w * DT_S, 0.0)

    def _sensor(self) -> tuple[FloatArray, FloatArray]:
        gain, offset = 1 + self._errors.current_gain, self._errors.current_offset_a.copy()
        for fault in self.faults:
            if fault.mode == "current_sensor" and fault.is_on(self.time_s):
                (gain if fault.detail["how"] == "gain" else offset)[fault.vehicle] += fault.severity
        return gain, offset

    @property
    def is_awake(self) -> NDArray[np.bool_]:
        """Cars whose terminal tells (n,)."""
        return np.asarray((self.activity != PARKED) | (self._awake_s > self.time_s))

    def _arrive(self, vehicle: int) -> None:
        """At its station: into a stall, or into the queue."""
        self.activity[vehicle] = QUEUED
        if self.sites:
            self._queues[int(self.site_of[vehicle])].append(vehicle)

    def _share_power(self) -> None:
        """Free stalls to the first in the queue, and the site's power to who is plugged in."""
        self.charge_w = np.zeros(len(self.activity))
        for number, site in enumerate(self.sites):
            at_site = (self.site_of == number) & (self.activity == CHARGING)
            queue = self._queues[number]
            free = [s for s in range(site.stalls) if s not in set(self.stall[at_site].tolist())]
            while queue and free:
                vehicle = queue.pop(0)
                self.activity[vehicle], self.stall[vehicle] = CHARGING, free.pop(0)
                self.charged_j[vehicle] = 0.0
                at_site[vehicle] = True
            plugged = np.flatnonzero(at_site)
            if plugged.size:
                most_w = np.array([self.vehicles[v].model.fast_charge_w for v in plugged.tolist()])
                self.charge_w[plugged] = charging.shared_w(most_w, site.grid_w)

    def _change_activities(self) -> None:
        self.left_s = self.left_s - DT_S
        is_faulty = np.zeros(len(self.activity), np.bool_)
        is_faulty[[fault.vehicle for fault in self.faults]] = True
        full = np.flatnonzero((self.activity == CHARGING) & (self.believed_ratio >= TARGET_RATIO))
        self._park(full)
        self.stall[full] = -1
        over = np.flatnonzero((self.activity == DRIVING) & (self.left_s <= 0) & ~is_faulty)
        for vehicle in over.tolist():
            if self.believed_ratio[vehicle] < LOW_RATIO and self.sites:
                self._arrive(vehicle)
            else:
                self._park(np.array([vehicle]))
        leaves = np.flatnonzero((self.activity == PARKED) & (self.left_s <= 0) & ~is_faulty)
        self.activity[leaves] = DRIVING
        self.left_s[leaves] = self.draws.uniform(0.3, 2.0, len(leaves)) * TRIP_S
        self._burn()

    def _park(self, rows: IntArray) -> None:
        self.activity[rows] = PARKED
        self.left_s[rows] = self.draws.uniform(0.3, 2.0, len(rows)) * PAUSE_S
        self._awake_s[rows] = self.time_s + ASLEEP_AFTER_S

    def _burn(self) -> None:
        """A car whose pack runs away stands, and is awake from its alarm on."""
        for fault in self.faults:
            at_s = runaway_s(fault)
            if at_s is None or self.time_s < at_s:
                continue
            wakes = bool(fault.detail.get("parked"))
            if not wakes or self.time_s >= at_s + min(WAKES_AFTER_S, 3.0):
                self.activity[fault.vehicle] = STANDING

    def reports(self, rows: IntArray) -> list[Reports]:
        """What these cars tell of this second, one record each."""
        return [self._report(self.vehicles[row]) for row in rows.tolist()]

    def _report(self, v: Vehicle) -> Reports:
        one = slice(v.number, v.number + 1)
        mean = packs.MeanFrames(
            voltage_v=self.cell.voltage_v[one],
            overvoltage_v=self.cell.overvoltage_v[one],
            soc_ratio=self.cell.soc_ratio[one].astype(np.float32),
            temperature_degc=self.cell.temperature_degc[one],
        )
        is_charging = self.activity[v.number] == CHARGING
        is_full = self.believed_ratio[v.number] >= TARGET_RATIO
        code = (COMPLETE if is_full else PARKED_CHARGING) if is_charging else NOT_CHARGING
        frames = Shown(
            time_s=np.array([self.time_s]),
            mean=mean,
            current_a=self.current_a[one],
            sensed_a=self.sensed_a[one],
            believed_ratio=self.believed_ratio[one],
            charging_state=np.array([code], np.int8),
            odometer_m=self.odometer_m[one],
            speed_mps=self.speed_mps[one].astype(np.float32),
            cell_ah=float(self._cells.capacity_ah[v.number]),
            cell_ohm=float(self._cells.r0_ohm[v.number]),
            believed_capacity_ratio=float(self._errors.capacity_ratio[v.number]),
        )
        struck = [(f, self._memories[v.number]) for f in self.faults if f.vehicle == v.number]

        def noise(shape: tuple[int, ...]) -> Float32Array:
            return self.draws.standard_normal(shape, np.float32)

        return told(v, frames, struck, noise=noise, random=self.draws)
