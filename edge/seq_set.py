"""Which sequence numbers of one session have been seen: merged intervals, bounded in number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

MAX_INTERVALS = 4096
"""A sender with more holes than this is broken; its oldest hole is then written off as missing for
good, so that the memory of one session stays below 100 kB."""


class SeqSet:
    """Intervals [start, end) in order, neither touching nor overlapping.

    >>> seen = SeqSet()
    >>> [seen.add(seq) for seq in (0, 1, 5, 1)]
    [True, True, True, False]
    >>> seen.end, seen.count, seen.gaps(seen.end)
    (6, 3, [(2, 4)])
    """

    __slots__ = ("_ends", "_starts", "count")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.count = 0
        """Distinct numbers added."""

    @classmethod
    def first(cls, end: int) -> SeqSet:
        """The numbers 0 to `end` - 1, all seen."""
        seen = cls()
        if end > 0:
            seen.count, seen._starts, seen._ends = end, [0], [end]
        return seen

    @property
    def end(self) -> int:
        """The highest number seen plus one; 0 when none was."""
        return self._ends[-1] if self._ends else 0

    def add(self, seq: int) -> bool:
        """Add one number; whether it is new."""
        place = bisect_right(self._starts, seq) - 1
        if place >= 0 and seq < self._ends[place]:
            return False
        self.count += 1
        touches_left = place >= 0 and self._ends[place] == seq
        touches_right = place + 1 < len(self._starts) and self._starts[place + 1] == seq + 1
        if touches_left and touches_right:
            self._ends[place] = self._ends.pop(place + 1)
            self._starts.pop(place + 1)
        elif touches_left:
            self._ends[place] = seq + 1
        elif touches_right:
            self._starts[place + 1] = seq
        else:
            self._starts.insert(place + 1, seq)
            self._ends.insert(place + 1, seq + 1)
            self._bound()
        return True

    def add_all(self, seqs: Sequence[int]) -> list[bool]:
        """Add several numbers in order; which of them are new."""
        first, last = seqs[0], seqs[-1]
        is_run = last - first == len(seqs) - 1 and all(
            seq == first + place for place, seq in enumerate(seqs)
        )
        if not is_run or first < self.end:
            return [self.add(seq) for seq in seqs]
        # The ordinary case: the next numbers in order, one step for all of them.
        if self._ends and first == self._ends[-1]:
            self._ends[-1] = last + 1
        else:
            self._starts.append(first)
            self._ends.append(last + 1)
            self._bound()
        self.count += len(seqs)
        return [True] * len(seqs)

    def _bound(self) -> None:
        if len(self._starts) > MAX_INTERVALS:
            self._ends.pop(0)
            self._starts.pop(1)

    def gaps(self, sent: int, limit: int = 20) -> list[tuple[int, int]]:
        """The first missing ranges [from, to] among the numbers 0 to `sent` - 1."""
        before = [0, *self._ends]
        after = [*self._starts, max(sent, self.end)]
        pairs = zip(before, after, strict=True)
        holes = [(low, high - 1) for low, high in pairs if low < high]
        return holes[:limit]

    def snapshot(self) -> list[Any]:
        """Plain lists for a checkpoint."""
        return [self.count, list(self._starts), list(self._ends)]

    @classmethod
    def restore(cls, facts: list[Any]) -> SeqSet:
        """What `snapshot` wrote."""
        seen = cls()
        seen.count, seen._starts, seen._ends = facts[0], list(facts[1]), list(facts[2])
        return seen
