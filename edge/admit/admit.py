"""Admit: which records of a batch are let through, and the marks they carry from then on.

A fold over the batches of one (zone, run), in order of arrival; the result does not depend on how
records are split into batches. Checks, each with its own reason, in this order: the time window
around zone time, repeats of (source, subject, sampled_at), and for vehicles the distance from
their last position. What passes gets `edge_received_at_ns` and `lateness`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.admit.plausible import MAX_DRIVE_MPS, SLACK_M, Jumps
from edge.admit.repeats import Repeats
from edge.admit.skew import Skew
from edge.slots import Slots, not_before
from openvrc.contracts.batch import Batch
from openvrc.contracts.messages.record import LATE_IN_SUBJECT, LATE_IN_ZONE
from openvrc.contracts.reasons import Reason
from openvrc.contracts.units import NS_PER_S

NEVER_NS = np.iinfo(np.int64).min
IDLE_NS = 3600 * NS_PER_S
"""A subject silent for this long in zone time is forgotten: pseudonyms change and never return."""

Times = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_NEWEST = {"newest_ns": (np.int64, NEVER_NS, 0)}


@dataclass(frozen=True)
class Clock:
    """What admit knows of time for one batch. Without a limit, `None`."""

    reference_ns: Times  # (n,) zone time at each row's arrival
    received_at_ns: Times  # (n,) wall clock of the edge
    watermark_ns: int
    max_ahead_ns: int | None
    max_age_ns: int | None
    is_wall: bool


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


class Admit:
    """The state of one (zone, run)."""

    def __init__(self) -> None:
        self.skew = Skew()
        self.jumps = Jumps()
        self._repeats: dict[str, Repeats] = {}
        self._newest: dict[str, Slots] = {}

    def fold(self, batch: Batch, rows: npt.NDArray[np.int64], clock: Clock) -> Admitted:
        """Judge the given `rows` of a batch; the others are left out without a word."""
        refusals: list[Refusal] = []
        if clock.is_wall and rows.size:
            slots = self.skew.sources.of_batch(batch, "source_id")
            self.skew.observe(slots, batch.column("sampled_at_ns"), clock.received_at_ns)
        rows = self._in_time(batch, rows, clock, refusals)
        rows = self._no_repeats(batch, rows, refusals)
        if batch.message == "vehicle_state":
            rows = self._drivable(batch, rows, refusals)
        refusals.sort(key=lambda refusal: refusal.row)
        good = batch if len(rows) == batch.n_rows else batch.take(rows)
        marks = {
            "edge_received_at_ns": clock.received_at_ns[rows],
            "lateness": self._lateness(good, clock.watermark_ns),
        }
        return Admitted(good.with_columns(marks), rows, refusals)

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
        self, batch: Batch, rows: npt.NDArray[np.int64], refusals: list[Refusal]
    ) -> npt.NDArray[np.int64]:
        if not rows.size:
            return rows
        repeats = self._repeats.setdefault(batch.message, Repeats())
        slots = repeats.keys.of(_sender_subject_keys(batch, rows))
        first = repeats.judge(slots, batch.column("sampled_at_ns")[rows])
        text = "this source sent this subject_id and sampled_at_ns before, expected a new time"
        refusals += [Refusal(row, Reason.DUPLICATE_SAMPLE, text) for row in rows[~first].tolist()]
        return rows[first]

    def _drivable(
        self, batch: Batch, rows: npt.NDArray[np.int64], refusals: list[Refusal]
    ) -> npt.NDArray[np.int64]:
        if not rows.size:
            return rows
        slots = self.jumps.subjects.of_batch(batch)[rows]
        fits = self.jumps.judge(
            slots,
            batch.column("sampled_at_ns")[rows],
            batch.column("lat_deg")[rows],
            batch.column("lon_deg")[rows],
        )
        text = (
            "position is further from the last one than a vehicle drives in the time between, "
            f"expected at most {MAX_DRIVE_MPS:.0f} m/s and {SLACK_M:.0f} m"
        )
        refusals += [Refusal(row, Reason.IMPLAUSIBLE_JUMP, text) for row in rows[~fits].tolist()]
        return rows[fits]

    def _lateness(self, good: Batch, watermark_ns: int) -> npt.NDArray[np.int64]:
        at_ns = good.column("sampled_at_ns")
        newest = self._newest.setdefault(good.message, Slots(_NEWEST))
        slots = newest.of_batch(good)
        is_newest = not_before(slots, at_ns, newest["newest_ns"], strictly=False)
        np.maximum.at(newest["newest_ns"], slots, at_ns)
        late = np.where(at_ns < watermark_ns, LATE_IN_ZONE, 0)
        return late + np.where(is_newest, 0, LATE_IN_SUBJECT)

    def forget_idle(self, watermark_ns: int) -> None:
        """Free the memory of subjects silent for `IDLE_NS` of zone time."""
        limit_ns = watermark_ns - IDLE_NS
        tables = [(repeats.keys, "newest_ns") for repeats in self._repeats.values()]
        tables += [(newest, "newest_ns") for newest in self._newest.values()]
        for table, name in [*tables, (self.jumps.subjects, "at_ns")]:
            table.free(table.older_than(name, limit_ns))

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "skew": self.skew.snapshot(),
            "jumps": self.jumps.snapshot(),
            "repeats": {name: state.snapshot() for name, state in self._repeats.items()},
            "newest": {name: state.snapshot() for name, state in self._newest.items()},
        }

    @classmethod
    def restore(cls, tree: Mapping[str, Any]) -> Admit:
        """What `snapshot` wrote."""
        admit = cls()
        admit.skew = Skew.restore(tree["skew"])
        admit.jumps = Jumps.restore(tree["jumps"])
        admit._repeats = {n: Repeats.restore(state) for n, state in tree["repeats"].items()}
        admit._newest = {n: Slots.restore(_NEWEST, state) for n, state in tree["newest"].items()}
        return admit


def _sender_subject_keys(batch: Batch, rows: npt.NDArray[np.int64]) -> list[str]:
    """The text `source subject` of each row; ids hold no spaces."""
    sources, subjects = batch.dictionary("source_id"), batch.dictionary("subject_id")
    source_codes, subject_codes = batch.codes("source_id")[rows], batch.codes("subject_id")[rows]
    return [
        f"{sources[source]} {subjects[subject]}"
        for source, subject in zip(source_codes.tolist(), subject_codes.tolist(), strict=True)
    ]
