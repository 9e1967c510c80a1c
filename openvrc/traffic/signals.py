"""Signals as they run: shares of green and lengths of cycles of each group, delay of each approach.

A fold over `signal_state`. A cycle is from one begin of green to the next, and counts once it is
whole, as green, amber (also with red) and red; older cycles fade with a time constant, so that an
adaptive program's figures follow it. One in which a group was silent for longer than
`LONGEST_PHASE_S` does not count.

The delay of an approach is a pass's time on the segment before the signal less the time at the
limit (control delay and what queues add), after Edie: vehicle-seconds and metres of all who report.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import column_of
from openvrc.contracts.messages.record import LATE_IN_ZONE
from openvrc.contracts.units import NS_PER_S
from openvrc.traffic.segment_model import Floats, Roads, Seen

MEMORY_S = 900.0
"""Some ten cycles of a minute and a half."""
LONGEST_PHASE_S = 600.0
COLOURS = ("green", "amber", "red")
_COLOUR = {
    "green": "green",
    "green_permissive": "green",
    "amber": "amber",
    "red_amber": "amber",
    "red": "red",
}
_PHASES = column_of("signal_state", "phase").values


@dataclass
class GroupTimes:
    """One signal group."""

    intersection: str
    phase: int
    since_ns: int
    heard_ns: int
    green_since_ns: int = 0
    """Begin of the running cycle, 0 before the first."""
    running_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COLOURS, 0.0))
    """Ended phases of the running cycle."""
    whole_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COLOURS, 0.0))
    """Those of whole cycles, faded."""
    cycles: float = 0.0


class GroupShares(NamedTuple):
    """What a group's program is like."""

    green_ratio: float
    amber_ratio: float
    red_ratio: float
    cycle_s: float
    """Mean; without the time that a group flashed or was off."""
    green_s: float
    """Mean green of a cycle."""
    cycles: float
    """Whole cycles that this rests on, faded."""


class SignalTimes:
    """The fold of one (zone, run); a group is named as its records: "intersection:group"."""

    def __init__(self, memory_s: float = MEMORY_S, *, known: Collection[str] | None = None) -> None:
        """`memory_s` may be infinite: then every phase counts alike.

        Of groups that are not `known` nothing is kept: names that a sender makes up would fill
        the memory and every checkpoint. None keeps all, for a recording, which ends.
        """
        self._memory_s = memory_s
        self._known = known
        self.groups: dict[str, GroupTimes] = {}

    def take(self, batch: Batch) -> None:
        """Fold `signal_state`; rows behind the watermark or older than known ones are left out."""
        in_time = np.flatnonzero((batch.column("lateness") & LATE_IN_ZONE) == 0)
        names, intersections = batch.texts("subject_id"), batch.texts("intersection_id")
        at_ns, phases = batch.column("sampled_at_ns").tolist(), batch.column("phase").tolist()
        for row in in_time.tolist():
            if phases[row] >= 0 and self._is_known(names[row]):
                self._hear(names[row], intersections[row], phases[row], at_ns[row])

    def _is_known(self, name: str) -> bool:
        return self._known is None or name in self._known

    def _hear(self, name: str, intersection: str, phase: int, at_ns: int) -> None:
        group = self.groups.get(name)
        if group is None:
            self.groups[name] = GroupTimes(intersection, phase, at_ns, at_ns)
            return
        if at_ns - group.heard_ns > LONGEST_PHASE_S * NS_PER_S:
            group.phase, group.since_ns, group.green_since_ns = phase, at_ns, 0
        if at_ns <= group.heard_ns:
            return
        group.heard_ns = at_ns
        if phase != group.phase:
            self._change(group, phase, at_ns)

    def _change(self, group: GroupTimes, phase: int, at_ns: int) -> None:
        colour = _COLOUR.get(_PHASES[group.phase])
        if colour is not None:
            group.running_s[colour] += (at_ns - group.since_ns) / NS_PER_S
        if colour != "green" and _COLOUR.get(_PHASES[phase]) == "green":
            if group.green_since_ns:
                cycle_s = (at_ns - group.green_since_ns) / NS_PER_S
                keep = math.exp(-cycle_s / self._memory_s)
                for name in COLOURS:
                    group.whole_s[name] = group.whole_s[name] * keep + group.running_s[name]
                group.cycles = group.cycles * keep + 1.0
            group.green_since_ns, group.running_s = at_ns, dict.fromkeys(COLOURS, 0.0)
        group.phase, group.since_ns = phase, at_ns

    def shares(self, name: str) -> GroupShares | None:
        """Of one group; None before a whole cycle."""
        group = self.groups.get(name)
        if group is None or group.cycles <= 0.0:
            return None
        whole_s = sum(group.whole_s.values())
        cycle_s = whole_s / group.cycles
        green, amber, red = (group.whole_s[colour] / whole_s for colour in COLOURS)
        return GroupShares(green, amber, red, cycle_s, green * cycle_s, group.cycles)

    def snapshot(self) -> dict[str, Any]:
        """Plain facts for a checkpoint."""
        return {name: asdict(group) for name, group in self.groups.items()}

    @classmethod
    def restore(
        cls, facts: Mapping[str, Any], *, known: Collection[str] | None = None
    ) -> SignalTimes:
        """What `snapshot` wrote, of groups that are known."""
        times = cls(known=known)
        times.groups = {
            name: GroupTimes(**group) for name, group in facts.items() if times._is_known(name)
        }
        return times


class Delays(NamedTuple):
    """Of each segment (n_segments,): NaN where nobody was."""

    delay_s: Floats
    """A pass's, against driving at the limit; not below 0."""
    passes: Floats
    """Of reporting vehicles."""


def pass_delays(roads: Roads, seen: Seen) -> Delays:
    """Mean delay of a pass, where at least a quarter of one was seen."""
    passes = seen.distance_m / roads.length_m
    with np.errstate(divide="ignore", invalid="ignore"):
        pass_s = np.where(passes >= 0.25, seen.time_s / passes, np.nan)
    return Delays(np.maximum(pass_s - roads.length_m / roads.limit_mps, 0.0), passes)
