"""Cells of many packs: equivalent circuit with two RC pairs, kinetics, hysteresis and heat.

    V = OCV(z) + H h - kR (R0 I + v1 + v2) - (2 R T / F) asinh(I / (2 i0(T))),   I > 0 discharges

RC pairs, hysteresis and temperature follow their equations exactly over a step of constant
current, so a step may last ten seconds or a night. Each array is (n,), one mean cell per pack;
cells of a pack differ by the spread in `pack.py`. Single precision where a step's change is not
summed up (overvoltages, temperature), double where it is (charge, energy).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from simulator.energy.chemistry import CHEMISTRIES, OCV_POINTS

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

GAS_J_PER_MOL_K = 8.314_462_618
FARADAY_C_PER_MOL = 96_485.332_12
KELVIN_AT_0_DEGC = 273.15
REFERENCE_K = 298.15
S_PER_H = 3600.0
_ONE = np.float32(1)


@dataclass(frozen=True)
class CellArrays:
    """Parameters of n mean cells as old as they are, each array (n,) float32 unless said."""

    chemistry: IntArray  # (n,) places in CHEMISTRIES
    capacity_ah: FloatArray  # (n,)
    r0_ohm: Float32Array
    r1_ohm: Float32Array
    tau1_s: Float32Array
    r2_ohm: Float32Array
    tau2_s: Float32Array
    exchange_current_a: Float32Array
    activation_k: Float32Array  # activation energy over the gas constant
    heat_capacity_j_per_k: Float32Array
    hysteresis_v: Float32Array
    hysteresis_ah: Float32Array

    def rows(self, rows: slice | IntArray) -> CellArrays:
        """The given packs."""
        return CellArrays(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True)
class CellState:
    """State of n mean cells, each array (n,)."""

    soc_ratio: FloatArray
    v1_v: Float32Array
    v2_v: Float32Array
    hysteresis: Float32Array  # -1 after discharge, 1 after charge
    temperature_degc: Float32Array
    ocv_v: Float32Array
    """Rested voltage at the end of the newest step, hysteresis included."""
    overvoltage_v: Float32Array
    """What the terminals lack of it; the terminals have `ocv_v - overvoltage_v`."""

    @property
    def voltage_v(self) -> Float32Array:
        """Terminal voltage of the mean cell."""
        return self.ocv_v - self.overvoltage_v

    def rows(self, rows: slice | IntArray) -> CellState:
        """The given packs."""
        return CellState(**{name: values[rows] for name, values in vars(self).items()})


def cells_of(
    chemistry: IntArray, capacity_ratio: FloatArray, resistance_ratio: FloatArray
) -> CellArrays:
    """Parameters of cells (n,) of these chemistries; ratios are to the new cell.

    `resistance_ratio` is kR, which stands with every resistance.
    """

    def column(name: str) -> Float32Array:
        return np.array([getattr(c, name) for c in CHEMISTRIES], np.float32)[chemistry]

    new_ah = np.array([c.capacity_ah for c in CHEMISTRIES])[chemistry]
    growth = resistance_ratio.astype(np.float32)
    return CellArrays(
        chemistry=chemistry,
        capacity_ah=new_ah * capacity_ratio,
        r0_ohm=growth * column("r0_ohm"),
        r1_ohm=growth * column("r1_ohm"),
        tau1_s=column("tau1_s"),
        r2_ohm=growth * column("r2_ohm"),
        tau2_s=column("tau2_s"),
        exchange_current_a=column("exchange_current_a"),
        activation_k=(column("activation_j_per_mol") / GAS_J_PER_MOL_K).astype(np.float32),
        heat_capacity_j_per_k=column("heat_capacity_j_per_k"),
        hysteresis_v=column("hysteresis_v"),
        hysteresis_ah=(column("hysteresis_span_ratio") * new_ah).astype(np.float32),
    )


def rested(cells: CellArrays, soc_ratio: FloatArray, temperature_degc: FloatArray) -> CellState:
    """Cells at rest, no overvoltage anywhere, hysteresis between its branches."""
    zero = np.zeros(len(soc_ratio), np.float32)
    ocv = open_circuit_v(soc_ratio, cells.chemistry)
    temperature = temperature_degc.astype(np.float32)
    return CellState(soc_ratio.astype(np.float64), zero, zero, zero, temperature, ocv, zero)


@cache
def _table() -> tuple[Float32Array, Float32Array]:
    """Open-circuit voltages and their rise to the next point, (n_chemistries * OCV_POINTS,)."""
    values = np.array([chemistry.ocv_v for chemistry in CHEMISTRIES])
    rise = np.diff(values, axis=1, append=values[:, -1:] * 2 - values[:, -2:-1])
    return values.astype(np.float32).ravel(), rise.astype(np.float32).ravel()


def open_circuit_v(soc_ratio: FloatArray, chemistry: IntArray) -> Float32Array:
    """Open-circuit voltage without hysteresis, linear between the table's points.

    Below 0 and above 1 the end's slope goes on.
    """
    values, rise = _table()
    place = soc_ratio * (OCV_POINTS - 1)
    index = np.clip(place, 0, OCV_POINTS - 2).astype(np.int64)
    share = (place - index).astype(np.float32)
    index += chemistry * OCV_POINTS
    return np.asarray(values[index] + rise[index] * share, np.float32)


def open_circuit_slope_v(soc_ratio: FloatArray, chemistry: IntArray) -> Float32Array:
    """Volts per unit of charge at these charges."""
    _, rise = _table()
    index = np.clip(soc_ratio * (OCV_POINTS - 1), 0, OCV_POINTS - 2).astype(np.int64)
    return np.asarray(rise[index + chemistry * OCV_POINTS] * (OCV_POINTS - 1), np.float32)


@dataclass(frozen=True)
class Kinetics:
    """Charge transfer at the cells' temperatures (n,)."""

    twice_exchange_a: Float32Array
    twice_thermal_v: Float32Array  # 2RT/F

    def overvoltage_v(self, current_a: Float32Array) -> Float32Array:
        """Charge-transfer overvoltage (2RT/F) asinh(I / 2 i0(T)) of these currents (n,).

        asinh by a logarithm, which numpy has in vector form: a third of the time for thousands of
        packs, and off by less than 0.01 mV.
        """
        ratio = current_a / self.twice_exchange_a
        size = np.abs(ratio)
        arcsinh = np.copysign(np.log(size + np.sqrt(size * size + _ONE)), ratio)
        return np.asarray(self.twice_thermal_v * arcsinh, np.float32)

    def rows(self, rows: IntArray) -> Kinetics:
        """The given cells."""
        return Kinetics(self.twice_exchange_a[rows], self.twice_thermal_v[rows])


def kinetics(temperature_degc: Float32Array, cells: CellArrays) -> Kinetics:
    """The cells' charge transfer, i0 after Arrhenius."""
    kelvin = temperature_degc + np.float32(KELVIN_AT_0_DEGC)
    exponent = cells.activation_k * (np.float32(1.0 / REFERENCE_K) - 1 / kelvin)
    return Kinetics(
        2 * cells.exchange_current_a * np.exp(exponent),
        np.float32(2 * GAS_J_PER_MOL_K / FARADAY_C_PER_MOL) * kelvin,
    )


@dataclass(frozen=True)
class Lapse:
    """What a time at constant current does to a cell, for as many cells and times as wanted."""

    charge_per_a: FloatArray  # change of charge per ampere
    keep1: Float32Array  # share of an RC pair's voltage that is left
    gain1_ohm: Float32Array
    keep2: Float32Array
    gain2_ohm: Float32Array

    def row(self, row: int, columns: slice) -> Lapse:
        """One of many times, for some of the cells."""
        return Lapse(**{name: values[row, columns] for name, values in vars(self).items()})


def lapse(dt_s: Float32Array, cells: CellArrays) -> Lapse:
    """What `dt_s` (..., n) do; (n_times, n) at once costs a fraction of one time after another."""
    keep1, keep2 = np.exp(-dt_s / cells.tau1_s), np.exp(-dt_s / cells.tau2_s)
    return Lapse(
        charge_per_a=dt_s / (S_PER_H * cells.capacity_ah),
        keep1=keep1,
        gain1_ohm=cells.r1_ohm * (1 - keep1),
        keep2=keep2,
        gain2_ohm=cells.r2_ohm * (1 - keep2),
    )


def turned_hysteresis(
    hysteresis: Float32Array, moved_ah: Float32Array, cells: CellArrays
) -> Float32Array:
    """Hysteresis (n,) after `moved_ah` of one cell, positive discharged."""
    keep = np.exp(-np.abs(moved_ah) / cells.hysteresis_ah)
    return np.asarray(hysteresis * keep - np.sign(moved_ah) * (1 - keep), np.float32)


def step(
    state: CellState,
    current_a: Float32Array,
    dt_s: Float32Array,
    cells: CellArrays,
    *,
    cooling_w_per_k: Float32Array,
    surroundings_degc: Float32Array,
    heating_w: Float32Array | float = 0.0,
) -> CellState:
    """Cells after `dt_s` (n,) of constant current (n,), A of one cell.

    The heat is I (OCV - V): every joule the terminals lack, beside `heating_w` of a heater.
    `cooling_w_per_k` is towards `surroundings_degc`, air or coolant.
    """
    over = lapse(dt_s, cells)
    soc = state.soc_ratio - current_a * over.charge_per_a
    v1 = state.v1_v * over.keep1 + over.gain1_ohm * current_a
    v2 = state.v2_v * over.keep2 + over.gain2_ohm * current_a
    moved_ah = current_a * dt_s * np.float32(1.0 / S_PER_H)
    hysteresis = turned_hysteresis(state.hysteresis, moved_ah, cells)
    transfer = kinetics(state.temperature_degc, cells)
    overvoltage = cells.r0_ohm * current_a + v1 + v2 + transfer.overvoltage_v(current_a)
    keep = np.exp(-dt_s * cooling_w_per_k / cells.heat_capacity_j_per_k)
    heat_w = current_a * overvoltage + heating_w
    steady = surroundings_degc + heat_w / cooling_w_per_k
    return CellState(
        soc_ratio=soc,
        v1_v=v1,
        v2_v=v2,
        hysteresis=hysteresis,
        temperature_degc=steady + (state.temperature_degc - steady) * keep,
        ocv_v=open_circuit_v(soc, cells.chemistry) + cells.hysteresis_v * hysteresis,
        overvoltage_v=overvoltage,
    )


def current_for_power_a(
    power_w: Float32Array, relaxed_v: Float32Array, transfer: Kinetics, cells: CellArrays
) -> Float32Array:
    """Current of one cell (n,) that gives `power_w` at the voltage it will have.

    `relaxed_v` is the voltage without what drops at once; the drop is taken from the power's own
    first guess, one step of fixed point, which leaves 0.5 % at 3 C.
    """
    guess = power_w / relaxed_v
    drop = cells.r0_ohm * guess + transfer.overvoltage_v(guess)
    return np.asarray(power_w / (relaxed_v - drop), np.float32)


def current_to_voltage_a(
    limit_v: Float32Array,
    relaxed_v: Float32Array,
    current_a: Float32Array,
    transfer: Kinetics,
    r0_ohm: Float32Array,
) -> Float32Array:
    """Current (n,) at which the terminals have `limit_v`, by the chord at `current_a`."""
    chord = transfer.overvoltage_v(current_a) / current_a
    return np.asarray((relaxed_v - limit_v) / (r0_ohm + chord))
