"""How far each unit's clock is off: as its heartbeat says, then as its objects show.

A unit whose clock is ahead stamps positions too late: seen from the picture they lie behind, by
its offset times the speed. Only road users that somebody else reports too can show it, and only
moving ones. Self-reports are taken as right, so that all clocks together cannot drift away.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Hashes = NDArray[np.uint64]

LEAST_MPS = 3.0
GAIN, HALF_AT = 0.15, 3.0
"""A scan moves the estimate by up to this share of what it shows, half of it with three objects."""
MOST_STEP_S, MOST_OFFSET_S = 0.5, 60.0
NEWS_S = 0.05
"""A heartbeat's word moves by tenths of a millisecond each time; more than this is a clock that was
set. Below it what is learned from road users is as exact: 0.05 s at 15 m/s are 0.75 m."""
MOST_UNITS = 10_000


class Clocks:
    """Offsets by the hash of a unit's name, s, positive ahead."""

    def __init__(self, offsets_s: Mapping[int, float] | None = None) -> None:
        self._offset_s = dict(offsets_s or {})
        self._told_s: dict[int, float] = {}

    def offsets_s(self, source: Hashes) -> FloatArray:
        """Of each report's source, (n,); 0 for self-reports and for units nothing is known of."""
        units, place = np.unique(source, return_inverse=True)
        known = np.array([self._offset_s.get(unit, 0.0) for unit in units.tolist()])
        return np.asarray(known[place] if len(units) else np.zeros(0))

    def tell(self, source: int, offset_s: float) -> None:
        """What a unit says itself; counts when it says something new (NEWS_S)."""
        told = float(np.clip(offset_s, -MOST_OFFSET_S, MOST_OFFSET_S))
        before = self._told_s.get(source)
        if before is None and len(self._told_s) >= MOST_UNITS:
            return
        if before is None or abs(told - before) > NEWS_S:
            self._told_s[source] = self._offset_s[source] = told

    def learn(self, source: Hashes, ahead_s: FloatArray) -> None:
        """Reports (n,) seem to be stamped so much too late, beside what is known."""
        units, place = np.unique(source, return_inverse=True)
        count = np.bincount(place)
        mean_s = np.bincount(place, weights=np.clip(ahead_s, -MOST_STEP_S, MOST_STEP_S)) / count
        step_s = GAIN * count / (count + HALF_AT) * mean_s
        for unit, by_s in zip(units.tolist(), step_s.tolist(), strict=True):
            if unit in self._offset_s or len(self._offset_s) < MOST_UNITS:
                moved = self._offset_s.get(unit, 0.0) + by_s
                self._offset_s[unit] = float(np.clip(moved, -MOST_OFFSET_S, MOST_OFFSET_S))

    def snapshot(self) -> dict[str, list[list[float | int]]]:
        """Plain facts."""
        return {
            "offset_s": [[unit, value] for unit, value in self._offset_s.items()],
            "told_s": [[unit, value] for unit, value in self._told_s.items()],
        }

    @classmethod
    def restore(cls, facts: Mapping[str, list[list[float | int]]]) -> Clocks:
        """What `snapshot` gave."""
        clocks = cls({int(unit): float(value) for unit, value in facts["offset_s"]})
        clocks._told_s = {int(unit): float(value) for unit, value in facts["told_s"]}
        return clocks
