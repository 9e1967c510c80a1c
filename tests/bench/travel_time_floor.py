"""How near a travel time could come that knew everything about the roads: the floor.

    python -m tests.bench.travel_time_floor [PACKAGE ...]

Each pass of a segment is told as the mean time of all others' passes of it in the recording, later
ones too, on the way really driven: by segment, also by the segment that follows (left and straight
on wait apart), also by the 10 s in which one arrives. What is left is of the drivers themselves and
of the moment they come to a signal.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap
from tests.bench.travel_time_rows import MIN_TRIP_S, WARM_UP_S
from tests.support.fcd_marks import Fcd, read_fcd, read_map

Indexes = NDArray[np.int64]
Floats = NDArray[np.float64]

ARRIVAL_S = 10
LEAST_OTHERS = 3
UNKNOWN_RATIO = 1.2
"""Of the time at the limit, where fewer others passed."""


class Passes(NamedTuple):
    """Stays of vehicles on segments, in order by vehicle and time, (n,)."""

    vehicle: Indexes
    segment: Indexes
    onward: Indexes
    """The next segment that is no junction's inside, -1 at the end."""
    begins_s: Indexes
    takes_s: Floats
    is_whole: NDArray[np.bool_]
    part: Floats
    """Driven share of the segment's length."""


def passes_of(truth: Fcd, road_map: RoadMap) -> Passes:
    """All stays of a recording; the first and last of a vehicle are no whole ones."""
    order = np.lexsort((truth.time_s, truth.vehicle))
    vehicle, segment = truth.vehicle[order].astype(np.int64), truth.segment[order].astype(np.int64)
    time_s, offset_m = truth.time_s[order], truth.offset_m[order]
    begins = np.flatnonzero(np.diff(vehicle, prepend=-1) | np.diff(segment, prepend=-1))
    ends = np.append(begins[1:], len(vehicle)) - 1
    of, on = vehicle[begins], segment[begins]
    is_last = np.append(of[1:] != of[:-1], True)
    is_first = np.append(True, of[1:] != of[:-1])
    leaves_s = np.where(is_last, time_s[ends], np.roll(time_s[begins], -1))
    onward = np.full(len(on), -1)
    for row in np.flatnonzero(~is_last)[::-1].tolist():
        inside = road_map.segment_is_internal[on[row + 1]]
        onward[row] = onward[row + 1] if inside else on[row + 1]
    length_m = road_map.segment_length_m[on]
    rest_m = np.where(is_first, length_m - offset_m[begins], length_m)
    part = np.where(is_last, offset_m[ends], rest_m) / length_m
    takes_s = (leaves_s - time_s[begins]).astype(np.float64)
    return Passes(of, on, onward, time_s[begins], takes_s, ~is_first & ~is_last, part)


def told_s(passes: Passes, keys: list[Indexes]) -> Floats:
    """Mean of the others' whole passes that share these keys, NaN where they are few."""
    place = np.unique(np.column_stack(keys), axis=0, return_inverse=True)[1].ravel()
    whole = passes.is_whole.astype(np.float64)
    others = np.bincount(place, whole)[place] - whole
    sums_s = np.bincount(place, passes.takes_s * whole)[place] - passes.takes_s * whole
    return np.where(others >= LEAST_OTHERS, sums_s / np.maximum(others, 1.0), np.nan)


def floors(truth: Fcd, road_map: RoadMap) -> dict[str, float]:
    """MAPE of trips over two minutes, by what is known."""
    passes = passes_of(truth, road_map)
    arrival = passes.begins_s // ARRIVAL_S
    free_s = road_map.segment_length_m / road_map.segment_speed_limit_mps
    by_segment = told_s(passes, [passes.segment])
    by_segment = np.where(np.isnan(by_segment), UNKNOWN_RATIO * free_s[passes.segment], by_segment)
    by_way = told_s(passes, [passes.segment, passes.onward])
    by_way = np.where(np.isnan(by_way), by_segment, by_way)
    by_time = told_s(passes, [passes.segment, passes.onward, arrival])
    by_time = np.where(np.isnan(by_time), by_way, by_time)
    first = np.flatnonzero(np.diff(passes.vehicle, prepend=-1))
    begins_s = passes.begins_s[first]
    takes_s = np.add.reduceat(passes.takes_s, first)
    chosen = (begins_s >= truth.time_s.min() + WARM_UP_S) & (takes_s > MIN_TRIP_S)
    chosen &= begins_s + takes_s < truth.time_s.max() - 1
    found = {"segment": by_segment, "and the next one": by_way, "and 10 s of arrival": by_time}
    return {
        name: float(
            np.abs(
                np.add.reduceat(told * passes.part, first)[chosen] / takes_s[chosen] - 1.0
            ).mean()
        )
        for name, told in found.items()
    }


def main() -> None:
    """Print the floors of these packages, of both without any."""
    for package in sys.argv[1:] or ["a39_freeway", "hamburg_urban"]:
        for name, mape in floors(read_fcd(package), read_map(package)).items():
            sys.stdout.write(f"{package:16} by {name:22} {mape:.1%}\n")


if __name__ == "__main__":
    main()
