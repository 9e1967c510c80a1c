"""How far each cell is from its pack's median, as exact integers, and how unusual that is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from openvrc.detectors.battery.cleaning import row_median
from openvrc.detectors.battery.view import COUNTS_PER_V

LEAST_CELLS = 8  # fewer give no robust middle

NOISE_FLOOR_V = 4e-3
"""Spread between healthy cells (static offset about 4 mV sd): a pack that happens to be tighter,
or whose voltages are rounded to 1 mV, must not turn every cell into an outlier."""

SD_PER_MAD = 1.4826  # of a normal distribution

MOST_OUTLIERS_SHARE = 0.05
LEAST_MOST_OUTLIERS = 3
"""More outliers at once than 3 cells or 5 % of the pack are a group (a module's harness, a
sensor chip, a temperature gradient), not cells."""


def cut_counts(counts: npt.NDArray[np.int16], limit_v: float) -> npt.NDArray[np.int32]:
    """Deviations (n, c) in 0.1 mV cut at +-limit, wide enough to be summed."""
    limit = round(limit_v * COUNTS_PER_V)
    return np.clip(counts, -limit, limit).astype(np.int32)


def low_outliers(
    deviation_v: npt.NDArray[np.float64],
    n_cells: npt.NDArray[np.int64],
    *,
    limit_v: float,
    least_z: float,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Cells far below their pack: (is_low (g, c), centred deviation (g, c), noise (g,)).

    `deviation_v` (g, c) is padded behind `n_cells` (g,). The noise is the robust sd between the
    cells of the pack, at least `NOISE_FLOOR_V`.
    """
    is_cell = np.arange(deviation_v.shape[1]) < n_cells[:, None]
    values = np.where(is_cell, deviation_v, np.nan).astype(np.float32)
    centred = values - row_median(values)[:, None]
    noise_v = np.maximum(NOISE_FLOOR_V, SD_PER_MAD * row_median(np.abs(centred))).astype(np.float64)
    is_low = (centred <= -limit_v) & (centred <= -least_z * noise_v[:, None])
    most = np.maximum(LEAST_MOST_OUTLIERS, MOST_OUTLIERS_SHARE * n_cells)
    is_low &= (is_low.sum(axis=1) <= most)[:, None]
    return is_low, centred.astype(np.float64), noise_v
