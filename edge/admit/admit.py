"""Admit: which records of a batch are let through, and the marks they carry from then on.

A fold over the batches of one (zone, run), in order of arrival; the result does not depend on how
records are split into batches. Times of a clock that is steadily off are put right first
(`skew.py`). Checks, each with its own reason, in this order: the time window around zone time,
repeats of (source, subject, sampled_at), and for vehicles the distance from their last position.
What passes gets `edge_received_at_ns` and `lateness`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.admit import plausible, repeats
from edge.admit.plausible import MAX_DRIVE_MPS, SLACK_M, plausible_positions
from edge.admit.repeats import first_times, sample_marks
from edge.admit.skew import Skew, put_right
from edge.slots import Grouped, Slots, not_before
from openvrc.contracts.batch import Batch
from openvrc.contracts.messages.record import CLOCK_CORRECTED, LATE_IN_SUBJECT, LATE_IN_ZONE
from openvrc.contracts.reasons import Reason
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.zone import ClocksPutRight

NEVER_NS = np.iinfo(np.int64).min
IDLE_NS = 3600 * NS_PER_S
"""A subject silent for this long in zone time is forgotten: pseudonyms change and never return."""

Times = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_SUBJECT = {"newest_ns": (np.int64, NEVER_NS, 0)} | repeats.SPEC
"""Per message and subject: the newest admitted sample, and which samples were heard."""
_SPECS = {"vehicle_state": _SUBJECT | plausible.SPEC}


@dataclass(frozen=True)
class Clock:
    """What admit knows of time for one batch. Without a limit, `None`."""

    reference_ns: Times  # (n,) zone time at each row's arrival
    received_at_ns: Times  # (n,) wall clock of the edge
    watermark_ns: int
    max_ahead_ns: int | None
    max_age_ns: int | None
    is_wall: bool
    clocks_put_right: ClocksPutRight = "both"


@dataclass(frozen=True)
class Refusal:
    """One row that is not let through."""

    row: int
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Admitted:
    """`batch` holds the admitted rows with their marks; `rows` are their places in the input."""

    batch: Batch
    rows: npt.NDArray[np.int64]
    refusals: list[Refusal]
    is_moved: bool = False
    """Whether times were put right: the batch tells no longer what was sent."""


class Admit:
    """The state of one (zone, run)."""

    def __init__(self) -> None:
        self.skew = Skew()
        self._subjects: dict[str, Slots] = {}

    def fold(self, batch: Batch, rows: npt.NDArray[np.int64], clock: Clock) -> Admitted:
        """Judge the given `rows` of a batch; the others are left out without a word."""
        refusals: list[Refusal] = []
        sources = self.skew.sources.of_batch(batch, "source_id")
        offset_ns = None
        if clock.is_wall and rows.size:
            at_ns = batch.column("sampled_at_ns")
            which = clock.clocks_put_right
            offset_ns = self.skew.observe(sources, at_ns, clock.received_at_ns, which)
        if offset_ns is not None:
            batch = put_right(batch, offset_ns)
        rows = self._in_time(batch, rows, clock, refusals)
        subjects = self._subjects.get(batch.message)
        if subjects is None:
            subjects = self._subjects[batch.message] = Slots(_SPECS.get(batch.message, _SUBJECT))
        grouped = Grouped(subjects.of_batch(batch)[rows])
        rows, grouped = self._no_repeats(batch, rows, sources[rows], subjects, grouped, refusals)
        if batch.message == "vehicle_state":
            rows, grouped = _drivable(batch, rows, subjects, grouped, refusals)
        refusals.sort(key=lambda refusal: refusal.row)
        good = batch if len(rows) == batch.n_rows else batch.take(rows)
        is_moved = None if offset_ns is None else offset_ns[rows] != 0
        if is_moved is not None:
            received_at_ns = clock.received_at_ns[rows][is_moved]
            _forget_impossible(subjects["newest_ns"], grouped.slots[is_moved], received_at_ns)
        lateness = _lateness(good, subjects, grouped, clock.watermark_ns)
        if is_moved is not None:
            lateness += np.where(is_moved, CLOCK_CORRECTED, 0)
        marks = {"edge_received_at_ns": clock.received_at_ns[rows], "lateness": lateness}
        return Admitted(good.with_columns(marks), rows, refusals, is_moved is not None)

    def _in_time(
        self,
        batch: Batch,
        rows: npt.NDArray[np.int64],
        clock: Clock,
        refusals: list[Refusal],
    ) -> npt.NDArray[np.int64]:
        ahead_ns = (batch.column("sampled_at_ns") - clock.reference_ns)[rows]
        keep = np.ones(len(rows), np.bool_)
        if clock.max_ahead_ns is not None:
            keep &= ahead_ns <= clock.max_ahead_ns
        if clock.max_age_ns is not None:
            keep &= ahead_ns >= -clock.max_age_ns
        for place in np.flatnonzero(~keep).tolist():
            row, ahead_s = int(rows[place]), int(ahead_ns[place]) / NS_PER_S
            refusals.append(self._out_of_time(batch, row, ahead_s, clock))
        return rows[keep]

    def _out_of_time(self, batch: Batch, row: int, ahead_s: float, clock: Clock) -> Refusal:
        if ahead_s < 0:
            limit_s = (clock.max_age_ns or 0) / NS_PER_S
            text = f"sampled_at_ns is {-ahead_s:.1f} s behind zone time, expected at most {limit_s}"
            return Refusal(row, Reason.TOO_FAR_PAST, text)
        limit_s = (clock.max_ahead_ns or 0) / NS_PER_S
        text = f"sampled_at_ns is {ahead_s:.1f} s ahead of zone time, expected at most {limit_s}"
        if clock.is_wall:
            source_id = batch.slice(row, 1).texts("source_id")[0]
            least_ns = self.skew.estimate_ns(source_id)
            if least_ns is not None:
                text += f"; the sender's clock is about {-least_ns / NS_PER_S:.1f} s ahead"
        return Refusal(row, Reason.TOO_FAR_FUTURE, text)

    def _no_repeats(
        self,
        batch: Batch,
        rows: npt.NDArray[np.int64],
        sources: npt.NDArray[np.int64],
        subjects: Slots,
        grouped: Grouped,
        refusals: list[Refusal],
    ) -> tuple[npt.NDArray[np.int64], Grouped]:
        at_ns = batch.column("sampled_at_ns")[rows]
        marks = sample_marks(self.skew.marks(sources, at_ns), at_ns)
        first = first_times(subjects, grouped, at_ns, marks)
        text = "this source sent this subject_id and sampled_at_ns before, expected a new time"
        refusals += [Refusal(row, Reason.DUPLICATE_SAMPLE, text) for row in rows[~first].tolist()]
        return rows[first], grouped.at(first)

    def forget_idle(self, watermark_ns: int) -> None:
        """Free the memory of subjects silent for `IDLE_NS` of zone time."""
        limit_ns = watermark_ns - IDLE_NS
        for table in (*self._subjects.values(), self.skew.sources):
            table.free(table.older_than("heard_ns", limit_ns))

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint."""
        subjects = {name: table.snapshot() for name, table in self._subjects.items()}
        return {"skew": self.skew.snapshot(), "subjects": subjects}

    @classmethod
    def restore(cls, tree: Mapping[str, Any]) -> Admit:
        """What `snapshot` wrote."""
        admit = cls()
        admit.skew = Skew.restore(tree["skew"])
        for name, table in tree["subjects"].items():
            admit._subjects[name] = Slots.restore(_SPECS.get(name, _SUBJECT), table)
        return admit


def _drivable(
    batch: Batch,
    rows: npt.NDArray[np.int64],
    subjects: Slots,
    grouped: Grouped,
    refusals: list[Refusal],
) -> tuple[npt.NDArray[np.int64], Grouped]:
    fits = plausible_positions(
        subjects,
        grouped,
        batch.column("sampled_at_ns")[rows],
        batch.column("lat_deg")[rows],
        batch.column("lon_deg")[rows],
    )
    text = (
        "position is further from the last one than a vehicle drives in the time between, "
        f"expected at most {MAX_DRIVE_MPS:.0f} m/s and {SLACK_M:.0f} m"
    )
    refusals += [Refusal(row, Reason.IMPLAUSIBLE_JUMP, text) for row in rows[~fits].tolist()]
    return rows[fits], grouped.at(fits)


def _forget_impossible(newest_ns: Times, slots: Times, received_at_ns: Times) -> None:
    """Newest samples that lie behind their receipt are a fast clock's: nothing is older by them."""
    ahead = slots[newest_ns[slots] > received_at_ns]
    newest_ns[ahead] = NEVER_NS


def _lateness(
    good: Batch, subjects: Slots, grouped: Grouped, watermark_ns: int
) -> npt.NDArray[np.int64]:
    at_ns = good.column("sampled_at_ns")
    is_newest = not_before(grouped, at_ns, subjects["newest_ns"], strictly=False)
    grouped.raise_to(subjects["newest_ns"], at_ns)
    late = np.where(at_ns < watermark_ns, LATE_IN_ZONE, 0)
    return late + np.where(is_newest, 0, LATE_IN_SUBJECT)
