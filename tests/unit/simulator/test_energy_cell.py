"""The cell model against circuit theory, conservation of energy, and PyBaMM's traces."""

from pathlib import Path

import numpy as np
import pytest

from simulator.energy import ageing, cell
from simulator.energy.chemistry import CHEMISTRIES, LFP, NMC, chemistry_code

TRACES = Path(__file__).parents[2] / "bench"
NEW = np.ones(1)
CODES = pytest.mark.parametrize("code", range(len(CHEMISTRIES)), ids=lambda c: CHEMISTRIES[c].name)


def cells(code: int, capacity: float = 1.0, resistance: float = 1.0) -> cell.CellArrays:
    return cell.cells_of(np.array([code]), NEW * capacity, NEW * resistance)


def run(
    state: cell.CellState,
    arrays: cell.CellArrays,
    current_a: float,
    seconds: float,
    dt_s: float = 1.0,
    cooling_w_per_k: float = 0.074,
) -> tuple[cell.CellState, float, float]:
    """State, energy out of the terminals and heat given to the air, J."""
    energy_j = air_j = 0.0
    for _ in range(round(seconds / dt_s)):
        state = cell.step(
            state,
            np.array([current_a], np.float32),
            np.array([dt_s], np.float32),
            arrays,
            cooling_w_per_k=np.array([cooling_w_per_k], np.float32),
            surroundings_degc=np.array([25.0], np.float32),
        )
        energy_j += float(state.voltage_v[0]) * current_a * dt_s
        air_j += cooling_w_per_k * (float(state.temperature_degc[0]) - 25.0) * dt_s
    return state, energy_j, air_j


def rested(arrays: cell.CellArrays, soc: float = 0.5, degc: float = 25.0) -> cell.CellState:
    return cell.rested(arrays, np.array([soc]), np.array([degc]))


@CODES
def test_the_open_circuit_voltage_rises_with_charge(code: int) -> None:
    volts = cell.open_circuit_v(np.linspace(0, 1, 301), np.full(301, code))
    assert (np.diff(volts) > 0).all()
    slope = cell.open_circuit_slope_v(np.array([0.505]), np.array([code]))
    near = cell.open_circuit_v(np.array([0.501, 0.509]), np.full(2, code))
    assert slope[0] == pytest.approx((near[1] - near[0]) / 0.008, rel=1e-3)


@CODES
def test_a_discharge_takes_exactly_the_charge_that_flowed(code: int) -> None:
    arrays = cells(code, capacity=0.9)
    after, _, _ = run(rested(arrays, 0.8), arrays, 4.5, 1200)
    assert after.soc_ratio[0] == pytest.approx(0.8 - 1 / 3, abs=1e-7)


def test_a_step_of_any_length_ends_where_many_short_ones_do() -> None:
    arrays = cells(0)
    one, _, _ = run(rested(arrays), arrays, 3.0, 600, dt_s=600)
    many, _, _ = run(rested(arrays), arrays, 3.0, 600, dt_s=1)
    assert one.soc_ratio[0] == pytest.approx(many.soc_ratio[0], abs=1e-7)
    for name in ("v1_v", "v2_v"):
        assert getattr(one, name)[0] == pytest.approx(getattr(many, name)[0], rel=1e-4)


def test_a_rest_relaxes_to_the_open_circuit_voltage_with_the_slow_pair_s_time() -> None:
    arrays = cells(chemistry_code("nmc"))
    loaded, _, _ = run(rested(arrays), arrays, 5.0, 900)
    short, _, _ = run(loaded, arrays, 0.0, 300)
    later, _, _ = run(short, arrays, 0.0, NMC.tau2_s)
    assert later.overvoltage_v[0] == pytest.approx(short.overvoltage_v[0] / np.e, rel=0.02)
    night, _, _ = run(later, arrays, 0.0, 12 * 3600, dt_s=3600)
    assert night.voltage_v[0] == pytest.approx(
        cell.open_circuit_v(night.soc_ratio, np.array([0]))[0], abs=1e-4
    )


def test_the_heat_of_a_cycle_is_what_the_terminals_lost() -> None:
    arrays = cells(chemistry_code("nmc"))
    start = rested(arrays)
    out, out_j, air1_j = run(start, arrays, 5.0, 600)
    back, in_j, air2_j = run(out, arrays, -5.0, 600)
    assert back.soc_ratio[0] == pytest.approx(0.5, abs=1e-7)
    stored_j = NMC.heat_capacity_j_per_k * (float(back.temperature_degc[0]) - 25.0)
    assert -(out_j + in_j) == pytest.approx(stored_j + air1_j + air2_j, rel=0.02)
    assert -(out_j + in_j) > 0


def test_hysteresis_keeps_an_lfp_cell_apart_by_its_history_and_nmc_not() -> None:
    for chemistry, apart_v in ((LFP, 2 * LFP.hysteresis_v), (NMC, 0.0)):
        arrays = cells(chemistry_code(chemistry.name))
        ends = []
        for first in (2.0, -2.0):  # to the same charge from above and from below
            state, _, _ = run(rested(arrays, 0.5 + first / 2 * 0.2), arrays, first, 1800, dt_s=10)
            state, _, _ = run(state, arrays, 0.0, 24 * 3600, dt_s=3600)
            ends.append(state)
        assert ends[0].soc_ratio[0] == pytest.approx(ends[1].soc_ratio[0], abs=1e-6)
        gap_v = float(ends[1].voltage_v[0] - ends[0].voltage_v[0])
        assert gap_v == pytest.approx(apart_v, abs=0.1 * apart_v + 2e-4)


def test_cold_and_age_cost_voltage() -> None:
    loss = {
        (degc, ratio): float(
            run(rested(cells(0), 0.5, degc), cells(0, resistance=ratio), 5.0, 10)[0].overvoltage_v[
                0
            ]
        )
        for degc in (0.0, 25.0)
        for ratio in (1.0, 1.4)
    }
    assert loss[0.0, 1.0] > 1.3 * loss[25.0, 1.0]
    assert loss[25.0, 1.4] > 1.15 * loss[25.0, 1.0]


def test_the_current_for_a_power_gives_that_power() -> None:
    arrays = cells(0)
    state = rested(arrays)
    transfer = cell.kinetics(state.temperature_degc, arrays)
    for power_w in (2.0, 20.0, 45.0, -15.0):
        asked = np.array([power_w], np.float32)
        current = cell.current_for_power_a(asked, state.ocv_v, transfer, arrays)
        drop = arrays.r0_ohm * current + transfer.overvoltage_v(current)
        assert current * (state.ocv_v - drop) == pytest.approx(power_w, rel=0.01)


def test_ageing_only_takes_and_takes_more_in_heat_and_with_use() -> None:
    kept = {}
    for code in range(len(CHEMISTRIES)):
        for degc, cycles in ((15.0, 0.1), (35.0, 0.1), (15.0, 0.5)):
            losses, last = ageing.new_losses(1), 1.0
            for _ in range(36):
                losses = ageing.aged(
                    losses,
                    np.array([code]),
                    days=np.array([30.0]),
                    full_cycles=np.array([30.0 * cycles]),
                    temperature_degc=np.array([degc]),
                    soc_ratio=np.array([0.6]),
                    discharge_c_rate=np.array([0.3]),
                )
                assert losses.capacity_ratio[0] < last
                last = float(losses.capacity_ratio[0])
            kept[code, degc, cycles] = last
            assert losses.resistance_ratio[0] > 1.0
        assert kept[code, 35.0, 0.1] < kept[code, 15.0, 0.1]
        assert kept[code, 15.0, 0.5] < kept[code, 15.0, 0.1]


def test_ageing_in_many_small_steps_is_ageing_in_one() -> None:
    common = {
        "temperature_degc": np.array([25.0]),
        "soc_ratio": np.array([0.5]),
        "discharge_c_rate": np.array([0.3]),
    }
    one = ageing.aged(
        ageing.new_losses(1),
        np.array([0]),
        days=np.array([365.0]),
        full_cycles=np.array([50.0]),
        **common,
    )
    many = ageing.new_losses(1)
    for _ in range(365):
        many = ageing.aged(
            many,
            np.array([0]),
            days=np.array([1.0]),
            full_cycles=np.array([50.0 / 365]),
            **common,
        )
    assert many.capacity_ratio[0] == pytest.approx(one.capacity_ratio[0], abs=1e-9)


def trace_labels() -> list[str]:
    with np.load(TRACES / "pybamm_us06.npz") as data:
        return [name.removeprefix("voltage_v_") for name in data if name.startswith("voltage_v_")]


@pytest.mark.parametrize("label", trace_labels())
def test_an_unseen_us06_is_within_10_mv_of_pybamm(label: str) -> None:
    degc, soc = map(float, label.split("_"))
    with np.load(TRACES / "pybamm_us06.npz") as data:
        time_s, current_a = data["time_s"], data["current_a"].astype(np.float64)
        expected_v = data[f"voltage_v_{label}"]
        expected_degc = data[f"temperature_degc_{label}"]
    arrays = cells(chemistry_code("nmc"))
    state = rested(arrays, soc, degc)
    errors_v = []
    for before, after, dt_s, v in zip(
        current_a[:-1], current_a[1:], np.diff(time_s), expected_v[1:], strict=True
    ):
        # The reference's current is linear between samples: its mean goes through the circuit,
        # its value at the end drops at once.
        mean_a = 0.5 * (before + after)
        state = cell.step(
            state,
            np.array([mean_a], np.float32),
            np.array([dt_s], np.float32),
            arrays,
            cooling_w_per_k=np.array([0.074], np.float32),
            surroundings_degc=np.array([degc], np.float32),
        )
        transfer = cell.kinetics(state.temperature_degc, arrays)
        at_once = transfer.overvoltage_v(np.array([after], np.float32))
        drop = arrays.r0_ohm * np.float32(after) + at_once + state.v1_v + state.v2_v
        errors_v.append(float(state.ocv_v[0] - drop[0] - v))
    assert np.sqrt(np.mean(np.square(errors_v))) < 0.005  # 3.8 mV at most when it was fitted
    assert state.temperature_degc[0] == pytest.approx(expected_degc[-1], abs=0.5)
