"""data.impossible_value: each kind of dirt seen in real logs, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.contracts.detection import Severity
from openvrc.contracts.plugins import discover
from openvrc.detectors.data.impossible_value import PLUGIN
from tests.support.battery_frames import T0_NS, fold, frames
from tests.support.fleet_csv import recording

N = 120
T = np.arange(float(N))


def pack(**changed: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "cell_voltages_v": np.full((N, 24), 3.7),
        "probe_temperatures_degc": np.full((N, 6), 25.0),
        "pack_current_a": np.full(N, 10.0),
        "pack_voltage_v": np.full(N, 88.8),
        "soc_ratio": 0.8 - T * 1e-4,
        "odometer_m": 4e7 + T * 20,
    }
    return columns | changed


def spoilt(name: str, value: Any, rows: slice = slice(20, 24), place: Any = ...) -> dict[str, Any]:
    columns = pack()
    part = columns[name][rows]
    part[place] = value
    return columns


DIRT = [
    ("cell_voltages_v", spoilt("cell_voltages_v", 66.535 / 1.2, place=(..., slice(0, 8)))),
    ("cell_voltages_v", spoilt("cell_voltages_v", 5.0, place=(..., 3))),
    ("cell_voltages_v", spoilt("cell_voltages_v", 0.0, place=(..., 3))),
    ("frame", spoilt("cell_voltages_v", 0.0)),
    ("probe_temperatures_degc", spoilt("probe_temperatures_degc", 255.0, place=(..., 1))),
    ("probe_temperatures_degc", spoilt("probe_temperatures_degc", -40.0, place=(..., 1))),
    ("pack_current_a", spoilt("pack_current_a", -1000.0)),
    ("pack_voltage_v", spoilt("pack_voltage_v", 70.0)),
    ("soc_ratio", spoilt("soc_ratio", 0.2)),
    ("odometer_m", spoilt("odometer_m", 0.0)),
    ("odometer_m", spoilt("odometer_m", 6.28e7)),
]


def test_every_kind_of_dirt_has_a_reason_of_its_own() -> None:
    reasons = [fold(PLUGIN, frames(T, **columns))[0].evidence["reason"] for _, columns in DIRT]
    assert reasons == [
        *("module_dropout", "cell_out_of_range", "cell_out_of_range", "zero_row"),
        *("probe_sentinel", "probe_out_of_range", "current_sentinel"),
        *("voltage_not_sum_of_cells", "soc_step", "odometer_zero", "odometer_step"),
    ]


@pytest.mark.parametrize(("component", "columns"), DIRT)
def test_each_dirt_is_one_finding_that_clears_after_a_minute(
    component: str, columns: dict[str, Any]
) -> None:
    found = fold(PLUGIN, frames(T, **columns))
    assert [(f.phase, f.component) for f in found] == [("raise", component), ("clear", component)]
    assert found[0].started_at_ns == T0_NS + 20 * 10**9
    assert found[0].severity is Severity.INFO


@pytest.mark.parametrize(("component", "columns"), DIRT)
def test_dirt_raises_no_battery_alarm(component: str, columns: dict[str, Any]) -> None:
    for name, detector in discover("openvrc.detectors").items():
        if name.startswith("battery."):
            assert fold(detector, frames(T, **columns)) == [], name


def test_a_clean_pack_and_absent_values_are_no_finding() -> None:
    assert fold(PLUGIN, frames(T, **pack())) == []
    gaps = pack()
    for values in gaps.values():
        values[30:40] = np.nan
    assert fold(PLUGIN, frames(T, **gaps)) == []


def test_dirt_in_every_frame_is_one_finding() -> None:
    found = fold(PLUGIN, frames(T, **spoilt("cell_voltages_v", 5.1, slice(0, N), (..., 2))))
    assert [f.phase for f in found] == ["raise"]


def test_an_odometer_that_never_says_anything_but_zero_is_not_fitted() -> None:
    assert fold(PLUGIN, frames(T, **pack(odometer_m=np.zeros(N)))) == []


def test_a_soc_correction_after_a_pause_is_normal() -> None:
    t = T + np.where(T >= 60, 7200.0, 0.0)
    soc = np.where(T >= 60, 0.6, 0.8)
    assert fold(PLUGIN, frames(t, **pack(soc_ratio=soc))) == []


def test_an_open_contactor_is_not_a_wrong_sum() -> None:
    assert fold(PLUGIN, frames(T, **pack(pack_voltage_v=np.full(N, 3.0)))) == []


def test_car1_reports_its_dead_modules_and_no_other_signal() -> None:
    found = fold(PLUGIN, *recording("car1"))
    assert {f.component for f in found} == {"frame", "cell_voltages_v"}


def test_car3_reports_its_zero_odometer() -> None:
    found = fold(PLUGIN, *recording("car3"))
    assert "odometer_m" in {f.component for f in found}
    assert all(f.severity is Severity.INFO for f in found)
