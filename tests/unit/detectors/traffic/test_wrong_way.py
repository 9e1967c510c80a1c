"""Who drives against a lane's direction, and who only seems to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from openvrc.contracts.detection import Context, Finding
from openvrc.contracts.maps import Lane, RoadMap, Segment
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic import wrong_way
from openvrc.detectors.traffic._units import Span, Units
from tests.support.fcd_marks import cut, read_ghosts, read_map, vehicle_batches
from tests.support.incidents import timed_batches
from tests.support.straight_road import (
    DEG_PER_M,
    LAT_DEG,
    LON_DEG,
    START_NS,
    Row,
    as_set,
    in_time,
    row,
    run,
    run_scrambled,
)
from tests.support.traffic_events import detect, second_of

DEG_LAT_PER_M = 1.0 / 111_320.0


def two_carriageways(apart_m: float) -> Context:
    """`there` leads east, `back` west, `apart_m` north of it; 600 m, one lane each."""

    def segment(name: str, ends_m: Sequence[float], north_m: float) -> Segment:
        line = tuple((LON_DEG + m * DEG_PER_M, LAT_DEG + north_m * DEG_LAT_PER_M) for m in ends_m)
        lane = Lane(id=f"{name}_0", index=0, length_m=600.0, coordinates=line)
        return Segment(
            id=name, length_m=600.0, speed_limit_mps=13.9, lanes=(lane,), coordinates=line
        )

    road = RoadMap.build(
        [segment("there", (0.0, 600.0), 0.0), segment("back", (600.0, 0.0), apart_m)]
    )
    return Context("test", "test", "simulated", road)


def driving(vehicle: str, north_m: float, segment_id: str, n_s: int = 10) -> list[Row]:
    """Drives west at 10 m/s, as far north of `there` as stated, marked with `segment_id`."""
    return [
        row(
            vehicle,
            float(s),
            500.0 - 10.0 * s,
            10.0,
            lat_deg=LAT_DEG + north_m * DEG_LAT_PER_M,
            heading_deg=270.0,
            segment_id=segment_id,
            segment_offset_m=500.0 - 10.0 * s if segment_id == "there" else 100.0 + 10.0 * s,
        )
        for s in range(n_s)
    ]


def raised(findings: Sequence[Finding]) -> list[str]:
    return [f.subject_id for f in findings if f.phase == "raise"]


@pytest.mark.parametrize("mark", ["there", "back"])
def test_a_vehicle_against_its_lane_is_found_whichever_road_it_was_matched_to(mark: str) -> None:
    findings = run(wrong_way.PLUGIN, two_carriageways(8.0), driving("ghost", 0.5, mark))
    assert [f.phase for f in findings] == ["raise", "clear"]
    assert findings[0].segment_id == "there"
    assert findings[0].started_at_ns == START_NS
    assert findings[0].at_ns == START_NS + 2 * NS_PER_S
    assert findings[1].at_ns == START_NS + (9 + 5) * NS_PER_S


def test_a_vehicle_on_the_lane_of_its_course_is_not_found() -> None:
    assert run(wrong_way.PLUGIN, two_carriageways(8.0), driving("good", 7.5, "back")) == []


def test_a_bad_fix_towards_the_other_carriageway_is_not_found() -> None:
    rows = driving("good", 7.5, "back")
    rows[4] |= {"lat_deg": LAT_DEG, "segment_id": "there", "segment_offset_m": 460.0}
    assert run(wrong_way.PLUGIN, two_carriageways(8.0), rows) == []


def test_on_a_narrow_street_positions_do_not_tell_the_sides_apart() -> None:
    assert run(wrong_way.PLUGIN, two_carriageways(3.2), driving("any", 0.0, "there")) == []


@pytest.mark.parametrize(("apart_m", "found"), [(5.5, False), (5.7, True)])
def test_the_lane_along_the_course_must_be_much_less_likely(apart_m: float, found: bool) -> None:
    told = run(wrong_way.PLUGIN, two_carriageways(apart_m), driving("ghost", 0.0, "there"))
    assert [f.evidence["limit_along_m"] for f in told if f.phase == "raise"] == [5.6] * found


def test_a_vehicle_off_the_map_is_not_found() -> None:
    assert run(wrong_way.PLUGIN, two_carriageways(8.0), driving("field", 200.0, "")) == []


@pytest.mark.parametrize("seed", range(3))
def test_findings_do_not_depend_on_batches_ticks_or_restarts(seed: int) -> None:
    rows = in_time(driving("ghost", 0.5, "back") + driving("good", 7.5, "back", 20))
    where = two_carriageways(8.0)
    plain = as_set(run(wrong_way.PLUGIN, where, rows))
    again = run_scrambled(wrong_way.PLUGIN, where, rows, seed=seed, shuffles=False)
    assert as_set(again) == plain


@pytest.mark.parametrize("package", ["hamburg_urban", "a39_freeway"])
def test_every_ghost_is_found_within_three_seconds(package: str) -> None:
    road_map, ghosts = read_map(package), read_ghosts(package)
    timed = timed_batches(list(vehicle_batches(ghosts, road_map)))
    found = [f for f in detect([wrong_way.PLUGIN], road_map, timed).findings if f.phase == "raise"]
    for number, name in enumerate(ghosts.vehicles):
        begins_s = int(ghosts.time_s[ghosts.vehicle == number].min())
        mine = [second_of(f) - begins_s for f in found if f.subject_id == name]
        assert len(mine) >= 1, name
        assert min(mine) <= 3.0, name  # measured: 2 s, over five draws of the noise


def test_nobody_in_town_traffic_drives_the_wrong_way() -> None:
    fcd = cut("hamburg_urban", "control_fcd", 600, 625)
    road_map = read_map("hamburg_urban")
    timed = timed_batches(list(vehicle_batches(fcd, road_map)))
    run_ = detect([wrong_way.PLUGIN], road_map, timed)
    assert raised(run_.findings) == []


def relayed(rows: list[Row], after_s: float, source: str = "rsu-1") -> list[Row]:
    """The same later, told by a unit."""
    later_ns = int(after_s * NS_PER_S)
    return [r | {"source_id": source, "sampled_at_ns": r["sampled_at_ns"] + later_ns} for r in rows]


def turned(rows: list[Row]) -> list[Row]:
    """Courses and places along the road the other way round."""
    return [
        r
        | {
            "heading_deg": (r["heading_deg"] + 180.0) % 360.0,
            "lon_deg": 2.0 * LON_DEG + 600.0 * DEG_PER_M - r["lon_deg"],
            "segment_offset_m": 600.0 - r["segment_offset_m"],
        }
        for r in rows
    ]


def relayed_traffic(seconds: int = 60) -> list[Row]:
    """A vehicle every four seconds that drives as it should."""
    return [
        r
        for n in range(0, seconds, 4)
        for r in relayed(turned(driving(f"car{n}", 0.0, "there", 12)), float(n))
    ]


def test_a_unit_that_mirrors_positions_and_courses_makes_no_wrong_way_drivers() -> None:
    where = two_carriageways(40.0)
    assert run(wrong_way.PLUGIN, where, in_time(turned(relayed_traffic()))) == []
    own = driving("honest ghost", 0.0, "there")  # of itself, and at once
    found = run(wrong_way.PLUGIN, where, in_time(turned(relayed_traffic()) + own))
    assert [f.subject_id for f in found if f.phase == "raise"] == ["honest ghost"]


def test_a_unit_that_is_right_of_others_is_believed_about_a_wrong_way_driver() -> None:
    ghost = relayed(driving("ghost", 0.0, "there"), 50.0)
    found = run(wrong_way.PLUGIN, two_carriageways(40.0), in_time(relayed_traffic() + ghost))
    assert [(f.subject_id, f.phase) for f in found] == [("ghost", "raise"), ("ghost", "clear")]
    assert found[0].at_ns == START_NS + 52 * NS_PER_S


@pytest.mark.parametrize("is_mirror", [False, True])
def test_on_a_quiet_road_one_other_vehicle_speaks_for_the_unit_or_against_it(
    is_mirror: bool,
) -> None:
    """A minute of the ghost's own reports says nothing of who tells of them."""
    other = relayed(turned(driving("other", 0.0, "there", 16)), 0.0)
    ghost = relayed(driving("ghost", 0.0, "there", 50), 40.0)
    rows = in_time((turned(other) if is_mirror else other) + ghost)
    found = run(wrong_way.PLUGIN, two_carriageways(40.0), rows)
    assert ("ghost" in raised(found)) == (not is_mirror)


@pytest.mark.parametrize(("against", "believed"), [(0, True), (8, False)])
def test_a_minute_of_the_judged_vehicles_own_reports_does_not_count(
    against: int, believed: bool
) -> None:
    units, ghost, other = Units(), 9, 5
    for number in (100, 101):
        units.spans["rsu", number] = Span()
        units.spans["rsu", number].add(other, 8, against, (other, other))
    for number in range(110, 116):
        units.spans["rsu", number] = Span()
        units.spans["rsu", number].add(ghost, 10, 10, (ghost, ghost))
    for restored in (units, Units.restore(units.snapshot())):
        assert restored.is_believed("rsu", ghost, 1166 * NS_PER_S) == believed


def test_a_device_with_a_name_of_its_own_is_believed_once_it_is_known() -> None:
    ghost = relayed(driving("ghost", 0.0, "there", n_s=30), 0.0, source="device-7")
    found = run(wrong_way.PLUGIN, two_carriageways(40.0), ghost)
    assert [f.phase for f in found] == ["raise", "clear"]
    assert found[0].at_ns <= START_NS + 25 * NS_PER_S


@pytest.mark.parametrize("seed", range(3))
def test_what_is_believed_does_not_depend_on_batches_ticks_or_restarts(seed: int) -> None:
    ghost = relayed(driving("ghost", 0.0, "there", n_s=20), 12.0)
    rows = in_time(relayed_traffic() + ghost)
    plain = as_set(run(wrong_way.PLUGIN, two_carriageways(40.0), rows))
    assert plain
    again = run_scrambled(wrong_way.PLUGIN, two_carriageways(40.0), rows, seed=seed, shuffles=False)
    assert as_set(again) == plain
