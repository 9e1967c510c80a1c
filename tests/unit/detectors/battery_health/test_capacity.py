"""Capacity and state of health against a pack whose capacity is known."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.detectors.battery_health.capacity import student_t_90
from openvrc.detectors.battery_health.health import Health
from tests.unit.detectors.battery_health.synthetic_pack import (
    START_NS,
    Pack,
    folded,
    frames_batch,
    health_of,
    profile,
)

FLEET_RMSE_SOH = 0.018  # of all windows of a vehicle together, over a fleet of real cars
ONE_WINDOW_40_TO_60_SOH = 0.058  # mean absolute error of a single such window


def half_width_of(health: Health) -> float:
    assert health.soh_low_ratio is not None
    assert health.soh_high_ratio is not None
    return (health.soh_high_ratio - health.soh_low_ratio) / 2


@pytest.mark.parametrize("capacity_ah", [40.0, 120.0, 300.0])
def test_capacity_of_a_known_pack_comes_back_within_half_a_percent(capacity_ah: float) -> None:
    pack = Pack(capacity_ah=capacity_ah, soc=0.2).charge(0.85, current_a=capacity_ah / 2)
    pack.discharge(0.3).charge(0.7, current_a=capacity_ah / 3).discharge(0.6)
    health = health_of(pack, rated_ah=capacity_ah / 0.9)
    assert health.n_charge_windows == 2
    assert health.capacity_ah == pytest.approx(capacity_ah, rel=0.005)
    assert health.soh_ratio == pytest.approx(0.9, rel=0.005)
    assert health.soh_method == "charge_windows"


def test_a_charge_with_load_from_the_heater_counts_what_reaches_the_pack() -> None:
    pack = Pack(soc=0.2).charge(0.45).run(-20.0, 600).charge(0.8).discharge(0.7)
    assert health_of(pack).capacity_ah == pytest.approx(120.0, rel=0.005)


def test_a_charge_still_under_way_counts_and_asking_changes_nothing() -> None:
    pack = Pack(soc=0.2).charge(0.8)
    fold = folded(pack, rated_ah=130.0)
    assert fold.rows() == fold.rows()
    assert fold.rows()[0].n_charge_windows == 1
    assert fold.rows()[0].capacity_ah == pytest.approx(120.0, rel=0.005)


def test_spans_under_thirty_percent_tell_nothing() -> None:
    pack = Pack(soc=0.3).charge(0.55).discharge(0.4).charge(0.68).discharge(0.5)
    health = health_of(pack, rated_ah=120.0)
    assert health.soh_method == "no_charge_window"
    assert (health.soh_ratio, health.soh_low_ratio, health.capacity_ah) == (None, None, None)


def test_regeneration_on_the_road_is_no_charge_window() -> None:
    pack = Pack(soc=0.3)
    for _ in range(60):  # the SoC rises by 45 % overall, with a load every two minutes
        pack.run(-60.0, 120).run(20.0, 20)
    assert pack.soc > 0.65
    assert health_of(pack, rated_ah=120.0).soh_method == "no_charge_window"


def test_without_a_rated_capacity_no_state_of_health_is_invented() -> None:
    pack = Pack(soc=0.2).charge(0.9).discharge(0.8)
    for rated_ah in (None, 0.0):
        health = health_of(pack, rated_ah=rated_ah)
        assert health.soh_method == "rated_capacity_unknown"
        assert (health.soh_ratio, health.soh_low_ratio, health.soh_high_ratio) == (None,) * 3
        assert health.capacity_ah == pytest.approx(120.0, rel=0.005)


def test_a_rated_capacity_of_another_pack_is_not_believed() -> None:
    health = health_of(Pack(soc=0.2).charge(0.9).discharge(0.8), rated_ah=60.0)
    assert (health.soh_ratio, health.soh_method) == (None, "rated_capacity_contradicted")


def test_the_newest_profile_with_a_rated_capacity_counts_in_any_order() -> None:
    pack = Pack(soc=0.2).charge(0.8).discharge(0.7)
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        profiles = [profile("bus1", 100.0, 0), profile("bus1", 150.0, 9), profile("bus1", None, 20)]
        fold = folded(pack)
        for place in order:
            fold.fold(profiles[place])
        assert fold.rows()[0].soh_ratio == pytest.approx(120.0 / 150.0, rel=0.005)


def test_what_the_bms_displays_stands_in_only_where_nothing_was_measured() -> None:
    seen = Pack(soc=0.5, soh_displayed=0.93).run(0.0, 300)
    health = health_of(seen, rated_ah=120.0)
    assert health.soh_method == "bms"
    assert health.soh_ratio == pytest.approx(0.93)
    assert (health.soh_low_ratio, health.soh_high_ratio) == (None, None)
    measured = Pack(soc=0.2, soh_displayed=0.93).charge(0.8).discharge(0.7)
    assert health_of(measured, rated_ah=150.0).soh_method == "charge_windows"


def test_a_displayed_health_of_zero_is_an_empty_field() -> None:
    health = health_of(Pack(soh_displayed=0.0).run(0.0, 300))
    assert (health.soh_method, health.soh_ratio) == ("no_charge_window", None)


def test_one_window_claims_no_more_than_single_windows_were_worth_in_a_fleet() -> None:
    health = health_of(Pack(soc=0.3).charge(0.8).discharge(0.7), rated_ah=120.0)
    half_width = half_width_of(health)
    assert half_width == pytest.approx(1.645 * 1.2533 * ONE_WINDOW_40_TO_60_SOH, rel=0.01)


def test_many_windows_narrow_the_interval_but_not_below_what_a_fleet_showed() -> None:
    pack, widths = Pack(soc=0.3), []
    for n_more in (10, 30):
        for _ in range(n_more):
            pack.charge(0.9, current_a=120.0).discharge(0.3)
        health = health_of(pack, rated_ah=120.0)
        assert health.soh_ratio == pytest.approx(1.0, abs=half_width_of(health))
        widths.append(half_width_of(health))
    assert widths[-1] <= widths[0]
    assert widths[-1] == pytest.approx(1.645 * FLEET_RMSE_SOH, rel=0.01)


def test_windows_that_disagree_widen_the_interval_by_students_t() -> None:
    pack, capacities = Pack(soc=0.3), (90.0, 150.0, 120.0)
    for capacity_ah in capacities:  # a display that errs as if the pack were another
        pack.capacity_ah = capacity_ah
        pack.charge(0.9, current_a=60.0).discharge(0.3)
    health = health_of(pack, rated_ah=120.0)
    half_width = half_width_of(health)
    standard_error = np.std(capacities, ddof=1) / np.sqrt(3) / 120.0
    assert half_width == pytest.approx(2.920 * standard_error, rel=0.03)


def test_students_t_agrees_with_published_quantiles() -> None:
    freedom = np.array([1.0, 2.0, 10.0, 11.0, 15.0, 30.0, 120.0])
    published = [6.314, 2.920, 1.812, 1.796, 1.753, 1.697, 1.658]
    assert student_t_90(freedom) == pytest.approx(published, abs=5e-4 + 1e-4)


def test_a_display_that_corrects_itself_ends_the_window() -> None:
    pack = Pack(soc=0.1).charge(0.45)
    pack.soc += 0.08  # the display jumps; no charge flowed
    pack.charge(0.95).discharge(0.8)
    health = health_of(pack, rated_ah=120.0)
    assert health.n_charge_windows == 2
    assert health.capacity_ah == pytest.approx(120.0, rel=0.005)


@pytest.mark.parametrize("gap_s", [90.0, 600.0])
def test_charge_during_a_gap_in_the_record_is_not_made_up(gap_s: float) -> None:
    pack = Pack(soc=0.1).charge(0.45)
    pack.time_s += gap_s  # at rest meanwhile, or charging: nobody knows
    pack.charge(0.9).discharge(0.8)
    health = health_of(pack, rated_ah=120.0)
    assert health.n_charge_windows == 2
    assert health.capacity_ah == pytest.approx(120.0, rel=0.005)


def test_a_short_pause_of_the_charger_does_not_end_the_window() -> None:
    pack = Pack(soc=0.2).charge(0.45).run(2.0, 60).charge(0.65).discharge(0.6)
    health = health_of(pack, rated_ah=120.0)
    assert health.n_charge_windows == 1
    assert health.capacity_ah == pytest.approx(120.0, rel=0.005)


def test_a_display_that_creeps_up_after_the_charge_adds_no_span() -> None:
    pack = Pack(soc=0.2).charge(0.6)
    pack.soc += 0.02
    pack.run(0.0, 60).discharge(0.5)
    assert health_of(pack).capacity_ah == pytest.approx(120.0, rel=0.005)


def test_frames_without_current_or_soc_are_bridged() -> None:
    pack = Pack(soc=0.2).charge(0.8).discharge(0.7)
    for place in range(5, len(pack.frames), 9):
        pack.frames[place]["pack_current_a" if place % 2 else "soc_ratio"] = None
    health = health_of(pack, rated_ah=120.0)
    assert health.n_charge_windows == 1
    assert health.capacity_ah == pytest.approx(120.0, rel=0.005)


def test_nonsense_frames_and_late_rows_do_not_enter_a_window() -> None:
    clean, dirty = Pack(soc=0.2), Pack(soc=0.2)
    clean.charge(0.5).charge(0.8).discharge(0.7)
    dirty.charge(0.5).late(pack_current_a=400.0, soc_ratio=0.1, soh_ratio=0.5)
    dirty.charge(0.8).discharge(0.7)
    whole = dirty.frames[40]
    middle_ns = whole["sampled_at_ns"] + 5_000_000_000
    nonsense = {"cell_voltages_v": [0.0] * 12, "pack_current_a": -900.0, "soc_ratio": 0.0}
    dirty.frames.insert(41, whole | nonsense | {"sampled_at_ns": middle_ns})
    assert health_of(dirty, rated_ah=130.0) == health_of(clean, rated_ah=130.0)


def test_a_vehicle_is_dated_by_its_last_frame() -> None:
    pack = Pack().run(0.0, 50)
    fold = folded(pack)
    assert pack.frames[-1]["sampled_at_ns"] == START_NS + 50_000_000_000
    assert fold.rows()[0].as_of == "2026-01-01T00:00:50.000Z"
    pack.late()
    fold.fold(frames_batch([("bus1", pack.frames[-1])]))
    assert fold.rows()[0].as_of == "2026-01-01T00:00:50.000Z"


def test_neither_a_new_odometer_nor_a_bms_that_claims_full_health_resets_the_measured_soh() -> None:
    plain, reset = (Pack(capacity_ah=102.0, soc=0.1) for _ in range(2))
    for pack in (plain, reset):
        pack.charge(0.9).discharge(0.1).charge(0.9)
    half = len(reset.frames) // 2
    for place, frame in enumerate(reset.frames):
        frame["odometer_m"] = 8e7 if place < half else 0.0
        frame["soh_ratio"] = 0.85 if place < half else 1.0
    before, after = health_of(plain, rated_ah=120.0), health_of(reset, rated_ah=120.0)
    assert after.soh_method == "charge_windows"
    assert after.soh_ratio == before.soh_ratio == pytest.approx(0.85, abs=0.01)
