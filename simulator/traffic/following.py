"""Car following: the improved intelligent driver model, under a speed from which one can stop.

Treiber and Kesting, Traffic Flow Dynamics (2013), section 11.3.7: unlike the plain IDM its steady
gap is s0 + v T exactly, up to the desired speed. Where the gap is too small, as after somebody has
cut in, their ACC model (section 11.3.8, doi:10.1098/rsta.2010.0084) brakes as hard as the closing
speed asks and by the comfortable braking more, instead of for an emergency. The cap is Gipps'
argument (doi:10.1016/0191-2615(81)90037-0) for a step of constant acceleration: whatever the
leader does within its braking power, the follower stops behind it: no collisions at any step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

STANDSTILL_GAP_M = 2.0
FULL_BRAKING_MPS2 = 9.0  # dry asphalt
MIN_GAP_M = 0.05
"""Keeps the interaction finite where bumpers touch."""
MIN_FREE_MPS2 = 1e-3
COOLNESS = 0.99  # the paper's c
MAX_EXPONENT = 60.0
"""Beyond it z to the power is 0 for every z that matters."""


def acceleration(
    speed_mps: FloatArray,
    gap_m: FloatArray,
    leader_mps: FloatArray | float,
    desired_mps: FloatArray,
    headway_s: FloatArray,
    accel_mps2: FloatArray,
    braking_mps2: FloatArray,
) -> FloatArray:
    """Wanted acceleration in m/s2 of every driver, all (n,); gap inf where nobody is ahead.

    >>> a = [np.array([x]) for x in (10.0, 17.0, 10.0, 20.0, 1.5, 1.5, 2.0)]
    >>> acceleration(*a).tolist()
    [0.0]
    """
    v, a = speed_mps, accel_mps2
    ratio = v / desired_mps
    ratio2 = ratio * ratio
    free = a * (1.0 - ratio2 * ratio2)
    fast = np.flatnonzero(ratio > 1.0)
    if fast.size:  # eq. 11.22: brake softly for the limit
        b = braking_mps2[fast]
        power = (-4.0 * a[fast] / b).astype(np.float32)
        log_ratio = np.log(ratio[fast].astype(np.float32))
        free[fast] = -b * (1.0 - np.exp(power * log_ratio))
    softness = 2.0 * np.sqrt(a * braking_mps2)
    wanted_m = STANDSTILL_GAP_M + np.maximum(0.0, v * (headway_s + (v - leader_mps) / softness))
    z = wanted_m / np.maximum(gap_m, MIN_GAP_M)
    result = free
    near = np.flatnonzero(z >= 1.0)
    mild = np.flatnonzero((z < 1.0) & (z > 0.2) & (free > 0.0))
    if mild.size:
        power = np.minimum(2.0 * a[mild] / np.maximum(free[mild], MIN_FREE_MPS2), MAX_EXPONENT)
        # In single precision logarithm and exponential are a tenth of the price of a power.
        log_z = np.log(z[mild].astype(np.float32))
        result[mild] *= 1.0 - np.exp(power.astype(np.float32) * log_z)
    if near.size:
        z_near = z[near]
        hard = np.minimum(free[near], 0.0) + a[near] * (1.0 - z_near * z_near)
        closing = np.maximum(v[near] - np.broadcast_to(leader_mps, v.shape)[near], 0.0)
        needed = -closing * closing / (2.0 * np.maximum(gap_m[near], MIN_GAP_M))
        b = braking_mps2[near]
        cool = needed + b * np.tanh(((hard - needed) / b).astype(np.float32))
        result[near] = np.where(hard < needed, hard + COOLNESS * (cool - hard), hard)
    return result


def safe_speed(
    speed_mps: FloatArray,
    gap_m: FloatArray,
    leader_mps: FloatArray | float,
    braking_mps2: float,
    dt_s: float,
) -> FloatArray:
    """Speed in m/s after a step from which one can still stop behind the leader, (n,)."""
    b = braking_mps2
    reaction = 0.5 * b * dt_s
    inner = reaction * reaction + leader_mps * leader_mps + b * (2.0 * gap_m - speed_mps * dt_s)
    return np.maximum(np.sqrt(np.maximum(inner, 0.0)) - reaction, 0.0)


def equilibrium_gap_m(speed_mps: float, headway_s: float) -> float:
    """Steady gap in m behind a leader of the same speed, below the desired speed."""
    return STANDSTILL_GAP_M + speed_mps * headway_s


def move(
    speed_mps: FloatArray, new_mps: FloatArray, accel_mps2: FloatArray, dt_s: float
) -> FloatArray:
    """Distance in m of a step of constant acceleration to `new_mps`; who stops, stops within it."""
    moved_m = 0.5 * (speed_mps + new_mps) * dt_s
    stops = np.flatnonzero((new_mps <= 0.0) & (accel_mps2 < 0.0))
    if stops.size:
        early_m = speed_mps[stops] ** 2 / (-2.0 * accel_mps2[stops])
        moved_m[stops] = np.minimum(moved_m[stops], early_m)
    return moved_m
