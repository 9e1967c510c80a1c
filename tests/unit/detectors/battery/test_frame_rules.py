"""Rules that judge single frames: limits, holding times, late frames, dirt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Detector, Finding
from openvrc.contracts.messages.record import LATE_IN_SUBJECT, LATE_IN_ZONE
from openvrc.contracts.plugins import discover
from openvrc.detectors.battery import (
    over_charge,
    over_discharge,
    over_voltage,
    plating,
    sampling,
    temperature_spread,
    thermal_event,
    under_voltage,
)
from tests.support.battery_frames import T0_NS, fold, frames, phases

RULES = {n: d for n, d in discover("openvrc.detectors").items() if n.startswith("battery.")}
N_CELLS, N_PROBES = 32, 8
T = np.arange(0.0, 300.0, 10.0)


def healthy(times_s: Any = T, current_a: float = 20.0) -> dict[str, Any]:
    n = len(times_s)
    rng = np.random.default_rng(3)
    cells_v = 3.7 + rng.normal(0, 2e-3, N_CELLS) + rng.normal(0, 5e-4, (n, N_CELLS))
    return {
        "cell_voltages_v": cells_v,
        "probe_temperatures_degc": np.full((n, N_PROBES), 25.0),
        "pack_current_a": np.full(n, current_a),
        "pack_voltage_v": cells_v.sum(axis=1),
        "soc_ratio": np.full(n, 0.6),
        "insulation_ohm": np.full(n, 2e6),
        "odometer_m": np.full(n, 5e7),
        "bms_alarm_level": np.zeros(n, np.int64),
    }


def burning(columns: dict[str, Any], rows: Any) -> dict[str, Any]:
    columns["cell_voltages_v"][rows, 4:6] = 2.0
    columns["probe_temperatures_degc"][rows, 2] = 105.0
    return columns


def profile(**columns: Any) -> Batch:
    return from_columns(
        "vehicle_profile",
        zone="z",
        run_id="r",
        origin="simulated",
        n_rows=1,
        columns={"subject_id": "ev", "source_id": "ev", "sampled_at_ns": T0_NS, **columns},
    )


def test_a_thermal_event_is_critical_from_its_first_frame() -> None:
    (found,) = fold(thermal_event.PLUGIN, frames(T, **burning(healthy(), T >= 100)))
    assert (found.phase, found.severity.word) == ("raise", "critical")
    assert found.at_ns == found.started_at_ns == T0_NS + 100 * 10**9
    assert found.evidence["votes"][:2] == ["cell", "heat"]
    assert "leave the car" in found.evidence["action_text"]


@pytest.mark.parametrize(
    ("column", "value", "place"),
    [
        ("cell_voltages_v", 2.0, 4),
        ("probe_temperatures_degc", 120.0, 2),
        ("pack_voltage_v", 60.0, None),
        ("insulation_ohm", 5e3 + 1, None),
    ],
)
def test_one_sign_alone_is_no_thermal_event(column: str, value: float, place: int | None) -> None:
    columns = healthy()
    columns[column][(10, place) if place is not None else 10] = value
    assert fold(thermal_event.PLUGIN, frames(T, **columns)) == []


def test_a_runaway_in_a_backlog_is_current_while_no_newer_frame_shows_a_sound_pack() -> None:
    state: Any = thermal_event.PLUGIN.initial(None)  # type: ignore[arg-type]
    columns = burning(healthy(np.array([0.0])), 0)
    state, found = thermal_event.PLUGIN.update(
        state, frames(np.array([0.0]), lateness=LATE_IN_SUBJECT | LATE_IN_ZONE, **columns)
    )
    assert [(f.is_late, f.is_superseded) for f in found] == [(True, False)]


def test_a_runaway_in_a_backlog_is_history_once_a_newer_frame_shows_a_sound_pack() -> None:
    late = np.array([0.0])
    found = fold(
        thermal_event.PLUGIN,
        frames(T + 60.0, **healthy()),
        frames(late, lateness=LATE_IN_SUBJECT | LATE_IN_ZONE, **burning(healthy(late), 0)),
    )
    assert [(f.is_late, f.is_superseded) for f in found] == [(True, True)]


@pytest.mark.parametrize("dead", [{"probe_temperatures_degc": []}, {"cell_voltages_v": []}])
def test_a_newer_frame_without_cells_or_probes_contradicts_nothing(dead: dict[str, Any]) -> None:
    newer = healthy() | {name: np.empty((len(T), 0)) for name in dead}
    late = np.array([0.0])
    found = fold(
        thermal_event.PLUGIN,
        frames(T + 60.0, **newer),
        frames(late, lateness=LATE_IN_SUBJECT | LATE_IN_ZONE, **burning(healthy(late), 0)),
    )
    assert [f.is_superseded for f in found] == [False]


def test_a_pack_that_came_back_from_a_thermal_event_is_watched_for_an_hour() -> None:
    t = np.arange(0.0, 7200.0, 10.0)
    found = fold(thermal_event.PLUGIN, frames(t, **burning(healthy(t), t < 100)))
    assert [f.phase for f in found] == ["raise", "clear"]
    assert found[1].at_ns - T0_NS >= 3600 * 10**9


@pytest.mark.parametrize(
    ("rule", "chemistry", "cells_v", "current_a", "severity"),
    [
        (over_voltage.PLUGIN, "nmc", 4.27, 5.0, "warning"),
        (over_voltage.PLUGIN, "nmc", 4.37, 5.0, "serious"),
        (over_voltage.PLUGIN, "nmc", 4.22, 5.0, None),
        (over_voltage.PLUGIN, "lfp", 4.05, 5.0, "warning"),
        (over_voltage.PLUGIN, None, 4.30, 5.0, None),
        (under_voltage.PLUGIN, "nmc", 2.45, 90.0, "warning"),
        (under_voltage.PLUGIN, "lfp", 2.45, 90.0, None),
        (under_voltage.PLUGIN, "lfp", 1.75, 90.0, "serious"),
        (over_discharge.PLUGIN, "nmc", 2.45, 0.0, "warning"),
        (over_discharge.PLUGIN, "nmc", 2.45, 90.0, None),
        (over_charge.PLUGIN, "nmc", 4.24, -30.0, "warning"),
        (over_charge.PLUGIN, "nmc", 4.24, 0.0, None),
        (over_charge.PLUGIN, "lfp", 4.16, -30.0, "serious"),
    ],
)
def test_voltage_limits_follow_the_chemistry(
    rule: Detector, chemistry: str | None, cells_v: float, current_a: float, severity: str | None
) -> None:
    columns = healthy(current_a=current_a)
    columns["cell_voltages_v"] += cells_v - 3.7 - columns["cell_voltages_v"].max() + 3.7
    if "under" in rule.name or "over_discharge" in rule.name:
        columns["cell_voltages_v"] -= columns["cell_voltages_v"].min() - cells_v
    known = [profile(chemistry=chemistry)] if chemistry else []
    found = fold(rule, *known, frames(T, **columns))
    assert [s for _, s in phases(found)] == ([severity] if severity else [])


def test_two_frames_over_the_limit_are_not_yet_an_over_voltage() -> None:
    columns = healthy()
    columns["cell_voltages_v"][10:12] += 0.65
    assert fold(over_voltage.PLUGIN, profile(chemistry="nmc"), frames(T, **columns)) == []


@pytest.mark.parametrize(
    ("spread_k", "n_probes", "severity"),
    [(16, 2, "warning"), (26, 2, "serious"), (16, 1, None), (22, 1, "warning"), (11, 3, None)],
)
def test_a_probe_that_stands_alone_needs_a_larger_spread(
    spread_k: float, n_probes: int, severity: str | None
) -> None:
    columns = healthy()
    columns["probe_temperatures_degc"][:, :n_probes] += spread_k
    found = fold(temperature_spread.PLUGIN, frames(T, **columns))
    assert [s for _, s in phases(found)] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("degc", "current_a", "severity"),
    [(-5.0, -30.0, "warning"), (-5.0, -60.0, "serious"), (-5.0, -10.0, None), (8.0, -60.0, None)],
)
def test_charging_is_too_fast_by_temperature(
    degc: float, current_a: float, severity: str | None
) -> None:
    columns = healthy(current_a=current_a)
    columns["probe_temperatures_degc"][:] = degc
    found = fold(plating.PLUGIN, profile(rated_capacity_ah=120.0), frames(T, **columns))
    assert [s for _, s in phases(found)] == ([severity] if severity else [])
    assert fold(plating.PLUGIN, frames(T, **columns)) == []  # nobody told the capacity


def test_a_mirror_of_two_neighbours_is_a_wire_and_no_short() -> None:
    columns = healthy()
    columns["cell_voltages_v"][10:, 12] += 0.2
    columns["cell_voltages_v"][10:, 13] -= 0.2
    found = {
        n: [(f.phase, f.component) for f in fold(d, frames(T, **columns))] for n, d in RULES.items()
    }
    assert {n: f for n, f in found.items() if f and n != "battery.self_discharge"} == {
        "battery.sampling": [("raise", "cells:13-14")]
    }


@pytest.mark.parametrize("reads_v", [0.0, 5.0])
def test_a_cut_wire_is_told_and_a_dead_module_is_not(reads_v: float) -> None:
    columns = healthy()
    columns["cell_voltages_v"][10:, 7] = reads_v
    assert [f.component for f in fold(sampling.PLUGIN, frames(T, **columns))] == ["cell:8"]
    columns["cell_voltages_v"][10:, 8:16] = reads_v
    assert fold(sampling.PLUGIN, frames(T, **columns)) == []


def test_neighbours_at_the_ends_of_a_pack_that_fans_out_are_no_mirror() -> None:
    columns = healthy()
    columns["cell_voltages_v"] += np.random.default_rng(1).normal(0, 0.03, N_CELLS)
    columns["cell_voltages_v"][:, 12:14] = 3.7 + np.array([0.09, -0.09])
    columns["cell_voltages_v"][:, 20] = 3.7 + 0.07
    assert fold(sampling.PLUGIN, frames(T, **columns)) == []


def wandering(current_a: Any) -> dict[str, Any]:
    columns = healthy()
    columns["pack_current_a"] = np.broadcast_to(np.asarray(current_a, float), len(T)).copy()
    columns["cell_voltages_v"] -= 1e-3 * columns["pack_current_a"][:, None]
    return columns


def test_a_frozen_cell_is_named_once_its_pack_has_moved_and_ends_when_it_moves_again() -> None:
    columns = wandering(np.where(np.arange(len(T)) % 8 < 4, 80.0, -10.0))
    columns["cell_voltages_v"][5:26, 9] = 3.71
    found = fold(sampling.PLUGIN, frames(T, **columns))
    assert [(f.phase, f.component) for f in found] == [("raise", "cell:10"), ("clear", "cell:10")]
    assert found[0].evidence["kind"] == "frozen"


def test_a_cell_that_stays_off_in_a_pack_at_rest_is_not_frozen() -> None:
    columns = wandering(0.0)
    columns["cell_voltages_v"][:, 9] = 3.64
    assert fold(sampling.PLUGIN, frames(T, **columns)) == []


def test_the_cell_that_a_charger_holds_at_its_limit_is_not_frozen() -> None:
    columns = wandering(np.linspace(-100.0, -5.0, len(T)))
    columns["cell_voltages_v"][:, 9] = 3.9
    columns["charging_state"] = "parked_charging"
    assert fold(sampling.PLUGIN, frames(T, **columns)) == []


def _nonsense(columns: dict[str, Any]) -> None:
    columns["cell_voltages_v"][10, 2:] = 0.0
    columns["probe_temperatures_degc"][10] = -40.0
    columns["probe_temperatures_degc"][10, 0] = 170.0
    columns["pack_current_a"][10] = -1000.0
    columns["odometer_m"][10:] += 2.28e7


def _half_nonsense(columns: dict[str, Any]) -> None:
    columns["probe_temperatures_degc"][10] = -40.0
    columns["probe_temperatures_degc"][10, 0] = 170.0
    columns["pack_current_a"][10] = -1000.0
    columns["cell_voltages_v"][10, :12] = 0.0


def _set(name: str, value: float, rows: slice, places: slice | None = None) -> Any:
    def change(columns: dict[str, Any]) -> None:
        columns[name][(rows, places) if places is not None else rows] = value

    return change


ROWS, MODULE = slice(10, 14), slice(8, 16)
DIRT = {
    "module at 5 V": _set("cell_voltages_v", 5.0, ROWS, MODULE),
    "module at 66 V": _set("cell_voltages_v", 66.535, ROWS, MODULE),
    "row at 0 V": _set("cell_voltages_v", 0.0, ROWS, slice(None)),
    "probe 215": _set("probe_temperatures_degc", 215.0, ROWS, slice(0, 2)),
    "probes at code 0": _set("probe_temperatures_degc", -40.0, ROWS, slice(None)),
    "insulation 5": _set("insulation_ohm", 5.0, slice(None)),
    "insulation 1000": _set("insulation_ohm", 1000.0, slice(None)),
    "insulation 11520": _set("insulation_ohm", 11520.0, slice(None)),
    "odometer 0": _set("odometer_m", 0.0, ROWS),
    "legal nonsense": _nonsense,
    "legal half nonsense": _half_nonsense,
}


@pytest.mark.parametrize("dirt", DIRT)
def test_dirt_is_no_battery_alarm(dirt: str) -> None:
    columns = healthy()
    DIRT[dirt](columns)
    batch = frames(T, **columns)
    found: list[Finding] = [f for rule in RULES.values() for f in fold(rule, batch)]
    assert found == []


def test_repeated_times_and_a_buffer_sent_again_are_no_battery_alarm() -> None:
    t = np.arange(0.0, 3600.0, 10.0)
    columns = healthy(t)
    columns["soc_ratio"] = 0.9 - t * 1e-4
    again = np.r_[0:300, 20:50, 300:360]  # thirty old frames under new times
    columns = {name: values[again] for name, values in columns.items()}
    times = np.arange(len(again)) * 10.0
    times[5:9] = times[5]
    assert [f for rule in RULES.values() for f in fold(rule, frames(times, **columns))] == []
