"""The edge's accounts: per zone, run, source and session, what was sent and what became of it.

At any moment, for every account:

    sent = forwarded + rejected + dropped + expired + missing

`sent` is what the sender numbered (its highest number, or its own count if that is higher) plus
units without a number (payloads nobody could read, records of senders that do not number).
`missing` are numbers never received. Duplicates stand beside the sum. A row's `version` starts at
the wall time (ns) of its first unit and rises with every change, so a row made anew after its run
was freed still supersedes the old one.

Accounts are rows of arrays, one per sender's session: 100,000 vehicles that send for themselves
are booked as fast as one roadside unit that speaks for them. Nearly every sender's numbers come in
order and without gaps, which one array of ends tells; only the others keep a `SeqSet`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.seq_set import SeqSet
from openvrc.contracts.batch import Batch
from openvrc.contracts.units import ABSENT_I64

MAX_SEQ_STEP = 10_000_000
"""A number this far above all before is a fault of the sender (10 Hz for eleven days lost), and
believing it would declare millions of records missing: the record is rejected."""

NO_SESSION = ABSENT_I64
_FIRST_CAPACITY = 64
_COUNTS = (
    "version",
    "sent_count",
    "end",  # the highest number seen plus one
    "seen",  # distinct numbers
    "unnumbered",
    "forwarded",
    "dropped",
    "expired",
    "duplicates",
)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Key = tuple[str, int]
"""Source and session."""


@dataclass(frozen=True)
class Receipt:
    """What `Ledger.receive` found, rows in order of the batch."""

    ledger: Ledger
    is_new: Bools
    slot_of_row: Ints

    def forward(self, rows: Ints) -> None:
        """Book these rows as admitted."""
        self.ledger.forward(self.slot_of_row[rows])

    def reject(self, row: int, reason: str) -> None:
        """Book one row as rejected."""
        self.ledger.reject(int(self.slot_of_row[row]), reason)


class Ledger:
    """All accounts of one zone and run; an account is known by its slot."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.origins: list[str] = []
        self.rejected: dict[int, dict[str, int]] = {}
        """Rejected units by reason, of the slots that have any."""
        self._slot_of: dict[Key, int] = {}
        self._counts = {name: np.zeros(_FIRST_CAPACITY, np.int64) for name in _COUNTS}
        self._changed = np.zeros(_FIRST_CAPACITY, np.bool_)
        self._gappy: dict[int, SeqSet] = {}
        self._turn = 0  # where the next take begins, so that no account waits for ever

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, name: str) -> Ints:
        """One count of all accounts (n_accounts,)."""
        return self._counts[name][: len(self.keys)]

    # --- what an account says

    @property
    def is_sequenced(self) -> Bools:
        """Which senders number their records, or state their count (n_accounts,)."""
        return (self["seen"] > 0) | (self["sent_count"] > 0)

    @property
    def numbered(self) -> Ints:
        """Records each sender has numbered, as far as is known (n_accounts,)."""
        return np.maximum(self["sent_count"], self["end"])

    @property
    def sent(self) -> Ints:
        """Everything each sender said (n_accounts,)."""
        return self.numbered + self["unnumbered"]

    @property
    def received(self) -> Ints:
        """Distinct units that came (n_accounts,)."""
        return self["seen"] + self["unnumbered"]

    @property
    def missing(self) -> Ints:
        """Numbers that never came (n_accounts,)."""
        return self.numbered - self["seen"]

    def gaps(self, slot: int, limit: int = 20) -> list[tuple[int, int]]:
        """The first missing ranges [from, to] of an account."""
        return self._seqs(slot).gaps(int(self.numbered[slot]), limit)

    def totals(self) -> Mapping[str, int]:
        """The terms of the sum over all accounts, and `duplicates` beside it."""
        return {
            "sent": int(self.sent.sum()),
            "received": int(self.received.sum()),
            "forwarded": int(self["forwarded"].sum()),
            "rejected": sum(sum(reasons.values()) for reasons in self.rejected.values()),
            "dropped": int(self["dropped"].sum()),
            "expired": int(self["expired"].sum()),
            "missing": int(self.missing.sum()),
            "duplicates": int(self["duplicates"].sum()),
        }

    # --- what happens to one account

    def slot(self, source_id: str, session: int, origin: str, now_ns: int) -> int:
        """The account of a sender's session, opened if new."""
        found = self._slot_of.get((source_id, session))
        return self._open((source_id, session), origin, now_ns) if found is None else found

    def _open(self, key: Key, origin: str, now_ns: int) -> int:
        slot = self._slot_of[key] = len(self.keys)
        self.keys.append(key)
        self.origins.append(origin)
        if slot == len(self._changed):
            self._changed = np.append(self._changed, np.zeros_like(self._changed))
            self._counts = {n: np.append(a, np.zeros_like(a)) for n, a in self._counts.items()}
        self._counts["version"][slot] = now_ns
        self._changed[slot] = True
        return slot

    def _touch(self, slots: Any) -> None:
        self._counts["version"][slots] += 1
        self._changed[slots] = True

    def receive_one(self, slot: int, seq: int) -> bool:
        """One unit came; a number beyond belief is not believed, the unit counted without it."""
        if seq > self.numbered[slot] + MAX_SEQ_STEP:
            seq = ABSENT_I64
        return self.receive_numbers(slot, [seq])[0]

    def receive_numbers(self, slot: int, seqs: Sequence[int]) -> list[bool]:
        """Units with these numbers (`ABSENT_I64`: none) came; False for a repeated number."""
        self._touch(slot)
        seen = self._seqs(slot)
        if ABSENT_I64 not in seqs:
            is_new = seen.add_all(seqs)
        else:
            is_new = [seq == ABSENT_I64 or seen.add(seq) for seq in seqs]
            self._counts["unnumbered"][slot] += seqs.count(ABSENT_I64)
        self._counts["duplicates"][slot] += is_new.count(False)
        self._counts["end"][slot], self._counts["seen"][slot] = seen.end, seen.count
        if seen.end == seen.count:
            self._gappy.pop(slot, None)
        else:
            self._gappy[slot] = seen
        return is_new

    def _seqs(self, slot: int) -> SeqSet:
        return self._gappy.get(slot) or SeqSet.first(int(self._counts["end"][slot]))

    def reject(self, slot: int, reason: str, n_records: int = 1) -> None:
        """Received units were not taken."""
        self._touch(slot)
        reasons = self.rejected.setdefault(slot, {})
        reasons[reason] = reasons.get(reason, 0) + n_records

    def refuse(self, slot: int, reason: str) -> None:
        """One forwarded record was refused by the store after all."""
        self._counts["forwarded"][slot] -= 1
        self.reject(slot, reason)

    def give_up(self, slot: int, cause: str, n_records: int) -> None:
        """Forwarded records left the spool unsent; `cause` is "dropped" or "expired"."""
        self._touch(slot)
        self._counts["forwarded"][slot] -= n_records
        self._counts[cause][slot] += n_records

    def state_count(self, slot: int, sent_count: int) -> None:
        """The sender says how many records it has numbered."""
        most = self.numbered[slot] + MAX_SEQ_STEP
        if self._counts["sent_count"][slot] < sent_count <= most:
            self._touch(slot)
            self._counts["sent_count"][slot] = sent_count

    # --- what happens to a batch

    def receive(self, batch: Batch, now_ns: int, wild: Bools | None = None) -> Receipt:
        """Book the rows of a batch as received, each under its sender's session.

        The numbers of `wild` rows (n_rows,) are not believed.
        """
        codes: npt.NDArray[Any] = batch.codes("source_id")
        sessions, seqs = batch.column("session"), batch.column("seq")
        if wild is not None and wild.any():
            seqs = np.where(wild, ABSENT_I64, seqs)
        order = _order(codes, sessions)
        if order is not None:
            codes, sessions, seqs = codes[order], sessions[order], seqs[order]
        starts = _starts(codes, sessions)
        slots = self._slots_of(batch, codes[starts], sessions[starts], now_ns)
        is_new, lengths = self._book(slots, starts, seqs)
        slot_of_row = np.repeat(slots, lengths)
        if order is not None:
            is_new, slot_of_row = _unordered(is_new, order), _unordered(slot_of_row, order)
        return Receipt(self, is_new, slot_of_row)

    def _slots_of(self, batch: Batch, codes: Any, sessions: Ints, now_ns: int) -> Ints:
        words = batch.dictionary("source_id")
        keys = list(zip(map(words.__getitem__, codes.tolist()), sessions.tolist(), strict=True))
        slots = np.fromiter(map(self._slot_of.get, keys, repeat(-1)), np.int64, len(keys))
        for place in np.flatnonzero(slots < 0).tolist():
            slots[place] = self.slot(*keys[place], batch.origin, now_ns)
        return slots

    def _book(self, slots: Ints, starts: Ints, seqs: Ints) -> tuple[Bools, Ints]:
        """Runs of one account each, from rows `starts` (n_runs,): new rows, and run lengths."""
        lengths = np.diff(np.append(starts, len(seqs)))
        first, last = seqs[starts], seqs[starts + lengths - 1]
        steps = np.ones(len(seqs), np.int64)
        steps[1:] = seqs[1:] - seqs[:-1]
        steps[starts] = 1
        is_run = np.logical_and.reduceat(steps == 1, starts)
        is_plain = is_run & (first == self._counts["end"][slots]) & self._is_once(slots)
        if self._gappy:
            is_plain &= ~np.isin(slots, np.fromiter(self._gappy, np.int64))
        plain = slots[is_plain]
        self._touch(plain)
        self._counts["end"][plain] = last[is_plain] + 1
        self._counts["seen"][plain] += lengths[is_plain]
        is_new = np.ones(len(seqs), np.bool_)
        for run in np.flatnonzero(~is_plain).tolist():
            rows = slice(int(starts[run]), int(starts[run] + lengths[run]))
            is_new[rows] = self.receive_numbers(int(slots[run]), seqs[rows].tolist())
        return is_new, lengths

    def _is_once(self, slots: Ints) -> Bools:
        """Runs whose account has no other run here: only they may be booked side by side."""
        counts = np.bincount(slots, minlength=len(self.keys))
        once: Bools = counts[slots] == 1
        return once

    def forward(self, slots: Ints) -> None:
        """One unit of each of these slots (n,), which may repeat, was admitted."""
        counts = np.bincount(slots, minlength=len(self.keys))
        touched = np.flatnonzero(counts)
        self._counts["forwarded"][touched] += counts[touched]
        self._touch(touched)

    def wild_numbers(self, batch: Batch) -> Bools:
        """Rows (n_rows,) whose number is so far above their session's others that it is a fault."""
        seqs = batch.column("seq")
        wild = np.zeros(len(seqs), np.bool_)
        suspects = np.flatnonzero(seqs > MAX_SEQ_STEP)
        if not suspects.size:
            return wild
        codes, words = batch.codes("source_id"), batch.dictionary("source_id")
        sessions = batch.column("session")
        for row in suspects.tolist():
            slot = self._slot_of.get((words[codes[row]], int(sessions[row])))
            known = 0 if slot is None else int(self.numbered[slot])
            wild[row] = seqs[row] > known + MAX_SEQ_STEP
        return wild

    # --- telling

    def take_changed(self, limit: int) -> Ints:
        """Slots of at most `limit` accounts that changed since they were last taken."""
        changed = np.flatnonzero(self._changed[: len(self.keys)])
        begin = int(np.searchsorted(changed, self._turn))
        taken = np.concatenate([changed[begin:], changed[:begin]])[:limit]
        if taken.size:
            self._turn = int(taken[-1]) + 1
        self._changed[taken] = False
        return taken

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to take."""
        return bool(self._changed.any())

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "sources": [source_id for source_id, _ in self.keys],
            "sessions": np.array([session for _, session in self.keys], np.int64),
            "origins": list(self.origins),
            "rejected": {str(slot): dict(reasons) for slot, reasons in self.rejected.items()},
            "gappy": {str(slot): seqs.snapshot() for slot, seqs in self._gappy.items()},
            "counts": {name: self[name].copy() for name in _COUNTS},
        }

    @classmethod
    def restore(cls, tree: Mapping[str, Any]) -> Ledger:
        """What `snapshot` wrote; every row counts as changed, so that it is posted once more."""
        ledger = cls()
        keys: Iterable[Key] = zip(tree["sources"], tree["sessions"].tolist(), strict=True)
        for key, origin in zip(keys, tree["origins"], strict=True):
            ledger._open(key, origin, 0)
        for name in _COUNTS:
            ledger[name][:] = tree["counts"][name]
        ledger.rejected = {int(slot): dict(of) for slot, of in tree["rejected"].items()}
        ledger._gappy = {int(slot): SeqSet.restore(of) for slot, of in tree["gappy"].items()}
        return ledger


def _starts(codes: npt.NDArray[Any], sessions: Ints) -> Ints:
    """Rows at which a new (source, session) begins."""
    is_start = np.ones(len(codes), np.bool_)
    is_start[1:] = (codes[1:] != codes[:-1]) | (sessions[1:] != sessions[:-1])
    return np.flatnonzero(is_start)


def _order(codes: npt.NDArray[Any], sessions: Ints) -> Ints | None:
    """An order that brings each account's rows together; None where they stand well already.

    Batches of roadside units do; single records of many senders do not.
    """
    n_starts = np.count_nonzero(codes[1:] != codes[:-1]) + np.count_nonzero(
        sessions[1:] != sessions[:-1]
    )
    return None if n_starts * 8 < len(codes) else np.lexsort((sessions, codes))


def _unordered(values: npt.NDArray[Any], order: Ints) -> npt.NDArray[Any]:
    """Values that stand in `order` back at their own rows."""
    placed = np.empty_like(values)
    placed[order] = values
    return placed
