"""How far each pack's lowest cell fell since the vehicle's frame before.

One number per frame instead of one per cell: a cell that falls by 15 mV and more becomes the
lowest one, and the fall of the lowest is then at most that of the cell itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.detectors.battery.deviation import LEAST_CELLS
from openvrc.detectors.battery.frames import NEVER_NS, SEEN, Rows, chained, usable_rows
from openvrc.detectors.battery.masks import some
from openvrc.detectors.battery.view import View
from openvrc.detectors.battery_health.previous import previous_values
from openvrc.detectors.keyed import Keyed

DROP_FIELDS: dict[str, tuple[Any, Any]] = {
    **SEEN,
    "drop_at_ns": (np.int64, NEVER_NS),
    "low_v": (np.float32, np.nan),
    "low_a": (np.float32, np.nan),
}


@dataclass(frozen=True)
class Drops:
    """Frames (n,) with cells and current, against the frame before."""

    rows: Rows
    before_v: npt.NDArray[np.float32]
    """Lowest deviation of the frame before; NaN without one."""
    low_v: npt.NDArray[np.float32]
    """Lowest deviation of this frame."""
    step_a: npt.NDArray[np.float32]
    """Change of the current."""
    gap_ns: npt.NDArray[np.int64]

    @property
    def drop_v(self) -> npt.NDArray[np.float32]:
        """How far the lowest cell fell (n,), positive."""
        return self.before_v - self.low_v


def fold_drops(view: View, vehicles: Keyed) -> Drops:
    """Fold a view; `vehicles` has the `DROP_FIELDS`."""
    rows = usable_rows(view.batch, vehicles)
    is_usable = (view.n_measured >= LEAST_CELLS) & ~np.isnan(view.current_a)
    rows = chained(rows.where(rows.of(is_usable)), vehicles, "drop_at_ns")
    low_v, amps = rows.of(view.lowest_deviation_v), rows.of(view.current_a)
    before_v = previous_values(rows, low_v, vehicles, "low_v")
    step_a = amps - previous_values(rows, amps, vehicles, "low_a")
    return Drops(rows, before_v, low_v, step_a, rows.at_ns - np.maximum(rows.previous_at_ns, 0))


def watched_rows(
    drops: Drops, is_candidate: npt.NDArray[np.bool_], watched: set[int]
) -> npt.NDArray[np.int64]:
    """Indices of all rows of vehicles that are watched, or have a candidate in this batch."""
    slots = drops.rows.slot
    if not watched and not some(is_candidate):
        return np.empty(0, np.int64)
    wanted = np.union1d(np.array(sorted(watched), np.int64), slots[is_candidate])
    return np.flatnonzero(np.isin(slots, wanted))
