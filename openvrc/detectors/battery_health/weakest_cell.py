"""The cell that lies lowest in its pack at rest: lowest median deviation at |I| under 5 A.

At rest a cell's deviation from the pack's median shows its charge, under load its resistance. A
weakest cell exists in every pack: being named here is no fault, `battery.self_discharge` judges
that. A median, not a mean: one glitch of 1 V must not name a cell.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from openvrc.detectors.battery.cleaning import FloatArray, row_median
from openvrc.detectors.battery.deviation import LEAST_CELLS
from openvrc.detectors.battery.frames import Rows
from openvrc.detectors.battery.rest_batches import REST_CURRENT_A
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.battery_health.histograms import grouped_medians

LEAST_REST_FRAMES = 100  # 17 min at 10 s, past the fast part of relaxation
LEAST_MEASURED_SHARE = 0.5  # of the pack's rest frames; a cell seen rarely has another history

_BIN_V = 0.0005  # half of the 1 mV that packs report: the median of an even number of cells
_N_BINS = 300  # from 0 down to -150 mV; a cell beyond it half of the time is the weakest anyway
_EDGES_V: npt.NDArray[np.float64] = (np.arange(_N_BINS + 1.0) - _N_BINS + 0.5) * _BIN_V
"""The last bin keeps all that lies at or above the median: such a cell is not the weakest."""


class RestDeviations:
    """Histogram of each cell's rest deviation, 115 kB for a pack of 96 cells."""

    def __init__(self) -> None:
        self._cells = Wide({"n": (np.int32, 0)})
        self._frames = Wide({"n": (np.int64, 0)})
        self._frames.fit(0, 1)

    def fold(self, rows: Rows, cells_v: FloatArray, current_a: FloatArray, n_slots: int) -> None:
        """Count the rest frames among rows (n,): cells (n, c) and current (n,), masked."""
        self._frames.fit(n_slots, 1)
        self._cells.fit(n_slots, cells_v.shape[1] * _N_BINS)
        n_cells = (~np.isnan(cells_v)).sum(axis=1)
        is_rest = (np.abs(current_a) < REST_CURRENT_A) & (n_cells >= LEAST_CELLS)
        slot, cells_v = rows.slot[is_rest], cells_v[is_rest]
        np.add.at(self._frames["n"], (slot, 0), 1)
        deviation_v = cells_v - row_median(cells_v)[:, None]
        frame, cell = np.nonzero(~np.isnan(deviation_v))
        steps = np.rint(deviation_v[frame, cell] / np.float32(_BIN_V)).astype(np.int64)
        place = np.clip(steps + _N_BINS - 1, 0, _N_BINS - 1)
        np.add.at(self._cells["n"], (slot[frame], cell * _N_BINS + place), 1)

    def weakest_cell(self) -> npt.NDArray[np.int64]:
        """Number (n_vehicles,) of the weakest cell, from 1; 0 with fewer than 100 rest frames.

        Of cells that lie equally low the first is named.
        """
        weakest = np.zeros(self._cells.n_slots, np.int64)
        for slot in np.flatnonzero(self._frames["n"][:, 0] >= LEAST_REST_FRAMES):
            counts = self._cells["n"][slot].reshape(-1, _N_BINS)
            medians_v = grouped_medians(counts, _EDGES_V)
            is_seen = counts.sum(axis=1) >= LEAST_MEASURED_SHARE * self._frames["n"][slot, 0]
            if bool(is_seen.any()):
                weakest[slot] = 1 + int(np.argmin(np.where(is_seen, medians_v, np.inf)))
        return weakest
