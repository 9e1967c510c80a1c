"""Conflicts: the measures against theory, the rule against SUMO's surrogate safety measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openvrc.contracts.detection import Context, Finding, Severity
from openvrc.contracts.maps import Lane, RoadMap, Segment
from openvrc.contracts.near_pairs import near_pairs
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic import conflict
from openvrc.detectors.traffic._encounters import Users, crossing, following
from openvrc.detectors.traffic._lane_links import LaneLinks
from tests.support import ssm
from tests.support.straight_road import (
    DEG_PER_M,
    LAT_DEG,
    LON_DEG,
    START_NS,
    Row,
    batch_of,
    context,
    row,
)


def user(x_m: float, y_m: float, course_deg: float, speed_mps: float, length_m: float) -> Users:
    course = np.radians(course_deg)
    values = (x_m, y_m, np.sin(course), np.cos(course), speed_mps, length_m)
    return Users(*(np.array([value], np.float64) for value in values))


def test_closing_in_takes_the_gap_over_the_difference_of_speeds() -> None:
    got = following(np.array([35.0]), user(0, 0, 90, 20.0, 5.0), user(35, 0, 90, 10.0, 5.0))
    assert got.ttc_s[0] == pytest.approx(3.0)
    assert got.drac_mps2[0] == pytest.approx(10.0**2 / (2 * 30.0))


@pytest.mark.parametrize(("behind_mps", "along_m"), [(10.0, 30.0), (9.0, 30.0), (20.0, 3.0)])
def test_who_does_not_close_in_or_is_abreast_meets_nobody(
    behind_mps: float, along_m: float
) -> None:
    one, other = user(0, 0, 90, behind_mps, 5.0), user(along_m, 0, 90, 10.0, 5.0)
    assert following(np.array([along_m]), one, other).ttc_s[0] == np.inf


def test_two_that_reach_a_crossing_together_collide_when_the_later_enters() -> None:
    got = crossing(user(-20.0, 0, 90, 10.0, 5.0), user(0, -22.0, 0, 10.0, 5.0))
    assert got.ttc_s[0] == pytest.approx((22.0 - 1.0) / 10.0)
    assert got.pet_s[0] == np.inf


def test_one_that_comes_after_the_other_has_left_encroaches_by_the_time_between() -> None:
    got = crossing(user(-10.0, 0, 90, 10.0, 5.0), user(0, -41.0, 0, 10.0, 5.0))
    assert got.ttc_s[0] == np.inf
    assert got.pet_s[0] == pytest.approx(4.0 - (9.0 + 2.0 + 5.0) / 10.0)


def test_who_stands_or_has_passed_crosses_nobody() -> None:
    standing, driving = user(-20.0, 0, 90, 0.0, 5.0), user(0, -20.0, 0, 10.0, 5.0)
    assert crossing(standing, driving).ttc_s[0] == np.inf
    passed = user(3.0, 0, 90, 10.0, 5.0)
    assert crossing(passed, driving).ttc_s[0] == np.inf


@given(st.integers(0, 2**32 - 1))
def test_near_pairs_are_those_that_a_full_comparison_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x_m, y_m = rng.uniform(-200, 200, (2, 40))
    askers = slice(0, 9)
    asker, place = near_pairs(x_m[askers], y_m[askers], x_m, y_m, 30.0)
    apart_m = np.hypot(x_m[askers, None] - x_m, y_m[askers, None] - y_m)
    expected = np.argwhere(apart_m <= 30.0).tolist()
    assert sorted(np.column_stack((asker, place)).tolist()) == expected


def run(seconds: list[list[Row]]) -> list[Finding]:
    state, findings = conflict.PLUGIN.initial(context()), list[Finding]()
    for rows in seconds:
        state, found = conflict.PLUGIN.update(state, batch_of(rows))
        findings += found
    return findings


def approach(**more: Any) -> list[list[Row]]:
    """One stands, one comes from 60 m behind with 12 m/s."""
    return [
        [row("stands", t, 200.0, 0.0), row("comes", t, 140.0 + 12.0 * t, 12.0, **more)]
        for t in range(5)
    ]


def test_a_conflict_gets_worse_in_steps_and_is_told_once_a_step() -> None:
    found = [f for f in run(approach()) if f.phase == "raise"]
    assert {f.subject_id for f in found} == {"comes"}
    severities = [f.severity for f in found]
    assert severities == sorted(set(severities))
    assert severities[0] == Severity.INFO
    assert found[0].evidence["other_id"] == "stands"


def test_another_lane_is_no_conflict() -> None:
    assert run(approach(lane_index=1)) == []


@pytest.mark.parametrize(("beside_m", "conflicts"), [(0.5, True), (2.5, False)])
def test_who_is_reported_half_way_to_the_next_lane_may_be_overtaking(
    beside_m: float, conflicts: bool
) -> None:
    lat_deg = LAT_DEG + beside_m / 111_195.0
    ahead, behind = row("slow", 0, 200.0, 6.0), row("comes", 0, 175.0, 16.0, lat_deg=lat_deg)
    assert bool(run([[ahead, behind]])) == conflicts


Line = tuple[tuple[float, float], ...]


def segment(name: str, *lanes: Line, to: str = "", after: tuple[str, ...] = ()) -> Segment:
    """A segment whose lanes run through points in m east and north of (LAT_DEG, LON_DEG)."""

    def on_earth(line: Line) -> Line:
        north_deg = 1.0 / 111_195.0
        return tuple((LON_DEG + x * DEG_PER_M, LAT_DEG + y * north_deg) for x, y in line)

    (x_m, y_m), (end_x_m, end_y_m) = lanes[0][0], lanes[0][-1]
    length_m = float(np.hypot(end_x_m - x_m, end_y_m - y_m))
    return Segment(
        id=name,
        length_m=length_m,
        speed_limit_mps=13.9,
        is_internal=name.startswith(":"),
        to_id=to,
        successors=after,
        coordinates=on_earth(lanes[0]),
        lanes=tuple(
            Lane(id=f"{name}_{i}", index=i, length_m=length_m, coordinates=on_earth(line))
            for i, line in enumerate(lanes)
        ),
    )


def test_lanes_lead_where_their_lines_go_on_also_through_a_junction() -> None:
    road_map = RoadMap.build(
        [
            segment(
                "in", ((0, 0), (90, 0)), ((0, 3), (90, 3)), after=(":on", ":off", "out", "ramp")
            ),
            segment(":on", ((90, 3), (100, 3)), after=("out",)),
            segment(":off", ((90, 0), (100, -3)), after=("ramp",)),
            segment("out", ((100, 0), (200, 0)), ((100, 3), (200, 3))),
            segment("ramp", ((100, -3), (200, -40))),
            segment("gap", ((0, 50), (90, 50)), after=("far",)),
            segment("far", ((120, 50), (200, 50))),
        ]
    )

    def asked(one: str, lane: int, two: str, other_lane: int) -> tuple[float, bool]:
        numbers = (road_map.index_of(one), lane, road_map.index_of(two), other_lane)
        between_m, is_known = LaneLinks(road_map).between(*(np.array([n]) for n in numbers))
        return float(between_m[0]), bool(is_known[0])

    assert asked("in", 1, "out", 1)[0] == pytest.approx(10.0, abs=0.1)
    assert asked("in", 1, ":on", 0) == (0.0, True)
    for pair in (("in", 1, "out", 0), ("in", 0, "out", 1), ("in", 1, "ramp", 0)):
        between_m, is_known = asked(*pair)
        assert np.isnan(between_m)
        assert is_known
    assert asked("gap", 0, "far", 0)[1] is False


@pytest.mark.parametrize(("junctions", "meet"), [(("j", "j"), True), (("j", "k"), False)])
def test_roads_that_cross_without_a_junction_are_a_bridge(
    junctions: tuple[str, str], meet: bool
) -> None:
    """Two come to one place at once, too fast to stop before it."""
    road_map = RoadMap.build(
        [
            segment("east", ((-100, 0), (-2, 0)), to=junctions[0]),
            segment("north", ((0, -100), (0, -2)), to=junctions[1]),
        ]
    )
    more = {"segment_offset_m": 86.0, "heading_deg": 90.0}
    east = row("east", 0, -14.0, 13.0, segment_id="east", **more)
    north = row("north", 0, 0.0, 13.0, segment_id="north", lat_deg=LAT_DEG - 14.0 / 111_195.0)
    batch = batch_of([east, north | more | {"heading_deg": 0.0}])
    state = conflict.PLUGIN.initial(Context("test", "test", "simulated", road_map))
    found = conflict.PLUGIN.update(state, batch)[1]
    assert [f.evidence["kind"] for f in found] == (["crossing"] if meet else [])


@pytest.mark.parametrize(("lane_x_m", "inside"), [(-4.8, False), (-11.2, False), (-11.2, True)])
def test_where_roads_run_to_the_node_all_lanes_of_the_one_cross_the_other(
    lane_x_m: float, inside: bool
) -> None:
    """Also the fourth lane, over 5 m before the node; not if the map has the junction's inside."""
    segments = [
        segment("east", ((-100, -1.6), (0, -1.6)), to="j"),
        segment("south", ((lane_x_m, 100), (lane_x_m, 0)), to="j"),
    ]
    within = segment(":j", ((0, -1.6), (9, -1.6)), to="j")
    road_map = RoadMap.build([*segments, within] if inside else segments)
    more = {"segment_offset_m": 84.0 + lane_x_m, "heading_deg": 90.0, "segment_id": "east"}
    east = row("east", 0, lane_x_m - 16.0, 13.0, **more, lat_deg=LAT_DEG - 1.6 / 111_195.0)
    more = {"segment_offset_m": 85.6, "heading_deg": 180.0, "segment_id": "south"}
    south = row("south", 0, lane_x_m, 13.0, **more, lat_deg=LAT_DEG + 14.4 / 111_195.0)
    state = conflict.PLUGIN.initial(Context("test", "test", "simulated", road_map))
    found = conflict.PLUGIN.update(state, batch_of([east, south]))[1]
    assert [f.evidence["kind"] for f in found] == ([] if inside else ["crossing"])


@pytest.mark.parametrize("walker_class", ["pedestrian", "bicycle"])
@pytest.mark.parametrize(("walker_on", "offset_m"), [(None, None), ("road", 240.0), ("path", 20.0)])
def test_who_walks_across_a_road_is_warned_of_away_from_junctions_too(
    walker_class: str, walker_on: str | None, offset_m: float | None
) -> None:
    """The walker off the map, matched to the road itself, or to a path that ends elsewhere."""
    road_map = RoadMap.build(
        [
            segment("road", ((0, 0), (600, 0)), to="j"),
            segment("path", ((240, -20), (240, 20)), to="k"),
        ]
    )
    walker = row("walker", 0, 240.0, 1.5, segment_id=walker_on, segment_offset_m=offset_m)
    walker |= {"vehicle_class": walker_class, "lane_index": None, "heading_deg": 0.0}
    walker["lat_deg"] = LAT_DEG - 4.6 / 111_195.0
    car = row("car", 0, 205.0, 13.0, heading_deg=90.0)
    for rows in ([walker, car], [car, walker]):
        state = conflict.PLUGIN.initial(Context("test", "test", "simulated", road_map))
        found = conflict.PLUGIN.update(state, batch_of(rows))[1]
        assert [f.evidence["kind"] for f in found] == ["crossing"]


@pytest.mark.parametrize("ticks_s", [(), (5, 65)])
def test_who_comes_back_after_long_silence_has_no_lane_of_before(ticks_s: tuple[int, ...]) -> None:
    """With ticks the silent are forgotten, without nobody is: the findings are the same."""
    before = [row("slow", 0, 20.0, 6.0), row("comes", 0, 0.0, 16.0, lane_index=1)]
    after = [row("slow", 70, 200.0, 6.0), row("comes", 70, 170.0, 16.0)]
    state, _ = conflict.PLUGIN.update(conflict.PLUGIN.initial(context()), batch_of(before))
    for tick_s in ticks_s:
        state, _ = conflict.PLUGIN.advance(state, START_NS + tick_s * NS_PER_S)
    _, findings = conflict.PLUGIN.update(state, batch_of(after))
    assert [(f.phase, f.subject_id) for f in findings] == [("raise", "comes")]


def test_conflicts_agree_with_sumos_measures_of_a_piece_in_town() -> None:
    """Whole, see docs/traffic.md: recall .86 and precision .85 in Hamburg."""
    got = ssm.measure("hamburg_urban", from_s=400, to_s=420)
    assert got.n_truth > 60
    assert got.recall >= 0.80
    assert got.precision >= 0.80
