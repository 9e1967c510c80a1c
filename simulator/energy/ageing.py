"""Loss of capacity and growth of resistance with time and throughput.

The empirical models of NREL's BLAST-Lite: `nmc811_grSi_LGM50_5Ah_2021` (data of Truong Bui et al.
2021, ieeexplore.ieee.org/document/9617644) and `lfp_gr_250AhPrismatic_2019`
(doi:10.1016/j.est.2023.109042). Two losses of the form y = k x^p, over days and over equivalent
full cycles, each carried on from its own state when k changes. The graphite potential over charge
is Safari and Delacourt's, doi:10.1149/1.3567007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.energy.cell import KELVIN_AT_0_DEGC
from simulator.energy.chemistry import NMC, chemistry_code

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NMC_CALENDAR_POWER, NMC_CYCLE_POWER = 0.651697743905278, 0.441996792536332
LFP_CALENDAR_POWER, LFP_CYCLE_POWER = 0.526, 0.828
NMC_X_SCALE = 1e4
"""The NMC model counts ten thousand days and cycles."""
RESISTANCE_PER_LOSS = 1.5
"""Growth of resistance per lost share of capacity: between 1 and 2 in those cells' reports."""


@dataclass(frozen=True)
class Losses:
    """Share of the new capacity lost (n,) by time and by throughput."""

    calendar_ratio: FloatArray
    cycle_ratio: FloatArray

    @property
    def capacity_ratio(self) -> FloatArray:
        """What is left (n,)."""
        return 1.0 - self.calendar_ratio - self.cycle_ratio

    @property
    def resistance_ratio(self) -> FloatArray:
        """Resistance (n,) to the new cell's."""
        return 1.0 + RESISTANCE_PER_LOSS * (1.0 - self.capacity_ratio)


def graphite_potential_v(soc_ratio: FloatArray) -> FloatArray:
    """Potential of the graphite electrode against lithium at a cell's charge."""
    x = 8.5e-3 + soc_ratio * (0.78 - 8.5e-3)
    return np.asarray(
        0.6379
        + 0.5416 * np.exp(-305.5309 * x)
        + 0.044 * np.tanh(-(x - 0.1958) / 0.1088)
        - 0.1978 * np.tanh((x - 1.0571) / 0.0854)
        - 0.6875 * np.tanh((x + 0.0117) / 0.0529)
        - 0.0175 * np.tanh((x - 0.5692) / 0.0875)
    )


def _advanced(y: FloatArray, dx: FloatArray, k: FloatArray, power: FloatArray) -> FloatArray:
    """Y after `dx` more of x on the curve y = k x^power, whatever the curve before was."""
    k = np.maximum(k, 1e-12)
    x = (np.maximum(y, 0.0) / k) ** (1.0 / power)
    return np.asarray(np.maximum(k * (x + dx) ** power, y))


def _nmc_rates(kelvin: FloatArray, soc: FloatArray, c_rate: FloatArray) -> tuple[FloatArray, ...]:
    heat = (kelvin / (KELVIN_AT_0_DEGC + 35.0)) ** 3
    potential = graphite_potential_v(soc) / 0.123
    calendar = (
        -2.39156628786525
        + 2.44205317834185 * np.exp(heat * potential ** (-1 / 3))
        - 4.45998246136905 * heat * potential**-0.5
        + 0.448140062203916 * np.exp(heat ** (-2 / 3) * np.sqrt(soc))
        - 0.185337797906876 * np.exp(soc**3)
    )
    cycle = (
        0.181235015387132
        * np.exp(-0.123779206033993 * c_rate**3)
        * np.exp(1.24459541295018 * heat * np.sqrt(c_rate))
    )
    return np.maximum(calendar, 0.0), cycle


def _lfp_rates(kelvin: FloatArray, soc: FloatArray, c_rate: FloatArray) -> tuple[FloatArray, ...]:
    potential = graphite_potential_v(soc)
    calendar = 8.37e4 * np.exp(-5.21e3 / kelvin) * np.exp(-3.56e3 * potential / kelvin)
    depth = 0.6  # of an ordinary car's cycle; the model's dependence on it is weak
    cycle = (4.38e-8 + 1.55e-8 * depth + 1.68e-7 * c_rate) * np.exp(2.19e3 / kelvin)
    return calendar, cycle


def aged(
    losses: Losses,
    chemistry: IntArray,
    *,
    days: FloatArray,
    full_cycles: FloatArray,
    temperature_degc: FloatArray,
    soc_ratio: FloatArray,
    discharge_c_rate: FloatArray,
) -> Losses:
    """Losses (n,) after `days` in which `full_cycles` equivalent full cycles were made.

    Temperature, charge and discharge rate are the span's means. Never less than before.
    """
    kelvin = temperature_degc + KELVIN_AT_0_DEGC
    soc = np.clip(soc_ratio, 0.0, 1.0)
    is_nmc = chemistry == chemistry_code(NMC.name)
    nmc = _nmc_rates(kelvin, soc, discharge_c_rate)
    lfp = _lfp_rates(kelvin, soc, discharge_c_rate)
    scale = np.where(is_nmc, NMC_X_SCALE, 1.0)
    return Losses(
        _advanced(
            losses.calendar_ratio,
            days / scale,
            np.where(is_nmc, nmc[0], lfp[0]),
            np.where(is_nmc, NMC_CALENDAR_POWER, LFP_CALENDAR_POWER),
        ),
        _advanced(
            losses.cycle_ratio,
            full_cycles / scale,
            np.where(is_nmc, nmc[1], lfp[1]),
            np.where(is_nmc, NMC_CYCLE_POWER, LFP_CYCLE_POWER),
        ),
    )


def new_losses(n: int) -> Losses:
    """N new cells."""
    return Losses(np.zeros(n), np.zeros(n))
