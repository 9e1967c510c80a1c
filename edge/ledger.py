"""The edge's accounts: per zone, run, source and session, what was sent and what became of it.

At any moment, for every account:

    sent = forwarded + rejected + dropped + expired + thinned + missing

`sent` is what the sender numbered (its highest number, or its own count if that is higher) plus
units without a number (payloads nobody could read, records of senders that do not number).
`missing` are numbers never received. Duplicates stand beside the sum. A row's `version` starts at
the wall time (ns) of its first unit and rises with every change, so a row made anew after its run
was freed still supersedes the old one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.seq_set import SeqSet
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.units import ABSENT_I64

MAX_SEQ_STEP = 10_000_000
"""A number this far above all before is a fault of the sender (10 Hz for eleven days lost), and
believing it would declare millions of records missing: the record is rejected."""

NO_SESSION = ABSENT_I64


@dataclass(slots=True)
class Account:
    """One sender's session. Change it through its methods only: they keep the sum and version."""

    version: int
    origin: str
    sent_count: int = 0
    seen: SeqSet = field(default_factory=SeqSet)
    unnumbered: int = 0
    forwarded: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    is_changed: bool = True

    @property
    def is_sequenced(self) -> bool:
        """Whether the sender numbers its records, or states its count."""
        return self.seen.count > 0 or self.sent_count > 0

    @property
    def numbered(self) -> int:
        """Records the sender has numbered, as far as is known."""
        return max(self.sent_count, self.seen.end)

    @property
    def sent(self) -> int:
        """Everything the sender said."""
        return self.numbered + self.unnumbered

    @property
    def received(self) -> int:
        """Distinct units that came."""
        return self.seen.count + self.unnumbered

    @property
    def missing(self) -> int:
        """Numbers that never came."""
        return self.numbered - self.seen.count

    def touch(self) -> None:
        """Note a change."""
        self.version += 1
        self.is_changed = True

    def receive(self, seqs: list[int]) -> list[bool]:
        """Units with these numbers (`ABSENT_I64`: none) came; False for a repeated number."""
        self.touch()
        if ABSENT_I64 not in seqs:
            is_new = self.seen.add_all(seqs)
        else:
            is_new = [seq == ABSENT_I64 or self.seen.add(seq) for seq in seqs]
            self.unnumbered += seqs.count(ABSENT_I64)
        self.duplicates += is_new.count(False)
        return is_new

    def receive_one(self, seq: int) -> bool:
        """One unit came; a number beyond belief is not believed, the unit counted without it."""
        if seq > self.numbered + MAX_SEQ_STEP:
            seq = ABSENT_I64
        return self.receive([seq])[0]

    def forward(self, n_records: int) -> None:
        """Received units were admitted."""
        self.touch()
        self.forwarded += n_records

    def reject(self, reason: str, n_records: int = 1) -> None:
        """Received units were not taken."""
        self.touch()
        self.rejected[reason] = self.rejected.get(reason, 0) + n_records

    def refuse(self, reason: str) -> None:
        """One forwarded record was refused by the store after all."""
        self.forwarded -= 1
        self.reject(reason)

    def state_count(self, sent_count: int) -> None:
        """The sender says how many records it has numbered."""
        if self.sent_count < sent_count <= self.numbered + MAX_SEQ_STEP:
            self.touch()
            self.sent_count = sent_count


@dataclass(frozen=True)
class Receipt:
    """What `Ledger.receive` found, rows in order of the batch."""

    is_new: npt.NDArray[np.bool_]
    account_of_row: npt.NDArray[np.int64]  # index into accounts
    accounts: list[Account]

    def forward(self, rows: npt.NDArray[np.int64]) -> None:
        """Book these rows as admitted."""
        counts = np.bincount(self.account_of_row[rows], minlength=len(self.accounts))
        for account, count in zip(self.accounts, counts.tolist(), strict=True):
            if count:
                account.forward(count)

    def reject(self, row: int, reason: str) -> None:
        """Book one row as rejected."""
        self.accounts[self.account_of_row[row]].reject(reason)


class Ledger:
    """All accounts of one zone and run."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, int], Account] = {}
        self._turn = 0  # where the next take begins, so that no account waits for ever

    def account(self, source_id: str, session: int, origin: str, now_ns: int) -> Account:
        """The account of a sender's session, opened if new."""
        key = (source_id, session)
        found = self.accounts.get(key)
        if found is None:
            found = self.accounts[key] = Account(now_ns, origin)
        return found

    def receive(
        self, batch: Batch, now_ns: int, wild: npt.NDArray[np.bool_] | None = None
    ) -> Receipt:
        """Book the rows of a batch as received, each under its sender's session.

        The numbers of `wild` rows (n,) are not believed.
        """
        codes, sessions = batch.codes("source_id"), batch.column("session")
        words, seqs = batch.dictionary("source_id"), batch.column("seq")
        if wild is not None and wild.any():
            seqs = np.where(wild, ABSENT_I64, seqs)
        order = np.lexsort((sessions, codes))
        code, session = codes[order], sessions[order]
        starts = np.ones(len(order), np.bool_)
        starts[1:] = (code[1:] != code[:-1]) | (session[1:] != session[:-1])
        places = np.flatnonzero(starts)
        ends = [*places[1:].tolist(), len(order)]
        sorted_seqs = seqs[order].tolist()
        accounts, is_new_sorted = [], []
        for low, high in zip(places.tolist(), ends, strict=True):
            source_id = words[code[low]]
            account = self.account(source_id, int(session[low]), batch.origin, now_ns)
            accounts.append(account)
            is_new_sorted += account.receive(sorted_seqs[low:high])
        is_new = np.empty(len(order), np.bool_)
        is_new[order] = is_new_sorted
        account_of_row = np.empty(len(order), np.int64)
        account_of_row[order] = np.cumsum(starts) - 1
        return Receipt(is_new, account_of_row, accounts)

    def wild_numbers(self, batch: Batch) -> npt.NDArray[np.bool_]:
        """Rows (n,) whose number lies so far above their session's others that it is a fault."""
        seqs = batch.column("seq")
        wild = np.zeros(len(seqs), np.bool_)
        suspects = np.flatnonzero(seqs > MAX_SEQ_STEP)
        codes, words = batch.codes("source_id"), batch.dictionary("source_id")
        sessions = batch.column("session")
        for row in suspects.tolist():
            account = self.accounts.get((words[codes[row]], int(sessions[row])))
            known = account.numbered if account else 0
            wild[row] = seqs[row] > known + MAX_SEQ_STEP
        return wild

    def take_changed(self, limit: int) -> list[tuple[str, int, Account]]:
        """At most `limit` accounts that changed since they were last taken."""
        taken: list[tuple[str, int, Account]] = []
        keys = list(self.accounts)
        start = self._turn % max(len(keys), 1)
        for key in [*keys[start:], *keys[:start]]:
            if len(taken) >= limit:
                break
            self._turn += 1
            account = self.accounts[key]
            if account.is_changed:
                account.is_changed = False
                taken.append((*key, account))
        return taken

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to take."""
        return any(account.is_changed for account in self.accounts.values())

    def snapshot(self) -> list[Any]:
        """Plain lists for a checkpoint."""
        return [
            [
                source_id,
                session,
                a.version,
                a.origin,
                a.sent_count,
                a.seen.snapshot(),
                a.unnumbered,
                a.forwarded,
                a.rejected,
                a.duplicates,
            ]
            for (source_id, session), a in self.accounts.items()
        ]

    @classmethod
    def restore(cls, rows: Iterable[list[Any]]) -> Ledger:
        """What `snapshot` wrote; every row counts as changed, so that it is posted once more."""
        ledger = cls()
        for source_id, session, version, origin, sent_count, seen, *counts in rows:
            unnumbered, forwarded, rejected, duplicates = counts
            ledger.accounts[source_id, session] = Account(
                version,
                origin,
                sent_count,
                SeqSet.restore(seen),
                unnumbered,
                forwarded,
                dict(rejected),
                duplicates,
            )
        return ledger


def totals(accounts: Iterable[Account]) -> Mapping[str, int]:
    """The terms of the sum over several accounts, and `duplicates` beside it."""
    books = list(accounts)
    return {
        "sent": sum(a.sent for a in books),
        "received": sum(a.received for a in books),
        "forwarded": sum(a.forwarded for a in books),
        "rejected": sum(sum(a.rejected.values()) for a in books),
        "missing": sum(a.missing for a in books),
        "duplicates": sum(a.duplicates for a in books),
    }


def ledger_batches(
    zone: str,
    run_id: str,
    rows: list[tuple[str, int, Account]],
    *,
    edge_id: str,
    edge_epoch: int,
    now_ns: int,
) -> list[Batch]:
    """`source_ledger` rows of one zone and run, one Batch per origin."""
    by_origin: dict[str, list[tuple[str, int, Account]]] = {}
    for row in rows:
        by_origin.setdefault(row[2].origin, []).append(row)
    shared = {
        "edge_id": edge_id,
        "edge_epoch": edge_epoch,
        "sampled_at_ns": now_ns,
        "edge_received_at_ns": now_ns,
        "lateness": 0,
        "dropped": 0,
        "expired": 0,
        "thinned": 0,
        "id_kind": "permanent",
    }
    return [
        from_columns(
            "source_ledger",
            zone=zone,
            run_id=run_id,
            origin=origin,
            columns=shared | _columns(members),
            n_rows=len(members),
        )
        for origin, members in by_origin.items()
    ]


def _columns(rows: list[tuple[str, int, Account]]) -> dict[str, Any]:
    accounts = [account for _, _, account in rows]
    sources = [source_id for source_id, _, _ in rows]
    return {
        "source_id": sources,
        "subject_id": sources,
        "session": np.array([session for _, session, _ in rows], np.int64),
        "version": [a.version for a in accounts],
        "is_sequenced": [a.is_sequenced for a in accounts],
        "sent": [a.sent for a in accounts],
        "received": [a.received for a in accounts],
        "forwarded": [a.forwarded for a in accounts],
        "rejected": [json.dumps(a.rejected, separators=(",", ":")) for a in accounts],
        "missing": [a.missing for a in accounts],
        "duplicates": [a.duplicates for a in accounts],
        "gaps": [json.dumps(a.seen.gaps(a.numbered), separators=(",", ":")) for a in accounts],
    }
