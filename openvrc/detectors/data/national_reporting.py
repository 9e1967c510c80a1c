"""`data.national_reporting`: a vehicle does not report as GB/T 32960.3 asks (annex B).

| component | raised when | cleared when |
|---|---|---|
| `period` | over 32 s from one report of a driving vehicle to the next | re-issues close it |
| `alarm_window` | a second of the 30 before or after its onset is missing | re-issues bring it |

Windows are judged 90 s after an alarm of level 3 began; re-issues close a gap oldest first. Only
frames of that protocol are looked at: those with `quality_bits`. 30 s are agreed, 2 s
are the terminal's to be late. A second is there if a report falls into it; what lies before the
vehicle's first report is not asked for. One gap and one alarm are watched at a time: a newer one
takes the older one's place. Rows that come behind newer ones are what this rule waits for, so it
reads them in order of admission.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import column_of
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.messages.record import LATE_IN_SUBJECT, LATE_IN_ZONE
from openvrc.contracts.units import ABSENT_I64, NS_PER_S, iso_from_ns
from openvrc.detectors.keyed import Keyed

PERIOD_S, SLACK_S = 30, 2
LIMIT_NS = (PERIOD_S + SLACK_S) * NS_PER_S
WINDOW_S = 30
VERDICT_NS = 90 * NS_PER_S
"""After the onset: the window itself, and a minute for the re-issue of what was before."""
ALARM_LEVEL = 3
NEVER = ABSENT_I64
WHOLE = (1 << (2 * WINDOW_S + 1)) - 1
"""A bit for each second from 30 before the onset to 30 after it."""
_PSEUDONYM = column_of("battery_state", "id_kind").values.index("pseudonym")

RULE = Rule(
    name="data.national_reporting",
    title="Vehicle does not report as GB/T 32960.3 asks",
    meaning="Reports of a driving vehicle are further apart than agreed, or the seconds around a "
    "level-3 alarm did not all arrive.",
    advice="Check the terminal's link and its store; a regulator asks for these data.",
    pending_for_s=0.0,
    recovering_for_s=0.0,
    actionable_for_s=604_800.0,  # a terminal may back-fill for a week
)

_FIELDS: dict[str, tuple[Any, Any]] = {
    "first_ns": (np.int64, NEVER),
    "newest_ns": (np.int64, NEVER),
    "was_driving": (np.bool_, False),
    "recent": (np.int64, 0),  # bit s: a report s seconds before the newest
    "gap_from_ns": (np.int64, NEVER),
    "gap_front_ns": (np.int64, NEVER),  # up to here the gap is closed
    "gap_to_ns": (np.int64, NEVER),
    "was_alarm": (np.bool_, False),
    "alarm_ns": (np.int64, NEVER),
    "seconds": (np.int64, 0),  # bits of the alarm's window that have come
    "is_told": (np.bool_, False),
}


@dataclass
class State:
    """Per vehicle: its newest report, one gap, one alarm."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))


@dataclass
class _Row:
    vin: str
    at_ns: int
    level: int
    is_driving: bool
    is_late: bool


class NationalReporting:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames of the protocol, one by one: they are few, one in 30 s a vehicle."""
        wanted = batch.column("quality_bits") != ABSENT_I64
        wanted &= batch.column("id_kind") != _PSEUDONYM
        rows = np.flatnonzero(wanted)
        if not len(rows):
            return state, []
        slots = state.vehicles.batch_slots(batch.take(rows))
        names = state.vehicles.keys
        columns = [batch.column(n)[rows].tolist() for n in (
            "sampled_at_ns", "bms_alarm_level", "vehicle_speed_mps", "lateness")]  # fmt: skip
        found: list[Finding] = []
        for slot, at_ns, level, speed_mps, late in zip(slots.tolist(), *columns, strict=True):
            is_late = late > 0 and bool(late & LATE_IN_ZONE)
            row = _Row(names[slot], at_ns, level, speed_mps > 0, is_late)
            view = _View(state.vehicles, slot)
            behind = late > 0 and bool(late & LATE_IN_SUBJECT)
            if behind or at_ns <= view["newest_ns"]:
                found += _fill(view, row)
            else:
                found += _go_on(view, row)
        return state, found

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: a vehicle that is silent may have been switched off."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields."""
        return state.vehicles.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        return State(Keyed.restore(_FIELDS, arrays))


class _View:
    """The fields of one vehicle as Python values."""

    def __init__(self, vehicles: Keyed, slot: int) -> None:
        self._vehicles, self._slot = vehicles, slot

    def __getitem__(self, name: str) -> Any:
        return self._vehicles[name][self._slot].item()

    def set(self, **values: Any) -> None:
        for name, value in values.items():
            self._vehicles[name][self._slot] = value


def _go_on(view: _View, row: _Row) -> Iterator[Finding]:
    """A report newer than all before it."""
    newest_ns = view["newest_ns"]
    if newest_ns == NEVER:
        view.set(first_ns=row.at_ns)
    elif row.at_ns - newest_ns > LIMIT_NS and view["was_driving"]:
        if view["gap_from_ns"] != NEVER:
            text = "A newer gap is watched; this one was not closed."
            yield _period(view, row, "clear", text)
        view.set(gap_from_ns=newest_ns, gap_front_ns=newest_ns, gap_to_ns=row.at_ns)
        gap_s = (row.at_ns - newest_ns) / NS_PER_S
        text = f"No report for {gap_s:.0f} s while driving; every {PERIOD_S} s are agreed."
        yield _period(view, row, "raise", text)
    yield from _follow_alarm(view, row)
    passed = (row.at_ns - newest_ns) // NS_PER_S if newest_ns != NEVER else WINDOW_S
    recent = view["recent"] << passed if passed <= WINDOW_S else 0
    recent = (recent | 1) & ((1 << (WINDOW_S + 1)) - 1)
    view.set(newest_ns=row.at_ns, was_driving=row.is_driving, recent=recent)


def _follow_alarm(view: _View, row: _Row) -> Iterator[Finding]:
    is_alarm = row.level >= ALARM_LEVEL
    if is_alarm and not view["was_alarm"]:
        if view["is_told"]:
            text = "A newer alarm is watched; this window stayed incomplete."
            yield _window(view, row, "clear", text)
        view.set(alarm_ns=row.at_ns, seconds=_before(view, row.at_ns), is_told=False)
    view.set(was_alarm=is_alarm)
    _mark(view, row.at_ns)
    alarm_ns = view["alarm_ns"]
    if alarm_ns != NEVER and row.at_ns - alarm_ns >= VERDICT_NS and not view["is_told"]:
        n_missing = _missing(view)
        if n_missing:
            view.set(is_told=True)
            text = f"{n_missing} seconds around an alarm of level {ALARM_LEVEL} did not arrive."
            yield _window(view, row, "raise", text)
        else:
            view.set(alarm_ns=NEVER)


def _before(view: _View, alarm_ns: int) -> int:
    """Bits of the seconds before the onset that have come already."""
    newest_ns, recent, bits = view["newest_ns"], view["recent"], 0
    if newest_ns == NEVER:
        return 0
    for back in range(WINDOW_S + 1):
        second = (newest_ns - alarm_ns) // NS_PER_S - back + WINDOW_S
        if recent >> back & 1 and 0 <= second < WINDOW_S:
            bits |= 1 << second
    return bits


def _mark(view: _View, at_ns: int) -> bool:
    """Note a report that falls into the alarm's window."""
    alarm_ns = view["alarm_ns"]
    if alarm_ns == NEVER:
        return False
    second = (at_ns - alarm_ns) // NS_PER_S + WINDOW_S
    if not 0 <= second <= 2 * WINDOW_S:
        return False
    view.set(seconds=view["seconds"] | 1 << second)
    return True


def _missing(view: _View) -> int:
    """Seconds of the window that are not there, from the vehicle's first report on."""
    from_s = max(0, WINDOW_S - (view["alarm_ns"] - view["first_ns"]) // NS_PER_S)
    expected = WHOLE >> from_s << from_s
    return int(expected & ~view["seconds"]).bit_count()


def _fill(view: _View, row: _Row) -> Iterator[Finding]:
    """A report that came behind a newer one: it may close a gap or complete a window."""
    front_ns, to_ns = view["gap_front_ns"], view["gap_to_ns"]
    if view["gap_from_ns"] != NEVER and front_ns < row.at_ns < to_ns:
        if row.at_ns - front_ns <= LIMIT_NS:
            view.set(gap_front_ns=row.at_ns)
        if to_ns - view["gap_front_ns"] <= LIMIT_NS:
            yield _period(view, row, "clear", "Re-issued reports have closed the gap.")
            view.set(gap_from_ns=NEVER, gap_front_ns=NEVER, gap_to_ns=NEVER)
    if _mark(view, row.at_ns) and view["is_told"] and _missing(view) == 0:
        yield _window(view, row, "clear", "Re-issued reports have completed the window.")
        view.set(alarm_ns=NEVER, is_told=False)


def _period(view: _View, row: _Row, phase: Phase, text: str) -> Finding:
    from_ns, to_ns = view["gap_from_ns"], view["gap_to_ns"]
    evidence = {
        "gap_s": round((to_ns - from_ns) / NS_PER_S, 1),
        "limit_s": PERIOD_S + SLACK_S,
        "span_started_at": iso_from_ns(from_ns),
        "span_ended_at": iso_from_ns(to_ns),
    }
    return _finding(view, row, phase, "period", from_ns, {"text": text, **evidence})


def _window(view: _View, row: _Row, phase: Phase, text: str) -> Finding:
    alarm_ns = view["alarm_ns"]
    evidence = {
        "missing_seconds": _missing(view),
        "expected_seconds": 2 * WINDOW_S + 1,
        "span_started_at": iso_from_ns(alarm_ns - WINDOW_S * NS_PER_S),
        "span_ended_at": iso_from_ns(alarm_ns + WINDOW_S * NS_PER_S),
    }
    return _finding(view, row, phase, "alarm_window", alarm_ns, {"text": text, **evidence})


def _finding(
    view: _View, row: _Row, phase: Phase, component: str, started_ns: int, evidence: Any
) -> Finding:
    """At the newest report known: what is re-issued is old, what it changes is now."""
    newest_ns = view["newest_ns"]
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=row.vin,
        component=component,
        at_ns=max(row.at_ns, newest_ns),
        started_at_ns=started_ns,
        severity=Severity.INFO,
        evidence=evidence,
        is_late=row.is_late and row.at_ns > newest_ns,
    )


PLUGIN: Detector = NationalReporting()
