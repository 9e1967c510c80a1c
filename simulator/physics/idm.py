"""Intelligent Driver Model: how hard a driver accelerates behind a leader.

Treiber, Hennecke, Helbing, Phys. Rev. E 62, 1805 (2000), doi:10.1103/PhysRevE.62.1805:
a [1 - (v/v0)^4 - (s*/s)^2], s* = s0 + max(0, v T + v dv / (2 sqrt(a b))), dv = v - v_leader.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

FREE_EXPONENT = 4.0  # the paper's delta
MIN_GAP_M = 0.01
"""Keeps the interaction finite where bumpers touch."""


@dataclass(frozen=True)
class Driver:
    """One driver's parameters, typical of town traffic in the paper and its follow-ups."""

    headway_s: float = 1.2  # gives a saturation flow near 1,900 vehicles/h and lane
    standstill_gap_m: float = 2.0
    acceleration_mps2: float = 1.6
    comfortable_braking_mps2: float = 2.0
    full_braking_mps2: float = 9.0  # dry asphalt
    slowing_mps2: float = 2.5
    """The hardest braking for a lower desired speed alone; nobody slams on for a limit sign."""


def acceleration(
    speed_mps: ArrayLike,
    gap_m: ArrayLike,
    leader_speed_mps: ArrayLike,
    desired_speed_mps: ArrayLike,
    driver: Driver,
) -> FloatArray:
    """Acceleration in m/s2 of every driver (n,); gap inf where there is no leader.

    >>> acceleration([0.0, 10.0], [np.inf, np.inf], [0.0, 0.0], [10.0, 10.0], Driver()).tolist()
    [1.6, 0.0]
    """
    v = np.asarray(speed_mps, np.float64)
    approach = v * (v - np.asarray(leader_speed_mps, np.float64))
    softness = 2.0 * np.sqrt(driver.acceleration_mps2 * driver.comfortable_braking_mps2)
    wanted_m = driver.standstill_gap_m + np.maximum(0.0, v * driver.headway_s + approach / softness)
    free = driver.acceleration_mps2 * (
        1.0 - (v / np.maximum(np.asarray(desired_speed_mps, np.float64), 0.1)) ** FREE_EXPONENT
    )
    gap = np.maximum(np.asarray(gap_m, np.float64), MIN_GAP_M)
    interaction = driver.acceleration_mps2 * (wanted_m / gap) ** 2
    wanted = np.maximum(free, -driver.slowing_mps2) - interaction
    clipped = np.clip(wanted, -driver.full_braking_mps2, driver.acceleration_mps2)
    return np.asarray(clipped, np.float64)


def equilibrium_gap_m(speed_mps: float, desired_speed_mps: float, driver: Driver) -> float:
    """Gap at which a driver keeps a steady speed behind a leader of the same speed (eq. 5)."""
    wanted_m = driver.standstill_gap_m + speed_mps * driver.headway_s
    return float(wanted_m / np.sqrt(1.0 - (speed_mps / desired_speed_mps) ** FREE_EXPONENT))


def advance(
    speed_mps: FloatArray, acceleration_mps2: FloatArray, dt_s: float
) -> tuple[FloatArray, FloatArray]:
    """Distance driven and new speed after a step of constant acceleration, stopping at 0."""
    new_speed = speed_mps + acceleration_mps2 * dt_s
    stops = new_speed < 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        stopping_m = np.where(stops, -(speed_mps**2) / (2.0 * acceleration_mps2), 0.0)
    new_speed = np.maximum(new_speed, 0.0)
    return np.where(stops, stopping_m, 0.5 * (speed_mps + new_speed) * dt_s), new_speed
