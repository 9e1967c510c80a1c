"""Remaining life holds the truth for every exponent between its two."""

from __future__ import annotations

import pytest

from openvrc.detectors.battery_health.remaining_life import remaining_life


@pytest.mark.parametrize("exponent", [0.5, 0.65, 0.8, 1.0])
@pytest.mark.parametrize("odometer_m", [4e7, 1e8, 1.5e8])
def test_the_interval_holds_the_end_of_packs_that_fade_by_a_power_of_use(
    exponent: float, odometer_m: float
) -> None:
    end_m = 3e8
    soh = 1.0 - 0.2 * (odometer_m / end_m) ** exponent
    life = remaining_life(soh - 0.015, soh + 0.015, odometer_m, 5e6, 100.0)
    assert life.low_m is not None
    assert life.low_m <= end_m - odometer_m
    assert life.high_m is None or life.high_m >= end_m - odometer_m
    assert life.low_days == pytest.approx(life.low_m / 5e4)


def test_a_pack_past_its_end_has_nothing_left() -> None:
    life = remaining_life(0.70, 0.78, 1e8, 5e6, 100.0)
    assert (life.low_m, life.high_m) == (0.0, 0.0)


def test_next_to_no_loss_bounds_nothing() -> None:
    life = remaining_life(0.96, 1.01, 2e7, 5e6, 100.0)
    assert life.low_m is not None
    assert life.high_m is None


def test_without_an_interval_or_an_odometer_nothing_is_told() -> None:
    assert remaining_life(None, None, 1e8, 5e6, 100.0).low_m is None
    assert remaining_life(0.85, 0.9, None, None, 100.0).low_m is None


def test_a_few_days_tell_no_pace() -> None:
    life = remaining_life(0.85, 0.9, 1e8, 2e5, 3.0)
    assert life.low_m is not None
    assert life.low_days is None
