"""segment_state windows of a zone, held back until due, then given out end by end.

Of several revisions of one window the highest that has come counts, whatever the order. A
revision made from late data after its window was folded changes history, not what is done now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays
from openvrc.contracts.messages.record import LATE_IN_ZONE
from openvrc.contracts.units import NS_PER_S

Columns = dict[str, NDArray[Any]]

GRACE_NS = 2 * NS_PER_S  # an edge may state a window one or two ticks after its end

EMPTY: Columns = {
    "end_ns": np.empty(0, np.int64),
    "window_s": np.empty(0, np.int64),
    "segment": np.empty(0, np.int64),
    "revision": np.empty(0, np.int64),
    "vehicle_s": np.empty(0, np.float64),
    "distance_m": np.empty(0, np.float64),
    "vehicle_count": np.empty(0, np.int64),
}


def rows_of(batch: Batch, number_of: dict[str, int]) -> Columns:
    """Windows of segments the map has, as columns; late revisions left out."""
    numbers = np.array([number_of.get(w, -1) for w in batch.dictionary("subject_id")], np.int64)
    segment = numbers[batch.codes("subject_id")]
    revision = batch.column("revision")
    is_late = (batch.column("lateness") & LATE_IN_ZONE != 0) & (revision > 0)
    rows = {
        "end_ns": batch.column("sampled_at_ns"),
        "window_s": np.round(np.nan_to_num(batch.column("window_s"))).astype(np.int64),
        "segment": segment,
        "revision": revision,
        "vehicle_s": np.nan_to_num(batch.column("vehicle_s")).astype(np.float64),
        "distance_m": np.nan_to_num(batch.column("distance_m")).astype(np.float64),
        "vehicle_count": np.maximum(batch.column("vehicle_count"), 0),
    }
    keep = (segment >= 0) & ~is_late
    return rows if keep.all() else {name: array[keep] for name, array in rows.items()}


@dataclass
class WindowBuffer:
    """Windows not folded yet."""

    chunks: list[Columns] = field(default_factory=list)

    def add(self, rows: Columns) -> None:
        """Hold these windows back."""
        if len(rows["end_ns"]):
            self.chunks.append(rows)

    def due(self, after_ns: int, watermark_ns: int) -> Iterator[tuple[int, Columns]]:
        """Each end in (after_ns, watermark less grace] that has windows, with one row a window."""
        rows = self.joined()
        is_due = rows["end_ns"] <= watermark_ns - GRACE_NS
        if not is_due.any():
            return
        self.chunks = [{name: array[~is_due] for name, array in rows.items()}]
        rows = _highest_revisions(
            {n: array[is_due & (rows["end_ns"] > after_ns)] for n, array in rows.items()}
        )
        ends = rows["end_ns"]
        for end_ns in np.unique(ends).tolist():
            first, last = np.searchsorted(ends, (end_ns, end_ns + 1))
            yield end_ns, {name: array[first:last] for name, array in rows.items()}

    def joined(self) -> Columns:
        """All windows held back."""
        return {n: np.concatenate([e, *(c[n] for c in self.chunks)]) for n, e in EMPTY.items()}

    def snapshot(self, prefix: str) -> Arrays:
        """All windows held back, as arrays."""
        return {f"{prefix}{name}": array for name, array in self.joined().items()}

    def restore(self, arrays: Arrays, prefix: str) -> None:
        """Add the windows that `snapshot` wrote."""
        self.add({name: arrays[f"{prefix}{name}"] for name in EMPTY})


def _highest_revisions(rows: Columns) -> Columns:
    """One row a window, in order of end, window length and segment."""
    keys = ("vehicle_count", "distance_m", "vehicle_s", "revision")  # values settle true ties
    order = np.lexsort(
        (*(rows[key] for key in keys), rows["segment"], rows["window_s"], rows["end_ns"])
    )
    ordered = {name: array[order] for name, array in rows.items()}
    window = [np.diff(ordered[n]) != 0 for n in ("end_ns", "window_s", "segment")]
    is_last = np.append(np.logical_or.reduce(window), True)[: len(order)]
    return {name: array[is_last] for name, array in ordered.items()}
