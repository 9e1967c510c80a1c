"""battery.over_temperature: levels, rise, hysteresis, and probes that lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.detectors.battery.over_temperature import PLUGIN
from tests.support.battery_frames import T0_NS, fold, frames, phases
from tests.support.fleet_csv import recording

N_PROBES = 8


def probes(times_s: Any, base_degc: float = 30.0) -> Any:
    return np.full((len(times_s), N_PROBES), base_degc)


def test_two_frames_over_the_limit_raise_and_the_first_is_the_start() -> None:
    t = np.arange(0.0, 100.0, 10.0)
    degc = probes(t, 50.0)
    degc[4:, 2] = 56.0
    found = fold(PLUGIN, frames(t, probe_temperatures_degc=degc))
    assert phases(found) == [("raise", "warning")]
    assert found[0].component == "probe:3"
    assert (found[0].started_at_ns - T0_NS, found[0].at_ns - T0_NS) == (40e9, 50e9)


def test_one_hot_frame_of_one_probe_raises_nothing() -> None:
    t = np.arange(0.0, 100.0, 10.0)
    degc = probes(t, 50.0)
    degc[4, 2] = 62.0
    assert fold(PLUGIN, frames(t, probe_temperatures_degc=degc)) == []


def test_two_hot_probes_agree_in_one_frame() -> None:
    t = np.arange(0.0, 100.0, 10.0)
    degc = probes(t, 50.0)
    degc[4:, 2:4] = 56.0
    found = fold(PLUGIN, frames(t, probe_temperatures_degc=degc))
    assert found[0].at_ns == found[0].started_at_ns == T0_NS + 40 * 10**9


def test_a_missing_frame_neither_confirms_nor_resets() -> None:
    t = np.arange(0.0, 100.0, 10.0)
    degc = probes(t, 50.0)
    degc[4:, 2] = 56.0
    degc[5] = np.nan
    found = fold(PLUGIN, frames(t, probe_temperatures_degc=degc))
    assert phases(found) == [("raise", "warning")]
    assert (found[0].started_at_ns - T0_NS, found[0].at_ns - T0_NS) == (40e9, 60e9)


def test_severity_follows_the_levels_and_leaves_each_three_kelvin_lower() -> None:
    path = [54, 55, 56, 60, 61, 71, 71, 69, 68, 66, 66, 58, 58, 56, 56, 53, 53, 51, 51, 50]
    t = np.arange(len(path)) * 60.0
    degc = np.tile(np.array(path, float)[:, None], (1, N_PROBES))
    found = fold(PLUGIN, frames(t, probe_temperatures_degc=degc))
    assert phases(found) == [
        ("raise", "warning"),
        ("raise", "serious"),
        ("raise", "critical"),
        ("raise", "serious"),
        ("raise", "warning"),
        ("clear", "warning"),
    ]
    assert len({f.started_at_ns for f in found}) == 1


def test_noise_around_a_limit_does_not_flap() -> None:
    t = np.arange(200) * 10.0
    degc = probes(t, 50.0)
    degc[:, 1] = 55.0 + np.random.default_rng(0).integers(-2, 3, 200)
    assert phases(fold(PLUGIN, frames(t, probe_temperatures_degc=degc))) == [("raise", "warning")]


def test_a_pack_that_heats_fast_is_found_before_the_limit() -> None:
    t = np.arange(60.0)
    degc = np.tile(np.floor(34.0 + 0.3 * t)[:, None], (1, N_PROBES))
    found = fold(PLUGIN, frames(t, probe_temperatures_degc=degc))
    assert phases(found)[0] == ("raise", "warning")
    assert found[0].evidence["hottest_degc"] < 45.0
    assert found[0].evidence["rise_kps"] == pytest.approx(0.3, abs=0.1)


def test_a_fast_charge_in_summer_is_no_alarm() -> None:
    t = np.arange(0.0, 1200.0)
    degc = np.tile(np.round(30.0 + t * 1.0 / 60.0)[:, None], (1, N_PROBES))  # 1 K per minute
    assert fold(PLUGIN, frames(t, probe_temperatures_degc=degc)) == []


@pytest.mark.parametrize("code", [255.0, 254.0, 215.0, 214.0, 471.0, -40.0])
def test_codes_for_no_probe_are_no_temperatures(code: float) -> None:
    t = np.arange(60.0)
    degc = probes(t)
    degc[:, 4:] = code
    degc[20:30] = code
    assert fold(PLUGIN, frames(t, probe_temperatures_degc=degc)) == []


@pytest.mark.parametrize("until", [45, 60])
def test_a_probe_that_jumps_alone_is_not_believed(until: int) -> None:
    t = np.arange(60.0)
    degc = probes(t)
    degc[30:until, 3] = 120.0
    assert fold(PLUGIN, frames(t, probe_temperatures_degc=degc)) == []


def test_a_probe_first_seen_far_above_its_mates_is_not_believed() -> None:
    t = np.arange(60.0)
    degc = probes(t, 25.0)
    degc[:, 0] = 170.0
    assert fold(PLUGIN, frames(t, probe_temperatures_degc=degc)) == []


def test_a_jump_is_believed_when_cells_break_down_with_it() -> None:
    t = np.arange(40.0)
    degc, cells = probes(t), np.full((40, 12), 3.8)
    degc[30:, 3] = 120.0
    cells[30:, 4] = 2.4
    found = fold(PLUGIN, frames(t, probe_temperatures_degc=degc, cell_voltages_v=cells))
    assert phases(found) == [("raise", "critical")]


def test_a_doubted_probe_is_believed_once_its_neighbours_warm() -> None:
    t = np.arange(60.0)
    degc = probes(t)
    degc[20:, 3] = 90.0
    degc[40:, 4] = 38.0
    found = fold(PLUGIN, frames(t, probe_temperatures_degc=degc))
    assert phases(found) == [("raise", "critical")]
    assert found[0].at_ns >= T0_NS + 40 * 10**9


def test_a_runaway_that_began_in_silence_is_found_in_its_first_frames() -> None:
    t = np.concatenate([np.arange(5.0), 40_000.0 + np.arange(3.0)])
    degc, cells = probes(t, 22.0), np.full((8, 96), 3.9)
    degc[5:, 3:5] = 110.0
    cells[5:, 20:23] = [2.0, 4.9, 3.0]
    found = fold(PLUGIN, frames(t, probe_temperatures_degc=degc, cell_voltages_v=cells))
    assert phases(found) == [("raise", "critical")]
    assert found[0].at_ns == T0_NS + 40_000 * 10**9


def test_a_frame_of_nonsense_is_not_believed() -> None:
    t = np.arange(30.0)
    degc, cells = probes(t), np.full((30, 12), 3.8)
    degc[10:15] = [170.0] + [-39.0] * 7
    cells[10:15, 2:] = 0.0
    assert fold(PLUGIN, frames(t, probe_temperatures_degc=degc, cell_voltages_v=cells)) == []


@pytest.mark.parametrize("car", ["car1", "car3"])
def test_real_cars_that_stay_cool_raise_nothing(car: str) -> None:
    assert fold(PLUGIN, *recording(car)) == []


@pytest.mark.parametrize(("n_hot", "said"), [(1, "1 probe is that"), (2, "2 probes are that")])
def test_the_text_counts_the_hot_probes(n_hot: int, said: str) -> None:
    t = np.arange(0.0, 1000.0, 100.0)
    degc = probes(t, 50.0)
    degc[4:, :n_hot] = 56.0
    found = fold(PLUGIN, frames(t, probe_temperatures_degc=degc))
    assert said in found[0].evidence["text"]
