"""Signal plans as arrays: what every head shows at a time, and when that ends.

A *head* is one (signal, group); all heads of a signal share its cycle. Codes order by freedom:
red, amber, green that yields (a left turn against oncoming traffic), green.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

RED, AMBER, GREEN_YIELD, GREEN = 0, 1, 2, 3
CODE_OF_LETTER = {
    "r": RED,
    "u": RED,
    "s": RED,
    "y": AMBER,
    "Y": AMBER,
    "g": GREEN_YIELD,
    "G": GREEN,
}
"""SUMO's letters; o and O (signal off) drive by the right of way."""
OFF_LETTERS = "oO"
PHASE_WORDS = ("red", "amber", "green", "green")


class SignalProgram(Protocol):
    """What shows when: a plan, a record, or a controller that listens."""

    def states(self, time_s: float) -> IntArray:
        """Codes (n_heads,) at a time."""
        ...


@runtime_checkable
class Listening(Protocol):
    """A program that goes by who comes."""

    reach_m: float
    """How far before a line somebody is seen."""

    def advance(self, now_s: float, is_called: NDArray[np.bool_]) -> None:
        """Before each step; `is_called` (n_heads,): somebody is near the line of a head."""
        ...


@dataclass(frozen=True)
class SignalPlans:
    """Fixed-time plans of all signals. Phases are padded to the longest plan's number."""

    heads: tuple[tuple[str, int], ...]  # (signal, group)
    head_signal: IntArray  # (n_heads,) row of the plans
    phase_end_s: FloatArray  # (n_signals, n_phases) from the cycle's start; inf where padded
    offset_s: FloatArray  # (n_signals,)
    codes: IntArray  # (n_heads, n_phases)
    names: tuple[str, ...] = ()

    @classmethod
    def none(cls) -> SignalPlans:
        """No signal at all."""
        empty = np.empty(0, np.int64)
        return cls((), empty, np.empty((0, 1)), np.empty(0), np.empty((0, 1), np.int64))

    @classmethod
    def of(
        cls, plans: Mapping[str, tuple[float, Sequence[tuple[float, Sequence[int]]]]]
    ) -> SignalPlans:
        """From {signal: (offset_s, [(duration_s, code of each group), ...])}.

        >>> plans = SignalPlans.of({"j1": (0.0, [(20.0, [GREEN, RED]), (20.0, [RED, GREEN])])})
        >>> plans.states(25.0).tolist()
        [0, 3]
        """
        most = max((len(phases) for _, phases in plans.values()), default=1)
        heads, rows, codes = [], [], []
        ends = np.full((len(plans), most), np.inf)
        for row, (name, (_, phases)) in enumerate(plans.items()):
            ends[row, : len(phases)] = np.cumsum([duration_s for duration_s, _ in phases])
            shown = [list(state) for _, state in phases]
            shown += [shown[-1]] * (most - len(phases))
            for group in range(len(shown[0])):
                heads.append((name, group))
                rows.append(row)
                codes.append([state[group] for state in shown])
        return cls(
            heads=tuple(heads),
            head_signal=np.array(rows, np.int64),
            phase_end_s=ends,
            offset_s=np.array([offset_s for offset_s, _ in plans.values()], np.float64),
            codes=np.array(codes, np.int64).reshape(len(heads), most),
            names=tuple(plans),
        )

    @property
    def cycle_s(self) -> FloatArray:
        """(n_signals,)."""
        ends_s = np.where(np.isfinite(self.phase_end_s), self.phase_end_s, -np.inf)
        return np.asarray(ends_s.max(axis=1))

    def phase(self, time_s: float) -> tuple[IntArray, FloatArray]:
        """Phase and time within the cycle of each signal."""
        into_s = np.mod(time_s - self.offset_s, self.cycle_s)
        return (into_s[:, None] >= self.phase_end_s).sum(axis=1), into_s

    def states(self, time_s: float) -> IntArray:
        """Codes (n_heads,) at a time."""
        if not self.heads:
            return np.empty(0, np.int64)
        phase, _ = self.phase(time_s)
        return self.codes[np.arange(len(self.heads)), phase[self.head_signal]]

    def ends_s(self, time_s: float) -> FloatArray:
        """Times (n_heads,) at which what is shown now gives way to something else.

        inf for a head that never changes.
        """
        if not self.heads:
            return np.empty(0)
        phase, into_s = self.phase(time_s)
        rows, n = self.head_signal, np.arange(len(self.heads))
        at = phase[rows]
        now = self.codes[n, at]
        n_phases = np.isfinite(self.phase_end_s).sum(axis=1)[rows]
        end_s = np.full(len(n), np.inf)
        round_s = np.zeros(len(n))
        for _ in range(self.codes.shape[1]):
            reached_s = round_s + self.phase_end_s[rows, at] - into_s[rows]
            at = at + 1
            wraps = at >= n_phases
            round_s = np.where(wraps, round_s + self.cycle_s[rows], round_s)
            at = np.where(wraps, 0, at)
            differs = (self.codes[n, at] != now) & np.isinf(end_s)
            end_s[differs] = reached_s[differs]
        return time_s + end_s


@dataclass(frozen=True)
class RecordedSignals:
    """What was shown in a recording: codes of all heads from second to second."""

    first_s: float
    codes: IntArray  # (n_seconds, n_heads)

    def states(self, time_s: float) -> IntArray:
        """Codes (n_heads,); before and after the record its first and last."""
        row = int(np.clip(time_s - self.first_s, 0, len(self.codes) - 1))
        return np.asarray(self.codes[row])
