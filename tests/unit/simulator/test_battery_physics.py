"""The pack model against circuit theory and the conservation of energy."""

import numpy as np
import pytest

from simulator.physics import battery

CELL = battery.Cell()


def run(
    state: battery.PackState, current_a: float, seconds: float, dt_s: float = 1.0
) -> tuple[battery.PackState, float, float]:
    """State, terminal energy out (J per cell), and charge out (C per cell)."""
    energy_j = charge_c = 0.0
    for _ in range(round(seconds / dt_s)):
        state = battery.step(state, np.array([current_a]), dt_s, ambient_degc=25.0, cell=CELL)
        cell_a = current_a / battery.PACK_PARALLEL
        energy_j += float(state.cell_voltage_v[0]) * cell_a * dt_s
        charge_c += cell_a * dt_s
    return state, energy_j, charge_c


def test_open_circuit_voltage_rises_with_charge_within_the_chemistry_s_limits() -> None:
    voltage = battery.open_circuit_v(np.linspace(0, 1, 101))
    assert (np.diff(voltage) > 0).all()
    assert voltage[0] > 2.5
    assert voltage[-1] < 4.2


def test_a_rested_pack_shows_its_open_circuit_voltage() -> None:
    state = battery.rested([0.5], 25.0)
    after, _, _ = run(state, 0.0, 100)
    assert after.cell_voltage_v[0] == pytest.approx(battery.open_circuit_v([0.5])[0])
    assert after.temperature_degc[0] == pytest.approx(25.0)


def test_discharge_takes_exactly_the_charge_that_flowed() -> None:
    after, _, charge_c = run(battery.rested([0.8], 25.0), 70.0, 1800)  # half an hour at 1 C
    assert after.soc_ratio[0] == pytest.approx(0.8 - charge_c / (3600 * CELL.capacity_ah))
    assert after.soc_ratio[0] == pytest.approx(0.3, abs=1e-9)


def test_a_load_costs_voltage_and_a_charge_adds_it() -> None:
    rested = battery.rested([0.5], 25.0)
    loaded, _, _ = run(rested, 70.0, 1)
    charged, _, _ = run(rested, -70.0, 1)
    assert loaded.cell_voltage_v[0] < rested.cell_voltage_v[0] < charged.cell_voltage_v[0]
    # One second in: R0 plus kinetics; measured packs show 15 to 60 mohm per such cell.
    resistance_ohm = (rested.cell_voltage_v[0] - loaded.cell_voltage_v[0]) / 5.0
    assert 0.015 < resistance_ohm < 0.06


def test_a_round_trip_loses_energy_and_the_loss_becomes_heat() -> None:
    start = battery.rested([0.5], 25.0)
    out, out_j, _ = run(start, 70.0, 600)
    back, in_j, _ = run(out, -70.0, 600)
    assert back.soc_ratio[0] == pytest.approx(0.5)
    lost_j = -(out_j + in_j)
    assert lost_j > 0
    # Without cooling all of it would be in the cell; cooling takes some, so this is a bound.
    heat_j = (back.temperature_degc[0] - 25.0) * CELL.heat_capacity_j_per_k
    assert 0 < heat_j < lost_j


def test_the_rc_pairs_are_exact_for_any_step() -> None:
    fine, _, _ = run(battery.rested([0.5], 25.0), 30.0, 64, dt_s=1.0)
    coarse, _, _ = run(battery.rested([0.5], 25.0), 30.0, 64, dt_s=64.0)
    assert coarse.v1_v[0] == pytest.approx(fine.v1_v[0], rel=1e-9)
    assert coarse.v2_v[0] == pytest.approx(fine.v2_v[0], rel=1e-9)


def test_kinetics_are_slower_in_the_cold() -> None:
    cold, warm = battery.kinetic_v([5.0, 5.0], [0.0, 40.0], CELL)
    assert cold > 2 * warm
    assert battery.kinetic_v(-5.0, 25.0, CELL) == -battery.kinetic_v(5.0, 25.0, CELL)


def test_a_fault_s_heat_settles_where_its_loss_equals_its_power() -> None:
    heat = battery.LocalHeat(np.zeros(1))
    for _ in range(2000):
        heat = battery.step_local_heat(heat, np.array([300.0]), 1.0)
    assert heat.excess_k[0] == pytest.approx(300.0 / heat.LOSS_W_PER_K)


def test_braking_charges_the_pack_but_not_beyond_the_motor() -> None:
    car = battery.Car()
    power_w = battery.road_power_w(np.array([0.0, 10.0, 10.0, 30.0]), np.array([0, 0, -2, -8]), car)
    assert power_w[0] == car.auxiliary_w
    assert power_w[1] > car.auxiliary_w
    assert power_w[2] < 0
    assert power_w[3] == pytest.approx(car.auxiliary_w - car.regeneration_w)
