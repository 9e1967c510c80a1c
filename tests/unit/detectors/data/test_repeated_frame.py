"""`data.repeated_frame`: the same moment twice, old values under new times, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

from openvrc.contracts.batch import concat
from openvrc.detectors.data.repeated_frame import PLUGIN
from tests.support.battery_frames import T0_NS, fold, frames

T = np.arange(0.0, 4000.0, 10.0)


def driven(seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    amps = rng.uniform(5.0, 80.0, len(T)).round(1)
    cells_v = (3.7 - amps[:, None] * 4e-4 + rng.normal(0, 1e-3, (len(T), 96))).round(3)
    return {
        "cell_voltages_v": cells_v,
        "pack_current_a": amps,
        "pack_voltage_v": cells_v.sum(axis=1).round(1),
        "soc_ratio": (0.8 - T * 2e-5).round(2),
    }


def some(columns: dict[str, Any], rows: slice) -> dict[str, Any]:
    return {name: values[rows] for name, values in columns.items()}


def test_a_buffer_of_old_frames_under_new_times_is_told_with_its_age() -> None:
    columns = driven()
    again = frames(T[:60] + 8 * 3600.0, **some(columns, slice(0, 60)))
    found = fold(PLUGIN, frames(T, **columns), again)
    assert [(f.phase, f.component) for f in found] == [("raise", "frame")]
    assert found[0].evidence["reason"] == "stale_repeat"
    assert found[0].evidence["age_s"] == 8 * 3600
    assert T0_NS + 8 * 3600 * 10**9 < found[0].at_ns < T0_NS + (8 * 3600 + 600) * 10**9


def test_it_is_over_ten_minutes_after_the_buffer() -> None:
    columns = driven()
    again = frames(T[:60] + 8 * 3600.0, **some(columns, slice(0, 60)))
    after = frames(T + 9 * 3600.0, **driven(seed=2))
    found = fold(PLUGIN, frames(T, **columns), again, after)
    assert [f.phase for f in found] == ["raise", "clear"]


def test_two_frames_of_one_moment_are_one_finding_that_clears() -> None:
    columns, order = driven(), np.sort(np.append(np.arange(len(T)), [50, 51, 52]))
    twice: dict[str, Any] = {name: values[order] for name, values in columns.items()}
    found = fold(PLUGIN, frames(T[order], **twice))
    assert [(f.phase, f.component) for f in found] == [
        ("raise", "sampled_at"),
        ("clear", "sampled_at"),
    ]
    assert found[0].evidence["reason"] == "repeated_time"
    assert found[0].at_ns == T0_NS + 500 * 10**9


def test_new_frames_and_equal_frames_at_rest_are_no_repeat() -> None:
    rest: dict[str, Any] = {
        "cell_voltages_v": np.full((len(T), 96), 3.7),
        "pack_current_a": np.zeros(len(T)),
        "pack_voltage_v": np.full(len(T), 355.2),
        "soc_ratio": np.full(len(T), 0.7),
    }
    assert fold(PLUGIN, frames(T, **driven()), frames(T + 86_400.0, **rest)) == []
    assert fold(PLUGIN, frames(T, **driven()), frames(T + 86_400.0, **driven(seed=3))) == []


def test_the_same_values_in_other_vehicles_are_no_repeat() -> None:
    columns = driven()
    both = concat(
        [frames(T, vehicle="a", **columns), frames(T + 8 * 3600.0, vehicle="b", **columns)]
    )
    assert fold(PLUGIN, both) == []
