"""The sure path to a weak cell: batches of rest samples that agree.

At rest (|I| under 5 A) a cell's deviation from its pack's median shows its charge, not its
resistance. A batch is 4 h of event time, aligned to UTC: long enough that the minutes of
relaxation after a drive weigh little, short enough for an answer on the first day. In a real
pack the two weak cells sat at -33 and -28 mV all month and the next healthy one never under
-19 mV per batch; in flat parts of the open-circuit curve the weak ones shrank to -8 mV for two
days, which is why three of five batches raise and only long health clears. A batch also counts a
cell that has drifted from where it was in the vehicle's first days (rest_drift.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openvrc.contracts.detection import Arrays
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.battery.deviation import LEAST_CELLS, low_outliers
from openvrc.detectors.battery.group_sums import Closed
from openvrc.detectors.battery.rest_drift import RestDrift
from openvrc.detectors.battery.view import COUNTS_PER_V
from openvrc.detectors.battery.wide import Wide

REST_CURRENT_A = 5.0
BATCH_NS = 4 * 3600 * NS_PER_S
SAMPLE_NS = 30 * NS_PER_S  # at most one in it: more say nothing new of a cell at rest
LEAST_SAMPLES = 5  # a car that wakes every two hours gives few
DEVIATION_LIMIT_V = 0.022  # 5.5 noise floors; above every healthy cell of two real packs
LEAST_Z = 5.5
HEALTHY_V = 0.010
VOTES_OF = 5
VOTES_TO_RAISE = 3
HEALTHY_SPAN_NS = 3 * 86400 * NS_PER_S  # the flat part of a curve can hide a weak cell for a day
HEALTHY_BATCHES = 5
CUT_V = 0.150  # one glitch of 1 V among 20 samples must not move the mean by 50 mV

_WINDOW = (1 << VOTES_OF) - 1
_VOTES = np.array([bits.bit_count() for bits in range(1 << VOTES_OF)], np.int64)


@dataclass(frozen=True)
class RestVerdict:
    """One closed batch of one vehicle after its vote."""

    group: int
    is_low: npt.NDArray[np.bool_]
    """(c,) enough of the last batches agree that the cell is weak, this one among them."""
    is_healthy: npt.NDArray[np.bool_]
    """(c,) it is close to its pack in this batch."""
    deviation_v: npt.NDArray[np.float64]
    drift_v: npt.NDArray[np.float64]
    """(c,) smoothed deviation less that of the vehicle's first days; 0 until these are over."""
    votes: npt.NDArray[np.int64]
    noise_v: float
    began_at_ns: npt.NDArray[np.int64]
    """(c,) first rest sample of the oldest batch that agrees."""


class RestVotes:
    """The last five batches of each vehicle."""

    _CELLS = {"low": (np.uint8, 0)}  # noqa: RUF012 - never changed
    _TIMES = {"began_at_ns": (np.int64, 0)}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self._cells = Wide(self._CELLS)
        self._times = Wide(self._TIMES)
        self._drift = RestDrift()

    def cast(self, batches: Closed) -> list[RestVerdict]:
        """Votes of closed batches, in their order. Scalars: sums of cells and of middle cells."""
        n_cells = batches.scalars[:, 0] // np.maximum(batches.n_rows, 1)
        counts = (batches.n_rows >= LEAST_SAMPLES) & (n_cells >= LEAST_CELLS)
        groups = np.flatnonzero(counts)
        mean_v = batches.tables["rest"][groups] / (batches.n_rows[groups, None] * COUNTS_PER_V)
        is_low, centred_v, noise_v = low_outliers(
            mean_v, n_cells[groups], limit_v=DEVIATION_LIMIT_V, least_z=LEAST_Z
        )
        self._cells.fit(int(batches.slot.max(initial=-1)) + 1, mean_v.shape[1])
        self._times.fit(int(batches.slot.max(initial=-1)) + 1, VOTES_OF)
        return [
            self._cast_one(batches, int(group), is_low[i], centred_v[i], float(noise_v[i]))
            for i, group in enumerate(groups)
        ]

    def _cast_one(
        self,
        batches: Closed,
        group: int,
        is_low: npt.NDArray[np.bool_],
        centred_v: npt.NDArray[np.float64],
        noise_v: float,
    ) -> RestVerdict:
        slot, width = int(batches.slot[group]), len(is_low)
        n_cells = int(batches.scalars[group, 0]) // int(batches.n_rows[group])
        middle_v = int(batches.scalars[group, 1]) / int(batches.n_rows[group]) / COUNTS_PER_V
        drift_v, drifts = self._drift.after(
            slot, centred_v[:n_cells], middle_v, int(batches.first_at_ns[group]), width
        )
        is_low = is_low | drifts
        low = self._cells["low"][slot]
        began_at_ns = self._times["began_at_ns"][slot]
        low[:width] = (low[:width] << 1) & _WINDOW | is_low
        began_at_ns[1:] = began_at_ns[:-1].copy()
        began_at_ns[0] = batches.first_at_ns[group]
        votes = _VOTES[low[:width]]
        oldest = np.zeros(width, np.int64)
        for age in range(VOTES_OF):
            oldest[(low[:width] >> age) & 1 == 1] = age
        return RestVerdict(
            group,
            is_low & (votes >= VOTES_TO_RAISE),
            (centred_v > -HEALTHY_V) & ~drifts,
            centred_v,
            drift_v,
            votes,
            noise_v,
            began_at_ns[oldest],
        )

    def snapshot(self) -> Arrays:
        """Copies for a checkpoint."""
        return (
            self._cells.snapshot("votes.")
            | self._times.snapshot("votes.")
            | self._drift.snapshot("drift.")
        )

    def load(self, arrays: Arrays) -> None:
        """Take over what `snapshot` wrote."""
        self._cells = Wide.restore(self._CELLS, arrays, "votes.")
        self._times = Wide.restore(self._TIMES, arrays, "votes.")
        self._drift.load(arrays, "drift.")
