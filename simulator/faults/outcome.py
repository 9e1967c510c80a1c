"""What the accounts of a faulty run must come to: told by what left the last fault.

Per sender and session, as the edge books it: a number that came is received once, again it is a
duplicate; a number that never came is missing; a payload nobody can read is one unit without a
number; a record that no contract takes is rejected by its number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.world import Frame, Outgoing, TruthEvent

RULE = "fault.accounting"
Key = tuple[str, str, int]
"""Kind, source and session."""


@dataclass
class Outcome:
    """One sender's session."""

    sent: int = 0
    """Its own count."""
    duplicates: int = 0
    unfit: int = 0
    """Records that are rejected one by one."""
    unreadable: int = 0
    """Payloads that are rejected whole."""
    first_ns: int = 0
    _seen: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(64, np.bool_))

    def receive(self, seqs: NDArray[np.int64], *, is_unfit: bool) -> None:
        """Records with these numbers came."""
        most = int(seqs.max()) + 1
        if most > len(self._seen):
            more = np.zeros(max(most, 2 * len(self._seen)) - len(self._seen), np.bool_)
            self._seen = np.concatenate([self._seen, more])
        new = int(np.count_nonzero(~self._seen[seqs]))
        self._seen[seqs] = True
        self.duplicates += len(seqs) - new
        self.unfit += new if is_unfit else 0

    @property
    def missing(self) -> int:
        """Numbers that never came."""
        return self.sent - int(np.count_nonzero(self._seen[: self.sent]))


class Outcomes:
    """All senders of a run."""

    def __init__(self) -> None:
        self.of: dict[Key, Outcome] = {}

    def note(self, frame: Frame) -> None:
        """Take in a frame as it leaves."""
        for outgoing in frame.messages:
            self._note(outgoing, frame.zone_time_ns)

    def _note(self, outgoing: Outgoing, now_ns: int) -> None:
        start, end = outgoing.bounds
        session = int(outgoing.whole.column("session")[start])
        key = (outgoing.kind, outgoing.source_id, session)
        outcome = self.of.get(key)
        if outcome is None:
            outcome = self.of[key] = Outcome(first_ns=now_ns)
        if outgoing.damage is not None and not outgoing.damage.is_readable:
            outcome.unreadable += 1
        elif outgoing.message == "source_status":
            count = int(outgoing.whole.column("sent_count")[start:end].max())
            outcome.sent = max(outcome.sent, count)
        else:
            seqs = outgoing.whole.column("seq")[start:end]
            outcome.receive(seqs, is_unfit=outgoing.damage is not None)

    def totals(self) -> dict[str, int]:
        """Over all senders; `unreadable` stands beside `sent`.

        What nobody can read names no run: an edge books it as a unit of the zone's live one.
        """
        each = self.of.values()
        return {
            "sent": sum(one.sent for one in each),
            "missing": sum(one.missing for one in each),
            "duplicates": sum(one.duplicates for one in each),
            "unfit": sum(one.unfit for one in each),
            "unreadable": sum(one.unreadable for one in each),
        }

    def truth(self, zone: str, start_ns: int) -> list[TruthEvent]:
        """One event with the totals."""
        if not self.of:
            return []
        return [TruthEvent(rule=RULE, subject_id=zone, from_ns=start_ns, detail=self.totals())]
