"""data.frozen_signal: sameness counts only where change is due."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.contracts.batch import Batch, from_columns
from openvrc.detectors.data.frozen_signal import PLUGIN
from tests.support.battery_frames import T0_NS, fold, frames, seconds_ns
from tests.support.fleet_csv import recording

T = np.arange(60.0)
STEPS_A = np.where(np.arange(60) % 2, 40.0, 0.0)


def pack(current_a: Any, held: slice = slice(0, 0)) -> dict[str, Any]:
    cells = 3.7 - np.asarray(current_a)[:, None] * 4e-4 + np.zeros((len(current_a), 16))
    cells[held] = cells[held.start]
    return {
        "pack_current_a": current_a,
        "cell_voltages_v": cells.round(3),
        "pack_voltage_v": cells.sum(axis=1).round(1) - np.asarray(current_a) * 0.05,
    }


def drive(x_m: Any, speed_mps: Any) -> Batch:
    n = len(x_m)
    return from_columns(
        "vehicle_state",
        zone="z",
        run_id="r",
        origin="simulated",
        n_rows=n,
        columns={
            "source_id": "car",
            "subject_id": "car",
            "id_kind": "permanent",
            "lateness": 0,
            "sampled_at_ns": seconds_ns(np.arange(n)),
            "lat_deg": 53.0,
            "lon_deg": np.round(10.0 + np.asarray(x_m) / 67_000.0, 7),
            "speed_mps": speed_mps,
        },
    )


def test_cells_that_stay_equal_over_current_steps_are_frozen_until_they_move() -> None:
    found = fold(PLUGIN, frames(T, **pack(STEPS_A, slice(20, 40))))
    assert [(f.phase, f.component) for f in found] == [
        ("raise", "cell_voltages_v"),
        ("clear", "cell_voltages_v"),
    ]
    assert (found[0].started_at_ns - T0_NS) / 1e9 == 20
    assert (found[0].at_ns - T0_NS) / 1e9 == 25  # five steps later
    assert (found[1].at_ns - T0_NS) / 1e9 == 41  # at 40 s the current is that of 20 s again


def test_equal_cells_of_a_resting_pack_are_normal() -> None:
    assert fold(PLUGIN, frames(T, **pack(np.full(60, 0.5)))) == []


def test_one_frame_of_delay_after_a_long_rest_is_normal() -> None:
    current_a = np.where(np.arange(60) >= 50, 80.0, 0.0)
    assert fold(PLUGIN, frames(T, **pack(current_a, slice(40, 52)))) == []


def test_a_frame_without_cells_does_not_end_the_run() -> None:
    columns = pack(STEPS_A, slice(20, 40))
    columns["cell_voltages_v"][22] = np.nan
    found = fold(PLUGIN, frames(T, **columns))
    assert [f.phase for f in found] == ["raise", "clear"]


def test_a_long_silence_starts_anew() -> None:
    columns = pack(STEPS_A, slice(20, 40))
    t = T + 300.0 * (np.arange(60) >= 23) + 300.0 * (np.arange(60) >= 26)
    t += 300.0 * (np.arange(60) >= 29) + 300.0 * (np.arange(60) >= 32)
    t += 300.0 * (np.arange(60) >= 35) + 300.0 * (np.arange(60) >= 38)
    assert fold(PLUGIN, frames(t, **columns)) == []


def test_a_position_that_stays_while_driving_is_frozen() -> None:
    x_m = np.arange(40) * 12.0
    x_m[10:20] = x_m[10]
    found = fold(PLUGIN, drive(x_m, 12.0))
    assert [(f.phase, f.component) for f in found] == [("raise", "position"), ("clear", "position")]
    assert (found[0].at_ns - T0_NS) / 1e9 == 15


@pytest.mark.parametrize("speed_mps", [0.0, 0.5])
def test_a_standing_vehicle_is_not_frozen(speed_mps: float) -> None:
    assert fold(PLUGIN, drive(np.zeros(60), speed_mps)) == []


@pytest.mark.parametrize("car", ["car1", "car3"])
def test_real_cars_have_no_frozen_signal(car: str) -> None:
    assert fold(PLUGIN, *recording(car)) == []
