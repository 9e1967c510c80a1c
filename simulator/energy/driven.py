"""Packs of vehicles that somebody else drives: motion and charging power in, records out.

The cells, BMS, faults and reports of `live.py`, second by second or faster, for a scenario whose
traffic says how fast each vehicle goes and whether it is plugged in. All vehicles are one model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from simulator.energy import bms, cell, charging, fault_effects
from simulator.energy import pack as packs
from simulator.energy.cell import Float32Array, FloatArray, IntArray
from simulator.energy.chemistry import chemistry_code
from simulator.energy.drivers import driver_of
from simulator.energy.faults import Fault
from simulator.energy.models import VehicleModel
from simulator.energy.prepare import COOLANT_DEGC, COOLED_S, DRIVEN_COOLING_S
from simulator.energy.reports import COMPLETE, NOT_CHARGING, PARKED_CHARGING, Reports
from simulator.energy.road_load import traction_power_w
from simulator.energy.telling import Shown, Vehicle, told

COOL_ABOVE_DEGC = 31.0
HEALTH = (0.86, 1.0)
"""State of health of packs up to five years old."""
INSULATION_OHM = (3e6, 4e7)
FIRST_ODOMETER_M = (2e6, 9e7)


@dataclass
class DrivenPacks:
    """n packs of one model in their newest moment; `step` takes them on."""

    model: VehicleModel
    vehicle_ids: Sequence[str]
    soc_ratio: FloatArray  # (n,) at the start
    draws: np.random.Generator
    ambient_degc: float = 20.0
    faults: Sequence[Fault] = ()
    time_s: float = 0.0
    charge_w: FloatArray = field(init=False)  # (n,) what a charger gives, 0 unplugged
    charged_j: FloatArray = field(init=False)  # (n,) since `plug`
    power_w: FloatArray = field(init=False)  # (n,) into the pack, in the newest step

    def __post_init__(self) -> None:
        n, model, draws = len(self.vehicle_ids), self.model, self.draws
        code = np.full(n, chemistry_code(model.chemistry), np.int64)
        health = draws.uniform(*HEALTH, n)
        self._cells = cell.cells_of(code, health, 1.0 + 1.5 * (1.0 - health))
        self._errors = bms.drawn_errors(
            np.zeros(n, np.int64), np.array([model.soc_bias_ratio]), draws
        )
        self.vehicles = [self._drawn(number) for number in range(n)]
        self._limit_v = np.array(
            [model.cell.charge_limit_v - packs.highest_v(v.spread, model) for v in self.vehicles],
            np.float32,
        )
        self.cell = cell.rested(self._cells, self.soc_ratio, np.full(n, self.ambient_degc + 2.0))
        self.believed_ratio = self.soc_ratio + self._errors.own_bias_ratio
        self.odometer_m = draws.uniform(*FIRST_ODOMETER_M, n)
        self.speed_mps = np.zeros(n)
        self.charge_w, self.charged_j, self.power_w = np.zeros(n), np.zeros(n), np.zeros(n)
        self._sensed_a = self._current_a = np.zeros(n, np.float32)
        self._memories = [fault_effects.Memory() for _ in self.faults]

    def _drawn(self, number: int) -> Vehicle:
        return Vehicle(
            number=number,
            vehicle_id=self.vehicle_ids[number],
            model=self.model,
            climate=0,
            driver=driver_of(self.model, self.draws),
            spread=packs.drawn_spread(self.model, self.draws),
            insulation_ohm=float(np.exp(self.draws.uniform(*np.log(INSULATION_OHM)))),
            fault=None,
        )

    def step(
        self, dt_s: float, speed_mps: FloatArray, accel_mps2: FloatArray, load_kg: FloatArray
    ) -> None:
        """`dt_s` on, every array (n,): `load_kg` is what each carries beside its own mass."""
        self.time_s += dt_s
        self.speed_mps = speed_mps
        self.odometer_m = self.odometer_m + speed_mps * dt_s
        transfer = cell.kinetics(self.cell.temperature_degc, self._cells)
        relaxed = self.cell.ocv_v - self.cell.v1_v - self.cell.v2_v
        load_w = self._load_w(speed_mps, accel_mps2, load_kg) / self.model.cells
        current = cell.current_for_power_a(
            load_w.astype(np.float32), relaxed, transfer, self._cells
        )
        rows = np.flatnonzero(self.charge_w > 0)
        if rows.size:
            current[rows] = self._charge_a(rows, relaxed, transfer)
        is_hot = self.cell.temperature_degc > COOL_ABOVE_DEGC
        cooling = self._cells.heat_capacity_j_per_k / np.where(is_hot, COOLED_S, DRIVEN_COOLING_S)
        around = np.where(is_hot, max(COOLANT_DEGC, self.ambient_degc), self.ambient_degc)
        step_s = np.full(len(current), dt_s, np.float32)
        self.cell = cell.step(
            self.cell,
            current,
            step_s,
            self._cells,
            cooling_w_per_k=cooling.astype(np.float32),
            surroundings_degc=around.astype(np.float32),
        )
        self._current_a = current * np.float32(self.model.parallel)
        self._sensed_a = bms.sensed_a(self._current_a, self._errors)
        capacity_ah = self._cells.capacity_ah * self.model.parallel * self._errors.capacity_ratio
        self.believed_ratio = bms.counted(self.believed_ratio, self._sensed_a, step_s, capacity_ah)
        self.power_w = -self._current_a * self.cell.voltage_v * np.float64(self.model.series)
        self.charged_j = self.charged_j + np.where(self.charge_w > 0, self.power_w * dt_s, 0.0)

    def _load_w(
        self, speed_mps: FloatArray, accel_mps2: FloatArray, load_kg: FloatArray
    ) -> FloatArray:
        """Power out of each pack while it does not charge."""
        load_w = np.full(len(speed_mps), self.model.auxiliary_w)
        for load in np.unique(load_kg).tolist():
            rows = np.flatnonzero(load_kg == load)
            laden = replace(self.model, mass_kg=self.model.mass_kg + load)
            load_w[rows] += traction_power_w(speed_mps[rows], accel_mps2[rows], laden)
        return load_w

    def _charge_a(
        self, rows: IntArray, relaxed: Float32Array, transfer: cell.Kinetics
    ) -> Float32Array:
        by_power = -self.charge_w[rows] / (self.model.cells * self.cell.voltage_v[rows])
        rate = charging.allowed_c_rate(self.believed_ratio[rows], self.cell.temperature_degc[rows])
        current = np.maximum(by_power, -rate * self._cells.capacity_ah[rows])
        current = np.minimum(current, -1e-3).astype(np.float32)
        by_voltage = cell.current_to_voltage_a(
            self._limit_v[rows], relaxed[rows], current, transfer.rows(rows),
            self._cells.r0_ohm[rows],
        )  # fmt: skip
        return np.minimum(np.maximum(current, by_voltage), np.float32(-1e-3))

    def plug(self, number: int) -> None:
        """A session of this vehicle begins."""
        self.charged_j[number] = 0.0

    def reports(self, rows: IntArray, target_ratio: float) -> list[Reports]:
        """What these vehicles tell now, one record each; a charge is complete at the target."""
        return [self._report(self.vehicles[row], target_ratio) for row in rows.tolist()]

    def _report(self, v: Vehicle, target_ratio: float) -> Reports:
        one = slice(v.number, v.number + 1)
        mean = packs.MeanFrames(
            voltage_v=self.cell.voltage_v[one],
            overvoltage_v=self.cell.overvoltage_v[one],
            soc_ratio=self.cell.soc_ratio[one].astype(np.float32),
            temperature_degc=self.cell.temperature_degc[one],
        )
        code = NOT_CHARGING
        if self.charge_w[v.number] > 0:
            is_full = self.believed_ratio[v.number] >= target_ratio
            code = COMPLETE if is_full else PARKED_CHARGING
        frames = Shown(
            time_s=np.array([self.time_s]),
            mean=mean,
            current_a=self._current_a[one],
            sensed_a=self._sensed_a[one],
            believed_ratio=self.believed_ratio[one],
            charging_state=np.array([code], np.int8),
            odometer_m=self.odometer_m[one],
            speed_mps=self.speed_mps[one].astype(np.float32),
            cell_ah=float(self._cells.capacity_ah[v.number]),
            cell_ohm=float(self._cells.r0_ohm[v.number]),
            believed_capacity_ratio=float(self._errors.capacity_ratio[v.number]),
        )
        struck = [
            (fault, memory)
            for fault, memory in zip(self.faults, self._memories, strict=True)
            if fault.vehicle == v.number
        ]

        def noise(shape: tuple[int, ...]) -> NDArray[np.float32]:
            return self.draws.standard_normal(shape, np.float32)

        return told(v, frames, struck, noise=noise, random=self.draws)
