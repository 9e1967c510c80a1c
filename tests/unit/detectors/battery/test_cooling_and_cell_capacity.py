"""`battery.cooling` and `battery.cell_capacity`: what they name, and what they leave alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Finding
from openvrc.detectors.battery import cell_capacity, cooling
from tests.support.battery_frames import T0_NS, fold, frames

N_CELLS = 96


def profile(chemistry: str = "nmc") -> Batch:
    return from_columns(
        "vehicle_profile",
        zone="z",
        run_id="r",
        origin="simulated",
        n_rows=1,
        columns={
            "subject_id": "ev",
            "source_id": "ev",
            "sampled_at_ns": T0_NS,
            "chemistry": chemistry,
            "rated_capacity_ah": 150.0,
        },
    )


def pack(t_s: Any, amps: Any, degc: Any) -> Batch:
    cells_v = 3.7 - np.repeat(np.asarray(amps)[:, None], N_CELLS, axis=1) * 1e-3
    return frames(
        t_s,
        cell_voltages_v=cells_v,
        probe_temperatures_degc=np.repeat(np.asarray(degc, float)[:, None], 4, axis=1),
        pack_current_a=np.asarray(amps),
        pack_voltage_v=cells_v.sum(axis=1),
        soc_ratio=np.full(len(cells_v), 0.5),
        charging_state=["parked_charging" if a < -50 else "not_charging" for a in amps],
    )


def drive() -> Batch:
    t_s = np.arange(0.0, 1000.0, 10.0)
    return pack(t_s, np.where(t_s % 20 == 0, 60.0, 0.0), np.full(len(t_s), 25.0))


def charge(hour: float, keeps: float, begin_degc: float = 26.0) -> Batch:
    """20 min at 150 A: 20 K of heat at 1 mohm a cell, 150 A.h and 9 J/K per A.h."""
    t_s = np.arange(0.0, 1201.0, 60.0)
    heat_k = t_s * 150.0**2 * 1e-3 / (9.0 * 150.0)
    amps = np.append(np.full(len(t_s), -150.0), 0.0)
    degc = begin_degc + keeps * np.append(heat_k, heat_k[-1])
    return pack(np.append(t_s, 1300.0) + 3600.0 * hour, amps, degc)


def cooled(*batches: Batch, chemistry: str = "nmc") -> list[Finding]:
    return fold(cooling.PLUGIN, profile(chemistry), drive(), *batches)


def test_two_charges_of_three_that_keep_their_heat_are_told() -> None:
    found = cooled(charge(1, 0.3), charge(2, 1.0), charge(3, 0.3), charge(4, 1.0))
    assert [f.phase for f in found] == ["raise"]
    assert found[0].evidence["kept_ratio"] == pytest.approx(1.2, abs=0.15)  # warm cells resist less
    assert found[0].started_at_ns == T0_NS + 2 * 3600 * 10**9


def test_it_clears_after_two_charges_that_lose_their_heat() -> None:
    found = cooled(*(charge(1 + k, keeps) for k, keeps in enumerate((1.0, 1.0, 0.3, 0.3))))
    assert [f.phase for f in found] == ["raise", "clear"]


@pytest.mark.parametrize("keeps", [0.0, 0.3, 0.6])
def test_a_pack_that_loses_its_heat_is_not(keeps: float) -> None:
    assert cooled(*(charge(1 + k, keeps) for k in range(4))) == []


def test_a_pack_that_ends_below_35_degc_had_nothing_to_cool_yet() -> None:
    def short(hour: float) -> Batch:
        t_s = np.arange(0.0, 541.0, 60.0)
        amps, degc = np.append(np.full(len(t_s), -150.0), 0.0), np.linspace(24.0, 31.0, len(t_s))
        return pack(np.append(t_s, 600.0) + 3600.0 * hour, amps, np.append(degc, 31.0))

    assert cooled(*(short(1 + k) for k in range(4))) == []


def test_a_cold_pack_keeps_its_heat_by_design() -> None:
    assert cooled(*(charge(1 + k, 1.0, begin_degc=8.0) for k in range(4))) == []


def test_a_chemistry_nobody_told_is_not_judged() -> None:
    assert cooled(*(charge(1 + k, 1.0) for k in range(4)), chemistry="other") == []


def resting(low_v: float, high_v: float, n: int = 40, cell: int = 17) -> list[Batch]:
    """At rest each quarter of an hour: first nearly full, then half empty."""
    rng = np.random.default_rng(5)
    offsets = rng.normal(0.0, 2e-3, N_CELLS)
    batches = []
    for part, (soc, shift_v) in enumerate(((0.9, high_v), (0.45, low_v))):
        t_s = (np.arange(n) + part * n) * 900.0
        cells_v = 3.3 + 0.8 * soc + offsets + rng.normal(0, 4e-4, (n, N_CELLS))
        cells_v[:, cell - 1] += shift_v
        batches.append(
            frames(
                t_s,
                cell_voltages_v=cells_v.round(3),
                pack_current_a=np.zeros(n),
                soc_ratio=np.full(n, soc),
            )
        )
    return batches


def test_a_cell_that_is_low_only_when_the_pack_is_half_empty_holds_less() -> None:
    found = fold(cell_capacity.PLUGIN, *resting(-0.045, -0.006))
    assert [(f.phase, f.component) for f in found] == [("raise", "cell:17")]
    assert found[0].evidence["deviation_low_charge_v"] < -0.02


@pytest.mark.parametrize(
    ("low_v", "high_v"),
    [(-0.045, -0.045), (-0.045, -0.030), (0.0, 0.0), (0.045, 0.0), (-0.012, 0.0)],
)
def test_a_cell_that_is_low_at_every_charge_or_a_healthy_one_does_not(
    low_v: float, high_v: float
) -> None:
    assert fold(cell_capacity.PLUGIN, *resting(low_v, high_v)) == []


def test_it_clears_when_the_cell_is_level_again() -> None:
    small, mended = resting(-0.045, 0.0), resting(0.0, 0.0, n=80)
    later = mended[1].with_columns(
        {"sampled_at_ns": mended[1].column("sampled_at_ns") + 86_400 * 10**9}
    )
    assert [f.phase for f in fold(cell_capacity.PLUGIN, *small, later)] == ["raise", "clear"]
