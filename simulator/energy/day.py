"""One day of many vehicles, step by step: what their packs go through.

Vehicles advance together, one step of their own plan at a time. A step is taken in two parts: most
of it at its mean power, then a moment at the power of that moment, which the frame shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.energy import bms, cell, charging
from simulator.energy.cell import CellArrays, CellState, Float32Array, FloatArray, IntArray
from simulator.energy.driving import SAMPLES, Traces
from simulator.energy.plan import AC, ASLEEP, AWAKE, DC, DRIVE, Steps
from simulator.energy.road_load import climate_power_w

LAST_SHARE = 1.0 / SAMPLES
ASLEEP_W = 0.5
"""What the sleeping car takes from the pack, through its 12 V battery: a percent in six weeks."""
PARKED_COOLING_S = 5 * 3600.0
"""Time constant of a parked pack towards the air."""
DRIVEN_COOLING_S = 2 * 3600.0
COOLED_S = 300.0
"""With coolant running."""
COOL_ABOVE_DEGC, COOLANT_DEGC = 31.0, 22.0
HEAT_BELOW_DEGC, HEATER_W = 5.0, 3_000.0
EMPTY_RATIO = 0.02
"""The car does not drive on below it."""


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
    charges_cold: NDArray[np.bool_]
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
class PackState:
    """State of n packs between steps, each array (n,)."""

    cell: CellState
    believed_ratio: FloatArray
    """Charge as the BMS believes it."""
    odometer_m: FloatArray
    frames_done: IntArray
    """Steps since the charge in hand was complete; 0 while it is not."""
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
    """What the packs did, step-major (n_steps, n) as `Steps`, at each step's end."""

    current_a: Float32Array
    """Of the pack, true, positive out of it."""
    sensed_a: Float32Array
    voltage_v: Float32Array
    """Of the mean cell."""
    overvoltage_v: Float32Array
    soc_ratio: Float32Array
    believed_ratio: Float32Array
    temperature_degc: Float32Array
    speed_mps: Float32Array
    odometer_m: FloatArray
    is_charging: NDArray[np.bool_]
    is_complete: NDArray[np.bool_]
    is_frame: NDArray[np.bool_]


def rested(cells: CellArrays, soc_ratio: FloatArray, temperature_degc: FloatArray) -> PackState:
    """New packs at rest whose BMS believes the truth."""
    zero = np.zeros(len(soc_ratio))
    state = cell.rested(cells, soc_ratio, temperature_degc)
    counts = np.zeros(len(soc_ratio), np.int64)
    return PackState(state, soc_ratio.copy(), zero, counts, zero, zero, zero)


def run(
    state: PackState,
    vehicles: Vehicles,
    steps: Steps,
    traces: tuple[Traces, ...],
    ambient_degc: Float32Array,
) -> tuple[PackState, Trace]:
    """The packs after their steps; vehicles, state and `ambient_degc` (n_steps, n) by column.

    `traces` are each model's.
    """
    trace = _empty_trace(steps)
    climate_w = climate_power_w(ambient_degc.astype(np.float64)).astype(np.float32)
    mean_w, last_w, speed, distance = _trace_columns(steps, traces, vehicles)
    finished: list[PackState] = []
    active = len(vehicles.model)
    for row, n_active in enumerate(steps.n_active.tolist()):
        if n_active < active:
            finished.append(state.rows(slice(n_active, active)))
            state, vehicles = state.rows(slice(n_active)), vehicles.rows(slice(n_active))
            active = n_active
        part = slice(active)
        moment = _Moment(
            dt_s=steps.dt_s[row, part],
            end_s=steps.end_s[row, part],
            mode=steps.mode[row, part],
            is_first=steps.is_first[row, part],
            limit_w=steps.limit_w[row, part],
            target_ratio=steps.target_ratio[row, part],
            ambient_degc=ambient_degc[row, part],
            climate_w=climate_w[row, part],
            mean_w=mean_w[row, part],
            last_w=last_w[row, part],
            distance_m=distance[row, part],
        )
        state, shown = _advance(state, vehicles, moment)
        for name, values in shown.items():
            getattr(trace, name)[row, part] = values
        trace.speed_mps[row, part] = speed[row, part]
    finished.append(state)
    return _joined(finished[::-1]), trace


@dataclass(frozen=True)
class _Moment:
    """One step of the vehicles still busy, each array (n,)."""

    dt_s: Float32Array
    end_s: Float32Array
    mode: NDArray[np.int8]
    is_first: NDArray[np.bool_]
    limit_w: Float32Array
    target_ratio: Float32Array
    ambient_degc: Float32Array
    climate_w: Float32Array
    mean_w: Float32Array
    last_w: Float32Array
    distance_m: Float32Array


def _advance(
    state: PackState, vehicles: Vehicles, moment: _Moment
) -> tuple[PackState, dict[str, NDArray[np.generic]]]:
    """Packs after one step, and what a frame at its end shows."""
    is_charge = moment.mode >= AC
    done = np.where(moment.is_first, 0, state.frames_done)
    n_cells = vehicles.series * vehicles.parallel
    cooling, surroundings, heating_w = _climate(state.cell, vehicles, moment)
    out_w = _load_w(state, vehicles, moment, moment.mean_w)
    last_out_w = _load_w(state, vehicles, moment, moment.last_w)
    cells = state.cell
    current = cells.v1_v
    for power_w, share in ((out_w, 1 - LAST_SHARE), (last_out_w, LAST_SHARE)):
        asked = cell.current_for_power_a(power_w / n_cells, cells, vehicles.cells)
        charge = _charge_current_a(state, cells, vehicles, moment, n_cells)
        current = np.where(is_charge & (done == 0), charge, asked)
        cells = cell.step(
            cells,
            current,
            moment.dt_s * np.float32(share),
            vehicles.cells,
            cooling_w_per_k=cooling,
            surroundings_degc=surroundings,
            heating_w=heating_w,
        )
    pack_a = current * vehicles.parallel
    return _after(state, vehicles, moment, cells, pack_a, done)


def _climate(
    cells: CellState, vehicles: Vehicles, moment: _Moment
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Cooling W/K, surroundings degC and heating W of a cell (n,)."""
    temperature = cells.temperature_degc
    is_awake = moment.mode != ASLEEP
    is_cooled = is_awake & (temperature > COOL_ABOVE_DEGC)
    span_s = np.where(is_awake, DRIVEN_COOLING_S, PARKED_COOLING_S)
    span_s = np.where(is_cooled, COOLED_S, span_s)
    failing = moment.end_s >= vehicles.cooling_from_s
    ratio = np.where(failing & is_awake, vehicles.cooling_ratio, 1.0)
    coolant = np.maximum(np.float32(COOLANT_DEGC), moment.ambient_degc)
    surroundings = np.where(is_cooled, coolant, moment.ambient_degc)
    is_heated = (moment.mode >= AC) & (temperature < HEAT_BELOW_DEGC)
    heating = np.where(is_heated, HEATER_W / (vehicles.series * vehicles.parallel), 0.0)
    cooling = vehicles.cells.heat_capacity_j_per_k * ratio / span_s
    return cooling.astype(np.float32), surroundings, heating.astype(np.float32)


def _load_w(
    state: PackState, vehicles: Vehicles, moment: _Moment, traction_w: Float32Array
) -> Float32Array:
    """Power out of each pack (n,) while it does not charge."""
    is_driven = (moment.mode == DRIVE) & (state.cell.soc_ratio > EMPTY_RATIO)
    awake_w = vehicles.auxiliary_w + moment.climate_w
    load = np.where(is_driven, traction_w + awake_w, np.float32(ASLEEP_W))
    is_standing = (moment.mode == AWAKE) | (moment.mode >= AC)
    return np.where(is_standing, vehicles.auxiliary_w, load).astype(np.float32)


def _charge_current_a(
    state: PackState,
    cells: CellState,
    vehicles: Vehicles,
    moment: _Moment,
    n_cells: Float32Array,
) -> Float32Array:
    """Current of one cell (n,) at the charger: the least of power, BMS limit and voltage limit."""
    by_power = -moment.limit_w / (n_cells * cells.voltage_v) - np.float32(1e-3)
    temperature = np.where(vehicles.charges_cold, np.float32(25.0), cells.temperature_degc).astype(
        np.float32
    )
    rate = charging.allowed_c_rate(state.believed_ratio, temperature)
    by_bms = (-rate * vehicles.cells.capacity_ah).astype(np.float32)
    current = np.maximum(by_power, by_bms)
    by_voltage = cell.current_to_voltage_a(vehicles.charge_limit_v, cells, current, vehicles.cells)
    return np.minimum(np.maximum(current, by_voltage), np.float32(-1e-3))


def _after(
    state: PackState,
    vehicles: Vehicles,
    moment: _Moment,
    cells: CellState,
    pack_a: Float32Array,
    done: IntArray,
) -> tuple[PackState, dict[str, NDArray[np.generic]]]:
    """The BMS's step, the meters, and what a frame shows."""
    is_charge = moment.mode >= AC
    capacity_ah = vehicles.cells.capacity_ah * vehicles.parallel
    sensed = bms.sensed_a(pack_a, vehicles.errors)
    is_wrong = moment.end_s >= vehicles.sensor_from_s
    wrong = pack_a * vehicles.sensor_gain + vehicles.sensor_offset_a
    sensed = (sensed + np.where(is_wrong, wrong, 0.0)).astype(np.float32)
    counting = np.where(moment.mode == ASLEEP, np.float32(0.0), sensed)  # a sleeping BMS counts not
    believed = bms.counted(
        state.believed_ratio, counting, moment.dt_s, capacity_ah * vehicles.errors.capacity_ratio
    )
    slope = cell.open_circuit_slope_v(cells.soc_ratio, vehicles.cells.chemistry)
    believed = bms.looked(believed, cells.soc_ratio, slope, moment.dt_s, vehicles.errors)
    tapered = cells.voltage_v >= vehicles.charge_limit_v - np.float32(0.01)
    tapered &= -pack_a <= charging.CUT_OFF_C_RATE * capacity_ah
    believed = bms.at_the_end(believed, is_charge & tapered)
    is_over = is_charge & (tapered | (believed >= moment.target_ratio) | (done > 0))
    moved_ah = np.abs(pack_a) * moment.dt_s / cell.S_PER_H
    into = np.where(pack_a < 0, moved_ah, 0.0)
    is_cold = (moment.mode == DC) & (cells.temperature_degc < 10.0)
    new = PackState(
        cell=cells,
        believed_ratio=believed,
        odometer_m=state.odometer_m + np.where(moment.mode == DRIVE, moment.distance_m, 0.0),
        frames_done=np.where(is_over, done + 1, 0),
        discharged_ah=state.discharged_ah + (moved_ah - into),
        charged_ah=state.charged_ah + into,
        cold_charged_ah=state.cold_charged_ah + np.where(is_cold, into, 0.0),
    )
    return new, {
        "current_a": pack_a,
        "sensed_a": sensed,
        "voltage_v": cells.voltage_v,
        "overvoltage_v": cells.overvoltage_v,
        "soc_ratio": cells.soc_ratio,
        "believed_ratio": believed,
        "temperature_degc": cells.temperature_degc,
        "odometer_m": new.odometer_m,
        "is_charging": is_charge,
        "is_complete": is_over,
        "is_frame": ~is_over | (done < COMPLETE_FRAMES),
    }


COMPLETE_FRAMES = 3
"""Frames a car still sends when its charge is complete, before it sleeps."""


def _trace_columns(
    steps: Steps, traces: tuple[Traces, ...], vehicles: Vehicles
) -> tuple[Float32Array, ...]:
    """Mean power, last power, speed and distance of every step (n_steps, n); 0 unless driven."""
    is_driven = steps.mode == DRIVE
    model = np.broadcast_to(vehicles.model, is_driven.shape)[is_driven]
    road, place = steps.road[is_driven], steps.trace_place[is_driven]
    pace = np.broadcast_to(vehicles.pace, is_driven.shape)[is_driven]
    result = []
    for name in ("mean_power_w", "last_power_w", "speed_mps", "distance_m"):
        stacked = np.stack([getattr(trace, name) for trace in traces])
        values = stacked[model, road, place]
        if name.endswith("power_w"):
            values = values * pace
        column = np.zeros(is_driven.shape, np.float32)
        column[is_driven] = values
        result.append(column)
    return tuple(result)


def _empty_trace(steps: Steps) -> Trace:
    shape = steps.mode.shape
    kinds = {"odometer_m": np.float64} | dict.fromkeys(
        ("is_charging", "is_complete", "is_frame"), np.bool_
    )
    return Trace(
        **{  # type: ignore[arg-type]
            name: np.zeros(shape, kinds.get(name, np.float32))
            for name in Trace.__dataclass_fields__
        }
    )


def _joined(parts: list[PackState]) -> PackState:
    """Packs of all parts, one after the other."""
    cells = CellState(
        **{
            name: np.concatenate([getattr(part.cell, name) for part in parts])
            for name in CellState.__dataclass_fields__
        }
    )
    rest = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in PackState.__dataclass_fields__
        if name != "cell"
    }
    return PackState(cell=cells, **rest)
