"""One day of many vehicles, step by step: what their packs go through.

Vehicles advance together, one step of their own plan at a time. A step is taken in two parts: most
of it at its mean power, then a moment at the power of that moment, which the frame shows. What
depends on the plan alone is made for the whole day at once (`prepare.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.energy import bms, cell, charging
from simulator.energy.cell import CellState, Float32Array, FloatArray, IntArray
from simulator.energy.plan import DC
from simulator.energy.prepare import LAST_SHARE, Prepared, Row, Vehicles

COMPLETE_FRAMES = 3
"""Steps a car still reports when its charge is complete, before it sleeps."""
HEAT_BELOW_DEGC = 5.0
COOL_ABOVE_DEGC = 31.0
COLD_DEGC = 10.0
EMPTY_RATIO = 0.05
"""The car does not drive on below it: its weakest cell is then near its end of discharge, where a
BMS opens the contactors. At 2 % LFP cells of healthy cars came to rest below 2 V."""
LEAST_CHARGE_A = np.float32(-1e-3)
_WARM_DEGC = np.float32(25.0)
"""What a BMS that charges cold packs takes for their temperature."""
_MEAN_SHARE, _LAST_SHARE = np.float32(1 - LAST_SHARE), np.float32(LAST_SHARE)
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class PackState:
    """State of n packs between steps, each array (n,)."""

    cell: CellState
    believed_ratio: FloatArray
    """Charge as the BMS believes it."""
    odometer_m: FloatArray
    discharged_ah: FloatArray
    """Of the pack, since it was new; and the charge taken in."""
    charged_ah: FloatArray
    cold_charged_ah: FloatArray
    """Of that, at fast chargers below 10 degC."""

    def rows(self, rows: slice | IntArray) -> PackState:
        """The given packs."""
        return PackState(
            **{
                name: values.rows(rows) if hasattr(values, "rows") else values[rows]
                for name, values in vars(self).items()
            }
        )


@dataclass(frozen=True)
class Trace:
    """What the packs did, step-major (n_steps, n) as the plan, at each step's end."""

    current_a: Float32Array
    """Of the pack, true, positive out of it."""
    sensed_a: Float32Array
    voltage_v: Float32Array
    """Of the mean cell."""
    overvoltage_v: Float32Array
    soc_ratio: FloatArray
    believed_ratio: Float32Array
    temperature_degc: Float32Array
    odometer_m: FloatArray
    is_complete: BoolArray
    is_told: BoolArray
    """Whether the car is awake enough to tell."""


def rested(
    cells: cell.CellArrays, soc_ratio: FloatArray, temperature_degc: FloatArray
) -> PackState:
    """New packs at rest whose BMS believes the truth."""
    zero = np.zeros(len(soc_ratio))
    state = cell.rested(cells, soc_ratio, temperature_degc)
    return PackState(state, soc_ratio.copy(), zero, zero, zero, zero)


@dataclass(frozen=True)
class Busy:
    """The packs still busy: cells, the BMS's belief, and steps since a charge was complete."""

    cell: CellState
    believed: FloatArray
    n_complete: IntArray

    def rows(self, rows: slice) -> Busy:
        """The given packs."""
        return Busy(self.cell.rows(rows), self.believed[rows], self.n_complete[rows])


def run(state: PackState, vehicles: Vehicles, day: Prepared) -> tuple[PackState, Trace]:
    """The packs after their day; state and vehicles by the plan's columns."""
    n_steps, n = day.steps.mode.shape
    shown = {
        name: np.zeros((n_steps, n), np.float64 if name == "soc_ratio" else np.float32)
        for name in (
            *("current_a", "voltage_v", "overvoltage_v", "soc_ratio"),
            *("believed_ratio", "temperature_degc"),
        )
    }
    n_complete = np.zeros((n_steps, n), np.int16)
    busy = Busy(state.cell, state.believed_ratio, np.zeros(n, np.int64))
    finished: list[Busy] = []
    own = vehicles
    for row, active in enumerate(day.steps.n_active.tolist()):
        if active < len(busy.believed):
            finished.append(busy.rows(slice(active, None)))
            busy, own = busy.rows(slice(active)), own.rows(slice(active))
        busy, current = advanced(busy, own, day.row(row, active))
        shown["current_a"][row, :active] = current * own.parallel
        shown["voltage_v"][row, :active] = busy.cell.voltage_v
        shown["overvoltage_v"][row, :active] = busy.cell.overvoltage_v
        shown["soc_ratio"][row, :active] = busy.cell.soc_ratio
        shown["believed_ratio"][row, :active] = busy.believed
        shown["temperature_degc"][row, :active] = busy.cell.temperature_degc
        n_complete[row, :active] = busy.n_complete
    finished.append(busy)
    return _metered(state, _joined(finished[::-1]), vehicles, day, shown, n_complete)


def advanced(busy: Busy, own: Vehicles, row: Row) -> tuple[Busy, Float32Array]:
    """Packs after one step, and the current (n,) of one cell at its end."""
    cells, arrays = busy.cell, own.cells
    transfer = cell.kinetics(cells.temperature_degc, arrays)
    n_complete = busy.n_complete * ~row.is_first
    charges = np.flatnonzero(row.is_charge & (n_complete == 0))
    charge_a = _charge_current_a(busy, own, row, transfer, charges) if charges.size else None
    rests = np.flatnonzero(
        (cells.soc_ratio < EMPTY_RATIO) | (row.is_charge & (n_complete > COMPLETE_FRAMES))
    )
    soc, v1, v2 = cells.soc_ratio, cells.v1_v, cells.v2_v
    heat_w = row.heater_w * (cells.temperature_degc < HEAT_BELOW_DEGC)
    parts = ((row.mean_w, row.mean, _MEAN_SHARE), (row.last_w, row.last, _LAST_SHARE))
    for asked_w, lapse, share in parts:
        power_w = asked_w
        if rests.size:
            power_w = asked_w.copy()
            power_w[rests] = row.asleep_w[rests]
        relaxed = cells.ocv_v - v1 - v2
        current = cell.current_for_power_a(power_w, relaxed, transfer, arrays)
        if charge_a is not None:
            current[charges] = charge_a
        soc = soc - current * lapse.charge_per_a
        v1 = v1 * lapse.keep1 + lapse.gain1_ohm * current
        v2 = v2 * lapse.keep2 + lapse.gain2_ohm * current
        overvoltage = arrays.r0_ohm * current + v1 + v2 + transfer.overvoltage_v(current)
        heat_w = heat_w + share * current * overvoltage
    moved_ah = ((cells.soc_ratio - soc) * arrays.capacity_ah).astype(np.float32)
    hysteresis = cell.turned_hysteresis(cells.hysteresis, moved_ah, arrays)
    after = CellState(
        soc_ratio=soc,
        v1_v=v1,
        v2_v=v2,
        hysteresis=hysteresis,
        temperature_degc=_warmed(cells.temperature_degc, heat_w, row),
        ocv_v=cell.open_circuit_v(soc, arrays.chemistry) + arrays.hysteresis_v * hysteresis,
        overvoltage_v=overvoltage,
    )
    return _believing(busy, after, own, row, moved_ah, n_complete), current


def _warmed(temperature: Float32Array, heat_w: Float32Array, row: Row) -> Float32Array:
    """Temperature (n,) after the step's heat, exactly; cooled where it is warm and awake."""
    is_cooled = row.may_cool & (temperature > COOL_ABOVE_DEGC)
    keep, rise, around = row.idle_keep, row.idle_k_per_w, row.ambient_degc
    if is_cooled.any():
        keep = np.where(is_cooled, row.cooled_keep, keep)
        rise = np.where(is_cooled, row.cooled_k_per_w, rise)
        around = np.where(is_cooled, row.coolant_degc, around)
    return np.asarray(around + (temperature - around) * keep + heat_w * rise, np.float32)


def _charge_current_a(
    busy: Busy, own: Vehicles, row: Row, transfer: cell.Kinetics, charges: IntArray
) -> Float32Array:
    """Current of one cell of those that charge: the least of power, BMS limit, voltage limit."""
    cells = busy.cell
    relaxed = (cells.ocv_v - cells.v1_v - cells.v2_v)[charges]
    by_power = -row.limit_w[charges] / cells.voltage_v[charges]
    felt = np.where(own.charges_cold, _WARM_DEGC, cells.temperature_degc)[charges]
    rate = charging.allowed_c_rate(busy.believed[charges], felt)
    by_bms = (-rate * own.cells.capacity_ah[charges]).astype(np.float32)
    current = np.minimum(np.maximum(by_power, by_bms), LEAST_CHARGE_A)
    by_voltage = cell.current_to_voltage_a(
        own.charge_limit_v[charges],
        relaxed,
        current,
        transfer.rows(charges),
        own.cells.r0_ohm[charges],
    )
    return np.asarray(np.minimum(np.maximum(current, by_voltage), LEAST_CHARGE_A), np.float32)


def _believing(
    busy: Busy,
    after: CellState,
    own: Vehicles,
    row: Row,
    moved_ah: Float32Array,
    n_complete: IntArray,
) -> Busy:
    """The BMS's own step: what it believes, and whether a charge is complete."""
    believed = busy.believed - moved_ah * row.counts_per_ah - row.counts
    if row.sleepers.size:
        rows = row.sleepers
        believed[rows] = bms.looked(
            believed[rows],
            after.soc_ratio[rows],
            cell.open_circuit_slope_v(after.soc_ratio[rows], own.cells.chemistry[rows]),
            row.dt_s[rows],
            own.errors.rows(rows),
        )
    if not row.has_charge:
        return Busy(after, believed, n_complete)
    tapered = row.is_charge & (after.voltage_v >= own.charge_limit_v - np.float32(0.01))
    cut_off_ah = charging.CUT_OFF_C_RATE / bms.S_PER_H * row.dt_s * own.cells.capacity_ah
    tapered &= -moved_ah <= cut_off_ah
    believed = bms.at_the_end(believed, tapered)
    is_over = tapered | (row.is_charge & ((believed >= row.target_ratio) | (n_complete > 0)))
    return Busy(after, believed, (n_complete + 1) * is_over)


def _joined(parts: list[Busy]) -> Busy:
    """Packs of all parts, one after the other."""
    cells = CellState(
        **{
            name: np.concatenate([getattr(part.cell, name) for part in parts])
            for name in CellState.__dataclass_fields__
        }
    )
    return Busy(
        cells,
        np.concatenate([part.believed for part in parts]),
        np.concatenate([part.n_complete for part in parts]),
    )


def _metered(
    before: PackState,
    after: Busy,
    vehicles: Vehicles,
    day: Prepared,
    shown: dict[str, NDArray[Any]],
    n_complete: NDArray[np.int16],
) -> tuple[PackState, Trace]:
    """The day's meters and what the sensor showed."""
    steps = day.steps
    soc = shown["soc_ratio"]
    is_made = np.arange(len(soc))[:, None] < np.count_nonzero(steps.dt_s > 0, axis=0)
    fell = -np.diff(soc, axis=0, prepend=before.cell.soc_ratio[None, :])
    moved_ah = np.where(is_made, fell, 0.0) * (vehicles.cells.capacity_ah * vehicles.parallel)
    into = -np.minimum(moved_ah, 0.0)
    is_cold = (steps.mode == DC) & (shown["temperature_degc"] < COLD_DEGC)
    odometer = before.odometer_m + np.cumsum(day.distance_m, axis=0, dtype=np.float64)
    state = PackState(
        cell=after.cell,
        believed_ratio=after.believed,
        odometer_m=odometer[-1],
        discharged_ah=before.discharged_ah + np.maximum(moved_ah, 0.0).sum(axis=0),
        charged_ah=before.charged_ah + into.sum(axis=0),
        cold_charged_ah=before.cold_charged_ah + (into * is_cold).sum(axis=0),
    )
    trace = Trace(
        **shown,
        sensed_a=(shown["current_a"] * day.sensor_gain + day.sensor_offset_a).astype(np.float32),
        odometer_m=odometer,
        is_complete=n_complete > 0,
        is_told=n_complete <= COMPLETE_FRAMES,
    )
    return state, trace
