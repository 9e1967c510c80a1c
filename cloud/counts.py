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


class CountsSinceCheckpoint:
    """Written by the worker, read by requests: guarded by a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[CountKey, tuple[int, int, int]] = {}
        self._position = 0

    def add(self, counts: Counts) -> None:
        """Add what one body brought."""
        with self._lock:
            for key, (stored, repeated, refused) in counts.items():
                known = self._counts.get(key)
                if known is not None:
                    stored, repeated, refused = (  # noqa: PLW2901 (the sums are the new entry)
                        stored + known[0],
                        repeated + known[1],
                        refused + known[2],
                    )
                self._counts[key] = (stored, repeated, refused)

    def read(self) -> tuple[int, dict[CountKey, tuple[int, int, int]]]:
        """The checkpoint's position these counts stand on, and the counts as of now."""
        with self._lock:
            return self._position, dict(self._counts)  # entries are never changed in place

    def restart(self, position: int) -> None:
        """They are in the table now, as of this position."""
        with self._lock:
            self._counts, self._position = {}, position


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
