"""Capacity from rest anchors: packs of known capacity whose BMS believe in other ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from openvrc.detectors.battery_health.fleet_mates import anchored
from openvrc.detectors.battery_health.rest_anchors import N_ANCHORS, Pairs
from tests.unit.detectors.battery_health.synthetic_pack import Pack, folded, health_of

Floats = npt.NDArray[np.float64]


def open_circuit_v(charge: Floats) -> Floats:
    return np.asarray(3.2 + 0.9 * charge + 0.05 * np.sin(5.0 * charge))


def fleet_pairs(capacity_ah: Floats, seed: int = 1, n_pairs: int = 40) -> Pairs:
    """Charge goes up and down; displays share an error over charge and have one of their own."""
    rng = np.random.default_rng(seed)
    slot = np.repeat(np.arange(len(capacity_ah)), n_pairs)
    begin, end = rng.uniform(0.2, 0.95, (2, len(slot)))
    own = rng.normal(0.0, 0.02, len(capacity_ah))[slot]
    volts = [open_circuit_v(z) + rng.normal(0.0, 5e-4, len(slot)) for z in (begin, end)]
    shown = [z + 0.03 * np.sin(2 * np.pi * z) + own for z in (begin, end)]
    charge = capacity_ah[slot] * (end - begin)
    return Pairs(slot, volts[0], volts[1], shown[0], shown[1], charge, np.ones(len(slot)))


def test_capacities_of_a_model_come_back_whatever_its_bms_displays() -> None:
    rng = np.random.default_rng(2)
    true_ah = rng.uniform(120.0, 150.0, 60)
    believed_ah = true_ah * rng.normal(1.0, 0.02, 60)
    found = anchored(fleet_pairs(true_ah), np.zeros(60, np.int64), believed_ah)
    error = found.capacity_ah / true_ah - 1.0
    assert np.std(error) < 0.003
    assert abs(np.mean(error)) < 0.01
    assert np.std(believed_ah / true_ah - 1.0) > 0.015


def test_few_mates_tell_nothing() -> None:
    true_ah = np.full(4, 120.0)
    found = anchored(fleet_pairs(true_ah), np.zeros(4, np.int64), true_ah)
    assert np.isnan(found.capacity_ah).all()


def test_models_do_not_learn_from_one_another() -> None:
    true_ah = np.concatenate([np.full(20, 120.0), np.full(20, 60.0)])
    group = np.repeat([0, 1], 20)
    together = anchored(fleet_pairs(true_ah), group, true_ah)
    alone = anchored(fleet_pairs(true_ah).where(fleet_pairs(true_ah).slot < 20), group, true_ah)
    assert together.capacity_ah[:20] == pytest.approx(alone.capacity_ah[:20], rel=1e-9)
    assert np.isnan(alone.capacity_ah[20:]).all()


def test_vehicles_without_a_model_are_left_aside() -> None:
    true_ah = np.full(20, 120.0)
    found = anchored(fleet_pairs(true_ah), np.full(20, -1), true_ah)
    assert np.isnan(found.capacity_ah).all()


def test_anchors_that_scatter_widely_are_refused() -> None:
    true_ah = np.full(40, 120.0)
    pairs = fleet_pairs(true_ah)
    wrong = np.random.default_rng(3).normal(1.0, 0.05, 40)[pairs.slot]  # hysteresis, for instance
    scattered = Pairs(**vars(pairs) | {"charge_ah": pairs.charge_ah * wrong})
    assert np.isnan(anchored(scattered, np.zeros(40, np.int64), true_ah).capacity_ah).all()


def rested(pack: Pack) -> Pack:
    """Asleep for two hours, then awake for a frame."""
    pack.run(0.0, pack.step_s)
    pack.time_s += 7200.0
    return pack.run(0.0, pack.step_s)


def test_anchors_are_first_frames_after_a_sleep_and_count_the_charge_between_them() -> None:
    pack = rested(rested(Pack(soc=0.3)).charge(0.7).run(40.0, 600))
    fold = folded(pack)
    pairs = fold._anchors.pairs(fold._vehicles)
    assert pairs.charge_ah == pytest.approx([(pack.soc - 0.3) * 120.0], rel=0.01)
    assert pairs.to_v - pairs.from_v == pytest.approx([0.8 * (pack.soc - 0.3)], abs=2e-3)


def test_a_gap_that_begins_under_load_begins_a_new_chain() -> None:
    pack = rested(Pack(soc=0.8)).run(40.0, 600)
    pack.time_s += 7200.0
    pack.soc -= 0.1  # driven on, and nobody wrote it down
    fold = folded(rested(pack))
    assert len(fold._anchors.pairs(fold._vehicles).slot) == 0


def test_the_ring_keeps_the_newest_anchors_in_order() -> None:
    pack = Pack(soc=0.5, step_s=60.0)
    for n in range(N_ANCHORS + 9):
        rested(pack.run(-60.0 if n % 2 else 60.0, 120))
    fold = folded(pack)
    pairs = fold._anchors.pairs(fold._vehicles)
    assert len(pairs.slot) == N_ANCHORS - 1
    assert (np.sign(pairs.charge_ah[1:]) == -np.sign(pairs.charge_ah[:-1])).all()


def test_usage_counts_charge_energy_charges_and_hours() -> None:
    pack = rested(Pack(soc=0.2)).charge(0.8).discharge(0.5)
    for frame in pack.frames:
        frame["odometer_m"] = (
            5e7 + 10 * (frame["sampled_at_ns"] - pack.frames[0]["sampled_at_ns"]) / 1e9
        )
    pack.frames[-3]["odometer_m"] = 0.0
    usage = health_of(pack, rated_ah=130.0).usage
    assert usage.charges == 1
    assert usage.charge_in_ah == pytest.approx(0.6 * 120.0, rel=0.01)
    assert usage.full_cycles == pytest.approx(0.3 * 120.0 / 130.0, rel=0.01)
    assert usage.energy_in_kwh == pytest.approx(usage.charge_in_ah * 48.0 / 1000, rel=0.02)
    assert sum(usage.hours_by_soc) == pytest.approx(usage.known_h, abs=0.1)
    assert usage.odometer_m == pytest.approx(5e7 + 10 * pack.time_s, abs=200)
    assert usage.driven_m == pytest.approx(10 * pack.time_s, abs=200)


@pytest.mark.parametrize(("step_s", "rises_to"), [(1.0, 1.37), (10.0, 1.98)])
def test_resistance_is_told_as_at_25_degrees(step_s: float, rises_to: float) -> None:
    warm = Pack(step_s=step_s).drive(300)
    for frame in warm.frames:
        frame["probe_temperatures_degc"] = [25.0, 25.0, 26.0]
    cold = Pack(step_s=step_s, resistance_ohm=0.080 * rises_to).drive(300)
    for frame in cold.frames:
        frame["probe_temperatures_degc"] = [0.0, 0.0, 1.0]
    assert health_of(cold).resistance_ohm == pytest.approx(health_of(warm).resistance_ohm, rel=0.03)
