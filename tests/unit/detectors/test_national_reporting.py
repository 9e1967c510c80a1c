"""`data.national_reporting`: periods kept, windows complete, back-fill that closes gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from openvrc.contracts.batch import from_columns
from openvrc.contracts.detection import Finding
from openvrc.contracts.messages.record import LATE_IN_SUBJECT
from openvrc.detectors.data.national_reporting import PLUGIN
from tests.support.battery_frames import fold, frames, seconds_ns


def reports(times_s: Sequence[float], **columns: Any) -> Any:
    """Reports of the protocol; `quality_bits` says that they are."""
    shown = {"quality_bits": 0, "vehicle_speed_mps": 10.0, "bms_alarm_level": 0}
    return frames(list(times_s), **(shown | columns))


def profile(period_s: float, at_s: float = 0.0) -> Any:
    """What was agreed with the vehicle."""
    return from_columns(
        "vehicle_profile",
        zone="z",
        run_id="r",
        origin="simulated",
        n_rows=1,
        columns={
            "source_id": "ev",
            "subject_id": "ev",
            "id_kind": "permanent",
            "sampled_at_ns": seconds_ns([at_s]),
            "report_period_s": period_s,
        },
    )


def late(times_s: Sequence[float]) -> Any:
    return reports(times_s, lateness=LATE_IN_SUBJECT)


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(f.component, f.phase) for f in findings]


def test_a_report_every_30_seconds_is_fine() -> None:
    assert fold(PLUGIN, reports(range(0, 600, 30))) == []


def test_a_gap_while_driving_is_raised_and_over_with_the_next_report_in_time() -> None:
    live = reports([0, 30, 150, 180])
    gap, again = fold(PLUGIN, live)
    assert (gap.component, gap.phase, gap.evidence["longest_gap_s"]) == ("period", "raise", 120.0)
    assert (again.component, again.phase) == ("period", "clear")
    assert gap.started_at_ns == again.started_at_ns


def test_several_late_reports_in_a_row_are_one_episode_that_tells_the_longest() -> None:
    found = fold(PLUGIN, reports([0, 60, 300, 360, 390]))
    assert told(found) == [("period", "raise")] * 3 + [("period", "clear")]
    assert len({finding.started_at_ns for finding in found}) == 1
    assert (found[2].evidence["gaps"], found[2].evidence["longest_gap_s"]) == (3, 240.0)


@pytest.mark.parametrize("agreed_s", [10.0, 60.0])
def test_the_agreed_period_counts_and_not_the_standards(agreed_s: float) -> None:
    in_time, late_s = [0, agreed_s, 2 * agreed_s], [0, agreed_s, 2 * agreed_s + 5]
    agreed = profile(agreed_s)
    assert fold(PLUGIN, agreed, reports(in_time)) == []
    (gap,) = fold(PLUGIN, agreed, reports(late_s))
    assert (gap.evidence["agreed_s"], gap.evidence["limit_s"]) == (agreed_s, agreed_s + 2)
    assert fold(PLUGIN, agreed, profile(30.0, at_s=1.0), reports([2, 32, 62])) == []


LONG_S = [0, 30, 150, *range(180, 1000, 30)]


def back_fill(*batches: Any) -> list[Finding]:
    return [f for f in fold(PLUGIN, *batches) if f.component == "back_fill"]


@pytest.mark.parametrize("order", [[60, 90, 120], [120, 90, 60], [60, 120, 90]])
def test_a_gap_that_is_filled_is_no_finding_in_whatever_order(order: list[int]) -> None:
    assert told(back_fill(reports(LONG_S))) == [("back_fill", "raise")]
    first, rest = reports(LONG_S[:4]), reports(LONG_S[4:])
    assert back_fill(first, *(late([at]) for at in order), rest) == []
    assert told(back_fill(reports(LONG_S), *(late([at]) for at in order))) == [
        ("back_fill", "raise"),
        ("back_fill", "clear"),
    ]


def test_a_gap_that_is_filled_in_part_says_what_is_missing() -> None:
    (finding,) = back_fill(reports(LONG_S[:4]), late([60]), reports(LONG_S[4:]))
    assert finding.evidence["missing_s"] == 90.0
    assert len(finding.evidence["gaps"]) == 1


def test_several_gaps_wait_for_their_back_fill_at_once() -> None:
    live = reports([0, 30, 150, 180, 300, *range(330, 1200, 30)])
    assert told(back_fill(live)) == [("back_fill", "raise")] * 2
    assert back_fill(live)[-1].evidence["missing_s"] == 240.0
    assert len(back_fill(live)[-1].evidence["gaps"]) == 2
    assert told(back_fill(live, late([60, 90, 120])))[2:] == [("back_fill", "raise")]
    assert told(back_fill(live, late([60, 90, 120, 210, 240, 270])))[3:] == [("back_fill", "clear")]


def test_gaps_beyond_a_vehicles_places_and_older_than_a_week_are_given_up_and_counted() -> None:
    many = reports([at for k in range(8) for at in (180 * k, 180 * k + 30)] + [
        *range(1300, 2200, 30)])  # fmt: skip
    last = back_fill(many)[-1]
    assert (len(last.evidence["gaps"]), last.evidence["gaps_given_up"]) == (6, 1)
    week_s = 7 * 86_400
    old = back_fill(reports([*LONG_S, week_s + 200]), late([week_s - 500]))
    assert told(old) == [("back_fill", "raise"), ("back_fill", "clear")]
    assert old[-1].evidence["gaps_given_up"] == 1


def test_a_parked_vehicle_and_other_protocols_and_further_packs_may_be_silent() -> None:
    assert fold(PLUGIN, reports([0, 30, 900], vehicle_speed_mps=0.0)) == []
    assert fold(PLUGIN, reports([0, 30, 900], quality_bits=None)) == []
    assert fold(PLUGIN, reports([0, 30, 900], vehicle="LTESTVEH000000001#2")) == []


def test_two_alarms_are_watched_at_a_time() -> None:
    times = [0, 30, 60, 90, 100, 130, 160, 190, 220, 250]
    levels = [3 if at in (90, 130) else 0 for at in times]
    found = fold(PLUGIN, reports(times, bms_alarm_level=levels, vehicle_speed_mps=0.0))
    assert told(found) == [("alarm_window", "raise")] * 2
    assert len(found[-1].evidence["alarms"]) == 2


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
