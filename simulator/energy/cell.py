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


@dataclass(frozen=True)
class CellArrays:
    """Parameters of n mean cells, each array (n,) float32 unless said."""

    chemistry: IntArray  # (n,) places in CHEMISTRIES
    capacity_ah: FloatArray  # (n,) as it is now
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
    resistance_ratio: Float32Array  # kR, growth with age

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
    """Parameters of cells (n,) of these chemistries; ratios are to the new cell."""

    def column(name: str) -> Float32Array:
        return np.array([getattr(c, name) for c in CHEMISTRIES], np.float32)[chemistry]

    new_ah = np.array([c.capacity_ah for c in CHEMISTRIES])[chemistry]
    return CellArrays(
        chemistry=chemistry,
        capacity_ah=new_ah * capacity_ratio,
        r0_ohm=column("r0_ohm"),
        r1_ohm=column("r1_ohm"),
        tau1_s=column("tau1_s"),
        r2_ohm=column("r2_ohm"),
        tau2_s=column("tau2_s"),
        exchange_current_a=column("exchange_current_a"),
        activation_k=(column("activation_j_per_mol") / GAS_J_PER_MOL_K).astype(np.float32),
        heat_capacity_j_per_k=column("heat_capacity_j_per_k"),
        hysteresis_v=column("hysteresis_v"),
        hysteresis_ah=(column("hysteresis_span_ratio") * new_ah).astype(np.float32),
        resistance_ratio=resistance_ratio.astype(np.float32),
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


def kinetic_v(
    current_a: Float32Array, temperature_degc: Float32Array, cells: CellArrays
) -> Float32Array:
    """Charge-transfer overvoltage (2RT/F) asinh(I / 2 i0(T)), i0 after Arrhenius.

    asinh by a logarithm of single precision: a third of numpy's own, off by 1e-8 V.
    """
    kelvin = temperature_degc + np.float32(KELVIN_AT_0_DEGC)
    exponent = cells.activation_k * (np.float32(1.0 / REFERENCE_K) - 1 / kelvin)
    ratio = current_a / (2 * cells.exchange_current_a * np.exp(exponent))
    size = np.abs(ratio)
    arcsinh = np.copysign(np.log(size + np.sqrt(size * size + np.float32(1))), ratio)
    return np.asarray(np.float32(2 * GAS_J_PER_MOL_K / FARADAY_C_PER_MOL) * kelvin * arcsinh)


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
    soc = state.soc_ratio - current_a * dt_s / (S_PER_H * cells.capacity_ah)
    keep1, keep2 = np.exp(-dt_s / cells.tau1_s), np.exp(-dt_s / cells.tau2_s)
    v1 = state.v1_v * keep1 + cells.r1_ohm * (1 - keep1) * current_a
    v2 = state.v2_v * keep2 + cells.r2_ohm * (1 - keep2) * current_a
    turned = np.exp(-np.abs(current_a) * dt_s / (np.float32(S_PER_H) * cells.hysteresis_ah))
    hysteresis = state.hysteresis * turned - np.sign(current_a) * (1 - turned)
    overvoltage = cells.resistance_ratio * (cells.r0_ohm * current_a + v1 + v2)
    overvoltage += kinetic_v(current_a, state.temperature_degc, cells)
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


def current_for_power_a(power_w: Float32Array, state: CellState, cells: CellArrays) -> Float32Array:
    """Current of one cell (n,) that gives `power_w` at the voltage it will have.

    The ohmic drop at once is taken from the power's own first guess; one step of fixed point
    leaves 0.5 % at 3 C.
    """
    relaxed = state.ocv_v - cells.resistance_ratio * (state.v1_v + state.v2_v)
    guess = power_w / relaxed
    drop = cells.resistance_ratio * cells.r0_ohm * guess
    drop += kinetic_v(guess, state.temperature_degc, cells)
    return np.asarray(power_w / (relaxed - drop), np.float32)


def current_to_voltage_a(
    limit_v: Float32Array, state: CellState, current_a: Float32Array, cells: CellArrays
) -> Float32Array:
    """Current (n,) at which the terminals have `limit_v`, by the chord of `current_a`."""
    relaxed = state.ocv_v - cells.resistance_ratio * (state.v1_v + state.v2_v)
    chord = kinetic_v(current_a, state.temperature_degc, cells) / current_a
    return np.asarray((relaxed - limit_v) / (cells.resistance_ratio * cells.r0_ohm + chord))
