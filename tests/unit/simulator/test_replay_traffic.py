"""Traffic recordings: what is published of them, by whom, and the same every time."""

import gzip
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.geo import distance_m
from openvrc.contracts.plugins import discover
from openvrc.contracts.units import NS_PER_S, ns_from_iso
from simulator.replay import RecordingError, open_recording
from simulator.rsus import RANGE_M
from simulator.world import Frame, World, unpaced
from tests.support.cut_recordings import first_seconds

JSON = discover("openvrc.contracts.codecs")["json"]
EPOCH_NS = ns_from_iso("2026-01-01T00:00:00Z")

FCD = """<fcd-export><!-- three road users -->
 <timestep time="0.00"/>
 <timestep time="1.00">
  <vehicle id="bus 7#1" x="10.0" y="53.5" angle="90.0" type="bus_city" speed="5.0" signals="9"/>
  <vehicle id="car1" x="10.001" y="53.5" angle="-90.0" type="PKW" speed="6.0" acceleration="-1.5"/>
 </timestep>
 <timestep time="1.50">
  <person id="p1" x="10.0" y="53.5" angle="0" speed="1.2" type="ped_a"/>
 </timestep>
</fcd-export>"""


def opened(path: Path, **options: Any) -> World:
    return open_recording(path, **({"zone": "z", "run_id": "r"} | options))


def all_of(frames: list[Frame], message: str) -> Batch:
    return concat([o.batch for f in frames for o in f.messages if o.batch.message == message])


def write(folder: Path, text: str, name: str = "fcd.xml") -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["fcd.xml", "fcd.xml.gz"])
def test_plain_fcd_in_degrees_becomes_vehicle_states(tmp_path: Path, name: str) -> None:
    frames = list(opened(write(tmp_path, FCD, name)).frames())
    assert [f.zone_time_ns - EPOCH_NS for f in frames] == [10**9, 1_500_000_000, 1_500_000_000]
    records = all_of(frames, "vehicle_state").to_records()
    bus, car, person = sorted(records, key=lambda r: r["subject_id"])
    assert bus["subject_id"] == "bus@207@231"
    assert (bus["vehicle_class"], bus["length_m"]) == ("bus", 12.0)
    assert (bus["brake_on"], bus["right_blinker_on"], bus["left_blinker_on"]) == (True, True, False)
    assert (bus["lat_deg"], bus["lon_deg"], bus["speed_mps"]) == (53.5, 10.0, 5.0)
    assert (car["heading_deg"], car["accel_long_mps2"]) == (270.0, -1.5)
    assert "brake_on" not in car  # the recording has no lights for it
    assert person["vehicle_class"] == "pedestrian"
    assert not {"lane", "edge", "segment_id"} & set(bus)


@pytest.mark.parametrize(
    "header",
    [
        "timestep_time;vehicle_id;vehicle_x;vehicle_y;vehicle_angle;vehicle_speed",
        "time,id,x,y,angle,speed",
    ],
)
def test_fcd_as_csv_is_read_with_and_without_sumo_s_prefixes(tmp_path: Path, header: str) -> None:
    mark = ";" if ";" in header else ","
    rows = [
        ["0", "a", "10.0", "53.5", "0", "3"],
        ["1", "a", "10.0", "53.6", "0", "4"],
        ["2", "", "", "", "", ""],
    ]
    text = "\n".join([header, *(mark.join(row) for row in rows)]) + "\n"
    frames = list(opened(write(tmp_path, text, "fcd.csv")).frames())
    assert all_of(frames, "vehicle_state").column("speed_mps").tolist() == [3.0, 4.0]


def test_metres_without_a_net_are_refused_with_what_to_do(tmp_path: Path) -> None:
    text = FCD.replace('x="10.0"', 'x="2500.0"')
    with pytest.raises(RecordingError, match=r"x=2500\.0.*expected --map NET"):
        opened(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<fcd-export><timestep time='0'><vehicle id='a' x='1' y='1' speed='1'>", "cannot be read"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><fcd-export/>", "not a known recording"),
        ("<fcd-export/>", "holds no vehicle"),
        ("<net/>", "not a known recording"),
    ],
)
def test_a_damaged_recording_is_named_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecordingError, match=said):
        list(opened(write(tmp_path, text)).frames())


@pytest.mark.parametrize(
    "options",
    [{"penetration": 1.2}, {"rsu_share": -0.1}, {"noise_m": -1.0}, {"overlay": ("rain",)}],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(RecordingError, match="expected"):
        opened(write(tmp_path, FCD), **options)


@pytest.fixture(scope="module")
def hamburg(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its first half minute: opening a package reads all of its vehicles."""
    folder = tmp_path_factory.mktemp("hamburg")
    return first_seconds(shared_data / "traffic" / "hamburg_urban", 330, folder)


@pytest.fixture(scope="module")
def a39(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its first hundred seconds."""
    folder = tmp_path_factory.mktemp("a39")
    return first_seconds(shared_data / "traffic" / "a39_freeway", 400, folder)


@pytest.fixture(scope="module")
def whole_a39(shared_data: Path) -> Path:
    return shared_data / "traffic" / "a39_freeway"


def first(world: World, n: int) -> list[Frame]:
    return list(islice(world.frames(), n))


def test_a_package_replays_every_row_of_each_second(a39: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(a39 / "fcd.parquet", columns=["time_s", "lat_e6", "lon_e6"])
    time_s = table["time_s"].to_numpy()
    frames = first(opened(a39), 20)
    assert [f.zone_time_ns for f in frames] == [
        EPOCH_NS + int(t) * NS_PER_S for t in sorted(set(time_s.tolist()))[:20]
    ]
    for frame in frames[::6]:
        states = next(b for b in frame.batches() if b.message == "vehicle_state")
        rows = time_s == (frame.zone_time_ns - EPOCH_NS) // NS_PER_S
        assert states.n_rows == rows.sum()
        # The package's own degrees are rounded to 1e-6: projecting its metres must agree.
        lat_e6 = np.sort(table["lat_e6"].to_numpy()[rows])
        assert np.abs(np.sort(states.column("lat_deg")) * 1e6 - lat_e6).max() < 1.0


def test_traffic_without_a_map_keeps_its_steps_when_nobody_paces_it(tmp_path: Path) -> None:
    world = opened(write(tmp_path, FCD))
    times_ns = [frame.zone_time_ns for frame in unpaced(world)]
    assert world.road_map is None
    assert sorted(set(times_ns)) == [EPOCH_NS + 10**9, EPOCH_NS + 1_500_000_000]


def course_minus_heading_deg(frames: list[Frame]) -> float:
    """Median over fast vehicles: where they go by their positions against what they say."""
    before, after = (all_of([frame], "vehicle_state") for frame in frames)
    places = {name: row for row, name in enumerate(before.texts("subject_id"))}
    turns = []
    for row, name in enumerate(after.texts("subject_id")):
        if name not in places or after.column("speed_mps")[row] < 15.0:
            continue
        lat = [b.column("lat_deg")[r] for b, r in ((before, places[name]), (after, row))]
        lon = [b.column("lon_deg")[r] for b, r in ((before, places[name]), (after, row))]
        east = (lon[1] - lon[0]) * np.cos(np.radians(lat[0]))
        course_deg = np.degrees(np.arctan2(east, lat[1] - lat[0]))
        turns.append((course_deg - after.column("heading_deg")[row] + 180.0) % 360.0 - 180.0)
    assert len(turns) > 30
    return float(np.median(turns))


def test_headings_count_from_true_north_not_from_the_grid(a39: Path) -> None:
    # UTM's grid north is 1.36 deg off here, 1.7 deg east of the zone's meridian.
    assert abs(course_minus_heading_deg(first(opened(a39), 60)[-2:])) < 0.3


@pytest.mark.parametrize("in_degrees", [False, True])
def test_plain_fcd_with_its_net_counts_headings_from_true_north(
    a39: Path, tmp_path: Path, in_degrees: bool
) -> None:
    place = 'x="10.7" y="52.35"' if in_degrees else 'x="1000" y="1000"'
    fcd = f"""<fcd-export><timestep time="1"><vehicle id="a" {place} angle="359.5" speed="9"/>
    </timestep></fcd-export>"""
    frames = list(opened(write(tmp_path, fcd), map_path=a39 / "net.xml.gz").frames())
    (record,) = all_of(frames, "vehicle_state").to_records()
    # (lon - 9 deg) * sin(lat), to first order.
    expected_deg = (record["lon_deg"] - 9.0) * np.sin(np.radians(record["lat_deg"]))
    assert record["heading_deg"] == pytest.approx(expected_deg - 0.5, abs=0.02)


def test_the_same_replay_is_the_same_bytes_and_the_run_is_named_in_it(a39: Path) -> None:
    def payloads(run_id: str, **options: Any) -> list[bytes]:
        world = opened(a39, run_id=run_id, noise_m=1.5, loss=0.1, penetration=0.4, **options)
        return [JSON.encode(o.batch) for f in first(world, 6) for o in f.messages]

    assert payloads("r1") == payloads("r1")
    assert payloads("r1") != payloads("r2")
    assert payloads("r1") != payloads("r1", seed=9)


def test_a_larger_penetration_holds_every_vehicle_of_a_smaller(a39: Path) -> None:
    def vehicles(share: float) -> set[str]:
        states = all_of(first(opened(a39, penetration=share), 12), "vehicle_state")
        return set(states.texts("subject_id"))

    some, more, everybody = vehicles(0.2), vehicles(0.5), vehicles(1.0)
    assert some < more < everybody
    assert 0.1 < len(some) / len(everybody) < 0.3
    assert 0.4 < len(more) / len(everybody) < 0.6


def test_noise_is_white_with_the_asked_deviation(a39: Path) -> None:
    def positions(noise_m: float) -> dict[tuple[str, int], tuple[float, float]]:
        batch = all_of(first(opened(a39, noise_m=noise_m, rsu_share=0.0), 15), "vehicle_state")
        keys = zip(batch.texts("subject_id"), batch.column("sampled_at_ns").tolist(), strict=True)
        values = zip(
            batch.column("lat_deg").tolist(), batch.column("lon_deg").tolist(), strict=True
        )
        return dict(zip(keys, values, strict=True))

    true, noisy = positions(0.0), positions(2.0)
    north_m = np.array([(noisy[key][0] - true[key][0]) * 111_200 for key in true])
    assert north_m.std() == pytest.approx(2.0, rel=0.05)
    assert north_m.mean() == pytest.approx(0.0, abs=0.1)
    by_vehicle: dict[str, list[float]] = {}
    for (vehicle, _), error_m in zip(true, north_m, strict=True):
        by_vehicle.setdefault(vehicle, []).append(error_m)
    pairs = [(e[k], e[k + 1]) for e in by_vehicle.values() for k in range(len(e) - 1)]
    assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 0.05


def test_roadside_units_relay_their_share_within_range_only(hamburg: Path) -> None:
    world = opened(hamburg)
    frames = first(world, 3)
    places = {
        r["subject_id"]: (r["lat_deg"], r["lon_deg"])
        for r in all_of(frames, "rsu_status").to_records()
    }
    sent: Counter[str] = Counter()
    for frame in frames:
        for outgoing in frame.messages:
            if outgoing.batch.message != "vehicle_state":
                continue
            assert outgoing.batch.n_rows <= 50
            sent[outgoing.kind] += outgoing.batch.n_rows
            if outgoing.kind == "rsu":
                lat_deg, lon_deg = places[outgoing.source_id]
                away_m = distance_m(
                    outgoing.batch.column("lat_deg"),
                    outgoing.batch.column("lon_deg"),
                    lat_deg,
                    lon_deg,
                )
                assert away_m.max() < RANGE_M * 1.01
            else:
                assert set(outgoing.batch.texts("subject_id")) == {outgoing.source_id}
    assert 0.6 < sent["rsu"] / sent.total() < 0.8  # 80 % of those in range


def test_signals_say_changes_at_their_time_and_repeat_themselves(hamburg: Path) -> None:
    frames = first(opened(hamburg), 12)
    changes = all_of(frames[1:5], "signal_state")
    assert "likely_end_ns" not in changes.to_records()[0]  # an actuated signal knows no end
    every = all_of(frames, "signal_state")
    groups = Counter(every.texts("subject_id"))
    assert min(groups.values()) >= 2
    assert set(every.texts("source_id")) == {name.rsplit(":", 1)[0] for name in groups}
    heads = {f"{h.intersection_id}:{h.signal_group}" for h in opened(hamburg).road_map.signal_heads}  # type: ignore[union-attr]
    assert len(heads & groups.keys()) / len(heads) > 0.9


def test_loops_report_each_period_once_at_its_end(a39: Path) -> None:
    frames = first(opened(a39), 95)
    loops = all_of(frames, "loop_counts")
    assert set(loops.column("period_s").tolist()) == {30.0}
    keys = list(zip(loops.texts("subject_id"), loops.column("sampled_at_ns").tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    assert len({at for _, at in keys}) == 3
    nobody = loops.column("count") == 0
    assert np.isnan(loops.column("speed_mps")[nobody]).all()


def test_overlays_add_ghosts_and_replace_what_attackers_say(whole_a39: Path) -> None:
    import pyarrow.parquet as pq

    plain, lied = (
        opened(whole_a39, rsu_share=0.0),
        opened(whole_a39, rsu_share=0.0, overlay=("misbehaviour", "wrongway")),
    )
    rules = Counter(event.rule for event in lied.ground_truth())
    assert rules["traffic.wrong_way"] == 2
    assert rules["security.misbehaviour"] == 31
    truth = next(e for e in lied.ground_truth() if e.rule == "security.misbehaviour")
    table = pq.read_table(whole_a39 / "misbehaviour.parquet")
    mine = np.array(table["vehicle"].to_pylist()) == truth.subject_id
    first_s = int(table["time_s"].to_numpy()[mine].min())

    def said(world: World) -> Batch:
        n_frames = first_s - 300 + 3
        batch = all_of(first(world, n_frames)[-2:], "vehicle_state")
        return batch.filter(np.array(batch.texts("subject_id")) == truth.subject_id)

    honest, reported = said(plain), said(lied)
    assert honest.n_rows == reported.n_rows  # replaced, not added
    row = int(np.flatnonzero(mine & (table["time_s"].to_numpy() == first_s + 1))[0])
    at_ns = EPOCH_NS + (first_s + 1) * NS_PER_S
    (place,) = np.flatnonzero(reported.column("sampled_at_ns") == at_ns)
    assert reported.column("lat_deg")[place] == pytest.approx(table["lat"][row].as_py(), abs=1e-7)


def test_the_control_run_has_no_events(whole_a39: Path) -> None:
    assert opened(whole_a39 / "control_fcd.parquet").ground_truth() == []
    assert len(opened(whole_a39).ground_truth()) == 10
