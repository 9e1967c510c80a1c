"""Signal groups one after the other: whether phases follow in order and end when it was said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from openvrc.contracts.columns import column_of
from openvrc.contracts.detection import Arrays, pack_words
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.data._signal_rows import Report

PHASES = column_of("signal_state", "phase").values
RED, RED_AMBER, GREEN, PERMISSIVE, AMBER = (
    PHASES.index(word) for word in ("red", "red_amber", "green", "green_permissive", "amber")
)
NEVER_FOLLOWS = frozenset(
    {
        (RED, AMBER),
        (RED_AMBER, RED),
        (RED_AMBER, AMBER),
        (GREEN, RED_AMBER),
        (PERMISSIVE, RED_AMBER),
        (AMBER, RED_AMBER),
    }
)
"""A phase and one that no signal program lets follow it. That amber is left out is no fault: some
groups, such as those of people on foot, have none; nor is green after amber: programs made by SUMO
do so where a turn's protected green becomes another one."""
NEXT_WITHIN_S = 4.5
"""Between two reports of a group: after a longer gap a phase may have been lost."""
TOLERANCE_S = 3.0
"""Reports come once a second, and a clock within a second is a good one."""
BAD = 3
"""Changes that go wrong before a group is wrong: an operator's intervention is one or two."""
GOOD = 5
"""Changes in a row that go right before it is right again."""
HOUR_S, MINUTE_S = 3600.0, 60.0


class Fault(NamedTuple):
    """A change that went wrong, or right where `text` is empty."""

    check: str
    text: str = ""
    error_s: float = 0.0
    """End that was announced, less when it came."""


@dataclass
class Group:
    """One signal group: what it shows, and how its changes went."""

    phase: int
    since_ns: int
    """Begin of the phase as far as it was seen."""
    bad: dict[str, int] = field(default_factory=dict)
    good: dict[str, int] = field(default_factory=dict)
    first_bad_ns: dict[str, int] = field(default_factory=dict)

    def is_wrong(self, check: str) -> bool:
        """Whether enough of its changes went wrong of late."""
        return self.bad.get(check, 0) >= BAD

    @property
    def is_any_wrong(self) -> bool:
        """Whether one of its checks is wrong."""
        return any(self.is_wrong(check) for check in CHECKS)

    def count(self, fault: Fault, at_ns: int) -> None:
        """Book a change."""
        check = fault.check
        if fault.text:
            if not self.bad.get(check):
                self.first_bad_ns[check] = at_ns
            self.bad[check] = self.bad.get(check, 0) + 1
            self.good[check] = 0
            return
        self.good[check] = self.good.get(check, 0) + 1
        if self.good[check] >= GOOD:
            self.bad[check] = 0


def faults_of(before: Report, now: Report) -> list[Fault]:
    """What the change from one report to another says of order and announced times."""
    faults = []
    if now.at_ns - before.at_ns <= NEXT_WITHIN_S * NS_PER_S:
        is_wrong = (before.phase, now.phase) in NEVER_FOLLOWS
        text = f"{PHASES[now.phase]} follows {PHASES[before.phase]}" if is_wrong else ""
        faults.append(Fault("phases", text))
    ends = [e for e in (before.likely_end_ns, before.min_end_ns, before.max_end_ns) if _is_time(e)]
    # Where nothing was announced nothing was wrong: five of that in a row end an episode, and no
    # group that announces any end of its cycle of five phases at most has them.
    faults.append(_of_times(before, now) if ends else Fault("times"))
    return faults


def _is_time(end_ns: int) -> bool:
    return end_ns not in (ABSENT_I64, 0)


def _of_times(before: Report, now: Report) -> Fault:
    """The phase ended between the two reports; what was announced last must hold that moment."""
    tolerance_ns = int(TOLERANCE_S * NS_PER_S)
    low_ns, high_ns = before.at_ns - tolerance_ns, now.at_ns + tolerance_ns
    likely_ns, min_ns, max_ns = before.likely_end_ns, before.min_end_ns, before.max_end_ns
    wrong_ns = None
    if _is_time(likely_ns) and not low_ns <= likely_ns <= high_ns:
        wrong_ns = likely_ns
    elif _is_time(min_ns) and min_ns > high_ns:
        wrong_ns = min_ns
    elif _is_time(max_ns) and max_ns < low_ns:
        wrong_ns = max_ns
    if wrong_ns is None:
        return Fault("times")
    error_s = (wrong_ns - now.at_ns) / NS_PER_S
    return Fault("times", _how_far(error_s), error_s)


def _how_far(error_s: float) -> str:
    said = f"ends {abs(error_s):.0f} s {'earlier' if error_s > 0 else 'later'} than announced"
    for length_s, name in ((HOUR_S, "hours"), (MINUTE_S, "minutes")):
        number = round(error_s / length_s)
        if number and abs(error_s - number * length_s) <= TOLERANCE_S:
            return f"{said}, whole {name}: a time that was not carried over the full {name[:-1]}"
    return said


CHECKS = ("phases", "times")
_COUNTS = ("bad", "good", "first_bad_ns")


def pack_groups(groups: dict[str, Group]) -> Arrays:
    """Groups as arrays (n_groups,)."""
    every = list(groups.values())
    arrays: Arrays = {
        "group": pack_words(list(groups)),
        "phase": np.array([one.phase for one in every], np.int64),
        "since_ns": np.array([one.since_ns for one in every], np.int64),
    }
    for check in CHECKS:
        for name in _COUNTS:
            values = [getattr(one, name).get(check, 0) for one in every]
            arrays[f"{check}.{name}"] = np.array(values, np.int64)
    return arrays


def unpack_groups(arrays: Arrays) -> dict[str, Group]:
    """What `pack_groups` made."""
    groups = {}
    columns = (arrays[name].tolist() for name in ("group", "phase", "since_ns"))
    for row, (name, phase, since_ns) in enumerate(zip(*columns, strict=True)):
        counts: dict[str, dict[str, int]] = {
            count: {check: int(arrays[f"{check}.{count}"][row]) for check in CHECKS}
            for count in _COUNTS
        }
        groups[name] = Group(phase, since_ns, **counts)
    return groups
