"""What is around each vehicle of a zone at one moment: gaps, speeds ahead, who drove past.

Arrays in, arrays out. A place along the road is one number, `road * ROAD_M + offset`, so that
sorting it once lines up all vehicles of all roads and a search finds a neighbour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

ROAD_M = 1e6  # longer than any segment, so that roads never overlap on the common line
FAR_M = 1e5  # stands for "nobody ahead on this road"


def place_m(road: IndexArray, offset_m: FloatArray) -> FloatArray:
    """Position of each vehicle on the common line."""
    return np.asarray(road * ROAD_M + offset_m, np.float64)


def gaps_ahead(
    asker_m: FloatArray, place_sorted_m: FloatArray, length_sorted_m: FloatArray
) -> tuple[FloatArray, IndexArray]:
    """Gap in m from each asker's front to the rear of the next one ahead on its road.

    `place_sorted_m` (n,) are fronts in ascending order; an asker's own entry is not ahead of it.
    Returns the gaps, FAR_M where nobody is ahead, and the index of the one ahead (-1 nobody).
    """
    leader = np.searchsorted(place_sorted_m, asker_m, side="right")
    inside = np.minimum(leader, len(place_sorted_m) - 1)
    if not len(place_sorted_m):
        return np.full(len(asker_m), FAR_M), np.full(len(asker_m), -1)
    same_road = (leader < len(place_sorted_m)) & (
        place_sorted_m[inside] // ROAD_M == asker_m // ROAD_M
    )
    gap_m = place_sorted_m[inside] - length_sorted_m[inside] - asker_m
    return np.where(same_road, gap_m, FAR_M), np.where(same_road, inside, -1)


def sum_between(
    place_sorted_m: FloatArray, value: FloatArray, from_m: FloatArray, to_m: FloatArray
) -> tuple[FloatArray, IndexArray]:
    """Sum and count of `value` (n,) over places in [from_m, to_m], per asker."""
    total = np.concatenate(([0.0], np.cumsum(value)))
    first = np.searchsorted(place_sorted_m, from_m, side="left")
    last = np.searchsorted(place_sorted_m, to_m, side="right")
    return total[last] - total[first], last - first


def passes(asker_m: FloatArray, before_m: FloatArray, now_m: FloatArray) -> IndexArray:
    """How many went from behind each asker to ahead of it, on its road, in this step.

    `before_m` and `now_m` (n_movers,) are places of the same movers on the same road each, so
    the change in how many lie behind the asker is the number that passed.
    """
    behind_before = np.searchsorted(np.sort(before_m), asker_m)
    behind_now = np.searchsorted(np.sort(now_m), asker_m)
    passed: IndexArray = np.maximum(behind_before - behind_now, 0)
    return passed


def unseen_queue_probability(
    free_m: FloatArray, penetration: float, spacing_m: float
) -> FloatArray:
    """Probability that a queue fills `free_m` of lane and none in it is connected.

    A standing queue holds one vehicle per `spacing_m`; each is connected with probability
    `penetration`, independently: (1 - p)^(free / spacing). At p = 1 what is not seen is not there.
    """
    return (1.0 - penetration) ** np.maximum(free_m / spacing_m, 0.0)
