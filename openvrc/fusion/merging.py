"""Tracks that are one road user's: two units began one each, or a vehicle began to report itself.

Two tracks become one when they agree in place and motion and nothing speaks against it: no unit
has seen both within the last seconds, for it would have told two; they are not two vehicles that
both report; one is not on foot and the other a car.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.near_pairs import near_pairs
from openvrc.contracts.units import NS_PER_S
from openvrc.fusion.motion import distance2, predicted
from openvrc.fusion.tracks import NEVER_NS, NOBODY, ON_FOOT, Tracks

IntArray = NDArray[np.int64]

WITHIN_M = 3.2
"""Less than a lane's width."""
GATE = 9.0
"""Squared distance in four dimensions that 94 % of pairs that are one stay below."""
COMMON_NS = 3 * NS_PER_S // 2


def same_users(tracks: Tracks, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Rows that are to be one: the one that stays and the one that goes, each row once.

    Only pairs with one of `rows` (n,) are looked at: the others stand as before.
    """
    none = np.zeros(0, np.int64)
    if not len(rows) or tracks.n < 2:
        return none, none
    x_m, y_m = tracks.state[:, 0], tracks.state[:, 1]
    one, other = near_pairs(x_m[rows], y_m[rows], x_m, y_m, 3.0 * WITHIN_M)
    one = rows[one]
    low, high = np.minimum(one, other), np.maximum(one, other)
    pairs = np.unique(low[one != other] * tracks.n + high[one != other])
    low, high = pairs // tracks.n, pairs % tracks.n
    may_be = ~_differ(tracks, low, high)
    low, high = low[may_be], high[may_be]
    if not len(low):
        return none, none
    newest = np.maximum(tracks.at_ns[low], tracks.at_ns[high])
    a, a_spread = _at(tracks, low, newest)
    b, b_spread = _at(tracks, high, newest)
    apart = a - b
    cost = distance2(apart, a_spread + b_spread)
    near = (cost < GATE) & ((apart[:, :2] ** 2).sum(axis=1) < WITHIN_M**2)
    return _each_once(low[near], high[near], cost[near])


def _at(
    tracks: Tracks, rows: IntArray, at_ns: IntArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    dt_s = (at_ns - tracks.at_ns[rows]) / NS_PER_S
    return predicted(tracks.state[rows], tracks.spread[rows], dt_s)


def _differ(tracks: Tracks, low: IntArray, high: IntArray) -> NDArray[np.bool_]:
    """Pairs that something speaks against."""
    both_report = (tracks.vehicle[low] != NOBODY) & (tracks.vehicle[high] != NOBODY)
    newest = np.maximum(tracks.seen_ns[low], tracks.seen_ns[high])[:, None]
    is_new_low = newest - tracks.source_ns[low] < COMMON_NS
    is_new_high = newest - tracks.source_ns[high] < COMMON_NS
    same = tracks.source[low][:, :, None] == tracks.source[high][:, None, :]
    common = (same & is_new_low[:, :, None] & is_new_high[:, None, :]).any(axis=(1, 2))
    kind_low, kind_high = tracks.kind[low], tracks.kind[high]
    told = (kind_low >= 0) & (kind_high >= 0)
    return np.asarray(both_report | common | (told & (ON_FOOT[kind_low] != ON_FOOT[kind_high])))


def _each_once(
    low: IntArray, high: IntArray, cost: NDArray[np.float64]
) -> tuple[IntArray, IntArray]:
    """Best pairs first; whoever is in one is in no other."""
    taken, stays, goes = set[int](), list[int](), list[int]()
    for place in np.lexsort((high, low, cost)).tolist():
        a, b = int(low[place]), int(high[place])
        if a not in taken and b not in taken:
            taken |= {a, b}
            stays.append(a)
            goes.append(b)
    return np.array(stays, np.int64), np.array(goes, np.int64)


def merge(tracks: Tracks, stays: IntArray, goes: IntArray) -> None:
    """Make pairs of rows one track each, under the number of the first of a pair."""
    if not len(stays):
        return
    # Of two the one that reports itself is the better known.
    reports = tracks.vehicle[goes] != NOBODY
    for name in ("state", "spread", "at_ns", "own_ns", "vehicle"):
        values = getattr(tracks, name)
        values[stays[reports]] = values[goes[reports]]
    tracks.hits[stays] += tracks.hits[goes]
    tracks.votes[stays] += tracks.votes[goes]
    tracks.seen_ns[stays] = np.maximum(tracks.seen_ns[stays], tracks.seen_ns[goes])
    for slot in range(tracks.source.shape[1]):
        seen = tracks.source_ns[goes, slot] != NEVER_NS
        rows = goes[seen]
        told = (values[rows, slot] for values in (tracks.source, tracks.source_key,
                                                  tracks.source_ns))  # fmt: skip
        tracks.note_source(stays[seen], *told)
    kept = np.ones(tracks.n, np.bool_)
    kept[goes] = False
    tracks.keep(kept)
