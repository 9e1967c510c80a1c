"""Vehicles and perceived objects from foreign tables: who, where, when, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openvrc.contracts.batch import concat
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.geo import distance_m
from openvrc.contracts.topics import Topic
from openvrc.contracts.units import NS_PER_S, ns_from_iso
from simulator.replay import DEFAULT_EPOCH_NS, RecordingError, open_recording
from simulator.replay.motion import motion
from simulator.replay.traffic_world import TrafficWorld
from simulator.rsus import place_rsus
from simulator.scenarios.crossroads_map import build
from simulator.world import Frame, World

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "mappings"
PROBES = [
    "time,plate,lat,lon,speed,direction,brake",
    "2026-03-02 08:00:00,a 1,31.2,121.4,36,-90,0",
    "2026-03-02 08:00:01,a 1,31.2,121.3999,36,-90,1",
    "2026-03-02 08:00:02,a 1,31.2,121.3998,,361,",
    "2026-03-02 08:00:00,b,31.3,121.5,0,10,0",
    "2026-03-02 08:00:01,b,31.3,121.5,fast,10,yes",
    "2026-03-02 08:00:02,,31.3,121.5,0,10,0",
]
OBJECTS = [
    "timestamp,camera,track,latitude,longitude,speed,heading,type,score",
    "1767225600000,west,7,53.5,10.0,1.2,90,4,81.5",
    "1767225600000,east,7,53.6,10.1,,,0,50",
    "1767225611000,west,7,53.50001,10.0,1.2,90,4,80",
    "1767225600000,west,8,53.5,10.001,9,180,9,",
    "1767225611000,west,,53.5,10.0,1.2,90,4,80",
]


def table(folder: Path, lines: list[str], name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def opened(path: Path, mapping: str | Path, **options: Any) -> World:
    chosen = EXAMPLES / f"{mapping}.toml" if isinstance(mapping, str) else mapping
    return open_recording(path, zone="z", run_id="r", mapping=chosen, **options)


def records(frames: list[Frame], message: str) -> list[dict[str, Any]]:
    """As they come out of the codec, which takes what the contract takes."""
    found = []
    for frame in frames:
        for outgoing in frame.messages:
            if outgoing.message == message:
                topic = Topic("z", outgoing.kind, outgoing.source_id, message)
                decoded = JsonCodec().decode(topic, JsonCodec().encode(outgoing.batch), 0)
                found += [r for batch in decoded.batches for r in batch.to_records()]
    return found


def test_vehicles_of_one_table_drive_at_the_same_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        world = opened(table(tmp_path, PROBES), "probe_fleet_csv")
    assert "1 rows name no vehicle" in caplog.text
    frames = list(world.frames())
    start_ns = ns_from_iso("2026-03-02T08:00:00+08:00")
    assert world.start_ns == start_ns
    assert [f.zone_time_ns - start_ns for f in frames[:3]] == [0, NS_PER_S, 2 * NS_PER_S]
    batches = [o.batch for o in frames[0].messages if o.message == "vehicle_state"]
    first, second = concat(batches).to_records()
    assert (first["source_id"], first["subject_id"]) == ("a@201", "a@201")
    assert (first["speed_mps"], first["heading_deg"], first["brake_on"]) == (10.0, 270.0, False)
    assert (second["subject_id"], second["speed_mps"]) == ("b", 0.0)
    last = [o.batch.to_records()[0] for o in frames[2].messages if o.message == "vehicle_state"]
    assert last[0]["heading_deg"] == 1.0
    assert not {"speed_mps", "brake_on"} & last[0].keys()  # dirt is for the edge to judge
    assert len(records(frames, "vehicle_state")) == 3  # it has no speed of two rows to take


def test_positions_of_a_picture_become_degrees_speed_and_course(tmp_path: Path) -> None:
    lines = ["frame,id,x,y,xAcceleration,width,class"]
    lines += [f"{n},1,{100 + 0.8 * n},50,0.5,4.5,Car" for n in range(4)]
    lines += [f"{n},2,200,{60 + n},0,9,Truck" for n in range(4)]
    frames = list(opened(table(tmp_path, lines), "drone_trajectories_csv").frames())
    assert [f.zone_time_ns - DEFAULT_EPOCH_NS for f in frames[:4]] == [0, 40 * 10**6, 80 * 10**6,
                                                                      120 * 10**6]  # fmt: skip
    said = records(frames, "vehicle_state")
    car = [r for r in said if r["subject_id"] == "1"]
    truck = [r for r in said if r["subject_id"] == "2"]
    assert [r["speed_mps"] for r in car] == pytest.approx([20.0] * 4, abs=0.3)
    assert [r["heading_deg"] for r in car] == pytest.approx([90.0] * 4, abs=0.5)
    assert [r["heading_deg"] for r in truck] == pytest.approx([180.0] * 4, abs=0.5)  # y is down
    assert (car[0]["vehicle_class"], truck[0]["vehicle_class"]) == ("car", "truck")
    assert (car[0]["length_m"], car[0]["accel_long_mps2"]) == (4.5, 0.5)
    away_m = distance_m(50.7791, 6.0654, car[0]["lat_deg"], car[0]["lon_deg"])
    assert away_m == pytest.approx(np.hypot(100.0, 50.0), abs=0.5)
    assert car[0]["lat_deg"] < 50.7791


def test_a_share_of_the_vehicles_may_be_connected_and_a_file_may_be_one(tmp_path: Path) -> None:
    lines = [PROBES[0]]
    lines += [f"2026-03-02 08:00:00,car-{n},31.2,121.4,36,0,0" for n in range(200)]
    frames = list(opened(table(tmp_path, lines), "probe_fleet_csv", penetration=0.3).frames())
    assert 35 < len(records(frames, "vehicle_state")) < 85
    own = tmp_path / "one.toml"
    text = (EXAMPLES / "probe_fleet_csv.toml").read_text()
    own.write_text(text.replace("[subject]\ncolumn", "[columns.yaw_rate_dps]\ncolumn"))
    alone = list(opened(table(tmp_path, PROBES[:2], "car-7.csv"), own).frames())
    assert [r["subject_id"] for r in records(alone, "vehicle_state")] == ["car-7"]


DIRTY = [
    PROBES[0],
    *(f"2026-03-02 08:00:00,{plate},{lat},{lon},36,0,0" for plate, lat, lon in (
        ("empty", "", "10.53"), ("words", "north", "10.53"), ("high", "91", "10.53"),
        ("far", "52.27", "inf"), ("good", "52.27", "10.53"),
    )),
    "2026-03-02 08:00:01,empty,,,36,0,0",
]  # fmt: skip


@pytest.mark.parametrize("noise_m", [0.0, 2.0])
@pytest.mark.parametrize("has_map", [False, True])
def test_a_row_without_a_position_stops_nothing(
    tmp_path: Path, noise_m: float, has_map: bool
) -> None:
    world = opened(table(tmp_path, DIRTY), "probe_fleet_csv", noise_m=noise_m)
    assert isinstance(world, TrafficWorld)
    if has_map:
        world.road_map = build().road_map
        world.rsus = place_rsus(world.road_map)
    frames = list(world.frames())
    said = [o.batch for f in frames for o in f.messages if o.message == "vehicle_state"]
    found = {r["subject_id"]: r for r in concat(said).to_records()[:5]}
    assert found["high"]["lat_deg"] == 91.0  # passed on as it stands: the edge judges it
    assert not {"lat_deg"} & found["words"].keys()
    away_m = distance_m(52.27, 10.53, found["good"]["lat_deg"], found["good"]["lon_deg"])
    assert 0.0 < away_m < 10.0 if noise_m else away_m == 0.0
    assert len(concat(said).to_records()) == 6


def test_an_unknown_speed_is_the_last_known_of_that_vehicle() -> None:
    lon_deg = np.array([0.0, np.nan, 0.02, 0.0201, np.nan, 0.0203, 0.5, 7.0])
    vehicle = np.array([1, 1, 1, 1, 1, 1, 2, 3])
    times_ns = np.arange(8) * NS_PER_S
    speed_mps, heading_deg = motion(times_ns, np.zeros(8), lon_deg, vehicle)
    assert speed_mps[:6] == pytest.approx([11.1] * 6, abs=0.1)
    assert speed_mps[6:].tolist() == [0.0, 0.0]  # one point each
    assert heading_deg[3:6] == pytest.approx([90.0] * 3)
    assert np.isnan(heading_deg[6:]).all()  # not the course of another vehicle


def test_units_tell_of_their_tracks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        world = opened(table(tmp_path, OBJECTS), "camera_objects_csv")
    assert "1 rows name no track or no unit" in caplog.text
    frames = list(world.frames())
    assert [f.zone_time_ns // NS_PER_S for f in frames] == [1767225600, 1767225611, 1767225611]
    said = records(frames, "rsu_objects")
    assert [(r["source_id"], r["subject_id"]) for r in said] == [
        ("east", "7"), ("west", "7"), ("west", "8"), ("west", "7"),
    ]  # fmt: skip
    assert said[1]["object_class"] == "pedestrian"
    assert said[1]["confidence_ratio"] == 0.815
    assert not {"speed_mps", "heading_deg"} & said[0].keys()
    assert "object_class" not in said[2]  # 9 is nothing the mapping knows
    counts = {r["source_id"]: r["sent_count"] for r in records(frames[-1:], "source_status")}
    assert counts == {"east": 1, "west": 3}


HEAD = 'message = "vehicle_state"\n[time]\ncolumn = "time"\ntime_zone = "UTC"\n'
PLACE = '[columns.lat_deg]\ncolumn = "lat"\n[columns.lon_deg]\ncolumn = "lon"\n'
PLANE = '[plane]\nx_column="x"\ny_column="y"\norigin_lat_deg=1\norigin_lon_deg=1\n'
OBJECT = HEAD.replace("vehicle_state", "rsu_objects")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "lat_deg and columns.lon_deg, or"),
        (HEAD + PLACE + PLANE, "lat_deg and columns.lon_deg, or"),
        (HEAD + PLANE, "has no column 'x'"),
        (HEAD + PLANE.replace("_lat_deg=1", "_lat_deg=91"), "less than or equal to 90"),
        (HEAD + PLACE + '[subject]\ncolumn = "who"\n', "has no column 'who'"),
        (HEAD + PLACE.replace('"lat"', '"latitude"'), "has no column 'latitude'"),
        (HEAD + PLACE + '[source]\nname = "rsu-1"\n', "vehicles speak for themselves"),
        (
            HEAD + PLACE + '[columns.speed_mps]\ncolumn = "v"\nunit = "km"\n',
            r"speed_mps: unit 'km', expected one of \['m/s', 'km/h'",
        ),
        (HEAD + PLACE + '[columns.heading_deg]\ncolumn = "h"\nunit = "%"\n', "heading_deg: unit"),
        (HEAD + PLACE + '[columns.vehicle_class]\ncolumn = "c"\nunit = "m"\n', r"one of \['1'\]"),
        (HEAD + PLANE + 'unit = "s"\n', "plane: unit 's', expected one of"),
        (HEAD + PLACE.replace('"lat"', '"lat"\nunit = "m"'), "lat_deg: unit 'm'"),
        (HEAD + PLACE + '[columns.segment_id]\ncolumn = "lat"\n', "no field of vehicle_state"),
        (OBJECT + PLACE + '[subject]\ncolumn = "plate"\n', r"\[source\] \(the unit\)"),
        (
            OBJECT + PLACE + '[subject]\ncolumn = "plate"\n[source]\nname = "a/b"\n',
            "should match pattern",
        ),
        (
            OBJECT + PLACE + '[subject]\ncolumn = "plate"\n[source]\nname = "a"\ncolumn = "lat"\n',
            "either column or name",
        ),
        (
            OBJECT + PLACE.replace('"lat"', '"latitude"') + '[subject]\ncolumn = "plate"\n'
            '[source]\nname = "a"\n',
            "has no column 'latitude'",
        ),
        (HEAD.replace("vehicle_state", "battery_state") + PLANE, "a file is one vehicle"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(RecordingError, match=said):
        opened(table(tmp_path, PROBES), path)
