"""What the cloud stored or refused since the checkpoint, by run, zone, source, session, message.

An upsert per sender inside each transaction would double the database's work when every vehicle
sends for itself. So the counts since the checkpoint stay here, are added to the table `counter` in
the checkpoint's own transaction, and are folded again from the log after a crash: table plus this
is exact at every moment.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from cloud.store.identities import Identities
from cloud.store.writer import CountKey, Counts, count_by_sender
from openvrc.contracts.batch import Batch
from openvrc.contracts.messages import MESSAGES

Outcome = list[list[Any]]
"""[run, zone, source, session, message, repeated, refused] of what was not stored (JSON)."""


Sums = dict[CountKey, tuple[int, int, int]]
"""As `Counts`; entries are never changed in place, so that a copy is cheap."""


class CountsSinceCheckpoint:
    """Written by the worker, read by requests, settled by who writes checkpoints: under a lock.

    While a checkpoint is being written, what it covers stands apart from what comes meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Sums = {}
        self._frozen: Sums = {}
        self._position = 0

    def add(self, counts: Counts) -> None:
        """Add what one body brought."""
        with self._lock:
            _add(self._counts, counts)

    def read(self) -> tuple[int, Sums]:
        """The checkpoint's position these counts stand on, and the counts as of now."""
        with self._lock:
            found = dict(self._counts)
            _add(found, self._frozen)
            return self._position, found

    def freeze(self) -> Sums:
        """What a checkpoint of this moment adds to the table; `settle` or `thaw` must follow."""
        with self._lock:
            _add(self._frozen, self._counts)
            self._counts = {}
            return dict(self._frozen)

    def settle(self, position: int) -> None:
        """What was frozen is in the table now, as of this position."""
        with self._lock:
            self._frozen, self._position = {}, position

    def thaw(self) -> None:
        """What was frozen did not get into the table."""
        with self._lock:
            _add(self._counts, self._frozen)
            self._frozen = {}

    def restart(self, position: int) -> None:
        """Begin anew on what the table holds as of this position."""
        with self._lock:
            self._counts, self._frozen, self._position = {}, {}, position


def _add(to: Sums, counts: Mapping[CountKey, Sequence[int]]) -> None:
    for key, (stored, repeated, refused) in counts.items():
        known = to.get(key, (0, 0, 0))
        to[key] = (stored + known[0], repeated + known[1], refused + known[2])


def outcome_of(counts: Counts) -> Outcome:
    """What cannot be told from the batches alone, for the log."""
    return [[*key, *entry[1:]] for key, entry in counts.items() if entry[1] or entry[2]]


def counts_of(batches: Sequence[Batch], outcome: Outcome, identities: Identities) -> Counts:
    """The counts of a logged body: its rows less what was not stored."""
    counts: Counts = {}
    for batch in batches:
        message = MESSAGES[batch.message]
        if batch.n_rows and message.is_stored and message.is_numbered:
            where = (identities.run(batch), identities.key("zone", batch.zone))
            sources = identities.column("source", batch, "source_id")
            sessions = batch.column("session")
            count_by_sender(counts, where, batch.message, sources, sessions, 0)
    for run, zone, source, session, message_name, repeated, refused in outcome:
        entry = counts[run, zone, source, session, message_name]
        entry[0] -= repeated + refused
        entry[1], entry[2] = repeated, refused
    return counts


def as_columns(counts: Mapping[CountKey, Sequence[int]]) -> dict[str, list[Any]]:
    """The counts as the arrays of the statement `add_counts`."""
    names = ("run", "zone", "source", "session", "message", "stored", "repeated", "refused")
    rows = [(*key, *entry) for key, entry in counts.items()]
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
