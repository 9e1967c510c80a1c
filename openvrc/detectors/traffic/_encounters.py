"""How near two road users are to a collision: arrays of pairs in, surrogate measures out.

Everybody is a point with a course, a speed and a length, at one moment; positions are those of the
front. Times are in s, accelerations in m/s2; infinite (or zero) where two do not meet.

- time to collision (Hayward 1972): following, gap over closing speed; crossing, the time at which
  the later of the two reaches the place where their courses cross, if the earlier has not left it;
- deceleration to avoid a crash (Cooper and Ferguson 1976): following, closing speed squared over
  twice the gap; crossing, the least that lets one of them stop before the place;
- post-encroachment time (Allen et al. 1978), as predicted: from the leaving of the earlier to the
  arrival of the later, where their times in the place do not overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LEAST_GAP_M = 0.5  # what positions along a lane err
LEAST_CLOSING_MPS = 0.5  # below, two speeds differ by what speeds err
LEAST_SPEED_MPS = 1.0  # who stands crosses nobody's way
SAME_WAY_COS = 0.7  # within 45 deg two follow one another; beyond, they cross
ONCOMING_COS = -0.9
WIDTH_M = 2.0


@dataclass(frozen=True)
class Users:
    """Road users of the pairs, all (n,), in m and m/s in the map's plane."""

    x_m: FloatArray
    y_m: FloatArray
    east: FloatArray
    north: FloatArray
    speed_mps: FloatArray
    length_m: FloatArray


@dataclass(frozen=True)
class Measures:
    """Of each pair, (n,)."""

    ttc_s: FloatArray
    drac_mps2: FloatArray
    pet_s: FloatArray


def cosine_of(one: Users, other: Users) -> FloatArray:
    """Cosine of the angle between two courses."""
    cosine: FloatArray = one.east * other.east + one.north * other.north
    return cosine


def following(along_m: FloatArray, behind: Users, ahead: Users) -> Measures:
    """One behind the other in one lane, `along_m` from front to front."""
    gap_m = along_m - ahead.length_m
    closing_mps = behind.speed_mps - ahead.speed_mps
    # Side by side in one lane no two can be: one of them is on another.
    closes = (closing_mps > LEAST_CLOSING_MPS) & (gap_m > LEAST_GAP_M)
    gap_m = np.maximum(gap_m, LEAST_GAP_M)
    rate = np.where(closes, closing_mps, 1.0)
    return Measures(
        ttc_s=np.where(closes, gap_m / rate, np.inf),
        drac_mps2=np.where(closes, rate * rate / (2.0 * gap_m), 0.0),
        pet_s=np.full(len(along_m), np.inf),
    )


def crossing(
    one: Users, other: Users, to_junction_m: tuple[FloatArray | float, FloatArray | float] = (0, 0)
) -> Measures:
    """Courses that cross ahead of both, and not before the junction that each is that far from."""
    turn = one.east * other.north - one.north * other.east
    turn = np.where(np.abs(turn) < 0.1, np.nan, turn)  # nearly parallel: no one place
    dx_m, dy_m = other.x_m - one.x_m, other.y_m - one.y_m
    to_one_m = (dx_m * other.north - dy_m * other.east) / turn
    to_other_m = (dx_m * one.north - dy_m * one.east) / turn
    moves = (one.speed_mps > LEAST_SPEED_MPS) & (other.speed_mps > LEAST_SPEED_MPS)
    meets = moves & (to_one_m > 0.0) & (to_other_m > 0.0)
    meets &= (to_one_m >= to_junction_m[0]) & (to_other_m >= to_junction_m[1])
    enters, leaves, stops = [], [], []
    for user, to_m in ((one, to_one_m), (other, to_other_m)):
        before_m = np.where(meets, np.maximum(to_m - WIDTH_M / 2.0, LEAST_GAP_M), 1.0)
        speed_mps = np.where(meets, user.speed_mps, 1.0)
        enters.append(before_m / speed_mps)
        leaves.append((before_m + WIDTH_M + user.length_m) / speed_mps)
        stops.append(speed_mps * speed_mps / (2.0 * before_m))
    later_s, free_s = np.maximum(*enters), np.minimum(*leaves)
    collides = meets & (later_s < free_s)
    return Measures(
        ttc_s=np.where(collides, later_s, np.inf),
        drac_mps2=np.where(collides, np.minimum(*stops), 0.0),
        pet_s=np.where(meets & ~collides, later_s - free_s, np.inf),
    )
