"""Energy by kind of road: what was put in comes out, whatever the cut of the batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.detectors.battery_health.health import BatteryHealth
from openvrc.detectors.battery_health.road_energy import RoadUse
from tests.support.battery_frames import frames


def roads_of(speed_kmh: float, minutes: int, *, parts: int = 1, **more: Any) -> dict[str, RoadUse]:
    """A drive at 300 V and 30 A in frames of ten seconds, then one frame an hour later."""
    t_s = np.append(np.arange(0.0, minutes * 60.0, 10.0), minutes * 60.0 + 3600.0)
    n = len(t_s)
    batch = frames(
        t_s,
        cell_voltages_v=np.full((n, 12), 3.7),
        pack_voltage_v=300.0,
        pack_current_a=np.full(n, 30.0),
        soc_ratio=np.full(n, 0.6),
        vehicle_speed_mps=np.full(n, speed_kmh / 3.6),
        **more,
    )
    health = BatteryHealth()
    for part in np.array_split(np.arange(batch.n_rows), parts):
        health.fold(batch.take(part))
    (row,) = health.rows()
    return row.roads


@pytest.mark.parametrize(
    ("speed_kmh", "road"), [(20.0, "town"), (50.0, "country"), (110.0, "motorway")]
)
def test_a_steady_drive_counts_for_the_road_of_its_pace(speed_kmh: float, road: str) -> None:
    roads = roads_of(speed_kmh, 60)
    assert list(roads) == [road]
    assert roads[road].energy_kwh == pytest.approx(9.0, rel=0.01)
    assert roads[road].driven_m == pytest.approx(speed_kmh * 1000, rel=0.01)


def test_the_cut_of_batches_changes_nothing() -> None:
    assert roads_of(50.0, 47) == roads_of(50.0, 47, parts=13)


def test_who_stands_or_charges_drives_on_no_road() -> None:
    assert roads_of(0.0, 60) == {}
    n = 361
    assert roads_of(50.0, 60, charging_state=["parked_charging"] * n) == {}
