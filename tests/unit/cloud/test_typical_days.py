"""Quarters of an hour of the week, in a zone's own time."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from cloud.store.reads import SeenQuarter
from cloud.typical_days import days_by_time, same_quarters, typical_of, zone_info
from openvrc.contracts.units import ns_from_iso

BERLIN = ZoneInfo("Europe/Berlin")


def seen(at: str, vehicle_s: float = 10.0, distance_m: float = 100.0) -> SeenQuarter:
    return SeenQuarter("a", datetime.fromisoformat(at), vehicle_s, distance_m)


def test_the_same_quarter_of_days_before_is_that_of_the_clock_on_the_wall() -> None:
    """Clocks went forward on Sunday, 29 March 2026: 07:30 was 06:30 UTC before and 05:30 behind."""
    slot, starts = same_quarters(ns_from_iso("2026-03-31T05:40:00Z"), BERLIN, weeks=1)
    assert slot == (2, 7 * 60 + 30)
    assert [at.astimezone(UTC).isoformat()[:16] for at in starts] == [
        "2026-03-30T05:30", "2026-03-27T06:30", "2026-03-26T06:30", "2026-03-25T06:30",
        "2026-03-24T06:30",
    ]  # fmt: skip


def test_a_weekend_is_compared_with_weekends() -> None:
    _, starts = same_quarters(ns_from_iso("2026-05-09T10:00:00Z"), BERLIN, weeks=2)
    assert {at.isoweekday() for at in starts} == {6, 7}
    assert len(starts) == 4


def test_an_hour_that_comes_twice_is_one_quarter_of_the_day() -> None:
    """25 October 2026: 02:15 is at 00:15 and at 01:15 UTC."""
    quarters = [seen("2026-10-25T00:15:00+00:00"), seen("2026-10-25T01:15:00+00:00", 30.0, 20.0)]
    assert days_by_time(quarters, BERLIN) == {135: [(date(2026, 10, 25), 40.0, 120.0)]}


def test_a_local_day_begins_at_its_own_midnight() -> None:
    days = days_by_time([seen("2026-01-05T22:45:00+00:00"), seen("2026-01-05T23:00:00Z")], BERLIN)
    assert {minute: day[0].local_date.day for minute, day in days.items()} == {1425: 5, 0: 6}


def test_who_only_grazed_a_segment_makes_no_day_of_it() -> None:
    assert days_by_time([seen("2026-01-05T10:00:00+00:00", 1.0, 10.0)], BERLIN) == {}


def test_metres_come_with_the_days_that_were_chosen() -> None:
    quarters = [seen(f"2026-01-{day:02}T08:00:00+00:00", 10.0, 100.0 + day) for day in range(5, 12)]
    (days,) = days_by_time(quarters, BERLIN).values()
    told = typical_of(days, 3)
    assert told is not None
    usual, driven_m = told
    assert (usual.basis, usual.days) == ("working_days", 5)
    assert driven_m.tolist() == [105.0, 106.0, 107.0, 108.0, 109.0]


def test_a_time_zone_that_nobody_knows_is_utc() -> None:
    assert zone_info("Mars/Olympus").key == "UTC"
