"""What a sensor measures wrong: position, speed, heading, size and class.

Half of a position's variance is slow: it wanders within SLOW_S, as errors of calibration and of
association of a moving body do; the rest is new in every scan. On top a unit has a constant
offset. Headings of who stands are poor, for they are courses over ground.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.units import NS_PER_S
from simulator.roadside.sensors import Sensors
from simulator.roadside.sight import Seen
from simulator.roadside.users import CLASSES, RoadUsers
from simulator.sampling import HashArray, mixed, normal_pair, uniform

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SLOW_S = 4.0
SLOW_SHARE = 0.5
CLASS_S = 3.0
"""A wrong class stays that long."""
ACROSS_MPS = 0.5
"""Sideways jitter of a course: divided by the speed it is the heading's error."""
MOST_HEADING_DEG = 60.0
SIZE_RATIO = 0.08

_TAKEN_FOR = {"car": "truck", "truck": "bus", "bus": "truck", "motorcycle": "bicycle",
              "bicycle": "motorcycle", "pedestrian": "bicycle", "tram": "bus",
              "emergency": "car"}  # fmt: skip
_MISTAKEN = np.array([CLASSES.index(_TAKEN_FOR.get(word, "car")) for word in CLASSES])


class Measured(NamedTuple):
    """What a unit says of each pair, every array (n_pairs,)."""

    x_m: FloatArray
    y_m: FloatArray
    speed_mps: FloatArray
    heading_deg: FloatArray
    kind: IntArray
    length_m: FloatArray
    width_m: FloatArray


def measured(sensors: Sensors, users: RoadUsers, seen: Seen, now_ns: int) -> Measured:
    """`users` are already those of the moment that each pair was seen at, (n_pairs,)."""
    model, pair = sensors.model, mixed(sensors.hashes[seen.unit], users.number)
    worse = model.weather.noise_ratio
    sd_m = worse * (model.position_m + model.position_per_m * seen.away_m)
    now = np.full(users.n, now_ns, np.int64)
    fresh = normal_pair(pair, now)
    slow = _slow(pair, now_ns)
    weights = np.sqrt(1.0 - SLOW_SHARE), np.sqrt(SLOW_SHARE)
    x_m, y_m = (
        at_m + sd_m * (weights[0] * new + weights[1] * old) + sensors.offset_xy_m[seen.unit, axis]
        for axis, (at_m, new, old) in enumerate(
            zip((users.x_m, users.y_m), fresh, slow, strict=True)
        )
    )
    along, across = normal_pair(mixed(pair, now), now)
    speed_mps = users.speed_mps + worse * along * (
        model.speed_mps + model.speed_per_m * seen.away_m
    )
    wander_deg = np.degrees(ACROSS_MPS / np.maximum(users.speed_mps, 0.1))
    sd_deg = np.minimum(worse * np.hypot(model.heading_deg, wander_deg), MOST_HEADING_DEG)
    sizes = normal_pair(mixed(pair, now // 7), now)
    return Measured(
        x_m,
        y_m,
        np.maximum(speed_mps, 0.0),
        (users.course_deg + sd_deg * across) % 360.0,
        _classes(sensors, users, seen, pair, now_ns),
        np.clip(users.length_m * (1.0 + SIZE_RATIO * sizes[0]), 0.2, 50.0),
        np.clip(users.width_m * (1.0 + SIZE_RATIO * sizes[1]), 0.2, 10.0),
    )


def _slow(pair: HashArray, now_ns: int) -> tuple[FloatArray, FloatArray]:
    """Standard normal numbers that wander: between knots SLOW_S apart, at equal variance."""
    knot, rest_ns = divmod(now_ns, round(SLOW_S * NS_PER_S))
    part = rest_ns / (SLOW_S * NS_PER_S)
    here, there = (normal_pair(pair, np.full(len(pair), knot + k, np.int64)) for k in (0, 1))
    scale = np.hypot(1.0 - part, part)
    east, north = (((1.0 - part) * a + part * b) / scale for a, b in zip(here, there, strict=True))
    return east, north


def _classes(
    sensors: Sensors, users: RoadUsers, seen: Seen, pair: HashArray, now_ns: int
) -> IntArray:
    wrong = sensors.model.confusion_ratio * (1.0 + 2.0 * seen.away_m / sensors.range_m)
    when = np.full(users.n, now_ns // round(CLASS_S * NS_PER_S), np.int64)
    is_wrong = uniform(mixed(mixed(pair, when), when)) < wrong
    return np.where(is_wrong, _MISTAKEN[users.kind], users.kind)
