"""GPX tracks as a world: who drove where, how fast and which way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openvrc.contracts.units import NS_PER_S, ns_from_iso
from simulator.replay import RecordingError, open_recording

HEAD = '<?xml version="1.0"?><gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">'
T0_NS = ns_from_iso("2026-03-02T08:00:00Z")
STEP_DEG = 10.0 / 111_320.0
"""About 10 m of latitude."""


def point(second: int, north: float = 0.0, *, more: str = "", time: str | None = None) -> str:
    at = f"2026-03-02T08:00:{second:02d}Z" if time is None else time
    timed = f"<time>{at}</time>" if at else ""
    return (
        f'<trkpt lat="{53.5 + north * STEP_DEG:.9f}" lon="10.0"><ele>3</ele>{timed}{more}</trkpt>'
    )


def track(*points: str, name: str = "") -> str:
    named = f"<name>{name}</name>" if name else ""
    return f"<trk>{named}<trkseg>{''.join(points)}</trkseg></trk>"


def rows(folder: Path, *tracks: str, head: str = HEAD) -> list[dict[str, Any]]:
    path = folder / "tour.gpx"
    path.write_text(f"{head}{''.join(tracks)}</gpx>")
    world = open_recording(path, zone="z", run_id="r")
    assert world.start_ns == min(f.zone_time_ns for f in world.frames())
    world = open_recording(path, zone="z", run_id="r")
    return [
        record
        for frame in world.frames()
        for message in frame.messages
        if message.message == "vehicle_state"
        for record in message.batch.to_records()
    ]


def test_speed_and_course_are_those_of_the_way(tmp_path: Path) -> None:
    found = rows(tmp_path, track(point(0), point(1, 1), point(3, 3), point(4, 2), name="bus 7"))
    assert {record["source_id"] for record in found} == {"bus@207"}
    assert [(r["sampled_at_ns"] - T0_NS) // NS_PER_S for r in found] == [0, 1, 3, 4]
    assert [r["speed_mps"] for r in found] == pytest.approx([10.0] * 4, rel=0.01)
    assert [r["heading_deg"] for r in found] == pytest.approx([0, 0, 0, 180], abs=0.01)


def test_what_a_point_says_itself_goes_before_what_is_derived(tmp_path: Path) -> None:
    said = "<extensions><x:speed>3.5</x:speed><x:course>370</x:course></extensions>"
    head = '<?xml version="1.0"?><gpx version="1.1" xmlns:x="urn:x">'
    found = rows(tmp_path, track(point(0), point(1, 1, more=said)), head=head)
    assert (found[1]["speed_mps"], found[1]["heading_deg"]) == (3.5, 10.0)


def test_a_vehicle_that_stands_keeps_its_course(tmp_path: Path) -> None:
    found = rows(tmp_path, track(point(0, 2), point(1, 1), point(2, 1), point(3, 1.01)))
    assert [round(r["heading_deg"]) for r in found] == [180] * 4
    assert found[2]["speed_mps"] == 0.0


def test_segments_are_not_joined_and_leaps_give_no_speed(tmp_path: Path) -> None:
    parts = track(point(0), point(1, 1), "</trkseg><trkseg>", point(2, 500), point(3, 501))
    found = rows(tmp_path, parts)
    assert [r["speed_mps"] for r in found] == pytest.approx([10.0] * 4, rel=0.01)
    leaping = rows(tmp_path, track(point(0), point(1, 100)))
    assert leaping[1]["speed_mps"] == 0.0


def test_tracks_are_vehicles_in_order_of_time(tmp_path: Path) -> None:
    found = rows(tmp_path, track(point(0), point(2, 1)), track(point(1, 5), point(3, 6)))
    assert [r["source_id"] for r in found] == ["tour-1", "tour-2", "tour-1", "tour-2"]


def test_points_without_a_time_are_stepped_over(tmp_path: Path) -> None:
    assert len(rows(tmp_path, track(point(0), point(1, time=""), point(2, 1)))) == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (track(point(0, time="")), "no track point with a time"),
        ("", "no track point with a time"),
        (track(point(0, time="2026-03-02T08:00:00")), "no UTC offset"),
        (track(point(0, time="yesterday")), "yesterday"),
        (track('<trkpt lat="91" lon="1"/>'), "nowhere"),
        (track('<trkpt lat="north" lon="1"/>'), "trkpt"),
        ("<trk>", "XML"),
    ],
)
def test_what_is_no_track_is_refused_with_the_reason(
    content: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(RecordingError, match=why):
        rows(tmp_path, content)


def test_a_document_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="DOCTYPE"):
        rows(tmp_path, head='<!DOCTYPE gpx [<!ENTITY a "b">]><gpx>')
