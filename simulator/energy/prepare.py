"""What a day's plan alone decides about every step, made for all steps and vehicles at once.

Powers, decays, cooling and the BMS's counting as (n_steps, n), columns as in the plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.energy import bms, cell
from simulator.energy.cell import CellArrays, Float32Array, FloatArray, IntArray, Lapse
from simulator.energy.driving import SAMPLES, Traces
from simulator.energy.plan import AC, ASLEEP, DRIVE, Steps
from simulator.energy.road_load import climate_power_w

BoolArray = NDArray[np.bool_]

LAST_SHARE = 1.0 / SAMPLES
ASLEEP_W = 0.5
"""What the sleeping car takes from the pack, through its 12 V battery: a percent in six weeks."""
PARKED_COOLING_S = 5 * 3600.0
"""Time constant of a parked pack towards the air."""
DRIVEN_COOLING_S = 2 * 3600.0
COOLED_S = 300.0
"""With coolant running."""
COOLANT_DEGC = 22.0
HEATER_W = 3_000.0
"""Of the pack's heater while it charges."""


@dataclass(frozen=True)
class Vehicles:
    """What does not change within a day, each array (n,) unless said."""

    model: IntArray
    series: Float32Array
    parallel: Float32Array
    pace: Float32Array
    auxiliary_w: Float32Array
    charge_limit_v: Float32Array
    cells: CellArrays
    errors: bms.BmsErrors
    sensor_gain: FloatArray
    """A fault's gain and offset of the current sensor, from `sensor_from_s` of this day on."""
    sensor_offset_a: FloatArray
    sensor_from_s: FloatArray
    cooling_ratio: FloatArray
    """A fault's share of the cooling that is left, from `cooling_from_s` on."""
    cooling_from_s: FloatArray
    charges_cold: BoolArray
    """A BMS that lets fast charges into a cold pack."""

    def rows(self, rows: slice | IntArray) -> Vehicles:
        """The given vehicles."""
        return Vehicles(
            **{
                name: values.rows(rows) if hasattr(values, "rows") else values[rows]
                for name, values in vars(self).items()
            }
        )


@dataclass(frozen=True)
class Row:
    """One step of the vehicles still busy, each array (n,); powers are of one cell."""

    dt_s: Float32Array
    is_charge: BoolArray
    has_charge: bool
    is_first: BoolArray
    limit_w: Float32Array
    target_ratio: Float32Array
    mean_w: Float32Array
    last_w: Float32Array
    asleep_w: Float32Array
    heater_w: Float32Array
    mean: Lapse
    last: Lapse
    may_cool: BoolArray
    idle_keep: Float32Array
    idle_k_per_w: Float32Array
    cooled_keep: Float32Array
    cooled_k_per_w: Float32Array
    ambient_degc: Float32Array
    coolant_degc: Float32Array
    counts_per_ah: FloatArray
    """What the BMS takes off its charge per ampere-hour of one cell, and for its offset."""
    counts: FloatArray
    sleepers: IntArray
    """Places of those asleep long enough for a look at the rested voltage."""


@dataclass(frozen=True)
class Prepared:
    """A day, ready to run; each array (n_steps, n)."""

    steps: Steps
    mean: Lapse
    last: Lapse
    columns: dict[str, NDArray[np.generic]]
    distance_m: Float32Array
    speed_mps: Float32Array
    sensor_gain: Float32Array
    sensor_offset_a: Float32Array
    is_charge: BoolArray
    has_sleeper: BoolArray  # (n_steps,)

    def row(self, row: int, active: int) -> Row:
        """The first `active` vehicles' step."""
        part = slice(active)
        dt_s = self.steps.dt_s[row, part]
        is_charge = self.is_charge[row, part]
        sleepers = np.empty(0, np.int64)
        if self.has_sleeper[row]:
            is_asleep = self.steps.mode[row, part] == ASLEEP
            sleepers = np.flatnonzero(is_asleep & (dt_s >= bms.LONG_SLEEP_S))
        return Row(
            dt_s=dt_s,
            is_charge=is_charge,
            has_charge=bool(is_charge.any()),
            is_first=self.steps.is_first[row, part],
            target_ratio=self.steps.target_ratio[row, part],
            mean=self.mean.row(row, part),
            last=self.last.row(row, part),
            sleepers=sleepers,
            **{name: values[row, part] for name, values in self.columns.items()},  # type: ignore[arg-type]
        )


def prepared(
    vehicles: Vehicles, steps: Steps, traces: tuple[Traces, ...], ambient_degc: Float32Array
) -> Prepared:
    """The day of these vehicles (by column); `traces` are each model's."""
    mean_w, last_w, speed, distance = _driven(vehicles, steps, traces)
    gain, offset = _sensor(vehicles, steps)
    columns = _powers(vehicles, steps, mean_w, last_w, ambient_degc)
    columns |= _cooling(vehicles, steps, ambient_degc) | _counting(vehicles, steps, gain, offset)
    is_long = (steps.mode == ASLEEP) & (steps.dt_s >= bms.LONG_SLEEP_S)
    return Prepared(
        steps=steps,
        mean=cell.lapse(steps.dt_s * np.float32(1 - LAST_SHARE), vehicles.cells),
        last=cell.lapse(steps.dt_s * np.float32(LAST_SHARE), vehicles.cells),
        columns=columns,
        distance_m=distance,
        speed_mps=speed,
        sensor_gain=gain,
        sensor_offset_a=offset,
        is_charge=steps.mode >= AC,
        has_sleeper=is_long.any(axis=1),
    )


def _driven(
    vehicles: Vehicles, steps: Steps, traces: tuple[Traces, ...]
) -> tuple[Float32Array, ...]:
    """Mean power, last power, speed and distance of every step; 0 unless driven."""
    is_driven = steps.mode == DRIVE
    model = np.broadcast_to(vehicles.model, is_driven.shape)[is_driven]
    road, place = steps.road[is_driven], steps.trace_place[is_driven]
    pace = np.broadcast_to(vehicles.pace, is_driven.shape)[is_driven]
    result = []
    for name in ("mean_power_w", "last_power_w", "speed_mps", "distance_m"):
        values = np.stack([getattr(trace, name) for trace in traces])[model, road, place]
        column = np.zeros(is_driven.shape, np.float32)
        column[is_driven] = values * pace if name.endswith("power_w") else values
        result.append(column)
    return tuple(result)


def _powers(
    vehicles: Vehicles,
    steps: Steps,
    mean_w: Float32Array,
    last_w: Float32Array,
    ambient_degc: Float32Array,
) -> dict[str, NDArray[np.generic]]:
    """Powers of one cell: driving with cabin and 12 V net, standing, chargers, heater."""
    per_cell = 1 / (vehicles.series * vehicles.parallel)
    climate_w = climate_power_w(ambient_degc.astype(np.float64)).astype(np.float32)
    is_driven, is_asleep = steps.mode == DRIVE, steps.mode == ASLEEP
    standing_w = np.where(is_asleep, np.float32(ASLEEP_W), vehicles.auxiliary_w)
    awake_w = np.where(is_driven, standing_w + climate_w, standing_w)
    return {
        "mean_w": (mean_w + awake_w) * per_cell,
        "last_w": (last_w + awake_w) * per_cell,
        "asleep_w": np.broadcast_to(np.float32(ASLEEP_W) * per_cell, steps.mode.shape),
        "limit_w": steps.limit_w * per_cell,
        "heater_w": np.where(steps.mode >= AC, np.float32(HEATER_W), 0.0).astype(np.float32)
        * per_cell,
    }


def _cooling(
    vehicles: Vehicles, steps: Steps, ambient_degc: Float32Array
) -> dict[str, NDArray[np.generic]]:
    """Share of a temperature difference that a step leaves, and K per W of steady heat."""
    capacity = vehicles.cells.heat_capacity_j_per_k
    is_awake = steps.mode != ASLEEP
    fails = is_awake & (steps.end_s >= vehicles.cooling_from_s)
    ratio = np.where(fails, vehicles.cooling_ratio, 1.0).astype(np.float32)
    idle_s = np.where(is_awake, np.float32(DRIVEN_COOLING_S), np.float32(PARKED_COOLING_S)) / ratio
    cooled_s = np.float32(COOLED_S) / ratio
    idle_keep, cooled_keep = np.exp(-steps.dt_s / idle_s), np.exp(-steps.dt_s / cooled_s)
    return {
        "may_cool": is_awake,
        "idle_keep": idle_keep,
        "idle_k_per_w": (1 - idle_keep) * idle_s / capacity,
        "cooled_keep": cooled_keep,
        "cooled_k_per_w": (1 - cooled_keep) * cooled_s / capacity,
        "ambient_degc": ambient_degc,
        "coolant_degc": np.maximum(ambient_degc, np.float32(COOLANT_DEGC)),
    }


def _sensor(vehicles: Vehicles, steps: Steps) -> tuple[Float32Array, Float32Array]:
    """Gain (1 is right) and offset of every step's current sensor."""
    errors = vehicles.errors
    is_wrong = steps.end_s >= vehicles.sensor_from_s
    gain = 1 + errors.current_gain + np.where(is_wrong, vehicles.sensor_gain, 0.0)
    offset = errors.current_offset_a + np.where(is_wrong, vehicles.sensor_offset_a, 0.0)
    return gain.astype(np.float32), offset.astype(np.float32)


def _counting(
    vehicles: Vehicles, steps: Steps, gain: Float32Array, offset: Float32Array
) -> dict[str, NDArray[np.generic]]:
    """What the BMS counts in a step; a sleeping one counts nothing."""
    believed_ah = vehicles.cells.capacity_ah * vehicles.parallel * vehicles.errors.capacity_ratio
    is_awake = steps.mode != ASLEEP
    return {
        "counts_per_ah": is_awake * gain * (vehicles.parallel / believed_ah),
        "counts": is_awake * steps.dt_s * offset / (bms.S_PER_H * believed_ah),
    }
