"""What share of vehicles is connected, learned from how queues look.

In a standing queue the next vehicle ahead is bumper to bumper; it is seen if it is connected, with
probability p. So p is the share of queued vehicles that see their next one (stop positions tell
penetration: Zhao et al., arXiv 1810.09237). Each vehicle is asked once, when it has settled.

What is known of p is a Beta distribution. How likely a queue of n vehicles goes unseen is its
expectation of (1 - p)^n, so that where few queues have been seen yet, little is ruled out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PRIOR_ADJACENT, PRIOR_PAIRS = 2.0, 4.0  # Beta(2, 2): a half, and easily convinced
MEMORY_S = 600.0  # equipment of the traffic changes over the day, not over minutes
SETTLED_S = 5.0  # a pair is looked at once, when the one behind has settled
ADJACENT_M = 6.0  # bumper to bumper is 2.5 m; with one unseen car between, 9.5 m
SECOND_IN_QUEUE_M = 10.0  # more than one place from the stop line
PAIR_REACH_M = 100.0  # further ahead it is another queue


@dataclass
class Penetration:
    """A running estimate for one zone."""

    adjacent: float = 0.0
    pairs: float = 0.0

    @property
    def share(self) -> float:
        """Estimated share of connected vehicles, above 0 and below 1."""
        return (self.adjacent + PRIOR_ADJACENT) / (self.pairs + PRIOR_PAIRS)

    def unseen_queue(self, free_m: FloatArray, spacing_m: float) -> FloatArray:
        """Probability that a queue fills each `free_m` of lane and none in it is connected.

        With p distributed as Beta(a, b) it is B(a, b + n) / B(a, b) for n vehicles.
        """
        a, b = self.adjacent + PRIOR_ADJACENT, self.pairs - self.adjacent + PRIOR_ADJACENT
        known = lgamma(a + b) - lgamma(b)
        vehicles = np.maximum(free_m / spacing_m, 0.0).tolist()  # a handful stand with room ahead
        return np.array([exp(known + lgamma(b + n) - lgamma(a + b + n)) for n in vehicles])

    def forget(self, elapsed_s: float) -> None:
        """Let what was learned fade with event time."""
        keep = float(np.exp(-elapsed_s / MEMORY_S))
        self.pairs *= keep
        self.adjacent *= keep

    def learn(
        self,
        standing_s: FloatArray,
        to_signal_m: FloatArray,
        gap_m: FloatArray,
        has_driven: BoolArray,
    ) -> None:
        """Ask those who have just settled, all (n,): gap to the next vehicle if that stands too.

        A queue at a signal begins at the line, so whoever stands further back has one ahead, seen
        or not; elsewhere (`to_signal_m` inf) only a seen one shows that this is a queue.
        """
        settled = (standing_s >= SETTLED_S) & (standing_s < SETTLED_S + 1.0) & has_driven
        in_queue = (to_signal_m > SECOND_IN_QUEUE_M) & (to_signal_m < PAIR_REACH_M)
        pairs = settled & (in_queue | (gap_m < PAIR_REACH_M))
        self.pairs += int(pairs.sum())
        self.adjacent += int((pairs & (gap_m < ADJACENT_M)).sum())
