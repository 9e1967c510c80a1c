"""What holds for the whole fold: any cut into batches, bounded state, the real cars' figures."""

from __future__ import annotations

import pickle

import pytest

from openvrc.detectors.battery_health.health import BatteryHealth, Health
from tests.support.fleet_csv import recording
from tests.unit.detectors.battery_health.synthetic_pack import Pack, folded


def fleet() -> list[Pack]:
    bus = Pack("bus", soc=0.3).charge(0.5, 120.0).run(0.0, 60)  # a pause within the charge
    bus.charge(0.8, 120.0).drive(300).charge(0.9).run(0.0, 1200)
    car = Pack("car", capacity_ah=60.0, n_cells=9, weak_cell=2, soc=0.2, seed=2, soh_displayed=0.9)
    car.run(0.0, 1500).charge(0.9, 120.0).drive(400).charge(0.7, 120.0).late(pack_current_a=300.0)
    return [bus, car.drive(100)]


@pytest.mark.parametrize("batch_rows", [pytest.param(1, marks=pytest.mark.slow), 7, 300])
def test_health_does_not_depend_on_how_frames_were_cut_into_batches(batch_rows: int) -> None:
    packs = fleet()
    whole = folded(*packs, rated_ah=125.0, batch_rows=10**6).rows()
    assert folded(*packs, rated_ah=125.0, batch_rows=batch_rows).rows() == whole
    assert [row.vehicle_id for row in whole] == ["bus", "car"]
    assert all(row.resistance_ohm and row.weakest_cell and row.soh_ratio for row in whole)


def test_one_vehicle_is_judged_as_if_it_were_alone() -> None:
    packs = fleet()
    together = folded(*packs, rated_ah=125.0).rows()
    assert together == [row for pack in packs for row in folded(pack, rated_ah=125.0).rows()]


def test_what_a_vehicle_occupies_does_not_grow_with_its_frames() -> None:
    pack = Pack(soc=0.3).charge(0.8).drive(1500).discharge(0.2)
    day = len(pickle.dumps(folded(pack)))
    for _ in range(4):
        pack.charge(0.8).drive(1500).discharge(0.2)
    assert len(pickle.dumps(folded(pack))) == day


def test_no_frames_give_no_rows() -> None:
    assert BatteryHealth().rows() == []


def test_a_vehicle_that_sends_next_to_nothing_has_an_empty_row() -> None:
    pack = Pack().run(0.0, 100, pack_current_a=None, pack_voltage_v=None, cell_voltages_v=[])
    (row,) = folded(pack, rated_ah=120.0).rows()
    assert row.soh_method == "no_charge_window"
    known = {row.soh_ratio, row.resistance_ohm, row.resistance_ratio, row.weakest_cell}
    assert known == {None}
    assert row.as_of == "2026-01-01T00:01:40.000Z"


def real(name: str) -> Health:
    health = BatteryHealth()
    for batch in recording(name):
        health.fold(batch)
    (row,) = health.rows()
    return row


def test_car1_has_the_resistance_that_load_steps_at_one_second_gave() -> None:
    row = real("car1")
    # Steps gave 38.8 mohm at 32 degC, where at 1 s a pack resists 0.96 of what it does at 25.
    assert row.resistance_ohm == pytest.approx(0.0388 / 0.961, rel=0.02)
    assert row.resistance_ratio == pytest.approx(1.0, abs=0.02)  # two days age nothing
    assert (row.soh_ratio, row.soh_method) == (None, "rated_capacity_unknown")


def test_car3_has_the_resistance_the_weak_cell_and_charges_that_agree() -> None:
    row = real("car3")
    assert row.resistance_ohm == pytest.approx(0.090 / 1.078, rel=0.02)  # 90 mohm at 21 degC
    assert row.weakest_cell == 81
    assert row.n_charge_windows >= 15
    assert row.capacity_ah == pytest.approx(118.0, rel=0.01)  # single windows: 117.7 to 118.5
    assert (row.soh_ratio, row.soh_method) == (None, "rated_capacity_unknown")
