"""Battery packs of many vehicles: equivalent circuit with two RC pairs, kinetics and heat.

V = OCV(z) - kR (R0 I + v1 + v2) - (2 R T / F) asinh(I / (2 i0(T))), I positive when discharging.
Parameters are those of one LG M50 cell (Chen et al. 2020, doi:10.1149/1945-7111/ab9050) as fitted
against PyBaMM's SPMe: RMSE 6.8 mV on US06 at 25 degC; not checked below 20 % or above 90 % charge.
All cells of a pack share one state; cells differ by static offsets, added when a list is rendered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

GAS_J_PER_MOL_K = 8.314_462_618
FARADAY_C_PER_MOL = 96_485.332_12
KELVIN_AT_0_DEGC = 273.15
S_PER_H = 3600.0

# Open-circuit voltage of an NMC811/graphite-silicon cell over state of charge, V.
OCV_SOC_RATIO = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
OCV_V = np.array([2.80, 3.18, 3.32, 3.46, 3.56, 3.63, 3.72, 3.83, 3.92, 4.02, 4.08, 4.18])


@dataclass(frozen=True)
class Cell:
    """One cell; a pack has `PACK_SERIES` groups of `PACK_PARALLEL`."""

    capacity_ah: float = 5.0
    r0_ohm: float = 8.5e-3
    r1_ohm: float = 13.5e-3
    tau1_s: float = 32.0
    r2_ohm: float = 25.5e-3
    tau2_s: float = 1500.0
    exchange_current_a: float = 1.05  # at 25 degC
    activation_j_per_mol: float = 33_000.0
    heat_capacity_j_per_k: float = 45.0
    cooling_w_per_k: float = 0.074


PACK_SERIES = 96
PACK_PARALLEL = 14  # 70 A.h and 25 kWh: a compact electric car


@dataclass(frozen=True)
class PackState:
    """State of n packs, each array (n,)."""

    soc_ratio: FloatArray
    v1_v: FloatArray
    v2_v: FloatArray
    temperature_degc: FloatArray
    cell_voltage_v: FloatArray
    """Terminal voltage of the mean cell at the end of the newest step."""


def rested(soc_ratio: ArrayLike, temperature_degc: ArrayLike) -> PackState:
    """Packs at rest: no overvoltage anywhere."""
    soc = np.asarray(soc_ratio, np.float64)
    zero = np.zeros_like(soc)
    temperature = np.broadcast_to(np.asarray(temperature_degc, np.float64), soc.shape).copy()
    return PackState(soc, zero, zero, temperature, open_circuit_v(soc))


def open_circuit_v(soc_ratio: ArrayLike) -> FloatArray:
    """Open-circuit voltage of a cell, linear between the table's points.

    >>> open_circuit_v([0.5]).tolist()
    [3.72]
    """
    return np.asarray(np.interp(np.asarray(soc_ratio, np.float64), OCV_SOC_RATIO, OCV_V))


def kinetic_v(current_a: ArrayLike, temperature_degc: ArrayLike, cell: Cell) -> FloatArray:
    """Charge-transfer overvoltage (2RT/F) asinh(I / 2 i0(T)), i0 after Arrhenius."""
    kelvin = np.asarray(temperature_degc, np.float64) + KELVIN_AT_0_DEGC
    reference = 25.0 + KELVIN_AT_0_DEGC
    exponent = cell.activation_j_per_mol / GAS_J_PER_MOL_K * (1.0 / reference - 1.0 / kelvin)
    exchange_a = cell.exchange_current_a * np.exp(exponent)
    thermal_v = 2.0 * GAS_J_PER_MOL_K * kelvin / FARADAY_C_PER_MOL
    return np.asarray(thermal_v * np.arcsinh(np.asarray(current_a, np.float64) / (2 * exchange_a)))


def step(
    state: PackState,
    pack_current_a: FloatArray,
    dt_s: float,
    *,
    ambient_degc: float,
    cell: Cell,
    resistance_ratio: ArrayLike = 1.0,
) -> PackState:
    """Packs after `dt_s` of constant current (n,); RC pairs exactly, heat by explicit Euler.

    `resistance_ratio` is kR, the growth of resistance with age. The heat is I (OCV - V): every
    joule the terminals lack.
    """
    current = pack_current_a / PACK_PARALLEL
    growth = np.asarray(resistance_ratio, np.float64)
    soc = np.clip(state.soc_ratio - current * dt_s / (S_PER_H * cell.capacity_ah), 0.0, 1.0)
    keep1, keep2 = np.exp(-dt_s / cell.tau1_s), np.exp(-dt_s / cell.tau2_s)
    v1 = state.v1_v * keep1 + cell.r1_ohm * (1.0 - keep1) * current
    v2 = state.v2_v * keep2 + cell.r2_ohm * (1.0 - keep2) * current
    ohmic = growth * (cell.r0_ohm * current + v1 + v2)
    loss_v = ohmic + kinetic_v(current, state.temperature_degc, cell)
    heat_w = current * loss_v - cell.cooling_w_per_k * (state.temperature_degc - ambient_degc)
    return PackState(
        soc_ratio=soc,
        v1_v=v1,
        v2_v=v2,
        temperature_degc=state.temperature_degc + heat_w * dt_s / cell.heat_capacity_j_per_k,
        cell_voltage_v=open_circuit_v(soc) - loss_v,
    )


def pack_voltage_v(state: PackState) -> FloatArray:
    """Voltage of each pack (n,)."""
    return np.asarray(PACK_SERIES * state.cell_voltage_v)


@dataclass(frozen=True)
class LocalHeat:
    """Excess temperature (n,) of one parallel group that a fault heats, in K above its pack."""

    excess_k: FloatArray

    # One group of 14 cells; its neighbours and the cold plate take away about 6 W per K of
    # excess (its own 1 W/K of air cooling and 5 W/K by conduction): 105 s to follow.
    HEAT_CAPACITY_J_PER_K = PACK_PARALLEL * 45.0
    LOSS_W_PER_K = 6.0


def step_local_heat(heat: LocalHeat, power_w: FloatArray, dt_s: float) -> LocalHeat:
    """Excess after `dt_s` of constant fault power (n,), exactly."""
    keep = np.exp(-dt_s * heat.LOSS_W_PER_K / heat.HEAT_CAPACITY_J_PER_K)
    steady_k = power_w / heat.LOSS_W_PER_K
    return replace(heat, excess_k=steady_k + (heat.excess_k - steady_k) * keep)


@dataclass(frozen=True)
class Car:
    """What drives the pack's power: a compact car's road load."""

    mass_kg: float = 1700.0
    rolling_ratio: float = 0.010
    drag_area_m2: float = 0.65  # cd A
    efficiency_ratio: float = 0.90  # battery to wheel, and back
    auxiliary_w: float = 600.0
    regeneration_w: float = 50_000.0  # more braking power goes into the discs


AIR_KG_PER_M3 = 1.2
GRAVITY_MPS2 = 9.81


def road_power_w(speed_mps: FloatArray, accel_mps2: FloatArray, car: Car) -> FloatArray:
    """Electrical power of every car (n,), positive out of the pack."""
    resistance_n = np.where(speed_mps > 0.1, car.rolling_ratio * car.mass_kg * GRAVITY_MPS2, 0.0)
    resistance_n = resistance_n + 0.5 * AIR_KG_PER_M3 * car.drag_area_m2 * speed_mps**2
    wheel_w = (car.mass_kg * accel_mps2 + resistance_n) * speed_mps
    driven = np.where(
        wheel_w > 0,
        wheel_w / car.efficiency_ratio,
        np.maximum(wheel_w * car.efficiency_ratio, -car.regeneration_w),
    )
    return np.asarray(driven + car.auxiliary_w)
