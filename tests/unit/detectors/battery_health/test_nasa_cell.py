"""A real cell from new to worn out: its capacity curve, five charges at a time."""

from __future__ import annotations

import numpy as np

from openvrc.detectors.battery_health.health import BatteryHealth
from tests.support.nasa_cell import PARALLEL, RATED_AH, charges, soh_by_cycle
from tests.unit.detectors.battery_health.synthetic_pack import profile


def test_the_capacity_curve_of_a_real_cell_is_followed_within_two_points() -> None:
    true = soh_by_cycle()
    error = []
    for first in (6, 30, 62, 94, 126, 158):
        cycles = list(range(first, first + 5))
        health = BatteryHealth()
        health.fold(profile("B0005", RATED_AH * PARALLEL))
        for batch in charges(cycles):
            health.fold(batch)
        (row,) = health.rows()
        assert row.soh_ratio is not None
        assert row.soh_method == "charge_windows"
        error.append(row.soh_ratio - np.median([true[cycle] for cycle in cycles]))
    assert np.sqrt(np.mean(np.square(error))) < 0.02
    assert np.max(np.abs(error)) < 0.03
