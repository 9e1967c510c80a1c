"""Episodes of a condition that flickers: open at its first row, over when quiet for a while.

Arrays in, arrays out, no loop over rows: chronic dirt must not cost more than clean data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.detection import Finding, Phase, Severity
from openvrc.contracts.units import iso_from_ns
from openvrc.detectors.battery.frames import NEVER_NS, Rows
from openvrc.detectors.keyed import Keyed

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Turns:
    """Indices into `Rows` where episodes open or clear; a row may clear one and open the next."""

    opens: IntArray
    clears: IntArray
    cleared_started_ns: IntArray
    """When each cleared episode had begun."""


def episode_fields(signal: str) -> dict[str, tuple[type, int]]:
    """Fields that a `Keyed` needs for one signal."""
    return {
        f"{signal}.bad_at_ns": (np.int64, NEVER_NS),
        f"{signal}.started_at_ns": (np.int64, NEVER_NS),
    }


def fold_episodes(
    rows: Rows, is_bad: npt.NDArray[np.bool_], vehicles: Keyed, signal: str, quiet_ns: int
) -> Turns:
    """Fold one signal's condition (n,); `rows.previous_at_ns` must be chained over all rows.

    An episode ends with the first row more than `quiet_ns` after its last bad one, so a vehicle
    that falls silent keeps it.
    """
    bad_at, started_at = vehicles[f"{signal}.bad_at_ns"], vehicles[f"{signal}.started_at_ns"]
    if len(rows) == 0 or not (is_bad.any() or (bad_at[rows.slot] != NEVER_NS).any()):
        return Turns(*(np.empty(0, np.int64) for _ in range(3)))
    index = np.arange(len(rows))
    bad_now = _latest(rows, np.where(is_bad, index, -1), rows.at_ns, bad_at)
    bad_before = np.empty_like(bad_now)
    bad_before[1:] = bad_now[:-1]
    bad_before[rows.is_first] = bad_at[rows.slot[rows.is_first]]
    has_been = bad_before != NEVER_NS
    since_ns = np.maximum(bad_before, 0)
    was_open = has_been & (rows.previous_at_ns - since_ns <= quiet_ns)
    clears = was_open & (rows.at_ns - since_ns > quiet_ns)
    opens = is_bad & (~was_open | clears)
    started_now = _latest(rows, np.where(opens, index, -1), rows.at_ns, started_at)
    started_before = np.empty_like(started_now)
    started_before[1:] = started_now[:-1]
    started_before[rows.is_first] = started_at[rows.slot[rows.is_first]]
    is_last = rows.is_last
    bad_at[rows.slot[is_last]] = bad_now[is_last]
    started_at[rows.slot[is_last]] = started_now[is_last]
    return Turns(np.flatnonzero(opens), np.flatnonzero(clears), started_before[clears])


def episode_findings(
    rule: str,
    vehicles: Keyed,
    rows: Rows,
    signal: str,
    turns: Turns,
    evidence_of: Callable[[int], dict[str, Any]],
    over_text: str,
) -> list[tuple[int, Finding]]:
    """Findings of severity info about one signal's turns, each with its row.

    `evidence_of` a row where an episode opens; `over_text` where one clears.
    """

    def finding(i: int, phase: Phase, started_ns: int, evidence: dict[str, Any]) -> Finding:
        at_ns = int(rows.at_ns[i])
        span = {"span_started_at": iso_from_ns(started_ns), "span_ended_at": iso_from_ns(at_ns)}
        return Finding(
            rule=rule,
            phase=phase,
            subject_type="vehicle",
            subject_id=vehicles.keys[int(rows.slot[i])],
            component=signal,
            at_ns=at_ns,
            started_at_ns=started_ns,
            severity=Severity.INFO,
            evidence=evidence | span,
            is_late=bool(rows.is_late[i]),
        )

    clears = zip(turns.clears.tolist(), turns.cleared_started_ns.tolist(), strict=True)
    found = [(i, finding(i, "clear", ns, {"text": over_text})) for i, ns in clears]
    return found + [
        (i, finding(i, "raise", int(rows.at_ns[i]), evidence_of(i))) for i in turns.opens.tolist()
    ]


def _latest(rows: Rows, marked: IntArray, values: IntArray, stored: IntArray) -> IntArray:
    """Value (n,) at the vehicle's latest marked row up to each row, else the stored one."""
    index = np.arange(len(rows))
    first = np.maximum.accumulate(np.where(rows.is_first, index, 0))
    latest = np.maximum.accumulate(marked)
    return np.where(latest >= first, values[latest], stored[rows.slot])
