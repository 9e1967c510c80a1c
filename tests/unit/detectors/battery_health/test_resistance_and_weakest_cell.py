"""Pack resistance and weakest cell against a pack whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.detectors.battery_health.histograms import grouped_medians
from openvrc.detectors.battery_health.resistance import RESISTANCE_EDGES_OHM
from tests.unit.detectors.battery_health.synthetic_pack import Pack, health_of


@pytest.mark.parametrize("resistance_ohm", [0.008, 0.080, 0.900])
def test_resistance_of_a_known_pack_comes_back_within_two_percent(resistance_ohm: float) -> None:
    pack = Pack(resistance_ohm=resistance_ohm, capacity_ah=300.0, step_s=1.0).drive(2000)
    assert health_of(pack).resistance_ohm == pytest.approx(resistance_ohm, rel=0.02)


def test_resistance_is_a_median_that_glitches_do_not_move() -> None:
    pack = Pack(step_s=1.0).drive(2000)
    for frame in pack.frames[::20]:
        frame["pack_voltage_v"] = 120.0
    assert health_of(pack).resistance_ohm == pytest.approx(0.080, rel=0.02)


def test_steps_of_small_current_or_over_long_gaps_tell_no_resistance() -> None:
    assert health_of(Pack(step_s=30.0).drive(1000)).resistance_ohm is None
    calm = Pack(step_s=1.0)
    for place in range(1000):
        calm.frame(20.0 * (place % 2))
    assert health_of(calm).resistance_ohm is None


def test_few_steps_tell_no_resistance_and_no_growth() -> None:
    assert health_of(Pack(step_s=1.0).drive(100)).resistance_ohm is None
    some = health_of(Pack(step_s=1.0).drive(900))
    assert some.resistance_ohm is not None
    assert some.resistance_ratio is None


def test_growth_is_told_against_the_first_steps() -> None:
    pack = Pack(step_s=1.0).drive(1000)
    pack.resistance_ohm *= 1.2
    assert health_of(pack.drive(3000)).resistance_ratio == pytest.approx(1.2, rel=0.03)
    steady = health_of(Pack(step_s=1.0).drive(4000))
    assert steady.resistance_ratio == pytest.approx(1.0, rel=0.01)


def test_a_median_from_bins_is_within_half_a_bin_of_the_true_one() -> None:
    samples = np.random.default_rng(3).lognormal(np.log(0.05), 0.3, 1001)
    counts, _ = np.histogram(samples, RESISTANCE_EDGES_OHM)
    (median,) = grouped_medians(counts[None, :], RESISTANCE_EDGES_OHM)
    assert median == pytest.approx(float(np.median(samples)), rel=0.01)


def test_a_median_beyond_the_finite_bins_is_not_known() -> None:
    edges = np.array([-np.inf, 1.0, 2.0])
    medians = grouped_medians(np.array([[5, 1], [1, 5], [0, 0]]), edges)
    assert np.isnan(medians).tolist() == [True, False, True]


@pytest.mark.parametrize("cell", [1, 7, 12])
def test_the_lowest_cell_at_rest_is_named_from_one(cell: int) -> None:
    assert health_of(Pack(weak_cell=cell).run(0.0, 1500)).weakest_cell == cell


def test_a_cell_low_only_under_load_is_not_the_weakest() -> None:
    pack = Pack(weak_cell=5).run(1.0, 1500).run(80.0, 3000)
    for frame in pack.frames[150:]:
        frame["cell_voltages_v"][8] -= 0.5
    assert health_of(pack).weakest_cell == 5


def test_a_glitching_cell_is_not_the_weakest() -> None:
    pack = Pack(weak_cell=5, weak_by_v=0.010).run(0.0, 3000)
    for frame in pack.frames[::4]:
        frame["cell_voltages_v"][8] -= 1.0
    assert health_of(pack).weakest_cell == 5


def test_a_cell_hardly_ever_measured_is_not_the_weakest() -> None:
    pack = Pack(weak_cell=5).run(0.0, 3000)
    for place, frame in enumerate(pack.frames):
        frame["cell_voltages_v"][8] = None if place % 10 else 3.0
    assert health_of(pack).weakest_cell == 5


def test_few_rest_frames_name_no_cell() -> None:
    assert health_of(Pack().run(0.0, 900)).weakest_cell is None
    assert health_of(Pack().run(40.0, 3000)).weakest_cell is None
