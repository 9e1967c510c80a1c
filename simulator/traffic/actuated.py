"""Signals that listen: a green ends when nobody comes any more, or has lasted as long as it may.

Stage order, ambers and clearances are those of the fixed-time plans. A green stage lasts at least
`MIN_GREEN_S`; after that it ends once its approaches have been empty for `PASSAGE_S` (gap-out), and
at the latest after `MOST_RATIO` of its planned green (max-out). Every stage comes in turn. Terms
and usual values: FHWA Traffic Signal Timing Manual (2008), chapter 5.

What is told of an end is what such a controller knows: earliest and latest by its timers, likely
by how long the stage has lasted of late.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.signals import AMBER, GREEN_YIELD, SignalPlans

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MIN_GREEN_S = 6.0
PASSAGE_S = 3.0
MOST_RATIO = 1.6
DETECT_M = 35.0
"""Detectors reach this far back from the line."""
MEMORY_RATIO = 0.3
"""Weight of the newest green in what is likely."""


@dataclass
class ActuatedSignals:
    """A program for all signals of fixed-time plans; `advance` before each step."""

    plans: SignalPlans
    reach_m: float = DETECT_M
    n_gap_outs: int = 0
    n_max_outs: int = 0
    _phase: IntArray = field(init=False)  # (n_signals,)
    _since_s: FloatArray = field(init=False)  # (n_signals,) when it began
    _called_s: FloatArray = field(init=False)  # (n_signals,) when somebody last came on its green
    _now_s: float | None = None

    def __post_init__(self) -> None:
        plans = self.plans
        n_signals, n_phases = plans.phase_end_s.shape
        starts_s = np.column_stack([np.zeros(n_signals), plans.phase_end_s[:, :-1]])
        with np.errstate(invalid="ignore"):  # inf - inf where padded
            planned_s = np.where(np.isfinite(plans.phase_end_s), plans.phase_end_s - starts_s, 0.0)
        self._n_phases = np.isfinite(plans.phase_end_s).sum(axis=1)
        self._has_green = np.zeros((n_signals, n_phases), np.bool_)
        has_amber = np.zeros((n_signals, n_phases), np.bool_)
        np.logical_or.at(self._has_green, plans.head_signal, plans.codes >= GREEN_YIELD)
        np.logical_or.at(has_amber, plans.head_signal, plans.codes == AMBER)
        self._is_free = self._has_green & ~has_amber & (planned_s > MIN_GREEN_S)
        self._min_s = np.where(self._is_free, MIN_GREEN_S, planned_s)
        self._max_s = np.where(self._is_free, planned_s * MOST_RATIO, planned_s)
        self._likely_s = planned_s
        self._phase = np.zeros(n_signals, np.int64)
        self._since_s = np.full(n_signals, -np.inf)
        self._called_s = np.full(n_signals, -np.inf)

    def advance(self, now_s: float, is_called: BoolArray) -> None:
        """Let stages end; `is_called` (n_heads,): somebody is near the line of a head."""
        if not len(self._phase):
            return
        if self._now_s is None:  # it takes over from the plans
            self._phase, into_s = self.plans.phase(now_s)
            starts_s = np.column_stack([np.zeros(len(into_s)), self.plans.phase_end_s])
            self._since_s = now_s - into_s + starts_s[np.arange(len(into_s)), self._phase]
        self._now_s = now_s
        rows, heads = np.arange(len(self._phase)), self.plans.head_signal
        on_green = is_called & (self.states(now_s) >= GREEN_YIELD)
        self._called_s[heads[on_green]] = now_s
        lasted_s = now_s - self._since_s
        is_free = self._is_free[rows, self._phase]
        may_end = lasted_s >= self._min_s[rows, self._phase] - 1e-9
        is_out = lasted_s >= self._max_s[rows, self._phase] - 1e-9
        is_empty = is_free & (now_s - self._called_s >= PASSAGE_S)
        ends = np.flatnonzero(is_out | (may_end & (is_empty | ~is_free)))
        self.n_max_outs += int((is_out & is_free).sum())
        self.n_gap_outs += int((is_empty & may_end & ~is_out).sum())
        self._learn(ends, lasted_s)
        self._phase[ends] = (self._phase[ends] + 1) % self._n_phases[ends]
        self._since_s[ends] = now_s
        self._called_s[ends] = now_s  # a new green is given its passage time

    def _learn(self, ends: IntArray, lasted_s: FloatArray) -> None:
        phase = self._phase[ends]
        before_s = self._likely_s[ends, phase]
        self._likely_s[ends, phase] = before_s + MEMORY_RATIO * (lasted_s[ends] - before_s)

    def states(self, time_s: float) -> IntArray:
        """Codes (n_heads,) now; a program that listens knows no other time."""
        if not self.plans.heads:
            return np.empty(0, np.int64)
        if self._now_s is None:
            return self.plans.states(time_s)
        heads = np.arange(len(self.plans.heads))
        return np.asarray(self.plans.codes[heads, self._phase[self.plans.head_signal]])

    def ends_s(self, time_s: float) -> FloatArray:
        """Earliest, latest and likely end of what each head shows, (3, n_heads); inf for never."""
        plans, heads = self.plans, np.arange(len(self.plans.heads))
        if self._now_s is None:
            return np.tile(plans.ends_s(time_s), (3, 1))
        row = plans.head_signal
        at = self._phase[row]
        now = plans.codes[heads, at]
        spans_s = np.array([self._min_s, self._max_s, self._likely_s])
        reached_s = self._since_s[row] + spans_s[:, row, at]
        reached_s[0] = np.maximum(reached_s[0], time_s)
        reached_s[2] = np.clip(reached_s[2], reached_s[0], reached_s[1])
        ends_s = np.full((3, len(heads)), np.inf)
        for _ in range(plans.codes.shape[1]):
            at = (at + 1) % self._n_phases[row]
            differs = (plans.codes[heads, at] != now) & np.isinf(ends_s[0])
            ends_s[:, differs] = reached_s[:, differs]
            reached_s = reached_s + spans_s[:, row, at]
        return ends_s
