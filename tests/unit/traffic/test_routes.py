"""Fastest ways and travel times over a small town and a ring."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.maps import Lane, RoadMap, Segment
from openvrc.traffic.routes import Place, RoadGraph
from openvrc.traffic.travel_time import travel_time

FRAME = LocalFrame(53.5, 10.0)


def segment(name: str, line_m: list[tuple[float, float]], after: list[str]) -> Segment:
    """A one-lane segment along points in m."""
    points = [FRAME.to_lat_lon_deg(x, y) for x, y in line_m]
    line = tuple((float(lon), float(lat)) for lat, lon in points)
    length_m = float(np.hypot(*np.diff(np.array(line_m), axis=0).T).sum())
    return Segment(
        id=name,
        length_m=length_m,
        speed_limit_mps=10.0,
        successors=tuple(after),
        lanes=(Lane(id=f"{name}_0", index=0, length_m=length_m, coordinates=line),),
        coordinates=line,
    )


# Two ways from a to d: b is short, c is long; d leads back to a.
MAP = RoadMap.build(
    [
        segment("a", [(0, 0), (100, 0)], ["b", "c"]),
        segment("b", [(100, 0), (200, 0)], ["d"]),
        segment("c", [(100, 0), (150, 80), (200, 0)], ["d"]),
        segment("d", [(200, 0), (300, 0)], ["e"]),
        segment("e", [(300, 0), (300, 200), (0, 200), (0, 0)], ["a"]),
    ]
)
GRAPH = RoadGraph(MAP)
FREE_S = MAP.segment_length_m / 10.0


def way(begin: tuple[str, float], end: tuple[str, float], **slow_s: float) -> list[str]:
    """Ids along the fastest way where some segments take longer."""
    time_s = FREE_S.copy()
    for name, takes_s in slow_s.items():
        time_s[MAP.index_of(name)] = takes_s
    places = [Place(MAP.index_of(name), offset_m) for name, offset_m in (begin, end)]
    found = GRAPH.fastest(time_s, places[:1], places[1:])
    assert found is not None
    return [MAP.segment_ids[number] for number in found.segments]


def test_the_short_way_is_taken_until_it_is_jammed() -> None:
    assert way(("a", 20.0), ("d", 50.0)) == ["a", "b", "d"]
    assert way(("a", 20.0), ("d", 50.0), b=60.0) == ["a", "c", "d"]


def test_a_point_behind_the_start_is_reached_by_the_way_round() -> None:
    assert way(("a", 20.0), ("a", 80.0)) == ["a"]
    assert way(("a", 80.0), ("a", 20.0)) == ["a", "b", "d", "e", "a"]


def test_only_the_driven_part_of_the_first_and_last_segment_counts() -> None:
    start, goal = Place(MAP.index_of("a"), 20.0), Place(MAP.index_of("d"), 50.0)
    found = GRAPH.fastest(FREE_S, [start], [goal])
    assert found is not None
    assert found.time_s == pytest.approx(8.0 + 10.0 + 5.0, rel=1e-3)
    assert sum(found.driven_m) == pytest.approx(230.0, rel=1e-3)


def test_of_several_starts_the_one_that_is_soonest_there_is_taken() -> None:
    starts = [Place(MAP.index_of("e"), 0.0), Place(MAP.index_of("b"), 50.0)]
    found = GRAPH.fastest(FREE_S, starts, [Place(MAP.index_of("d"), 50.0)])
    assert found is not None
    assert MAP.segment_ids[found.segments[0]] == "b"


def test_where_no_way_leads_there_is_none() -> None:
    alone = RoadMap.build(
        [segment("a", [(0, 0), (100, 0)], []), segment("b", [(0, 9), (100, 9)], [])]
    )
    graph = RoadGraph(alone)
    assert graph.fastest(np.ones(2), [Place(0, 0.0)], [Place(1, 50.0)]) is None


def test_a_point_is_placed_on_the_roads_near_it_and_nowhere_far_away() -> None:
    lat_deg, lon_deg = (float(v) for v in FRAME.to_lat_lon_deg(40.0, -3.0))
    (place,) = GRAPH.places(lat_deg, lon_deg)
    assert MAP.segment_ids[place.segment] == "a"
    assert place.offset_m == pytest.approx(40.0, abs=0.5)
    assert GRAPH.places(*(float(v) for v in FRAME.to_lat_lon_deg(40.0, -80.0))) == []


def test_an_interval_holds_the_expectation_and_no_way_is_faster_than_driving_it() -> None:
    found = GRAPH.fastest(FREE_S * 1.5, [Place(0, 0.0)], [Place(3, 100.0)])
    assert found is not None
    takes = travel_time(MAP, FREE_S * 1.5, found)
    assert takes.free_s * 0.9 <= takes.low_s < takes.expected_s < takes.high_s
    assert takes.expected_s == pytest.approx(1.5 * takes.free_s, rel=1e-6)
