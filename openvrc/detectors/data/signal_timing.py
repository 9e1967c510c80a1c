"""`data.signal_timing`: what a signal controller says (SPaT) is wrong by itself or by what is seen.

| component | about | raised | cleared |
|---|---|---|---|
| `phases` | an intersection | 3 phases of a group that never follow the one before | 5 right |
| `times` | an intersection | 3 ends over 3 s from what was announced last | 5 right or untold |
| `movements` | a segment | 5 of 10 or fewer who pass its line pass on red | below a quarter of 8 |

A time that is wrong by whole hours or minutes is named so: a SPaT message counts tenths of a second
within the hour, and some decoders do not carry it over the full hour (or minute). Announced times
are judged at the next change only, by the last report before it; a phase that goes on past its
announced end shows then. `movements` counts vehicles of 600 s, and as on red those that pass when
every group of the segment has shown red for 3 s, for the map does not tell which group a turn
obeys; it needs a map with signal heads and segments inside junctions. Reports wait for the
watermark and are judged in order of time. An episode is unknown when its groups have been
silent, or nobody was seen to pass, for ten minutes; a group that is right is forgotten after an
hour of silence.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import (
    Arrays,
    Context,
    Detector,
    Finding,
    Phase,
    Rule,
    Severity,
    pack_words,
)
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.data._signal_crossings import (
    MIN_ON_RED,
    RED_FOR_S,
    RIGHT_RATIO,
    WINDOW_S,
    WRONG_RATIO,
    Approach,
    Crossing,
    StopLines,
    pack_approaches,
    unpack_approaches,
)
from openvrc.detectors.data._signal_groups import (
    CHECKS,
    RED,
    Fault,
    Group,
    faults_of,
    pack_groups,
    unpack_groups,
)
from openvrc.detectors.data._signal_rows import SILENT_NS, UNKNOWN, Change, SignalRows

NAME = "data.signal_timing"
MIN_PASSED = 8
SHOWN_TIMES = 3
QUIET_NS = int(WINDOW_S * NS_PER_S)
"""Nobody who counts for `movements` is left then; a controller that restarts is back sooner."""


@dataclass
class State:
    """One zone and run."""

    lines: StopLines | None
    rows: SignalRows = field(default_factory=SignalRows)
    crossings: list[Crossing] = field(default_factory=list)
    groups: dict[str, Group] = field(default_factory=dict)
    approaches: dict[int, Approach] = field(default_factory=lambda: defaultdict(Approach))
    opened: dict[tuple[str, str], int] = field(default_factory=dict)
    """(Intersection, check) to when the open episode began."""
    wrong: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """Its groups that are wrong."""
    unknown: set[tuple[str, str]] = field(default_factory=set)
    """Those open whose wrong groups are silent."""


class SignalTiming:
    """See the module's text."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="A signal's messages are wrong",
        meaning="What a signal controller says does not fit itself or what vehicles do.",
        advice="Do not let vehicles rely on it; check the controller's clock and its message.",
        pending_for_s=0.0,
        recovering_for_s=10.0,
        actionable_for_s=600.0,
    )
    inputs: tuple[str, ...] = ("signal_state", "vehicle_state")
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """Nothing heard."""
        heads = context.road_map.signal_heads if context.road_map else ()
        return State(StopLines(context.road_map) if context.road_map and heads else None)

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Keep what is said and who passes until the watermark is there."""
        if batch.message == "signal_state":
            state.rows.take(batch)
        elif state.lines is not None and batch.n_rows:
            state.crossings += state.lines.crossings(batch)
        return state, []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """Judge what happened up to the watermark, in order of time."""
        changes = state.rows.due(watermark_ns)
        crossings = [one for one in state.crossings if one.at_ns <= watermark_ns]
        if crossings:
            state.crossings = [one for one in state.crossings if one.at_ns > watermark_ns]
        due: list[tuple[int, int, str, Change | Crossing]] = [
            (change.now.at_ns, 0, change.group, change) for change in changes
        ]
        due += [(one.at_ns, 1, one.vehicle, one) for one in crossings]
        findings: list[Finding] = []
        for at_ns, *_, one in sorted(due, key=lambda event: event[:3]):
            if isinstance(one, Change):
                intersection = _intersection(one.group)
                keys = [(intersection, check) for check in CHECKS]
                findings += _silenced(state, keys, at_ns) + _hear(state, one)
            else:
                findings += _unseen(state, one.segment, at_ns) + _see(state, one)
        findings += _silenced(state, sorted(state.opened), watermark_ns)
        for segment in sorted(state.approaches):
            findings += _unseen(state, segment, watermark_ns)
        _forget(state, watermark_ns)
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """Everything, and what waits."""
        arrays = pack_groups(state.groups) | pack_approaches(state.approaches)
        arrays |= state.rows.snapshot() | _pack(state.crossings)
        keys = list(state.opened)
        arrays["opened.intersection"] = pack_words([name for name, _ in keys])
        arrays["opened.check"] = pack_words([check for _, check in keys])
        arrays["opened.since_ns"] = np.array([state.opened[key] for key in keys], np.int64)
        arrays["opened.is_unknown"] = np.array([key in state.unknown for key in keys], np.bool_)
        return arrays

    def restore(self, context: Context, arrays: Arrays) -> State:
        """What `snapshot` wrote."""
        state = self.initial(context)
        state.groups, state.approaches = unpack_groups(arrays), unpack_approaches(arrays)
        state.rows, state.crossings = SignalRows.restore(arrays), _unpack(arrays)
        names = ("intersection", "check", "since_ns")
        for name, check, since_ns in zip(
            *(arrays[f"opened.{n}"].tolist() for n in names), strict=True
        ):
            state.opened[name, check] = since_ns
        if "opened.is_unknown" in arrays:  # not always told
            unknown = zip(list(state.opened), arrays["opened.is_unknown"].tolist(), strict=True)
            state.unknown = {key for key, is_unknown in unknown if is_unknown}
        for name, group in state.groups.items():
            for check in CHECKS:
                if group.is_wrong(check):
                    state.wrong[_intersection(name), check].add(name)
        return state


def _intersection(group: str) -> str:
    """A group's records are named "intersection:group"."""
    return group.rpartition(":")[0]


def _hear(state: State, change: Change) -> list[Finding]:
    """Take a group's next phase."""
    name, before, now = change
    group = state.groups.get(name)
    if group is None or (before is None and not group.is_any_wrong):
        state.groups[name] = Group(now.phase, now.at_ns)
        return []
    group.phase, group.since_ns = now.phase, now.at_ns
    if before is None or now.phase in (before.phase, UNKNOWN):
        return []
    findings = []
    for fault in faults_of(before, now):
        group.count(fault, now.at_ns)
        findings += _episode(state, name, group, fault, now.at_ns)
    return findings


def _episode(state: State, name: str, group: Group, fault: Fault, at_ns: int) -> list[Finding]:
    """Raise with the first wrong group of an intersection, clear with the last."""
    check = fault.check
    key = (_intersection(name), check)
    wrong = state.wrong[key]
    (wrong.add if group.is_wrong(check) else wrong.discard)(name)
    is_news = key not in state.opened or (key in state.unknown and bool(fault.text))
    if wrong and is_news:
        state.opened.setdefault(key, group.first_bad_ns[check])
        state.unknown.discard(key)
        evidence = {
            "text": f"Signal group {name}: {fault.text}; {group.bad[check]} times.",
            "group_id": name,
            "bad_count": group.bad[check],
            "error_s": round(fault.error_s, 1),
        }
        return [_of_intersection(state, key, "raise", at_ns, evidence)]
    if not wrong and key in state.opened:
        finding = _of_intersection(state, key, "clear", at_ns, {})
        del state.opened[key]
        state.unknown.discard(key)
        return [finding]
    return []


def _silenced(state: State, keys: list[tuple[str, str]], upto_ns: int) -> list[Finding]:
    """Of these episodes the open ones whose wrong groups have been silent for long."""
    findings = []
    for key in keys:
        if key not in state.opened or key in state.unknown:
            continue
        at_ns = max(_heard_ns(state, name) for name in state.wrong[key]) + QUIET_NS
        if at_ns <= upto_ns:
            state.unknown.add(key)
            findings.append(_of_intersection(state, key, "unknown", at_ns, {}))
    return findings


def _unseen(state: State, segment: int, upto_ns: int) -> list[Finding]:
    """An approach with an open episode that nobody has passed for long."""
    approach = state.approaches.get(segment)
    if approach is None or approach.open_since_ns is None or approach.is_unknown:
        return []
    at_ns = approach.newest_ns + QUIET_NS
    if at_ns > upto_ns:
        return []
    approach.is_unknown = True
    return [_of_segment(state, approach, segment, at_ns, "unknown", {})]


def _heard_ns(state: State, name: str) -> int:
    """When a group was heard last, as far as events have been told."""
    group = state.groups[name]
    if group.phase == UNKNOWN:
        return group.since_ns - SILENT_NS
    return state.rows.heard_ns(name)


def _forget(state: State, watermark_ns: int) -> None:
    """Drop what is silent; a wrong group stays, so that its episode can end."""
    heard_ns = {name: _heard_ns(state, name) for names in state.wrong.values() for name in names}
    for name in state.rows.forget(watermark_ns):
        group = state.groups.get(name)
        if group is not None and group.is_any_wrong:
            group.phase, group.since_ns = UNKNOWN, heard_ns[name] + SILENT_NS
            continue
        state.groups.pop(name, None)
        for check in CHECKS:
            key = (_intersection(name), check)
            if not state.wrong[key]:
                del state.wrong[key]


def _of_intersection(
    state: State, key: tuple[str, str], phase: Phase, at_ns: int, evidence: dict[str, Any]
) -> Finding:
    return Finding(
        rule=NAME, phase=phase, subject_type="signal", subject_id=key[0], component=key[1],
        at_ns=at_ns, started_at_ns=state.opened[key], severity=Severity.WARNING, evidence=evidence,
    )  # fmt: skip


def _see(state: State, crossing: Crossing) -> list[Finding]:
    """Take a vehicle that has passed a stop line."""
    assert state.lines is not None
    names = state.lines.groups[crossing.segment]
    if not all(_is_heard(state, name, crossing.at_ns) for name in names):
        return []
    red_before_ns = crossing.passed_ns - int(RED_FOR_S * NS_PER_S)
    groups = [state.groups[name] for name in names]
    if any(group.phase == UNKNOWN for group in groups):
        return []
    is_red = all(g.phase == RED and g.since_ns <= red_before_ns for g in groups)
    approach = state.approaches[crossing.segment]
    if not approach.take(crossing, is_red):
        return []
    return _of_approach(state, approach, crossing.segment, crossing.at_ns)


def _is_heard(state: State, name: str, at_ns: int) -> bool:
    return name in state.groups and at_ns - state.rows.heard_ns(name) <= SILENT_NS


def _of_approach(state: State, approach: Approach, segment: int, at_ns: int) -> list[Finding]:
    on_red_ns = approach.on_red_ns
    n_passed, ratio = len(approach.passed), len(on_red_ns) / len(approach.passed)
    is_wrong = len(on_red_ns) >= MIN_ON_RED and ratio >= WRONG_RATIO
    if is_wrong and (approach.open_since_ns is None or approach.is_unknown):
        approach.open_since_ns = approach.open_since_ns or on_red_ns[0]
        approach.is_unknown = False
        shown = [iso_from_ns(passed_ns) for passed_ns in on_red_ns[-SHOWN_TIMES:]]
        evidence = {
            "text": f"{len(on_red_ns)} of {n_passed} vehicles passed while all groups showed red.",
            "on_red_count": len(on_red_ns),
            "passed_count": n_passed,
            "passed_at": shown,
        }
        return [_of_segment(state, approach, segment, at_ns, "raise", evidence)]
    is_right = n_passed >= MIN_PASSED and ratio < RIGHT_RATIO
    if is_right and approach.open_since_ns is not None:
        finding = _of_segment(state, approach, segment, at_ns, "clear", {})
        approach.open_since_ns, approach.is_unknown = None, False
        return [finding]
    return []


def _of_segment(
    state: State, approach: Approach, segment: int, at_ns: int, phase: Phase,
    evidence: dict[str, Any],
) -> Finding:  # fmt: skip
    assert state.lines is not None
    assert approach.open_since_ns is not None
    segment_id = state.lines.roads.road_map.segment_ids[segment]
    return Finding(
        rule=NAME, phase=phase, subject_type="segment", subject_id=segment_id,
        component="movements", segment_id=segment_id, at_ns=at_ns,
        started_at_ns=approach.open_since_ns, severity=Severity.WARNING, evidence=evidence,
    )  # fmt: skip


def _pack(crossings: list[Crossing]) -> Arrays:
    """Waiting crossings as arrays."""
    arrays: Arrays = {"crossing.vehicle": pack_words([one.vehicle for one in crossings])}
    for name in ("at_ns", "segment", "passed_ns"):
        arrays[f"crossing.{name}"] = np.array([getattr(one, name) for one in crossings], np.int64)
    return arrays


def _unpack(arrays: Arrays) -> list[Crossing]:
    columns = (arrays[f"crossing.{name}"].tolist() for name in Crossing._fields)
    return [Crossing(*row) for row in zip(*columns, strict=True)]


PLUGIN: Detector = SignalTiming()
