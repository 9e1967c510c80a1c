"""What the accounts of a faulty run must come to: told by what left the last fault.

Per sender and session, as the edge books it: a number that came is received once, again it is a
duplicate; a number that never came is missing, up to the highest one known; a record without a
number is received, so that nobody can miss it; a payload nobody can read is one unit without a
number; a record that no contract takes is rejected by its number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.world import Frame, Outgoing, TruthEvent

RULE = "fault.accounting"
MAX_SEQ_STEP = 10_000_000
"""As at the edge: a number this far above all before is a fault of the sender and not believed."""
_BLOCK_BITS = 9
_BLOCK = 1 << _BLOCK_BITS
Key = tuple[str, str, int]
"""Kind, source and session."""
Ints = NDArray[np.int64]


@dataclass
class Outcome:
    """One sender's session."""

    told: int = 0
    """Its own count."""
    end: int = 0
    """The highest number that came plus one."""
    seen: int = 0
    """Distinct numbers that came."""
    unnumbered: int = 0
    """Records without a number, or with one beyond belief."""
    duplicates: int = 0
    unfit: int = 0
    """Records that are rejected one by one."""
    unreadable: int = 0
    """Payloads that are rejected whole."""
    _blocks: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    """Which numbers came, 512 a block: a sender whose numbers leap costs no more than its words."""

    @property
    def numbered(self) -> int:
        """Records it has numbered, as far as anybody can know."""
        return max(self.told, self.end)

    @property
    def sent(self) -> int:
        """Everything it said."""
        return self.numbered + self.unnumbered

    @property
    def missing(self) -> int:
        """Numbers that never came."""
        return self.numbered - self.seen

    def tell(self, count: int) -> None:
        """It says how many records it has numbered."""
        if count <= self.numbered + MAX_SEQ_STEP:
            self.told = max(self.told, count)

    def receive(self, seqs: Ints, *, is_unfit: bool) -> None:
        """Records with these numbers (n,) came, `ABSENT_I64` where there is none."""
        most = self.numbered + MAX_SEQ_STEP
        if int(seqs.min()) < 0 or int(seqs.max()) > most:
            believed = seqs[(seqs >= 0) & (seqs <= most)]
        else:
            believed = seqs
        n_others = len(seqs) - len(believed)
        n_new = self._mark(believed) if len(believed) else 0
        self.unnumbered += n_others
        self.seen += n_new
        self.duplicates += len(believed) - n_new
        self.unfit += n_new + n_others if is_unfit else 0

    def _mark(self, seqs: Ints) -> int:
        """How many of these are new."""
        self.end = max(self.end, int(seqs.max()) + 1)
        blocks = seqs >> _BLOCK_BITS
        n_new = 0
        for block in np.unique(blocks).tolist():
            marks = self._blocks.setdefault(block, np.zeros(_BLOCK, np.bool_))
            before = np.count_nonzero(marks)
            marks[seqs[blocks == block] & (_BLOCK - 1)] = True
            n_new += int(np.count_nonzero(marks) - before)
        return n_new


class Outcomes:
    """All senders of a run."""

    def __init__(self) -> None:
        self.of: dict[Key, Outcome] = {}

    def note(self, frame: Frame) -> None:
        """Take in a frame as it leaves."""
        for outgoing in frame.messages:
            self._note(outgoing)

    def _note(self, outgoing: Outgoing) -> None:
        start, end = outgoing.bounds
        session = int(outgoing.whole.column("session")[start])
        key = (outgoing.kind, outgoing.source_id, session)
        outcome = self.of.get(key)
        if outcome is None:
            outcome = self.of[key] = Outcome()
        if outgoing.damage is not None and not outgoing.damage.is_readable:
            outcome.unreadable += 1
        elif outgoing.message == "source_status":
            count = int(outgoing.whole.column("sent_count")[start:end].max())
            outcome.tell(count)
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
