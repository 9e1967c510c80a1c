"""Travel times against the trips that vehicles then made: the service's answer as each one left.

A trip begins and ends where the vehicle was first and last seen; the way between is the service's
choice, not the vehicle's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from openvrc.traffic.completion import CELL_S, Completion
from openvrc.traffic.routes import Place, RoadGraph
from openvrc.traffic.travel_time import travel_time
from tests.bench.traffic_state_rows import windows_of
from tests.support.fcd_marks import Fcd

MIN_TRIP_S = 120
WARM_UP_S = 120


@dataclass(frozen=True)
class Trips:
    """How far answers were from what trips took."""

    trips: int
    mape: float
    within_80: float


@dataclass(frozen=True)
class Trip:
    """One vehicle's, by the truth."""

    leaves_s: int
    takes_s: int
    start: Place
    goal: Place


def trips_of(truth: Fcd, road_map: RoadMap) -> list[Trip]:
    """Trips over two minutes that begin and end within the recording, away from junctions."""
    order = np.lexsort((truth.time_s, truth.vehicle))
    vehicle, time_s = truth.vehicle[order], truth.time_s[order]
    first = np.flatnonzero(np.diff(vehicle, prepend=-1))
    last = np.append(first[1:], len(vehicle)) - 1
    takes_s = time_s[last] - time_s[first]
    inside = (time_s[first] >= time_s.min() + WARM_UP_S) & (time_s[last] < time_s.max() - 1)
    is_road = ~road_map.segment_is_internal[truth.segment[order]]
    inside &= is_road[first] & is_road[last] & (takes_s > MIN_TRIP_S)
    return [
        Trip(
            int(time_s[a]),
            int(time_s[b] - time_s[a]),
            Place(int(truth.segment[order[a]]), float(truth.offset_m[order[a]])),
            Place(int(truth.segment[order[b]]), float(truth.offset_m[order[b]])),
        )
        for a, b in zip(first[inside].tolist(), last[inside].tolist(), strict=True)
    ]


def measure(road_map: RoadMap, trips: list[Trip], connected: Fcd) -> Trips:
    """Answers from these (matched) vehicles' states against trips of everybody."""
    completion, graph = Completion(road_map), RoadGraph(road_map)
    waiting = sorted(trips, key=lambda trip: trip.leaves_s)
    answers: list[tuple[float, float, float, float]] = []
    for at_s, batch in windows_of(connected, road_map):
        if batch is not None:
            completion.fold(batch)
        if at_s % CELL_S == 0:
            completion.advance(at_s * NS_PER_S)
        pass_s = completion.steady_pass_s() if waiting and waiting[0].leaves_s <= at_s else None
        while waiting and waiting[0].leaves_s <= at_s:
            trip = waiting.pop(0)
            way = None if pass_s is None else graph.fastest(pass_s, [trip.start], [trip.goal])
            if way is not None and pass_s is not None:
                found = travel_time(road_map, pass_s, way)
                answers.append((trip.takes_s, found.expected_s, found.low_s, found.high_s))
    takes_s, expected_s, low_s, high_s = np.array(answers).T
    errors: NDArray[np.float64] = np.abs(expected_s - takes_s) / takes_s
    inside = (takes_s >= low_s) & (takes_s <= high_s)
    return Trips(len(answers), float(errors.mean()), float(inside.mean()))
