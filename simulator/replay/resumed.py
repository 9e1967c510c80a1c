"""Numbers of records after a jump in a recording: what was skipped was not lost.

A sender's first record after the jump gets the number behind its last one before it; from there on
gaps stay gaps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from openvrc.contracts.units import ABSENT_I64

Sender = tuple[str, str]
"""Kind and id."""


class Renumbering:
    """Per sender and session: how much numbers moved, and the next one."""

    def __init__(self) -> None:
        self._jumps = 0
        self._known: dict[tuple[Sender, int], tuple[int, int, int]] = {}
        """(jumps seen, offset, next number)"""

    def jump(self) -> None:
        """Records have been skipped."""
        self._jumps += 1

    def of_records(self, sender: Sender, session: int, seq: npt.NDArray[np.int64]) -> int:
        """What to take from the numbers (n,) of one sender's records."""
        newest = int(seq.max())
        if newest == ABSENT_I64:
            return 0
        jumps, offset, following = self._known.get((sender, session), (0, 0, 0))
        if jumps != self._jumps:
            offset = int(seq[seq != ABSENT_I64].min()) - following
        self._known[sender, session] = (
            self._jumps, offset, max(following, newest - offset + 1),
        )  # fmt: skip
        return offset

    def of_count(self, sender: Sender, session: int) -> int | None:
        """What to take from a sender's own count; None if no record of it came since a jump."""
        jumps, offset, _ = self._known.get((sender, session), (0, 0, 0))
        return offset if jumps == self._jumps else None
