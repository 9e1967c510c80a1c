"""What the spool gives up unsent, when it was told that it may: the oldest, or what is too old.

Nothing is given up by default: a full spool stops acknowledging. With `drop_oldest` a full spool
drops its oldest entries ("dropped"); with a greatest age, entries beyond it go ("expired"). Every
record given up is counted against its sender. What was on its way to the cloud is never given up,
for it may have arrived. Announcements of runs are kept, for without them a run has no map, and so
are findings that end something, for without them the alert that the cloud has stays open for ever:
both as one entry at the place of the last that was given up with them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.columns import column_of
from openvrc.contracts.messages import MESSAGES

DROPPED, EXPIRED = "dropped", "expired"
ROOM_RATIO = 0.1
"""Share of a full spool that is dropped at once, so that it is not full again with the next."""
MOST_AT_ONCE = 1000
"""Entries looked at in one turn; a day's worth of them goes in several."""
MOST_ENDS = 10_000
"""Findings that end something, kept of all that is given up. Beyond, the oldest go: what they end
has most likely begun within what was given up, too."""
_CLEAR = column_of("finding", "phase").values.index("clear")


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


def kept(batches: Sequence[Batch]) -> list[Batch]:
    """What is kept of given-up entries, in order; ends of a run between announcements as one."""
    found = [batch for batch in batches if batch.message in ("zone_announce", "finding")]
    ends = {place: _ends_of(b) for place, b in enumerate(found) if b.message == "finding"}
    n_spare = sum(map(len, ends.values())) - MOST_ENDS
    parts: list[list[Batch]] = []
    of_run: dict[tuple[str, str, str], list[Batch]] = {}
    for place, batch in enumerate(found):
        run = (batch.zone, batch.run_id, batch.origin)
        if batch.message == "zone_announce":
            parts.append([batch])
            of_run.pop(run, None)
            continue
        rows = ends[place][max(n_spare, 0) :]
        n_spare -= len(ends[place])
        if len(rows):
            if run not in of_run:
                of_run[run] = []
                parts.append(of_run[run])
            of_run[run].append(batch.take(rows))
    return [concat(part) for part in parts]


def _ends_of(batch: Batch) -> npt.NDArray[np.int64]:
    return np.flatnonzero(batch.column("phase") == _CLEAR)


def losses_to(lost: Sequence[Loss]) -> bytes:
    """Losses as the journal keeps them."""
    return json.dumps([astuple(loss) for loss in lost]).encode()


def losses_from(payload: bytes) -> list[Loss]:
    """What `losses_to` wrote."""
    return [Loss(*row) for row in json.loads(payload)]
