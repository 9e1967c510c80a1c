"""A cell against itself: how far its rest deviation has drifted since the vehicle's first days.

A leak of 1 kohm takes 0.06 % of charge a day from a cell of 150 A h: below any limit between cells
for weeks, but a drift. x are the centred mean deviations of a rest batch, b their mean over the
first twelve batches and three days, e their exponential mean (a fifth a batch) less b:

- e is 6 mV below zero, and 7 robust sds of all cells' e (0.8 mV at least: what temperature and
  state of charge do to all cells is in there);
- e is 5 times its own standard error, from the cell's own scatter x - b - e: a cell of another
  capacity swings with the state of charge;
- not more than three cells drift at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from openvrc.contracts.detection import Arrays
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.battery.deviation import LEAST_MOST_OUTLIERS, SD_PER_MAD
from openvrc.detectors.battery.wide import Wide

BASELINE_BATCHES, BASELINE_NS = 12, 3 * 86_400 * NS_PER_S
SMOOTHING = 0.2
LIMIT_V, LEAST_Z, NOISE_FLOOR_V = 0.006, 7.0, 0.8e-3
LEAST_OWN_Z = 5.0
OWN_FLOOR_V = 1e-3

_CELLS = {
    "baseline_v": (np.float64, 0.0),
    "smooth_v": (np.float64, 0.0),
    "scatter_v2": (np.float64, 0.0),
}
_HEADS = {"heads": (np.int64, 0)}
_N, _BEGAN = 0, 1
FloatArray = npt.NDArray[np.float64]


class RestDrift:
    """Baselines and smoothed deviations of all vehicles."""

    def __init__(self) -> None:
        self._cells, self._heads = Wide(_CELLS), Wide(_HEADS)

    def after(
        self, slot: int, deviation_v: FloatArray, began_at_ns: int, width: int
    ) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """One more batch of a vehicle's cells (c,): drift (width,) in V, and which cells drift."""
        self._cells.fit(slot + 1, width)
        self._heads.fit(slot + 1, 2)
        n_cells = len(deviation_v)
        head = self._heads["heads"][slot]
        baseline = self._cells["baseline_v"][slot, :n_cells]
        smooth = self._cells["smooth_v"][slot, :n_cells]
        scatter = self._cells["scatter_v2"][slot, :n_cells]
        drift, drifts = np.zeros(width), np.zeros(width, np.bool_)
        if head[_N] == 0:
            head[_BEGAN] = began_at_ns
        head[_N] += 1
        n = int(head[_N])
        if n <= BASELINE_BATCHES or began_at_ns - head[_BEGAN] < BASELINE_NS:
            baseline += (deviation_v - baseline) / n
            scatter += ((deviation_v - baseline) ** 2 - scatter) / n
            return drift, drifts
        moved = deviation_v - baseline
        smooth += SMOOTHING * (moved - smooth)
        scatter += SMOOTHING * ((moved - smooth) ** 2 - scatter)
        drift[:n_cells] = smooth - np.median(smooth)
        noise = max(NOISE_FLOOR_V, SD_PER_MAD * float(np.median(np.abs(drift[:n_cells]))))
        share = SMOOTHING / (2.0 - SMOOTHING)
        own = np.sqrt(share * np.maximum(scatter, OWN_FLOOR_V**2))
        limit = np.maximum(max(LIMIT_V, LEAST_Z * noise), LEAST_OWN_Z * own)
        drifts[:n_cells] = drift[:n_cells] <= -limit
        if int(drifts.sum()) > LEAST_MOST_OUTLIERS:
            drifts[:] = False
        return drift, drifts

    def snapshot(self, prefix: str) -> Arrays:
        """Copies for a checkpoint."""
        return self._cells.snapshot(prefix) | self._heads.snapshot(prefix)

    def load(self, arrays: Arrays, prefix: str) -> None:
        """Take over what `snapshot` wrote."""
        self._cells = Wide.restore(_CELLS, arrays, prefix)
        self._heads = Wide.restore(_HEADS, arrays, prefix)
