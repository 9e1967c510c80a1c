"""Typical days and what is unusual beside them."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.traffic.typical import Typical, judge, typical

MONDAY, TUESDAY, SATURDAY, SUNDAY = 1, 2, 6, 7


def found(speeds: list[float], weekdays: list[int], weekday: int) -> Typical:
    told = typical(np.array(speeds), np.array(weekdays, np.int64), weekday)
    assert told is not None
    return told


def test_days_of_the_weekday_alone_count_where_there_are_three() -> None:
    told = found([10, 11, 12, 2, 2, 2], [MONDAY] * 3 + [TUESDAY] * 3, MONDAY)
    assert (told.basis, told.days, told.speed_mps) == ("weekday", 3, 11.0)


def test_working_days_and_weekends_stand_in_for_a_weekday_of_few_days() -> None:
    speeds = [10.0, 11.0, 12.0, 20.0, 21.0, 22.0]
    weekdays = [MONDAY, TUESDAY, TUESDAY, SATURDAY, SUNDAY, SUNDAY]
    assert found(speeds, weekdays, MONDAY)[:3] == ("working_days", 3, 11.0)
    assert found(speeds, weekdays, SATURDAY)[:3] == ("weekends", 3, 21.0)


def test_two_days_are_not_typical_of_anything() -> None:
    assert typical(np.array([10.0, 11.0]), np.array([MONDAY, TUESDAY]), MONDAY) is None
    assert typical(np.empty(0), np.empty(0, np.int64), MONDAY) is None


def test_one_day_with_an_incident_does_not_become_typical() -> None:
    told = found([12.0, 11.5, 0.8, 12.5, 12.2], [MONDAY] * 5, MONDAY)
    assert told.speed_mps == 12.0
    assert judge(told, 4.0, 0.5).is_unusual


def test_a_speed_of_few_vehicles_must_lie_further_off() -> None:
    told = found([12.0] * 8, [MONDAY] * 8, MONDAY)
    assert judge(told, 6.0, 0.5).is_unusual
    assert not judge(told, 6.0, 3.0).is_unusual


def test_faster_is_unusual_too_and_small_differences_never_are() -> None:
    told = found([3.0, 3.1, 2.9, 3.0, 3.0, 3.1, 2.9, 3.0], [MONDAY] * 8, MONDAY)
    fast = judge(told, 9.0, 0.3)
    assert fast.is_unusual
    assert fast.score > 3.0
    assert fast.ratio == pytest.approx(3.0, abs=0.1)
    assert not judge(told, 2.5, 0.0).is_unusual


def test_standing_traffic_is_judged_without_infinities() -> None:
    told = found([0.0, 0.0, 0.0], [MONDAY] * 3, MONDAY)
    assert not judge(told, 0.0, 0.0).is_unusual
    assert judge(told, 10.0, 0.2).is_unusual


@pytest.mark.parametrize("n_days", [3, 8])
def test_days_like_the_others_are_seldom_unusual(n_days: int) -> None:
    """Log-normal days as spread out as is believed beforehand: at most two of a hundred."""
    rng = np.random.default_rng(4)
    days = 10.0 * np.exp(0.2 * rng.standard_normal((200, n_days + 1)))
    usual = [(found(row[:-1].tolist(), [MONDAY] * n_days, MONDAY), row[-1]) for row in days]
    assert sum(judge(told, float(now_mps), 0.3).is_unusual for told, now_mps in usual) <= 4
