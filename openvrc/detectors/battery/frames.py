"""Rows of a batch as a detector of vehicles wants them: usable, and grouped by vehicle in order.

Left out, because an ordered fold cannot use them: rows that came behind a newer one of their
vehicle (lateness bit 1), rows of a changing pseudonym (nothing lasting can be said of them), and
a second row for a moment already seen (another source, or a repeated timestamp: real logs hold
both). What is left depends on the vehicle's records alone, not on how they were cut into batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.units import ABSENT_I64
from openvrc.detectors.battery.masks import every, some
from openvrc.detectors.battery.view import ordered
from openvrc.detectors.keyed import Keyed

NEVER_NS = ABSENT_I64
"""`last_at_ns` of a vehicle not seen yet."""

SEEN = {"last_at_ns": (np.int64, NEVER_NS)}
"""Field that a `Keyed` needs for `usable_rows`."""


@dataclass(frozen=True)
class Rows:
    """Usable rows (n,) of one batch, grouped by vehicle, each vehicle's in order of event time."""

    row: npt.NDArray[np.int64]
    """Row numbers in the batch."""
    at: npt.NDArray[np.int64]
    """Row numbers in the batch's `view.ordered`."""
    slot: npt.NDArray[np.int64]
    """The vehicle's slot."""
    at_ns: npt.NDArray[np.int64]
    is_first: npt.NDArray[np.bool_]
    """First of its vehicle in this batch."""
    previous_at_ns: npt.NDArray[np.int64]
    """Event time of the vehicle's row before, in this or an earlier batch; NEVER_NS if none."""
    is_late: npt.NDArray[np.bool_]
    """Behind the zone's watermark, though in order for its vehicle."""

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def is_last(self) -> npt.NDArray[np.bool_]:
        """(n,) last of its vehicle in this batch."""
        is_last = np.ones(len(self.is_first), np.bool_)
        is_last[:-1] = self.is_first[1:]
        return is_last

    @cached_property
    def is_single(self) -> bool:
        """Whether each vehicle has one row: then a row's predecessor is what is stored."""
        return every(self.is_first)

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Those of a view's values (m, ...) that belong to these rows (n, ...); no copy of all."""
        if len(self.at) == len(values):
            return values
        return values[self.at]

    def where(self, keep: npt.NDArray[np.bool_]) -> Rows:
        """The rows where `keep` (n,); `previous_at_ns` stays that of the full sequence."""
        if every(keep):
            return self
        slot = self.slot[keep]
        return Rows(
            self.row[keep],
            self.at[keep],
            slot,
            self.at_ns[keep],
            first_of_run(slot),
            self.previous_at_ns[keep],
            self.is_late[keep],
        )


def first_of_run(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """True (n,) where a value differs from the one before it."""
    changed = np.ones(len(values), np.bool_)
    changed[1:] = values[1:] != values[:-1]
    return changed


@dataclass(frozen=True)
class _Shared:
    """Rows of a batch for every rule that had seen the same of its vehicles before."""

    found: npt.NDArray[np.int64]
    last_at_ns: npt.NDArray[np.int64]
    rows: Rows


def usable_rows(batch: Batch, vehicles: Keyed) -> Rows:
    """The rows a fold may use; notes their times in `vehicles["last_at_ns"]`.

    Rules that saw the same frames of the batch's vehicles get the same rows, made once. Read-only.
    """
    view = ordered(batch)
    found = vehicles.slots_of(view.words)
    last_at_ns = vehicles["last_at_ns"][found]
    shared: list[_Shared] = batch.once("battery rows", list)
    for one in shared:
        if one.found is found and every(one.last_at_ns == last_at_ns):
            _keep_last(one.rows, vehicles, "last_at_ns")
            return one.rows
    slot = found[view.place]
    rows = Rows(
        view.row,
        np.arange(len(view)),
        slot,
        view.at_ns,
        view.is_first,
        np.zeros(len(view), np.int64),
        view.is_late,
    )
    rows = _without_repeats(rows, vehicles)
    shared.append(_Shared(found, last_at_ns, rows))
    return rows


def chained(rows: Rows, vehicles: Keyed, field: str) -> Rows:
    """`rows` with `previous_at_ns` taken among themselves; `vehicles[field]` keeps the last one.

    For a detector that drops frames without its signal: the frame before is then the one that
    had the signal.
    """
    if len(rows) == 0:
        return rows
    previous_at_ns = _previous(rows, vehicles, field)
    _keep_last(rows, vehicles, field)
    return Rows(
        rows.row, rows.at, rows.slot, rows.at_ns, rows.is_first, previous_at_ns, rows.is_late
    )


def _without_repeats(rows: Rows, vehicles: Keyed) -> Rows:
    if some(rows.at_ns <= _previous(rows, vehicles, "last_at_ns")):
        rows = rows.where(_rises(rows, vehicles))
    return chained(rows, vehicles, "last_at_ns")


def _previous(rows: Rows, vehicles: Keyed, field: str) -> npt.NDArray[np.int64]:
    if rows.is_single:
        return vehicles[field][rows.slot]
    previous = np.empty(len(rows), np.int64)
    previous[1:] = rows.at_ns[:-1]
    previous[rows.is_first] = vehicles[field][rows.slot[rows.is_first]]
    return previous


def _keep_last(rows: Rows, vehicles: Keyed, field: str) -> None:
    if rows.is_single:
        vehicles[field][rows.slot] = rows.at_ns
        return
    vehicles[field][rows.slot[rows.is_last]] = rows.at_ns[rows.is_last]


def _rises(rows: Rows, vehicles: Keyed) -> npt.NDArray[np.bool_]:
    """(n,) rows newer than all before them.

    A loop: only batches with repeats come here. A vehicle that changed zones may be out of order
    without a mark, since each zone's edge judges by what itself has seen.
    """
    rises = np.zeros(len(rows), np.bool_)
    newest: dict[int, int] = {}
    for i, (slot, at_ns) in enumerate(zip(rows.slot.tolist(), rows.at_ns.tolist(), strict=True)):
        if at_ns > newest.setdefault(slot, int(vehicles["last_at_ns"][slot])):
            newest[slot] = at_ns
            rises[i] = True
    return rises


def newest_event_ns(
    rows: Rows, is_event: npt.NDArray[np.bool_], vehicles: Keyed, field: str
) -> npt.NDArray[np.int64]:
    """Time (n,) of each vehicle's newest row with an event, up to each row; NEVER_NS if none.

    `vehicles[field]` keeps the last one.
    """
    stored = vehicles[field]
    if not some(is_event):
        return stored[rows.slot]
    index = np.arange(len(rows))
    first = np.maximum.accumulate(np.where(rows.is_first, index, 0))
    newest = np.maximum.accumulate(np.where(is_event, index, -1))
    times = np.where(newest >= first, rows.at_ns[newest], stored[rows.slot])
    stored[rows.slot[rows.is_last]] = times[rows.is_last]
    return times


def opens_period(rows: Rows, period_ns: int) -> npt.NDArray[np.bool_]:
    """(n,) a vehicle's first row of each period of event time: a thinning that no cut changes."""
    is_new: npt.NDArray[np.bool_] = rows.at_ns // period_ns != rows.previous_at_ns // period_ns
    return is_new
