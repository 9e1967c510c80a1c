"""battery.insulation: ohm per volt, debounced, and instruments that say "at least"."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.contracts.detection import Finding
from openvrc.detectors.battery.insulation import PLUGIN, SATURATED_OHM
from tests.support.battery_frames import T0_NS, fold, frames, phases
from tests.support.fleet_csv import recording

PACK_V = 400.0


def insulation(values_ohm: Any, step_s: float = 10.0, **columns: Any) -> list[Finding]:
    values = np.asarray(values_ohm, float)
    columns = {"pack_voltage_v": PACK_V} | columns
    t = np.arange(len(values)) * step_s
    return fold(PLUGIN, frames(t, insulation_ohm=values, **columns))


def test_three_low_frames_raise_at_the_limits_of_ohm_per_volt() -> None:
    assert phases(insulation([2e6] + [499 * PACK_V] * 3)) == [("raise", "warning")]
    assert phases(insulation([2e6] + [99 * PACK_V] * 3)) == [("raise", "serious")]
    assert insulation([2e6] + [501 * PACK_V] * 30) == []


def test_the_episode_starts_with_the_first_low_frame() -> None:
    found = fold(
        PLUGIN,
        frames(
            np.arange(6) * 10.0, insulation_ohm=[2e6, 2e6, 3e4, 3e4, 3e4, 3e4], pack_voltage_v=400
        ),
    )
    assert (found[0].started_at_ns - T0_NS, found[0].at_ns - T0_NS) == (20e9, 40e9)


def test_two_low_frames_while_contactors_switch_raise_nothing() -> None:
    assert insulation([2e6, 2e6, 1e4, 1e4, 2e6] * 10) == []


def test_fast_frames_need_five_seconds() -> None:
    assert insulation([2e6] + [1e4] * 40 + [2e6] * 5, step_s=0.1) == []


def test_a_missing_value_neither_confirms_nor_resets() -> None:
    assert len(insulation([2e6, 1e4, np.nan, 1e4, np.nan])) == 0
    assert len(insulation([2e6, 1e4, np.nan, 1e4, np.nan, 1e4])) == 1


def test_noise_around_the_limit_does_not_flap() -> None:
    values = 500 * PACK_V * (1 + 0.15 * np.random.default_rng(0).uniform(-1, 1, 500))
    assert len(insulation(values)) <= 1


def test_it_gets_serious_and_comes_back_over_the_limit_with_margin() -> None:
    ramp = [2e6] + [1e5] * 4 + [2e4] * 4 + [1e5] * 4 + [550 * PACK_V] * 4 + [650 * PACK_V] * 4
    assert phases(insulation(ramp)) == [
        ("raise", "warning"),
        ("raise", "serious"),
        ("raise", "warning"),
        ("clear", "warning"),
    ]


@pytest.mark.parametrize("value_ohm", SATURATED_OHM)
def test_top_of_range_readings_are_no_measurement(value_ohm: float) -> None:
    assert insulation([value_ohm] * 50) == []


def test_a_channel_that_only_says_zero_is_not_fitted() -> None:
    assert insulation([0.0] * 50) == []


def test_zero_of_a_living_channel_is_a_short_to_the_chassis() -> None:
    assert phases(insulation([2e6] + [0.0] * 5)) == [("raise", "serious")]


def test_without_a_pack_voltage_the_cells_are_summed() -> None:
    cells = np.full((5, 100), 4.0)
    found = insulation([2e6] + [450 * PACK_V] * 4, pack_voltage_v=np.nan, cell_voltages_v=cells)
    assert phases(found) == [("raise", "warning")]


def test_without_any_voltage_nothing_is_said() -> None:
    assert insulation([2e6] + [1e3] * 9, pack_voltage_v=np.nan) == []


@pytest.mark.parametrize("car", ["car1", "car3"])
def test_real_cars_with_sound_insulation_raise_nothing(car: str) -> None:
    assert fold(PLUGIN, *recording(car)) == []
