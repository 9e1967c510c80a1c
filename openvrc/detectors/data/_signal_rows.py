"""Rows of `signal_state` until the watermark; of them, those at which a group changes.

A controller repeats itself once a second or more: all that is looked at one by one are the reports
before and behind a change, and behind a silence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays
from openvrc.contracts.messages.record import LATE_IN_ZONE
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import EVICT_SHARE, Keyed, Spec

SILENT_NS = 15 * NS_PER_S
"""Controllers repeat themselves at least each ten seconds; an older word is not held to."""
FORGET_NS = 3600 * NS_PER_S
"""A group that comes back after longer is as a new one: a name is not kept for ever for that."""
UNKNOWN = -1
_TIMES = ("at_ns", "phase", "min_end_ns", "max_end_ns", "likely_end_ns")
_SPEC: Spec = dict.fromkeys(_TIMES, (np.int64, ABSENT_I64))
Rows = dict[str, npt.NDArray[np.int64]]


class Report(NamedTuple):
    """One row of `signal_state`."""

    at_ns: int
    phase: int
    min_end_ns: int
    max_end_ns: int
    likely_end_ns: int


class Change(NamedTuple):
    """A group's report that differs from the one before, or comes after a silence."""

    group: str
    before: Report | None
    """None for the first of a group."""
    now: Report


def _is_late(change: Change) -> bool:
    return change.before is not None and change.now.at_ns - change.before.at_ns > SILENT_NS


def _silence(group: str, before: Report | None) -> Change:
    """From when on nobody knew what the group showed, until it was heard again."""
    assert before is not None
    return Change(group, before, before._replace(at_ns=before.at_ns + SILENT_NS, phase=UNKNOWN))


def _begun_anew(change: Change) -> Change:
    """Without a report that is so old that it may be forgotten, whether it was yet or not."""
    before = change.before
    is_forgotten = before is not None and change.now.at_ns - before.at_ns > FORGET_NS
    return change._replace(before=None) if is_forgotten else change


class SignalRows:
    """Rows that wait for the watermark, and the newest report of every group."""

    def __init__(self) -> None:
        self.newest = Keyed(_SPEC)
        self._waiting: list[Rows] = []
        self._slots: dict[str, int] = {}
        """Slots of single names: a look-up in `newest` is made for many at once."""

    def take(self, batch: Batch) -> None:
        """Keep what is not behind the watermark and says a phase."""
        phase = batch.column("phase")
        rows = np.flatnonzero(((batch.column("lateness") & LATE_IN_ZONE) == 0) & (phase >= 0))
        if not rows.size:
            return
        kept: Rows = {"slot": self.newest.batch_slots(batch)[rows]}
        for name in _TIMES:
            column = "sampled_at_ns" if name == "at_ns" else name
            kept[name] = batch.column(column)[rows].astype(np.int64)
        self._waiting.append(kept)

    def heard_ns(self, group: str) -> int:
        """When a group was heard last, among the rows that were due; ABSENT_I64 if never."""
        slot = self._slots.get(group)
        if slot is None:
            slot = self.newest.keys.number(group)
            if slot < 0:
                return ABSENT_I64
            self._slots[group] = slot
        return int(self.newest["at_ns"][slot])

    def forget(self, watermark_ns: int) -> list[str]:
        """Drop groups that have been silent for FORGET_NS, once they are many; their names."""
        gone = self.newest["at_ns"] < watermark_ns - FORGET_NS
        for part in self._waiting:
            gone[part["slot"]] = False
        if not gone.any() or EVICT_SHARE * gone.sum() < len(gone):
            return []
        names = [self.newest.keys[slot] for slot in np.flatnonzero(gone).tolist()]
        slot_of_old = np.cumsum(~gone) - 1
        self.newest.evict(gone)
        self._waiting = [part | {"slot": slot_of_old[part["slot"]]} for part in self._waiting]
        self._slots.clear()
        return names

    def due(self, watermark_ns: int) -> list[Change]:
        """Changes up to the watermark, by group and time."""
        rows = self._ordered(watermark_ns)
        slot, at_ns = rows["slot"], rows["at_ns"]
        if not slot.size:
            return []
        is_first = np.diff(slot, prepend=-1) != 0
        before = {}
        for name in _TIMES:
            before[name] = np.where(is_first, self.newest[name][slot], np.roll(rows[name], 1))
        is_new = before["at_ns"] == ABSENT_I64
        changes = is_new | (before["phase"] != rows["phase"])
        changes |= at_ns - np.where(is_new, at_ns, before["at_ns"]) > SILENT_NS
        is_last = np.append(np.diff(slot) != 0, True)
        for name in _TIMES:
            self.newest[name][slot[is_last]] = rows[name][is_last]
        found = [self._change(rows, before, int(row)) for row in np.flatnonzero(changes)]
        silences = [_silence(one.group, one.before) for one in found if _is_late(one)]
        return silences + [_begun_anew(one) for one in found]

    def _ordered(self, watermark_ns: int) -> Rows:
        """Rows that are due, by group and time, each moment of a group once."""
        names = ("slot", *_TIMES)
        if not self._waiting:
            return {name: np.empty(0, np.int64) for name in names}
        rows = {name: np.concatenate([part[name] for part in self._waiting]) for name in names}
        is_due = rows["at_ns"] <= watermark_ns
        self._waiting = [] if is_due.all() else [{n: a[~is_due] for n, a in rows.items()}]
        is_due &= rows["at_ns"] > self.newest["at_ns"][rows["slot"]]
        chosen = np.flatnonzero(is_due)
        chosen = chosen[np.lexsort((rows["at_ns"][chosen], rows["slot"][chosen]))]
        rows = {name: array[chosen] for name, array in rows.items()}
        is_other = (np.diff(rows["slot"], prepend=-1) != 0) | (
            np.diff(rows["at_ns"], prepend=-1) != 0
        )
        return {name: array[is_other] for name, array in rows.items()}

    def _change(self, rows: Rows, before: Rows, row: int) -> Change:
        last = Report(*(int(before[name][row]) for name in _TIMES))
        return Change(
            self.newest.keys[int(rows["slot"][row])],
            None if last.at_ns == ABSENT_I64 else last,
            Report(*(int(rows[name][row]) for name in _TIMES)),
        )

    def snapshot(self) -> Arrays:
        """The newest reports and the waiting rows."""
        arrays = self.newest.snapshot("newest.")
        for name in ("slot", *_TIMES):
            parts = [part[name] for part in self._waiting]
            arrays[f"waiting.{name}"] = np.concatenate([np.empty(0, np.int64), *parts])
        return arrays

    @classmethod
    def restore(cls, arrays: Arrays) -> SignalRows:
        """What `snapshot` wrote."""
        rows = cls()
        rows.newest = Keyed.restore(_SPEC, arrays, "newest.")
        waiting = {name: arrays[f"waiting.{name}"] for name in ("slot", *_TIMES)}
        rows._waiting = [waiting] if waiting["slot"].size else []
        return rows
