"""What share of vehicles reports, learned where somebody counts all of them, or from queues.

A loop counts every vehicle that crosses it; connected vehicles drive so many passes of the same
segment in the same time. The share of the two sums, faded over a quarter of an hour, is the
penetration. Loops say how many vehicles crossed one point and passes how many crossed all, which
agree where nobody starts or parks in between; a segment counts once all of its lanes are counted.
Without loops, queues tell: between the stop line and the last vehicle that reports every place is
taken, seen or not (Zhao et al., arXiv 1810.09237).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MEMORY_S = 900.0
MIN_COUNTED = 40.0
"""Vehicles counted before the share is believed: its error is then below a sixth at any share."""
EVERYBODY = 0.9
"""A share above this counts as all: counts and passes differ by a few per cent even then."""

FILLED_PLACES = 0.8
"""Of a queue's places at full penetration (measured .79): long vehicles, wrongly matched lanes."""


@dataclass
class Penetration:
    """A running estimate for one zone and run."""

    counted: float = 0.0
    passed: float = 0.0

    @property
    def share(self) -> float | None:
        """Share of vehicles that report, above 0 to 1; None before enough was counted."""
        if self.counted < MIN_COUNTED:
            return None
        # Half a vehicle that reports stands for "none so far": the share is small, not nothing.
        share = (self.passed + 0.5) / (self.counted + 0.5)
        return 1.0 if share >= EVERYBODY else share

    def learn(self, counted: float, passed: float) -> None:
        """So many vehicles were counted where connected ones drove so many passes."""
        self.counted += counted
        self.passed += passed

    def fade(self, elapsed_s: float) -> None:
        """Let what was learned lose weight with event time."""
        keep = float(np.exp(-elapsed_s / MEMORY_S))
        self.counted *= keep
        self.passed *= keep

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"counted": self.counted, "passed": self.passed}

    @classmethod
    def restore(cls, facts: Mapping[str, Any]) -> Penetration:
        """What `snapshot` wrote."""
        return cls(facts["counted"], facts["passed"])


def of_queues(seen: float, places: float) -> float | None:
    """Share of those ahead of the last one in queues that report; None before enough places."""
    if places < MIN_COUNTED:
        return None
    share = (seen + 0.5) / (places + 0.5) / FILLED_PLACES
    return 1.0 if share >= EVERYBODY else share
