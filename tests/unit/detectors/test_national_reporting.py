"""`data.national_reporting`: periods kept, windows complete, back-fill that closes gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openvrc.contracts.detection import Finding
from openvrc.contracts.messages.record import LATE_IN_SUBJECT
from openvrc.detectors.data.national_reporting import PLUGIN
from tests.support.battery_frames import fold, frames


def reports(times_s: Sequence[float], **columns: Any) -> Any:
    """Reports of the protocol; `quality_bits` says that they are."""
    shown = {"quality_bits": 0, "vehicle_speed_mps": 10.0, "bms_alarm_level": 0}
    return frames(list(times_s), **(shown | columns))


def late(times_s: Sequence[float]) -> Any:
    return reports(times_s, lateness=LATE_IN_SUBJECT)


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(f.component, f.phase) for f in findings]


def test_a_report_every_30_seconds_is_fine() -> None:
    assert fold(PLUGIN, reports(range(0, 600, 30))) == []


def test_a_gap_while_driving_is_raised_and_closed_by_a_complete_back_fill() -> None:
    (gap,) = fold(PLUGIN, reports([0, 30, 150]))
    assert (gap.component, gap.phase, gap.evidence["gap_s"]) == ("period", "raise", 120.0)
    live = reports([0, 30, 150, 180])
    assert told(fold(PLUGIN, live, late([60, 90]))) == [("period", "raise")]
    assert told(fold(PLUGIN, live, late([60, 90, 120]))) == [
        ("period", "raise"),
        ("period", "clear"),
    ]
    assert told(fold(PLUGIN, live, late([60, 120]))) == [("period", "raise")]


def test_a_parked_vehicle_and_other_protocols_may_be_silent() -> None:
    assert fold(PLUGIN, reports([0, 30, 900], vehicle_speed_mps=0.0)) == []
    assert fold(PLUGIN, reports([0, 30, 900], quality_bits=None)) == []


def alarm(live_s: Sequence[float], alarm_s: Sequence[float]) -> Any:
    times = sorted([*live_s, *alarm_s])
    return reports(times, bms_alarm_level=[3 if at in alarm_s else 0 for at in times])


LIVE_S = [0, 30, 60, *range(75, 101), 130, 160, 190]
ONSET_S = [70, 71, 72, 73, 74]


def test_a_complete_window_around_an_alarm_is_fine() -> None:
    before = late([s for s in range(40, 70) if s != 60])
    first, rest = alarm([0, 30, 60], ONSET_S), reports([s for s in LIVE_S if s > 74])
    assert fold(PLUGIN, first, before, rest) == []


def test_a_window_without_its_half_before_is_raised_until_it_comes() -> None:
    live = alarm(LIVE_S, ONSET_S)
    (missing,) = fold(PLUGIN, live)
    assert (missing.component, missing.phase) == ("alarm_window", "raise")
    assert missing.evidence["missing_seconds"] == 29  # 40 to 69 but for the report at 60
    before = [s for s in range(40, 70) if s != 60]
    assert told(fold(PLUGIN, live, late(before[:-1]))) == [("alarm_window", "raise")]
    assert told(fold(PLUGIN, live, late(before))) == [
        ("alarm_window", "raise"),
        ("alarm_window", "clear"),
    ]


def test_seconds_before_the_first_report_are_not_asked_for() -> None:
    times = [*range(31), 60, 90]
    batch = reports(times, bms_alarm_level=[3 if at < 5 else 0 for at in times])
    assert fold(PLUGIN, batch) == []
