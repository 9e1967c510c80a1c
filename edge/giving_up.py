"""What the spool gives up unsent, when it was told that it may: the oldest, or what is too old.

Nothing is given up by default: a full spool stops acknowledging. With `drop_oldest` a full spool
drops its oldest entries ("dropped"); with a greatest age, entries beyond it go ("expired"). Every
record given up is counted against its sender. What was on its way to the cloud is never given up,
for it may have arrived; announcements of runs are kept, for without them a run has no map.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Protocol

from openvrc.contracts.batch import Batch
from openvrc.contracts.messages import MESSAGES

DROPPED, EXPIRED = "dropped", "expired"
ROOM_RATIO = 0.1
"""Share of a full spool that is dropped at once, so that it is not full again with the next."""
MOST_AT_ONCE = 1000
"""Entries looked at in one turn; a day's worth of them goes in several."""


@dataclass(frozen=True)
class Loss:
    """Records of one sender's session that were given up."""

    zone: str
    run_id: str
    origin: str
    source_id: str
    session: int
    n_records: int


class Waiting(Protocol):
    """An entry of the spool, without its blob."""

    @property
    def counter(self) -> int:
        """Its number."""
        ...

    @property
    def n_bytes(self) -> int:
        """Length of its blob."""
        ...

    @property
    def created_ns(self) -> int:
        """When it was written."""
        ...


@dataclass(frozen=True)
class Policy:
    """What may be given up."""

    drops_oldest: bool = False
    max_age_ns: int = 0
    """0: nothing is too old."""

    @property
    def is_none(self) -> bool:
        """Whether nothing ever goes."""
        return not self.drops_oldest and not self.max_age_ns

    def too_old(self, waiting: Iterable[Waiting], now_ns: int) -> list[int]:
        """Counters of the entries beyond the age."""
        limit_ns = now_ns - self.max_age_ns if self.max_age_ns else 0
        return [entry.counter for entry in waiting if entry.created_ns < limit_ns]

    def too_many(self, waiting: Iterable[Waiting], n_bytes: int, max_bytes: int) -> list[int]:
        """Counters of the oldest entries that a full spool drops."""
        excess = n_bytes - (1.0 - ROOM_RATIO) * max_bytes
        if not self.drops_oldest or n_bytes < max_bytes:
            return []
        counters = []
        for entry in waiting:
            if excess <= 0:
                break
            counters.append(entry.counter)
            excess -= entry.n_bytes
        return counters


def losses(batches: Iterable[Batch]) -> list[Loss]:
    """The numbered records of some batches, by sender."""
    counts: Counter[tuple[str, str, str, str, int]] = Counter()
    for batch in batches:
        if MESSAGES[batch.message].is_numbered:
            where = (batch.zone, batch.run_id, batch.origin)
            senders = zip(batch.texts("source_id"), batch.column("session").tolist(), strict=True)
            counts.update((*where, source_id, session) for source_id, session in senders)
    return [Loss(*who, n_records) for who, n_records in counts.items()]


def announcements(batches: Iterable[Batch]) -> list[Batch]:
    """What is kept of a given-up entry."""
    return [batch for batch in batches if batch.message == "zone_announce"]


def losses_to(lost: Sequence[Loss]) -> bytes:
    """Losses as the journal keeps them."""
    return json.dumps([astuple(loss) for loss in lost]).encode()


def losses_from(payload: bytes) -> list[Loss]:
    """What `losses_to` wrote."""
    return [Loss(*row) for row in json.loads(payload)]
