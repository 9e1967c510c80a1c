"""A cell's drift against its own first days, told apart from its swing with the pack's charge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.battery.rest_drift import RestDrift

N_CELLS, SWINGS, LEAKS = 48, 30, 7
BATCH_NS = 6 * 3600 * NS_PER_S


def batches(leak_v_per_day: float, days: int = 40) -> Iterator[tuple[Any, float, int]]:
    """Four batches a day: deviations (c,), the middle cell's volts, time. A leak from day 10 on.

    Every cell swings with the charge by its own share, cell 30 by 60 mV per volt.
    """
    rng = np.random.default_rng(4)
    share = rng.normal(0.0, 0.008, N_CELLS)
    share[SWINGS] = 0.06
    offset_v = rng.normal(0.0, 4e-3, N_CELLS)
    for k in range(4 * days):
        # Its first days are spent high, later ones anywhere.
        middle_v = 4.0 + rng.uniform(-0.05, 0.05) if k < 12 else rng.uniform(3.5, 4.1)
        deviation_v = offset_v + share * (middle_v - 3.8) + rng.normal(0.0, 3e-4, N_CELLS)
        deviation_v[LEAKS] -= leak_v_per_day * max(k / 4 - 10.0, 0.0)
        yield deviation_v, middle_v, k * BATCH_NS


def drifting(leak_v_per_day: float) -> list[tuple[int, int]]:
    """(batch, cell) of every drift found."""
    drift = RestDrift()
    return [
        (k, cell)
        for k, batch in enumerate(batches(leak_v_per_day))
        for cell in np.flatnonzero(drift.after(0, *batch, N_CELLS)[1]).tolist()
    ]


def test_a_leak_of_one_kohm_is_found_before_its_cell_is_eight_millivolt_low() -> None:
    found = drifting(0.5e-3)
    assert {cell for _, cell in found} == {LEAKS}
    assert found[0][0] < 4 * (10 + 8 / 0.5)


def test_cells_that_swing_with_the_charge_do_not_drift() -> None:
    assert drifting(0.0) == []


def test_a_restored_drift_goes_on_as_the_one_that_was_kept() -> None:
    kept, restored = RestDrift(), RestDrift()
    for k, batch in enumerate(batches(0.5e-3, days=20)):
        expected = kept.after(0, *batch, N_CELLS)[0]
        if k == 50:
            restored.load(kept.snapshot("drift."), "drift.")
        elif k > 50:
            assert np.array_equal(restored.after(0, *batch, N_CELLS)[0], expected)
