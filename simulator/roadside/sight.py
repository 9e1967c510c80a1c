"""Who can be seen from where: range, field of view, occlusion, and the chance of a detection.

A ray goes from the mast's top to half the height of a road user, at the front, the middle and the
rear of its body. It is blocked where it passes below the top of somebody nearer: lorries and buses
hide cars, cars hide only who stands close behind them. Buildings are not in the maps and hide
nobody.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.near_pairs import near_pairs
from simulator.roadside.sensors import Sensors
from simulator.roadside.users import VULNERABLE, RoadUsers

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FALL_POWER = 4.0
"""Chance of detection falls with (distance / range) to this power: .94 of it at half the range,
.59 at four fifths, none at the end."""
LEAST_M = 1.0
"""Nobody is nearer to a mast."""


class Seen(NamedTuple):
    """Pairs of unit and road user in view, by unit; every array (n_pairs,)."""

    unit: IntArray
    user: IntArray  # row
    away_m: FloatArray
    chance: FloatArray  # of being detected in one scan


def in_view(sensors: Sensors, users: RoadUsers) -> Seen:
    """Everybody in range and field of view whom nobody hides whole."""
    unit, user = near_pairs(
        sensors.xy_m[:, 0], sensors.xy_m[:, 1], users.x_m, users.y_m, max(sensors.range_m, LEAST_M)
    )
    order = np.lexsort((users.number[user], unit))
    unit, user = unit[order], user[order]
    east_m = users.x_m[user] - sensors.xy_m[unit, 0]
    north_m = users.y_m[user] - sensors.xy_m[unit, 1]
    away_m = np.maximum(np.hypot(east_m, north_m), LEAST_M)
    model = sensors.model
    aside = np.abs(_turned(np.degrees(np.arctan2(east_m, north_m)) - sensors.bearing_deg[unit]))
    is_in = aside <= model.fov_deg / 2
    unit, user, away_m = unit[is_in], user[is_in], away_m[is_in]
    reach_m = sensors.range_m * np.where(
        VULNERABLE[users.kind[user]], model.vulnerable_range_ratio, 1.0
    )
    missed = np.minimum((1.0 - model.detection_ratio) * model.weather.missed_ratio, 1.0)
    chance = (1.0 - missed) * np.maximum(1.0 - (away_m / reach_m) ** FALL_POWER, 0.0)
    chance = chance * _visible_shares(sensors, users, unit, user)
    shown = chance > 0.0
    return Seen(unit[shown], user[shown], away_m[shown], chance[shown])


def _visible_shares(
    sensors: Sensors, users: RoadUsers, unit: IntArray, user: IntArray
) -> FloatArray:
    shares = np.ones(len(unit))
    starts = np.flatnonzero(np.diff(unit, prepend=-1))
    for first, last in zip(starts, [*starts[1:], len(unit)][: len(starts)], strict=True):
        mast = sensors.xy_m[unit[first]]
        shares[first:last] = visible_share(mast, sensors.model.mast_m, users.take(user[first:last]))
    return shares


def visible_share(mast_xy_m: FloatArray, mast_m: float, users: RoadUsers) -> FloatArray:
    """Share of three points of each body (n,) that can be seen from a mast's top, 0 to 1."""
    x_m, y_m = users.x_m - mast_xy_m[0], users.y_m - mast_xy_m[1]
    east, north = users.ahead
    back_m = np.array([0.0, 0.5, 1.0])[:, None] * users.length_m
    point_x, point_y = x_m - back_m * east, y_m - back_m * north  # (3, n)
    away_m = np.maximum(np.hypot(point_x, point_y), LEAST_M)
    azimuth = np.arctan2(point_y, point_x)
    # Blockers: as wide as their corners' azimuths, as far as their middle.
    half_m = users.width_m / 2
    corner_x = np.concatenate([p + s * half_m * north for p in point_x[::2] for s in (1, -1)])
    corner_y = np.concatenate([p - s * half_m * east for p in point_y[::2] for s in (1, -1)])
    corners = np.arctan2(corner_y, corner_x).reshape(4, users.n)
    spread = np.abs(_turned_rad(corners - azimuth[1])).max(axis=0)
    top_m = users.height_m
    aim_m = top_m / 2
    falls = (mast_m - aim_m)[None, :, None] / away_m[:, :, None]
    ray_m = mast_m - falls * away_m[1][None, None, :]  # (3, n targets, n blockers)
    aside = np.abs(_turned_rad(azimuth[:, :, None] - azimuth[1][None, None, :]))
    hidden = (ray_m < top_m) & (aside < spread) & (away_m[1] < away_m[:, :, None])
    hidden[:, np.arange(users.n), np.arange(users.n)] = False
    return np.asarray(1.0 - hidden.any(axis=2).mean(axis=0))


def _turned(angle_deg: FloatArray) -> FloatArray:
    """Into -180 to 180."""
    return np.asarray((angle_deg + 180.0) % 360.0 - 180.0)


def _turned_rad(angle: FloatArray) -> FloatArray:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)
