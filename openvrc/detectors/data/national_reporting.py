"""`data.national_reporting`: a vehicle does not report as GB/T 32960.3 asks (annex B).

| component | raised when | cleared when |
|---|---|---|
| `period` | a driving vehicle's next report comes later than agreed | one comes in time again |
| `back_fill` | 10 min after such a gap ended it is not filled | re-issues have filled all gaps |
| `alarm_window` | 90 s after its onset a second around an alarm is missing | re-issues bring it |

Only frames of that protocol are looked at: those with `quality_bits`. The period is what the
vehicle's newest `vehicle_profile` agrees (`report_period_s`), else 30 s; 2 s are the terminal's to
be late. The window is the 30 s before and after the onset of level 3 or higher; a second is there
if a report falls into it, and none before the vehicle's first report is asked for. Six gaps and
three windows of a vehicle are waited for at a time, a week each (2025; three days in 2016): what is
older or more is given up, and evidence counts it. Rows that come behind newer ones are what this
rule waits for, so it reads them in order of admission; an alarm that itself is re-issued opens no
window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import column_of
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.messages.record import LATE_IN_SUBJECT, LATE_IN_ZONE
from openvrc.contracts.units import ABSENT_I64, NS_PER_S, iso_from_ns
from openvrc.detectors.data.reporting_episodes import (
    FIELDS,
    NEVER,
    WINDOW_S,
    Gap,
    View,
    Window,
    gaps_of,
    keep_gaps,
    keep_windows,
    windows_of,
)
from openvrc.detectors.keyed import Keyed

PERIOD_S, SLACK_S = 30.0, 2.0
FILLED_AFTER_NS = 600 * NS_PER_S
"""Re-issues go out when the terminal has time for them."""
VERDICT_NS = 90 * NS_PER_S
"""After the onset: the window itself, and a minute for the re-issue of what was before."""
GIVEN_UP_NS = 7 * 86_400 * NS_PER_S
ALARM_LEVEL = 3
_PSEUDONYM = column_of("battery_state", "id_kind").values.index("pseudonym")

RULE = Rule(
    name="data.national_reporting",
    title="Vehicle does not report as GB/T 32960.3 asks",
    meaning="Reports of a driving vehicle are further apart than agreed, what a lost link held "
    "back was not re-issued, or the seconds around a level-3 alarm did not all arrive.",
    advice="Check the terminal's link and its store; a regulator asks for these data.",
    pending_for_s=0.0,
    recovering_for_s=0.0,
    actionable_for_s=604_800.0,  # a terminal may back-fill for a week
)

_FIELDS: dict[str, tuple[Any, Any]] = {
    **FIELDS,
    "period_s": (np.float64, PERIOD_S),
    "agreed_ns": (np.int64, NEVER),
    "first_ns": (np.int64, NEVER),
    "newest_ns": (np.int64, NEVER),
    "was_driving": (np.bool_, False),
    "recent": (np.int64, 0),  # bit s: a report s seconds before the newest
    "late_from_ns": (np.int64, NEVER),  # where reports began to come too late
    "late_gaps": (np.int64, 0),
    "longest_ns": (np.int64, 0),
    "unfilled_from_ns": (np.int64, NEVER),  # `back_fill` is raised since
    "was_alarm": (np.bool_, False),
    "missed_from_ns": (np.int64, NEVER),  # `alarm_window` is raised since
    "due_ns": (np.int64, np.iinfo(np.int64).max),  # when a verdict is due
}


@dataclass
class State:
    """Per vehicle: its newest report, gaps and alarm windows."""

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
    inputs: tuple[str, ...] = ("battery_state", "vehicle_profile")
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames of the protocol, one by one: they are few, one in 30 s a vehicle."""
        if batch.message == "vehicle_profile":
            _agree(state.vehicles, batch)
            return state, []
        wanted = batch.column("quality_bits") != ABSENT_I64
        wanted &= batch.column("id_kind") != _PSEUDONYM
        rows = np.flatnonzero(wanted)
        rows = rows[~_are_further_packs(batch)[rows]]
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
            view = View(state.vehicles, slot)
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


def _are_further_packs(batch: Batch) -> npt.NDArray[np.bool_]:
    """(n_rows,) rows of packs 2, 3, ..., which come with their vehicle's own row."""
    words, place = batch.used_words("subject_id")
    marks: npt.NDArray[np.bool_] = np.array(["#" in word for word in words.to_list()], np.bool_)[
        place
    ]
    return marks


def _agree(vehicles: Keyed, batch: Batch) -> None:
    """The newest profile that states a period."""
    periods_s = batch.column("report_period_s")
    rows = np.flatnonzero(~np.isnan(periods_s))
    if not len(rows):
        return
    slots = vehicles.batch_slots(batch.take(rows))
    times_ns = batch.column("sampled_at_ns")[rows]
    for slot, at_ns, period_s in zip(slots.tolist(), times_ns.tolist(), periods_s[rows].tolist(),
                                     strict=True):  # fmt: skip
        if at_ns >= vehicles["agreed_ns"][slot]:
            View(vehicles, slot).set(agreed_ns=at_ns, period_s=period_s)


def _limit_ns(view: View) -> int:
    period_s: float = view["period_s"]
    return round((period_s + SLACK_S) * NS_PER_S)


def _go_on(view: View, row: _Row) -> Iterator[Finding]:
    """A report newer than all before it."""
    newest_ns = view["newest_ns"]
    if newest_ns == NEVER:
        view.set(first_ns=row.at_ns)
    elif row.at_ns - newest_ns > _limit_ns(view) and view["was_driving"]:
        yield _too_late(view, row)
    elif view["late_from_ns"] != NEVER:
        yield _period(view, row, "clear", "A report came in time again.")
        view.set(late_from_ns=NEVER, late_gaps=0, longest_ns=0)
    _follow_alarm(view, row)
    passed = (row.at_ns - newest_ns) // NS_PER_S if newest_ns != NEVER else WINDOW_S
    recent = view["recent"] << passed if passed <= WINDOW_S else 0
    recent = (recent | 1) & ((1 << (WINDOW_S + 1)) - 1)
    view.set(newest_ns=row.at_ns, was_driving=row.is_driving, recent=recent)
    if row.at_ns >= view["due_ns"]:
        yield from _judge(view, row)


def _too_late(view: View, row: _Row) -> Finding:
    newest_ns = view["newest_ns"]
    gap_ns = row.at_ns - newest_ns
    if view["late_from_ns"] == NEVER:
        view.set(late_from_ns=newest_ns)
    n_gaps, longest_ns = view["late_gaps"] + 1, max(gap_ns, view["longest_ns"])
    view.set(late_gaps=n_gaps, longest_ns=longest_ns)
    keep_gaps(view, [*gaps_of(view), Gap(newest_ns, row.at_ns, newest_ns, row.at_ns)])
    _plan(view)
    text = f"No report for {gap_ns / NS_PER_S:.0f} s while driving"
    text += f"; every {view['period_s']:g} s are agreed."
    return _period(view, row, "raise", text)


def _follow_alarm(view: View, row: _Row) -> None:
    is_alarm = row.level >= ALARM_LEVEL
    windows = windows_of(view)
    if is_alarm and not view["was_alarm"]:
        windows.append(Window(row.at_ns, view["first_ns"], _before(view, row.at_ns)))
    view.set(was_alarm=is_alarm)
    if windows:
        for window in windows:
            window.take(row.at_ns)
        keep_windows(view, windows)
        _plan(view)


def _before(view: View, alarm_ns: int) -> int:
    """Bits of the seconds before the onset that have come already."""
    newest_ns, recent, bits = view["newest_ns"], view["recent"], 0
    if newest_ns == NEVER:
        return 0
    for back in range(WINDOW_S + 1):
        second = (newest_ns - alarm_ns) // NS_PER_S - back + WINDOW_S
        if recent >> back & 1 and 0 <= second < WINDOW_S:
            bits |= 1 << second
    return bits


def _plan(view: View) -> None:
    """When the next verdict is due."""
    now_ns = view["newest_ns"]
    times = [_next(gap.to_ns, FILLED_AFTER_NS, now_ns) for gap in gaps_of(view)]
    times += [_next(window.alarm_ns, VERDICT_NS, now_ns) for window in windows_of(view)]
    view.set(due_ns=min(times, default=np.iinfo(np.int64).max))


def _next(from_ns: int, verdict_ns: int, now_ns: int) -> int:
    return from_ns + (verdict_ns if now_ns < from_ns + verdict_ns else GIVEN_UP_NS)


def _judge(view: View, row: _Row) -> Iterator[Finding]:
    """Gaps and windows whose time is over, and those that nothing can complete any more."""
    at_ns = row.at_ns
    gaps = [gap for gap in gaps_of(view) if at_ns - gap.to_ns < GIVEN_UP_NS]
    lost = len(gaps_of(view)) - len(gaps)
    view.set(lost_gaps=view["lost_gaps"] + lost)
    keep_gaps(view, gaps)
    yield from _tell_gaps(view, row, "What is missing is too old to be re-issued.")
    windows, n_old = [], 0
    for window in windows_of(view):
        if at_ns - window.alarm_ns >= GIVEN_UP_NS:
            n_old += 1
        elif window.missing or at_ns - window.alarm_ns < VERDICT_NS:
            windows.append(window)
    view.set(lost_windows=view["lost_windows"] + n_old)
    keep_windows(view, windows)
    yield from _tell_windows(view, row, "What is missing is too old to be re-issued.")
    _plan(view)


def _fill(view: View, row: _Row) -> Iterator[Finding]:
    """A report that came behind a newer one: it may close a gap or complete a window."""
    gaps = gaps_of(view)
    left = [gap for gap in gaps if not gap.take(row.at_ns, _limit_ns(view))]
    windows = windows_of(view)
    for window in windows:
        window.take(row.at_ns)
    if gaps:
        keep_gaps(view, left)
        if len(left) < len(gaps):
            yield from _tell_gaps(view, row, "Re-issued reports have filled the gaps.")
    if windows:
        is_due = [view["newest_ns"] - window.alarm_ns >= VERDICT_NS for window in windows]
        kept = [w for w, due in zip(windows, is_due, strict=True) if w.missing or not due]
        keep_windows(view, kept)
        if len(kept) < len(windows):
            yield from _tell_windows(view, row, "Re-issued reports have completed the windows.")
    if gaps or windows:
        _plan(view)


def _tell_gaps(view: View, row: _Row, closed: str) -> Iterator[Finding]:
    """Raise, update or clear `back_fill`."""
    now_ns = max(row.at_ns, view["newest_ns"])
    overdue = [gap for gap in gaps_of(view) if now_ns - gap.to_ns >= FILLED_AFTER_NS]
    if not overdue:
        if view["unfilled_from_ns"] != NEVER:
            yield _back_fill(view, row, "clear", overdue, closed)
            view.set(unfilled_from_ns=NEVER, lost_gaps=0)
        return
    if view["unfilled_from_ns"] == NEVER:
        view.set(unfilled_from_ns=overdue[0].from_ns)
    missing_s = sum(gap.missing_s for gap in overdue)
    text = f"{len(overdue)} gaps of {missing_s:.0f} s in all were not re-issued"
    text += f" {FILLED_AFTER_NS // NS_PER_S} s after reports came again."
    yield _back_fill(view, row, "raise", overdue, text)


def _tell_windows(view: View, row: _Row, closed: str) -> Iterator[Finding]:
    """Raise, update or clear `alarm_window`."""
    now_ns = max(row.at_ns, view["newest_ns"])
    overdue = [w for w in windows_of(view) if now_ns - w.alarm_ns >= VERDICT_NS and w.missing]
    if not overdue:
        if view["missed_from_ns"] != NEVER:
            yield _window(view, row, "clear", overdue, closed)
            view.set(missed_from_ns=NEVER, lost_windows=0)
        return
    if view["missed_from_ns"] == NEVER:
        view.set(missed_from_ns=overdue[0].alarm_ns)
    n_missing = sum(window.missing for window in overdue)
    text = f"{n_missing} seconds around {len(overdue)} alarms of level {ALARM_LEVEL} or higher"
    yield _window(view, row, "raise", overdue, text + " did not arrive.")


def _period(view: View, row: _Row, phase: Phase, text: str) -> Finding:
    from_ns = view["late_from_ns"]
    evidence = {
        "gaps": view["late_gaps"],
        "longest_gap_s": round(view["longest_ns"] / NS_PER_S, 1),
        "agreed_s": view["period_s"],
        "limit_s": view["period_s"] + SLACK_S,
        "span_started_at": iso_from_ns(from_ns),
        "span_ended_at": iso_from_ns(row.at_ns),
    }
    return _finding(view, row, phase, "period", from_ns, {"text": text, **evidence})


def _back_fill(view: View, row: _Row, phase: Phase, gaps: list[Gap], text: str) -> Finding:
    from_ns = view["unfilled_from_ns"]
    evidence = {
        "missing_s": round(sum(gap.missing_s for gap in gaps), 1),
        "limit_s": view["period_s"] + SLACK_S,
        "gaps": [[iso_from_ns(gap.front_ns), iso_from_ns(gap.back_ns)] for gap in gaps],
        "gaps_given_up": view["lost_gaps"],
        "span_started_at": iso_from_ns(from_ns),
        "span_ended_at": iso_from_ns(gaps[-1].to_ns if gaps else max(row.at_ns, from_ns)),
    }
    return _finding(view, row, phase, "back_fill", from_ns, {"text": text, **evidence})


def _window(view: View, row: _Row, phase: Phase, windows: list[Window], text: str) -> Finding:
    from_ns = view["missed_from_ns"]
    edge_ns = WINDOW_S * NS_PER_S
    evidence = {
        "missing_seconds": sum(window.missing for window in windows),
        "expected_seconds": 2 * WINDOW_S + 1,
        "alarms": [iso_from_ns(window.alarm_ns) for window in windows],
        "windows_given_up": view["lost_windows"],
        "span_started_at": iso_from_ns(from_ns - edge_ns),
        "span_ended_at": iso_from_ns((windows[-1].alarm_ns if windows else from_ns) + edge_ns),
    }
    return _finding(view, row, phase, "alarm_window", from_ns, {"text": text, **evidence})


def _finding(
    view: View, row: _Row, phase: Phase, component: str, started_ns: int, evidence: Any
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
