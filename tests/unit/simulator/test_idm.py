"""The driver model against its theory (Treiber, Hennecke, Helbing 2000)."""

import numpy as np
import pytest

from simulator.physics.idm import Driver, acceleration, advance, equilibrium_gap_m

DRIVER = Driver()
DT_S = 0.25


@pytest.mark.parametrize("speed_mps", [0.0, 3.0, 8.0, 13.0])
def test_the_equilibrium_gap_needs_no_acceleration(speed_mps: float) -> None:
    gap_m = equilibrium_gap_m(speed_mps, 14.0, DRIVER)
    assert acceleration(speed_mps, gap_m, speed_mps, 14.0, DRIVER) == pytest.approx(0, abs=1e-12)


def test_a_follower_settles_at_the_equilibrium_gap() -> None:
    speed, gap_m, leader_mps = np.array([12.0]), 60.0, 8.0
    for _ in range(2000):
        accel = acceleration(speed, gap_m, leader_mps, 14.0, DRIVER)
        moved_m, speed = advance(speed, accel, DT_S)
        gap_m += leader_mps * DT_S - float(moved_m[0])
    assert gap_m == pytest.approx(equilibrium_gap_m(8.0, 14.0, DRIVER), rel=1e-3)


def test_a_free_driver_reaches_the_desired_speed_and_no_more() -> None:
    speed = np.array([0.0])
    speeds = []
    for _ in range(400):
        _, speed = advance(speed, acceleration(speed, np.inf, 0.0, 14.0, DRIVER), DT_S)
        speeds.append(float(speed[0]))
    assert max(speeds) <= 14.0 + 1e-9
    assert speeds[-1] == pytest.approx(14.0, abs=0.05)


@pytest.mark.parametrize("start_mps", [5.0, 13.9, 20.0])
def test_a_driver_stops_before_an_obstacle(start_mps: float) -> None:
    speed, gap_m = np.array([start_mps]), 5 * start_mps
    for _ in range(400):
        moved_m, speed = advance(speed, acceleration(speed, gap_m, 0.0, 20.0, DRIVER), DT_S)
        gap_m -= float(moved_m[0])
        assert gap_m > 0
    assert speed[0] == pytest.approx(0, abs=0.02)
    assert gap_m == pytest.approx(DRIVER.standstill_gap_m, abs=0.2)


def test_braking_ends_at_standstill_after_the_kinematic_distance() -> None:
    moved_m, speed = advance(np.array([1.0]), np.array([-8.0]), 1.0)
    assert speed[0] == 0
    assert moved_m[0] == pytest.approx(1.0 / 16.0)


def test_a_queue_discharges_at_a_plausible_saturation_flow() -> None:
    """Measured saturation flows of a lane are 1,700 to 2,100 vehicles an hour (HBS, HCM)."""
    n, length_m = 25, 4.6
    offset_m = -np.arange(n) * (length_m + DRIVER.standstill_gap_m)
    speed, crossed_s = np.zeros(n), np.full(n, np.nan)
    for step in range(800):
        gap_m = np.append(np.inf, offset_m[:-1] - length_m - offset_m[1:])
        leader = np.append(0.0, speed[:-1])
        moved_m, speed = advance(speed, acceleration(speed, gap_m, leader, 50 / 3.6, DRIVER), DT_S)
        offset_m = offset_m + moved_m
        crossed_s = np.where(np.isnan(crossed_s) & (offset_m > 1.0), step * DT_S, crossed_s)
    headway_s = np.diff(crossed_s[4:]).mean()  # the first four start slowly
    assert 1700 < 3600 / headway_s < 2100
