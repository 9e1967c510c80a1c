"""Faults of single cells, modules and sensors, injected into healthy packs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.contracts.batch import from_columns
from openvrc.contracts.detection import Detector, Finding
from openvrc.detectors.battery import (
    cell_draining,
    connection,
    current_sensor,
    internal_short,
    micro_short,
    module_offset,
    self_discharge,
    soc_jump,
)
from tests.support.battery_frames import T0_NS, fold, frames

N_CELLS = 96
DAY_S = 86_400.0
CELL_OHM = 1e-3


def pack(times_s: Any, current_a: Any = 0.0, *, seed: int = 0) -> dict[str, Any]:
    """A healthy pack with static offsets of 4 mV and noise of 1 mV."""
    rng = np.random.default_rng(seed)
    amps = np.broadcast_to(np.asarray(current_a, float), np.shape(times_s))
    cells_v = 3.7 + rng.normal(0, 4e-3, N_CELLS) - amps[:, None] * CELL_OHM
    cells_v = cells_v + rng.normal(0, 1e-3, cells_v.shape)
    return {
        "cell_voltages_v": cells_v,
        "pack_current_a": amps,
        "pack_voltage_v": N_CELLS * (3.7 - amps * CELL_OHM),
        "soc_ratio": np.full(np.shape(times_s), 0.6),
    }


def named(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(f.phase, f.component) for f in findings]


def drives(days: int, seed: int = 0) -> tuple[Any, Any]:
    """An hour of driving a day at 10 s: (times, current)."""
    t_s = (np.arange(days)[:, None] * DAY_S + np.arange(0.0, 3600.0, 10.0)).ravel()
    rng = np.random.default_rng(seed)
    return t_s, np.repeat(rng.uniform(-60.0, 120.0, len(t_s) // 2), 2)


def test_added_resistance_of_a_tenth_of_a_milliohm_names_its_cell() -> None:
    t_s, amps = drives(12)
    columns = pack(t_s, amps)
    columns["cell_voltages_v"][:, 30] -= 1e-4 * amps
    assert named(fold(connection.PLUGIN, frames(t_s, **columns))) == [("raise", "cell:31")]


def test_resistance_that_grows_by_six_percent_is_told_against_the_cells_own_first_days() -> None:
    t_s, amps = drives(20)
    columns = pack(t_s, amps)
    columns["cell_voltages_v"][:, 30] -= np.where(t_s > 6 * DAY_S, 6e-5, 0.0) * amps
    (found,) = fold(connection.PLUGIN, frames(t_s, **columns))
    assert found.component == "cell:31"
    assert found.evidence["method"] == "change since the first three days"


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_pack_has_no_bad_connection(seed: int) -> None:
    t_s, amps = drives(12, seed)
    assert fold(connection.PLUGIN, frames(t_s, **pack(t_s, amps, seed=seed))) == []


@pytest.mark.parametrize("offset_v", [0.04, -0.04])
def test_a_module_that_stands_off_is_named_and_its_cells_are_not(offset_v: float) -> None:
    t_s = np.arange(0.0, DAY_S, 300.0)
    columns = pack(t_s)
    columns["cell_voltages_v"][:, 24:36] += offset_v
    assert named(fold(module_offset.PLUGIN, frames(t_s, **columns))) == [("raise", "cells:25-36")]
    assert fold(self_discharge.PLUGIN, frames(t_s, **columns)) == []


def test_a_kiloohm_leak_is_found_by_drift_before_a_percent_of_charge_is_lost() -> None:
    t_s = np.arange(0.0, 40 * DAY_S, 1800.0)
    columns = pack(t_s)
    volts_per_day = 3.7 / 1000.0 * 24.0 / 150.0 * 0.9  # 0.9 V over the full charge of 150 A h
    columns["cell_voltages_v"][:, 12] -= volts_per_day * np.maximum(t_s / DAY_S - 6.0, 0.0)
    findings = fold(self_discharge.PLUGIN, frames(t_s, **columns))
    assert {f.component for f in findings} == {"cell:13"}
    found = findings[0]
    assert "drifted" in found.evidence["text"]
    lost_ratio = 3.7 / 1000.0 * ((found.at_ns - T0_NS) / 3.6e12 - 6 * 24.0) / 150.0
    assert lost_ratio < 0.010


@pytest.mark.parametrize("seed", range(3))
def test_cells_that_only_scatter_do_not_drift(seed: int) -> None:
    t_s = np.arange(0.0, 40 * DAY_S, 1800.0)
    assert fold(self_discharge.PLUGIN, frames(t_s, **pack(t_s, seed=seed))) == []


def test_a_cell_that_falls_at_once_and_stays_is_an_internal_short() -> None:
    t_s = np.arange(0.0, 300.0, 10.0)
    columns = pack(t_s)
    columns["cell_voltages_v"][t_s >= 100, 40] -= 0.2
    (found,) = fold(internal_short.PLUGIN, frames(t_s, **columns))
    assert (found.component, found.severity.word) == ("cell:41", "serious")
    assert found.started_at_ns == T0_NS + 100 * 10**9
    assert found.at_ns == T0_NS + 120 * 10**9


@pytest.mark.parametrize(
    ("rows", "cells", "by_v"),
    [
        (slice(10, 12), slice(40, 41), -0.2),  # it comes back
        (slice(10, None), slice(40, 41), -0.09),  # not far enough
        (slice(10, None), slice(40, 44), -0.2),  # several at once: a harness
    ],
)
def test_what_comes_back_or_is_small_or_concerns_several_is_no_internal_short(
    rows: slice, cells: slice, by_v: float
) -> None:
    t_s = np.arange(0.0, 300.0, 10.0)
    columns = pack(t_s)
    columns["cell_voltages_v"][rows, cells] += by_v
    assert fold(internal_short.PLUGIN, frames(t_s, **columns)) == []


def test_a_resistive_cell_under_a_load_step_is_no_internal_short() -> None:
    t_s = np.arange(0.0, 600.0, 10.0)
    amps = np.where(t_s < 200, 0.0, 200.0)
    columns = pack(t_s, amps)
    columns["cell_voltages_v"][:, 40] -= 5e-4 * amps
    assert fold(internal_short.PLUGIN, frames(t_s, **columns)) == []


@pytest.mark.parametrize(("n_dips", "n_findings"), [(2, 0), (3, 1), (5, 1)])
def test_three_dips_a_day_are_micro_shorts(n_dips: int, n_findings: int) -> None:
    t_s = np.arange(0.0, 7200.0, 10.0)
    columns = pack(t_s)
    columns["cell_voltages_v"][100 : 100 + 50 * n_dips : 50, 40] -= 0.045
    found = fold(micro_short.PLUGIN, frames(t_s, **columns))
    assert named(found) == [("raise", "cell:41")] * n_findings


@pytest.mark.parametrize(("n_days", "n_findings"), [(3, 0), (4, 1), (6, 1)])
def test_a_dip_a_day_over_four_days_of_a_week_is_a_micro_short(
    n_days: int, n_findings: int
) -> None:
    t_s = (np.arange(n_days)[:, None] * DAY_S + np.arange(0.0, 1200.0, 10.0)).ravel()
    columns = pack(t_s)
    columns["cell_voltages_v"][60::120, 40] -= 0.045
    found = fold(micro_short.PLUGIN, frames(t_s, **columns))
    assert named(found) == [("raise", "cell:41")] * n_findings
    assert [(f.evidence["n_dips"], f.evidence["n_dips_week"]) for f in found] == [
        (2, 4)
    ] * n_findings


def test_dips_under_a_changing_load_are_no_micro_shorts() -> None:
    t_s, amps = drives(1)
    columns = pack(t_s, amps)
    columns["cell_voltages_v"][50:300:50, 40] -= 0.045
    assert fold(micro_short.PLUGIN, frames(t_s, **columns)) == []


def test_a_display_that_jumps_and_stays_is_told_after_ten_minutes() -> None:
    t_s = np.arange(0.0, 3600.0, 10.0)
    columns = pack(t_s)
    columns["soc_ratio"] = np.where(t_s >= 600, 0.75, 0.6)
    (found,) = fold(soc_jump.PLUGIN, frames(t_s, **columns))
    assert found.started_at_ns == T0_NS + 600 * 10**9
    assert found.at_ns == T0_NS + 1200 * 10**9


@pytest.mark.parametrize("sleep_v", [0.0, 0.2])
def test_a_jump_over_a_sleep_counts_only_if_the_cells_did_not_move(sleep_v: float) -> None:
    t_s = np.concatenate([np.arange(0.0, 600.0, 10.0), 4 * 3600.0 + np.arange(0.0, 1200.0, 10.0)])
    columns = pack(t_s)
    is_after = t_s > 3600.0
    columns["soc_ratio"] = np.where(is_after, 0.8, 0.6)
    columns["cell_voltages_v"][is_after] += sleep_v
    assert len(fold(soc_jump.PLUGIN, frames(t_s, **columns))) == (1 if sleep_v == 0.0 else 0)


@pytest.mark.parametrize(("amps", "n_findings"), [(-1.5, 1), (-0.4, 0), (3.0, 0)])
def test_a_current_that_flows_in_at_a_standstill_is_the_sensor(
    amps: float, n_findings: int
) -> None:
    t_s = (np.arange(6)[:, None] * DAY_S + np.arange(0.0, 600.0, 10.0)).ravel()
    columns = pack(t_s, amps) | {"vehicle_speed_mps": 0.0}
    rule: Detector = current_sensor.PLUGIN
    assert len(fold(rule, frames(t_s, **columns))) == n_findings


def commuted(days: int, drive_ratio: float, gain: float) -> tuple[Any, dict[str, Any]]:
    """A drive a day and a charge when it is due, by a display of whole percents that has an eye
    of its own, corrected a little in each sleep; the current has this gain from day 20 on."""
    rng = np.random.default_rng(1)
    t_s, amps, socs, states = [], [], [], []
    soc = 0.9
    for day in range(days):
        soc += rng.normal(0.0, 0.005)
        parts = [(8.0, drive_ratio * rng.uniform(0.5, 1.5), 60.0)]
        if soc - parts[0][1] < 0.35:
            parts.append((18.0, soc - parts[0][1] - 0.9, -30.0))
        for hour, moved, mean_a in parts:
            n = int(moved * 150.0 * 360.0 / mean_a)
            t_s.append(day * DAY_S + hour * 3600.0 + 10.0 * np.arange(n))
            amps.append(np.full(n, mean_a * (gain if day >= 20 else 1.0)))
            socs.append(soc - moved * np.arange(n) / n)
            states += ["parked_charging" if mean_a < 0 else "not_charging"] * n
            soc -= moved
    columns = pack(np.concatenate(t_s), np.concatenate(amps))
    columns |= {"soc_ratio": np.round(np.concatenate(socs), 2), "charging_state": states}
    return np.concatenate(t_s), columns


@pytest.mark.parametrize(
    ("drive_ratio", "gain", "n_findings"),
    [
        (0.20, 1.09, 1),
        (0.20, 0.91, 1),
        (0.20, 1.00, 0),
        (0.06, 1.00, 0),
        (0.06, 1.06, 0),  # drives of 6 % in whole percents do not tell this from chance
    ],
)
def test_a_gain_counts_once_it_is_clear_of_the_display_steps(
    drive_ratio: float, gain: float, n_findings: int
) -> None:
    t_s, columns = commuted(45, drive_ratio, gain)
    profile = from_columns(
        "vehicle_profile",
        zone="z",
        run_id="r",
        origin="simulated",
        n_rows=1,
        columns={
            "subject_id": "ev",
            "source_id": "ev",
            "sampled_at_ns": T0_NS,
            "rated_capacity_ah": 150.0,
        },
    )
    found = fold(current_sensor.PLUGIN, profile, frames(t_s, **columns))
    assert [f.phase for f in found] == ["raise"] * n_findings


def standing(fall_v_per_h: float, *, cells: slice = slice(30, 31)) -> dict[str, Any]:
    """A pack that drove for ten minutes and stands for two hours; cells fall from then on."""
    t_s = np.arange(0.0, 8400.0, 10.0)
    columns = pack(t_s, np.where((t_s < 600) & (t_s % 60 < 30), 80.0, 0.0))
    columns["cell_voltages_v"][:, cells] -= (
        fall_v_per_h * np.maximum(t_s - 1200.0, 0.0)[:, None] / 3600.0
    )
    return columns | {"t_s": t_s}


def draining(columns: dict[str, Any]) -> list[Finding]:
    t_s = columns.pop("t_s")
    return fold(cell_draining.PLUGIN, frames(t_s, **columns))


def test_a_cell_that_falls_while_its_pack_stands_is_drained_by_a_short() -> None:
    # One ohm across 150 A h takes 2.5 % of charge an hour, some 17 mV.
    (found,) = draining(standing(0.017))
    assert (found.phase, found.component, found.severity.word) == ("raise", "cell:31", "serious")
    assert found.at_ns <= T0_NS + (1200 + 50 * 60) * 10**9
    assert found.evidence["fall_v_per_h"] == pytest.approx(0.017, rel=0.25)


@pytest.mark.parametrize(
    ("fall_v_per_h", "cells"),
    [
        (0.002, slice(30, 31)),  # what takes days is self-discharge
        (0.017, slice(30, 34)),  # a module together
        (-0.017, slice(30, 31)),  # upwards: it relaxes
    ],
)
def test_what_is_slow_or_upwards_or_concerns_several_drains_no_cell(
    fall_v_per_h: float, cells: slice
) -> None:
    assert draining(standing(fall_v_per_h, cells=cells)) == []


def test_a_step_is_no_draining_nor_is_what_follows_a_charge() -> None:
    step = standing(0.0)
    step["cell_voltages_v"][step["t_s"] > 3000, 30] -= 0.015
    assert draining(step) == []
    charged = standing(0.017)
    charged["charging_state"] = [
        "parked_charging" if t < 600 else "not_charging" for t in charged["t_s"].tolist()
    ]
    assert draining(charged) == []


def test_a_drained_cell_that_keeps_its_voltage_for_an_hour_is_cleared() -> None:
    columns = standing(0.017)
    t_s = columns["t_s"]
    again = pack(t_s, np.where(t_s < 600, 60.0, 0.0))
    again["cell_voltages_v"][:, 30] -= 0.03
    both: dict[str, Any] = {name: np.concatenate([columns[name], again[name]]) for name in again}
    told = fold(cell_draining.PLUGIN, frames(np.concatenate([t_s, t_s + 9000.0]), **both))
    assert [(f.phase, f.component) for f in told] == [("raise", "cell:31"), ("clear", "cell:31")]


def test_neighbours_that_come_together_while_an_empty_pack_fans_out_are_no_module() -> None:
    # As four cells of a healthy simulated cab stood at 7 % of charge, among cells that differ by
    # 23 mV: 88 cells in modules of eleven.
    rng = np.random.default_rng(5)
    mean_v = rng.normal(0, 0.023, 88)
    mean_v[48:52] = (0.029, 0.031, 0.022, 0.025)
    assert module_offset.offset_of(mean_v) is None
    sound_v = rng.normal(0, 0.003, 88)
    sound_v[44:48] += 0.027
    found = module_offset.offset_of(sound_v)
    assert found is not None
    assert (found.first, found.last) == (44, 47)
