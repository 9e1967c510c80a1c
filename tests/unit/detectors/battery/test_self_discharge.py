"""battery.self_discharge against theory, dirt, and two real cars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.contracts.detection import Finding
from openvrc.contracts.messages.record import LATE_IN_SUBJECT
from openvrc.contracts.units import iso_from_ns
from openvrc.detectors.battery.self_discharge import PLUGIN
from tests.support.battery_frames import CONTEXT, T0_NS, fold, frames
from tests.support.fleet_csv import recording

N_CELLS = 96


def pack(
    times_s: Any, current_a: Any, *, seed: int = 0, excess_ohm: float = 0.0, offset_v: float = 0.0
) -> dict[str, Any]:
    """A healthy pack of 0.4 mohm cells whose cell 7 has an excess resistance and an offset."""
    rng = np.random.default_rng(seed)
    current_a = np.broadcast_to(np.asarray(current_a, float), np.shape(times_s))
    resistance_ohm = np.full(N_CELLS, 4e-4)
    resistance_ohm[6] += excess_ohm
    cells_v = 3.7 + rng.normal(0, 3e-3, N_CELLS) - current_a[:, None] * resistance_ohm
    cells_v = cells_v + rng.normal(0, 1e-3, cells_v.shape)
    cells_v[:, 6] += offset_v
    return {"cell_voltages_v": cells_v.round(3), "pack_current_a": current_a}


def components(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(f.phase, f.component) for f in findings]


@pytest.mark.parametrize("offset_v", [-0.065, -0.08, -0.1])
def test_a_weak_cell_of_a_parked_car_is_found_within_twenty_seconds(offset_v: float) -> None:
    t = np.arange(20.0)
    found = fold(PLUGIN, frames(t, **pack(t, 0.5, offset_v=offset_v)))
    assert components(found) == [("raise", "cell:7")]
    assert found[0].started_at_ns == T0_NS
    assert found[0].evidence["deviation_v"] == pytest.approx(offset_v, abs=0.012)


def test_a_weak_cell_of_a_driving_car_is_found_through_its_load() -> None:
    t = np.arange(20.0)
    current_a = 60.0 + 50.0 * np.sin(t / 2.0)
    found = fold(PLUGIN, frames(t, **pack(t, current_a, offset_v=-0.08)))
    assert components(found) == [("raise", "cell:7")]


@pytest.mark.parametrize("seed", range(5))
def test_a_resistive_cell_is_no_weak_cell_however_the_load_goes(seed: int) -> None:
    t = np.arange(200.0)
    steady = np.repeat(np.random.default_rng(seed).uniform(-60, 150, 10), 20)
    for current_a in (steady, 75.0 + 75.0 * np.sin(t / 3.0)):
        assert fold(PLUGIN, frames(t, **pack(t, current_a, seed=seed, excess_ohm=5e-4))) == []


def test_a_high_cell_is_no_self_discharge() -> None:
    t = np.arange(60.0)
    assert fold(PLUGIN, frames(t, **pack(t, 0.0, offset_v=+0.1))) == []


def test_a_module_that_sits_low_is_no_cell() -> None:
    t = np.arange(60.0)
    columns = pack(t, 0.0)
    columns["cell_voltages_v"][:, 84:96] -= 0.08
    assert fold(PLUGIN, frames(t, **columns)) == []


@pytest.mark.parametrize("dirt_v", [0.0, 66.535, np.nan])
def test_cells_that_are_no_measurement_raise_nothing(dirt_v: float) -> None:
    t = np.arange(120.0)
    columns = pack(t, 0.0)
    columns["cell_voltages_v"][30:90, 10:22] = dirt_v
    columns["cell_voltages_v"][95:100, :60] = dirt_v
    assert fold(PLUGIN, frames(t, **columns)) == []


def test_a_glitch_of_a_few_frames_is_no_weak_cell() -> None:
    t = np.arange(120.0)
    columns = pack(t, 0.0)
    columns["cell_voltages_v"][40:44, 6] = 2.8
    assert fold(PLUGIN, frames(t, **columns)) == []


def test_a_lost_cell_value_only_delays_the_finding() -> None:
    t = np.arange(30.0)
    columns = pack(t, 0.0, offset_v=-0.08)
    columns["cell_voltages_v"][4, 6] = np.nan
    assert components(fold(PLUGIN, frames(t, **columns))) == [("raise", "cell:7")]


def test_sums_of_rest_from_a_checkpoint_without_the_middle_cell_are_begun_anew() -> None:
    t = np.arange(0.0, 24 * 3600, 300)
    both = frames(t, **pack(t, 0.5, offset_v=-0.030))
    state, _ = PLUGIN.update(PLUGIN.initial(CONTEXT), both.take(np.flatnonzero(t < 7200)))
    old = dict(PLUGIN.snapshot(state))
    assert old["rest.heads"][0, 1] > 0
    old["rest.heads"] = old["rest.heads"][:, :-1]
    state = PLUGIN.restore(CONTEXT, old)
    assert len(PLUGIN.snapshot(state)["rest.heads"]) == 0
    _, found = PLUGIN.update(state, both.take(np.flatnonzero(t >= 7200)))
    assert components(found) == [("raise", "cell:7")]


def test_thirty_millivolts_need_three_batches_of_rest_to_agree() -> None:
    t = np.arange(0.0, 24 * 3600, 300)
    found = fold(PLUGIN, frames(t, **pack(t, 0.5, offset_v=-0.030)))
    assert components(found) == [("raise", "cell:7")]
    assert found[0].at_ns - T0_NS == 12 * 3600 * 10**9  # three batches of four hours
    assert found[0].evidence["batches_agreeing"] == 3


def test_two_low_batches_of_five_raise_nothing() -> None:
    t = np.arange(0.0, 40 * 3600, 300)
    columns = pack(t, 0.5)
    columns["cell_voltages_v"][t < 8 * 3600, 6] -= 0.030
    assert fold(PLUGIN, frames(t, **columns)) == []


def test_an_episode_outlives_a_flat_part_of_the_curve_and_ends_after_three_days_of_health() -> None:
    t = np.arange(0.0, 6 * 86400, 600)
    columns = pack(t, 0.5)
    is_flat = (t > 86400) & (t < 2 * 86400)
    columns["cell_voltages_v"][:, 6] -= np.where(t < 2.5 * 86400, np.where(is_flat, 0.0, 0.03), 0.0)
    found = fold(PLUGIN, frames(t, **columns))
    assert [f.phase for f in found] == ["raise", "clear"]
    assert found[1].at_ns - T0_NS > 5.5 * 86400 * 10**9
    assert found[1].started_at_ns == found[0].started_at_ns


def test_a_cell_that_gets_much_worse_is_told_again_as_serious() -> None:
    t = np.arange(60.0)
    columns = pack(t, 0.0, offset_v=-0.06)
    columns["cell_voltages_v"][36:, 6] -= 0.06  # blocks are of 12 frames
    found = fold(PLUGIN, frames(t, **columns))
    assert [(f.phase, f.severity.word) for f in found] == [
        ("raise", "warning"),
        ("raise", "serious"),
    ]
    assert len({f.started_at_ns for f in found}) == 1


def test_late_frames_and_pseudonyms_are_left_out() -> None:
    t = np.arange(40.0)
    weak = pack(t, 0.0, offset_v=-0.09)
    assert fold(PLUGIN, frames(t, lateness=LATE_IN_SUBJECT, **weak)) == []
    assert fold(PLUGIN, frames(t, id_kind="pseudonym", **weak)) == []


def test_a_repeated_timestamp_counts_once() -> None:
    t = np.repeat(np.arange(7.0), 4)
    assert fold(PLUGIN, frames(t, **pack(t, 0.0, offset_v=-0.09))) == []


def test_two_hundred_healthy_cars_raise_nothing() -> None:
    t = np.arange(120.0)
    for seed in range(40):
        current_a = np.repeat(np.random.default_rng(seed).uniform(-80, 150, 40), 3)
        columns = pack(t, current_a, seed=seed)
        assert fold(PLUGIN, frames(t, **columns)) == []


def test_car3_names_cells_81_and_2_once_each_and_nothing_else() -> None:
    found = fold(PLUGIN, *recording("car3"))
    assert sorted(components(found)) == [("raise", "cell:2"), ("raise", "cell:81")]
    assert all(iso_from_ns(f.at_ns) < "2019-04-17" for f in found)  # BMS level 3: 2019-04-20


def test_car1_has_a_high_module_and_no_weak_cell() -> None:
    assert fold(PLUGIN, *recording("car1")) == []
