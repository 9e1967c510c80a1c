"""From the mean cell to every cell of a pack: spread of charge, capacity, resistance and monitor.

    V_i = V + U'(z) (dz_i + (z - z_b)(1/c_i - 1)) - eta (r_i - 1) + m_i + noise

with the mean cell's terminal voltage V, overvoltage eta, charge z and slope U'(z) of its
open-circuit curve, and z_b where its BMS balances the cells: a product of two small matrices, so
that 96 cells cost a few times one cell.
Linear in the spread; what a fault takes out of a cell is added by its whole curve instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.energy import cell
from simulator.energy.chemistry import CHEMISTRIES, chemistry_code
from simulator.energy.models import VehicleModel

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

CAPACITY_SPREAD = 0.008
RESISTANCE_SPREAD = 0.025
MONITOR_SPREAD_V = 0.0015
"""With these the cells of a resting NMC pack lie 3 to 4 mV (sd) around their mean."""
CELL_NOISE_V = 0.0004
CELL_STEP_V = 0.001
PROBE_SPREAD_K = 0.5
PROBE_NOISE_K = 0.15
PACK_STEP_V, CURRENT_STEP_A = 0.1, 0.1
_ROWS_AT_ONCE = 256
"""Small enough that the linear algebra library starts no threads: they cost four times the work."""
PACK_GAIN_SPREAD = 0.0008  # of the sensor of the pack's voltage


@dataclass(frozen=True)
class Spread:
    """One pack's cells (n_cells,) and probes (n_probes,)."""

    charge_ratio: Float32Array
    capacity_ratio: Float32Array
    resistance_ratio: Float32Array
    monitor_v: Float32Array
    probe_k: Float32Array
    pack_gain: float

    def weights(self) -> Float32Array:
        """The spread as (5, n_cells), for `factors`."""
        return np.stack(
            [
                np.ones_like(self.charge_ratio),
                self.charge_ratio,
                1 / self.capacity_ratio - 1,
                1 - self.resistance_ratio,
                self.monitor_v,
            ]
        ).astype(np.float32)


def drawn_spread(model: VehicleModel, random: np.random.Generator) -> Spread:
    """A healthy pack of this model."""
    n = model.series

    def normal(sd: float, size: int = n) -> Float32Array:
        values = np.clip(random.normal(0.0, sd, size), -3 * sd, 3 * sd)
        return np.asarray(values - values.mean(), np.float32)

    return Spread(
        charge_ratio=normal(model.cell.balanced_spread_ratio),
        capacity_ratio=1 + normal(CAPACITY_SPREAD),
        resistance_ratio=1 + normal(RESISTANCE_SPREAD),
        monitor_v=normal(MONITOR_SPREAD_V),
        probe_k=normal(PROBE_SPREAD_K, model.probes),
        pack_gain=1.0 + float(random.normal(0.0, PACK_GAIN_SPREAD)),
    )


@dataclass(frozen=True)
class MeanFrames:
    """What the mean cell shows in n frames, each array (n,)."""

    voltage_v: Float32Array
    overvoltage_v: Float32Array
    soc_ratio: Float32Array
    temperature_degc: Float32Array

    def rows(self, rows: slice) -> MeanFrames:
        """The given frames."""
        return MeanFrames(**{name: values[rows] for name, values in vars(self).items()})


def factors(mean: MeanFrames, chemistry: int) -> Float32Array:
    """The frames as (n, 5), for `Spread.weights`."""
    code = np.full(len(mean.soc_ratio), chemistry, np.int64)
    slope = cell.open_circuit_slope_v(mean.soc_ratio.astype(np.float64), code)
    one = np.ones_like(slope)
    columns = [
        mean.voltage_v,
        slope,
        slope * (mean.soc_ratio - np.float32(CHEMISTRIES[chemistry].balanced_at_ratio)),
        mean.overvoltage_v,
        one,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def cells_v(mean: MeanFrames, spread: Spread, chemistry: int) -> Float32Array:
    """True voltages of all cells (n_frames, n_cells), monitor offsets included."""
    left, right = factors(mean, chemistry), spread.weights()
    result = np.empty((len(left), right.shape[1]), np.float32)
    for start in range(0, len(left), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        np.matmul(left[part], right, out=result[part])
    return result


def probes_degc(mean: MeanFrames, spread: Spread) -> Float32Array:
    """Temperatures of all probes (n_frames, n_probes)."""
    return mean.temperature_degc[:, None] + spread.probe_k


def highest_v(spread: Spread, model: VehicleModel) -> float:
    """How far the highest cell of a full pack lies above its mean: a BMS ends a charge by it."""
    full = MeanFrames(*(np.array([value], np.float32) for value in (0.0, 0.0, 0.99, 25.0)))
    return float(cells_v(full, spread, chemistry_code(model.chemistry)).max())
