"""One scan of all units: road users in, what the units say out."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.units import NS_PER_S
from simulator.roadside.errors import measured
from simulator.roadside.sensors import Sensors
from simulator.roadside.sight import Seen, in_view
from simulator.roadside.tracks import TrackBook
from simulator.roadside.users import CLASSES, RoadUsers
from simulator.sampling import mixed, uniform

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NOBODY = -1
"""Road user of a false object."""
_FALSE_CLASSES = [CLASSES.index(word) for word in ("car", "pedestrian", "bicycle")]
_FALSE_CONFIDENCE_RATIO = 0.45


@dataclass(frozen=True)
class Sightings:
    """What units say after one scan, by unit; every array (n,)."""

    unit: IntArray
    track: IntArray
    user: IntArray
    """Who it truly is, NOBODY for a false object."""
    true_ns: IntArray
    """When it truly was so; `said_ns` is by the unit's clock."""
    said_ns: IntArray
    x_m: FloatArray
    y_m: FloatArray
    speed_mps: FloatArray
    heading_deg: FloatArray
    kind: IntArray
    length_m: FloatArray
    width_m: FloatArray
    confidence_ratio: FloatArray

    @property
    def n(self) -> int:
        """How many."""
        return len(self.unit)

    def of(self, rows: NDArray[np.bool_]) -> Sightings:
        """Some of them, (n,)."""
        return Sightings(*(getattr(self, one.name)[rows] for one in fields(self)))


class Perception:
    """The units at work: `scan` after `scan`, in order of time."""

    def __init__(self, sensors: Sensors) -> None:
        self.sensors = sensors
        self._book = TrackBook(len(sensors.ids))

    def scan(self, users: RoadUsers, now_ns: int, is_up: NDArray[np.bool_]) -> Sightings:
        """What units that are up (n_units,) perceive of those on the road at `now_ns`."""
        sensors = self.sensors
        seen = in_view(sensors, users)
        pair = mixed(sensors.hashes[seen.unit], users.number[seen.user])
        draw = uniform(mixed(pair, np.full(len(pair), now_ns, np.int64)))
        found = np.flatnonzero((draw < seen.chance) & is_up[seen.unit])
        seen = Seen(seen.unit[found], seen.user[found], seen.away_m[found], seen.chance[found])
        lag_s = sensors.latency_s[seen.unit]
        then = users.take(seen.user).back_by(lag_s)
        values = measured(sensors, then, seen, now_ns)
        track = self._book.fold(sensors, seen.unit, then.number, (then.x_m, then.y_m), now_ns)
        true_ns = now_ns - np.round(lag_s * NS_PER_S).astype(np.int64)
        sure = np.clip(0.35 + 0.6 * seen.chance + 0.1 * (draw[found] - 0.5), 0.05, 0.99)
        sightings = Sightings(
            seen.unit, track, then.number, true_ns, true_ns + self._clock_ns(seen.unit),
            *values, sure,
        )  # fmt: skip
        return self._with_false(sightings, now_ns, is_up)

    def _clock_ns(self, unit: IntArray) -> IntArray:
        return np.asarray(np.round(self.sensors.clock_s[unit] * NS_PER_S).astype(np.int64))

    def _with_false(self, sightings: Sightings, now_ns: int, is_up: NDArray[np.bool_]) -> Sightings:
        """With objects that are none: each once, anywhere in range."""
        sensors, n_units = self.sensors, len(self.sensors.ids)
        now = np.full(n_units, now_ns, np.int64)
        state = mixed(sensors.hashes, now)
        rate = sensors.model.false_per_s / sensors.model.rate_hz
        unit = np.flatnonzero((uniform(state) < rate) & is_up)
        if not len(unit):
            return sightings
        draws = [uniform(mixed(state[unit], now[unit] + k)) for k in range(1, 5)]
        away_m, angle = sensors.range_m * np.sqrt(draws[0]), 2 * np.pi * draws[1]
        n, kinds = len(unit), np.array(_FALSE_CLASSES)
        true_ns = now[unit] - np.round(sensors.latency_s[unit] * NS_PER_S).astype(np.int64)
        false = Sightings(
            unit,
            np.array([self._book.number(k) for k in unit.tolist()], np.int64),
            np.full(n, NOBODY),
            true_ns,
            true_ns + self._clock_ns(unit),
            sensors.xy_m[unit, 0] + away_m * np.sin(angle),
            sensors.xy_m[unit, 1] + away_m * np.cos(angle),
            5.0 * draws[2],
            360.0 * draws[3],
            kinds[(draws[2] * len(kinds)).astype(np.int64)],
            np.full(n, 2.0),
            np.full(n, 1.0),
            np.full(n, _FALSE_CONFIDENCE_RATIO),
        )
        return _merged(sightings, false)


def _merged(one: Sightings, other: Sightings) -> Sightings:
    """Both, by unit."""
    names = list(Sightings.__dataclass_fields__)
    both = {n: np.concatenate([getattr(one, n), getattr(other, n)]) for n in names}
    order = np.lexsort((both["track"], both["unit"]))
    return Sightings(*(both[name][order] for name in names))
