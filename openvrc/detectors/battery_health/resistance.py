"""Pack resistance from load steps: -dV/dI where the current jumps by more than 25 A.

Between two frames at most 10 s apart the open-circuit voltage hardly moves, so the change of
voltage is the load's: r = -(V2 - V1) / (I2 - I1), current positive when discharging. One step is
rough (interquartile +-7 % at 1 s, +-26 % at 10 s measured on real cars: at 10 s the frames of a
step include slow polarisation, and voltage and current are not sampled at the same instant), a
median of many is not.

Normalised to 25 degC: a share s of a cell's resistance is charge transfer and diffusion, which
follow Arrhenius' law with about 35 kJ/mol, the rest is metal and electrolyte, which hardly change;

    g(T) = 1 - s + s exp(Ea / R (1 / T - 1 / 298.15 K))

The share grows with the time between two frames, for diffusion takes seconds: .14 at 1 s (car1,
28 to 41 degC), .37 at 10 s (car3, 12 to 30 degC), measured on their own steps.
Each step counts as r / g(T) of its middle probe, and only between 20 and 90 % of charge, where
resistance is flat; a step without temperature or charge counts as it is. What is left depends on
the frame spacing: a slower logger sees more of the slow polarisation and reports more ohms for the
same pack.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.battery.cleaning import BoolArray, FloatArray, clean_scalar
from openvrc.detectors.battery.frames import NEVER_NS, Rows, chained, first_of_run
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.battery_health.histograms import grouped_medians
from openvrc.detectors.battery_health.previous import gap_ns, previous_values
from openvrc.detectors.keyed import Keyed

STEP_CURRENT_A = 25.0  # smaller steps drown in the 0.1 V resolution of pack voltages
STEP_GAP_NS = 10.5 * NS_PER_S  # 10 s, and half a second for loggers that keep it loosely
REFERENCE_K, ZERO_DEGC_K = 298.15, 273.15
ACTIVATION_K = 35_000.0 / 8.314  # over the gas constant
TRANSFER_SHARE = 0.5  # of a standing load, after minutes
STEP_SHARE_GAP_S, STEP_SHARE = (1.0, 10.0), (0.14, 0.37)
LOW_SOC_RATIO, HIGH_SOC_RATIO = 0.2, 0.9
LEAST_STEPS = 100  # standard error of the median 1-2 % at 1 s, about 5 % at 10 s
BASELINE_STEPS = 500  # standard error 0.6 % at 1 s, 2 % at 10 s; the same is asked of the later

_LOW_OHM, _HIGH_OHM, _BIN_RATIO = 1e-4, 10.0, 1.02
_N_BINS = round(np.log(_HIGH_OHM / _LOW_OHM) / np.log(_BIN_RATIO))
RESISTANCE_EDGES_OHM = np.concatenate(
    [[-np.inf], np.geomspace(_LOW_OHM, _HIGH_OHM, _N_BINS + 1), [np.inf]]
)
"""2 % wide from 0.1 mohm (a bus with many strings is at 20) to 10 ohm; the outer bins keep the
steps that noise made negative, without which the median would be too high."""

RESISTANCE_FIELDS = {
    "step_at_ns": (np.int64, NEVER_NS),
    "step_v": (np.float64, np.nan),
    "step_a": (np.float64, np.nan),
    "n_steps": (np.int64, 0),
}


class LoadSteps:
    """Histograms of step resistances: each vehicle's first 500 steps, and all later ones."""

    def __init__(self) -> None:
        self._first = Wide({"n": (np.int32, 0)})
        self._later = Wide({"n": (np.int32, 0)})

    def fold(
        self, batch: Batch, rows: Rows, is_nonsense: BoolArray, vehicles: Keyed, degc: FloatArray
    ) -> None:
        """Count the steps of a batch; `degc` (n,) of the rows' middle probes, NaN if none."""
        socs = clean_scalar(batch, "soc_ratio", is_nonsense)[rows.row]
        volts = clean_scalar(batch, "pack_voltage_v", is_nonsense)[rows.row].astype(np.float64)
        amps = clean_scalar(batch, "pack_current_a", is_nonsense)[rows.row].astype(np.float64)
        keep = np.isfinite(volts) & np.isfinite(amps)
        rows, volts, amps = (
            chained(rows.where(keep), vehicles, "step_at_ns"),
            volts[keep],
            amps[keep],
        )
        change_v = volts - previous_values(rows, volts, vehicles, "step_v")
        change_a = amps - previous_values(rows, amps, vehicles, "step_a")
        is_step = (gap_ns(rows) <= STEP_GAP_NS) & (np.abs(change_a) > STEP_CURRENT_A)
        is_step &= ~((socs[keep] < LOW_SOC_RATIO) | (socs[keep] > HIGH_SOC_RATIO))
        share = np.interp(gap_ns(rows)[is_step] / NS_PER_S, STEP_SHARE_GAP_S, STEP_SHARE)
        factor = temperature_factor(degc[keep][is_step], share)
        ohm = -change_v[is_step] / change_a[is_step] / factor
        self._count(rows.slot[is_step], ohm, vehicles)

    def _count(
        self, slot: npt.NDArray[np.int64], step_ohm: npt.NDArray[np.float64], vehicles: Keyed
    ) -> None:
        for table in (self._first, self._later):
            table.fit(len(vehicles), len(RESISTANCE_EDGES_OHM) - 1)
        place = np.searchsorted(RESISTANCE_EDGES_OHM[1:-1], step_ohm, side="right")
        begins = np.flatnonzero(first_of_run(slot))  # each vehicle's steps stand together
        sizes = np.diff(np.append(begins, len(slot)))
        rank = vehicles["n_steps"][slot] + np.arange(len(slot)) - np.repeat(begins, sizes)
        is_baseline = rank < BASELINE_STEPS
        np.add.at(self._first["n"], (slot[is_baseline], place[is_baseline]), 1)
        np.add.at(self._later["n"], (slot[~is_baseline], place[~is_baseline]), 1)
        vehicles["n_steps"][slot[begins]] += sizes

    def resistance_ohm(self) -> npt.NDArray[np.float64]:
        """Median (n_vehicles,) over all steps; NaN with fewer than 100."""
        return _median_ohm(self._first["n"] + self._later["n"], LEAST_STEPS)

    def resistance_ratio(self) -> npt.NDArray[np.float64]:
        """Median of the later steps over that of the first 500 (n_vehicles,).

        NaN until there are 500 later ones.
        """
        first = _median_ohm(self._first["n"], BASELINE_STEPS)
        return _median_ohm(self._later["n"], BASELINE_STEPS) / first


def temperature_factor(
    degc: npt.NDArray[np.floating[Any]], share: float | npt.NDArray[np.float64] = TRANSFER_SHARE
) -> npt.NDArray[np.float64]:
    """Resistance (n,) at a temperature over that at 25 degC; 1 where it is not known.

    `share` (n,) of it follows the temperature.

    >>> temperature_factor(np.array([25.0, 0.0, np.nan])).round(2).tolist()
    [1.0, 2.32, 1.0]
    """
    kelvin = np.where(np.isfinite(degc), degc, REFERENCE_K - ZERO_DEGC_K) + ZERO_DEGC_K
    follows = np.exp(ACTIVATION_K * (1.0 / kelvin - 1.0 / REFERENCE_K))
    factor: npt.NDArray[np.float64] = 1.0 - share + share * follows
    return factor


def _median_ohm(counts: npt.NDArray[np.int32], least: int) -> npt.NDArray[np.float64]:
    medians = grouped_medians(counts, RESISTANCE_EDGES_OHM)
    return np.where(counts.sum(axis=1) >= least, medians, np.nan)
