"""When what a signal group shows will end: earliest, latest and likely, by its program.

A group may show the same over several phases, so phases are followed until its letter changes. A
fixed-time program knows its ends exactly; an actuated one between its least and greatest durations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.cosimulation.stepper import Phase, Signal


def ends_s(now_s: float, signal: Signal, phases: Sequence[Phase]) -> NDArray[np.float64]:
    """Earliest, latest and likely end (3, n_groups) in s; NaN where the program does not tell.

    That is a group that never changes, and whatever lies behind a phase that may be followed by
    one of several.
    """
    groups = len(signal.state)
    ends = np.full((3, groups), np.nan)
    if not 0 <= signal.phase < len(phases) or phases[signal.phase].state != signal.state:
        return ends
    now = phases[signal.phase]
    spent_s = max(signal.spent_s, 0.0)
    likely_s = max(signal.next_switch_s, now_s)
    earliest_s = min(max(now_s + now.min_s - spent_s, now_s), likely_s)
    latest_s = max(now_s + now.max_s - spent_s, likely_s)
    reached_s = np.array([earliest_s, latest_s, likely_s])
    at = signal.phase
    for _ in range(len(phases)):
        if phases[at].has_jumps:
            break
        at = (at + 1) % len(phases)
        then = phases[at]
        changes = [
            group
            for group, letter in enumerate(then.state[:groups])
            if letter != signal.state[group] and np.isnan(ends[2, group])
        ]
        ends[:, changes] = reached_s[:, None]
        reached_s = reached_s + np.array([then.min_s, then.max_s, then.duration_s])
    return ends
