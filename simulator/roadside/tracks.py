"""Which number a unit gives whom: a tracker's ids, which break and swap.

A track ends when its road user was not detected for KEEP_S; then, and at a break, the next
detection begins a new one. Two who are close may exchange their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.near_pairs import near_pairs
from openvrc.contracts.units import NS_PER_S
from simulator.roadside.sensors import Sensors
from simulator.sampling import mixed, uniform

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

KEEP_S = 1.6
SWAP_M = 3.5
"""About a lane's width: neighbours in a queue and on the next lane."""
_UNIT_STRIDE = 1 << 40  # road users are numbered below


@dataclass
class TrackBook:
    """All units' tracks; arrays (n_tracks,) by key."""

    n_units: int
    key: IntArray = field(default_factory=lambda: np.empty(0, np.int64))  # unit and road user
    track: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    last_ns: IntArray = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        self._next = np.ones(self.n_units, np.int64)

    def fold(
        self,
        sensors: Sensors,
        unit: IntArray,
        number: IntArray,
        xy_m: tuple[FloatArray, FloatArray],
        now_ns: int,
    ) -> IntArray:
        """Track numbers of detected pairs (n,), which are ordered by unit and road user."""
        key = unit * _UNIT_STRIDE + number
        is_held, was, since_s = self._known(key, now_ns)
        pair = mixed(sensors.hashes[unit], number)
        now = np.full(len(key), now_ns, np.int64)
        breaks = uniform(mixed(pair, now + 1)) < since_s * sensors.model.break_per_s
        goes_on = is_held & (since_s <= KEEP_S) & ~breaks
        track = np.where(goes_on, was, 0)
        new = np.flatnonzero(~goes_on)
        track[new] = self._numbers(unit[new])
        track = self._swapped(sensors, unit, track, goes_on, since_s, xy_m, pair, now)
        self._keep(key, track, now_ns)
        return track

    def _known(self, key: IntArray, now_ns: int) -> tuple[NDArray[np.bool_], IntArray, FloatArray]:
        """Whether a pair has a track, which, and since when it was not seen; each (n,)."""
        if not len(self.key):
            return np.zeros(len(key), np.bool_), np.zeros(len(key), np.int64), np.zeros(len(key))
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        is_held = self.key[at] == key
        since_s = np.where(is_held, now_ns - self.last_ns[at], 0) / NS_PER_S
        return is_held, self.track[at], since_s

    def number(self, unit: int) -> int:
        """The next free number of a unit: of something that is seen once."""
        self._next[unit] += 1
        return int(self._next[unit] - 1)

    def _numbers(self, unit: IntArray) -> IntArray:
        """Next numbers of units (n,), which come in order."""
        units, first, count = np.unique(unit, return_index=True, return_counts=True)
        rank = np.arange(len(unit)) - np.repeat(first, count)
        numbers = self._next[unit] + rank
        self._next[units] += count
        return np.asarray(numbers)

    def _swapped(
        self,
        sensors: Sensors,
        unit: IntArray,
        track: IntArray,
        goes_on: NDArray[np.bool_],
        since_s: FloatArray,
        xy_m: tuple[FloatArray, FloatArray],
        pair: NDArray[np.uint64],
        now: IntArray,
    ) -> IntArray:
        one, other = near_pairs(*xy_m, *xy_m, SWAP_M)
        both = (one < other) & (unit[one] == unit[other]) & goes_on[one] & goes_on[other]
        one, other = one[both], other[both]
        draw = uniform(mixed(pair[one] ^ pair[other], now[one]))
        swaps = np.flatnonzero(draw < since_s[one] * sensors.model.swap_per_s)
        order = np.lexsort((other[swaps], one[swaps]))
        for a, b in zip(one[swaps][order].tolist(), other[swaps][order].tolist(), strict=True):
            track[a], track[b] = track[b], track[a]
        return track

    def _keep(self, key: IntArray, track: IntArray, now_ns: int) -> None:
        stays = ~np.isin(self.key, key) & (now_ns - self.last_ns <= KEEP_S * NS_PER_S)
        keys = np.concatenate([self.key[stays], key])
        order = np.argsort(keys, kind="stable")
        self.key = keys[order]
        self.track = np.concatenate([self.track[stays], track])[order]
        self.last_ns = np.concatenate([self.last_ns[stays], np.full(len(key), now_ns)])[order]
