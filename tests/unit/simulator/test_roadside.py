"""What the roadside sees is what geometry, the stated errors and the stated chances allow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from openvrc.contracts.plugins import discover
from openvrc.contracts.topics import Topic
from openvrc.contracts.units import NS_PER_S
from simulator.roadside.equipment import OUTAGE_RULE
from simulator.roadside.errors import Measured, measured
from simulator.roadside.loops import AHEAD_M, LOOP_M, Loops
from simulator.roadside.perception import NOBODY, Perception, Sightings
from simulator.roadside.sensors import SensorModel, Sensors
from simulator.roadside.sight import Seen, in_view, visible_share
from simulator.roadside.tracks import KEEP_S, TrackBook
from simulator.roadside.users import CLASSES, RoadUsers
from simulator.roadside.weather import KINDS
from simulator.sampling import name_hashes
from simulator.scenarios import ScenarioError
from simulator.service import write_ground_truth
from simulator.traffic import generators
from simulator.traffic.demand import CAR, demand_of
from simulator.traffic.engine import Traffic
from simulator.traffic.events import Truth
from simulator.traffic.plans import Plans
from tests.support.faulty_runs import payloads as payloads_of

SCENARIOS: dict[str, Any] = discover("simulator.scenarios")
JSON = discover("openvrc.contracts.codecs")["json"]
T0_NS = 1_767_225_600 * NS_PER_S
SURE = SensorModel(
    detection_ratio=1.0, false_per_s=0.0, position_m=0.0, position_per_m=0.0, calibration_m=0.0,
    speed_mps=0.0, speed_per_m=0.0, heading_deg=0.0, confusion_ratio=0.0, break_per_s=0.0,
    swap_per_s=0.0,
)  # fmt: skip
"""Sensors without errors."""


def users(*places: tuple[str, float, float], course_deg: float = 0.0, mps: float = 10.0
          ) -> RoadUsers:  # fmt: skip
    """Road users (class, x, y), the fronts' places; lorries and buses 12 m long."""
    n = len(places)
    sizes = {"truck": (12.0, 2.5), "bus": (12.0, 2.5), "pedestrian": (0.5, 0.5)}
    size = [sizes.get(kind, (4.6, 1.8)) for kind, _, _ in places]
    return RoadUsers(
        np.arange(n), np.array([x for _, x, _ in places], float),
        np.array([y for _, _, y in places], float), np.full(n, course_deg), np.full(n, mps),
        np.zeros(n), np.array([CLASSES.index(kind) for kind, _, _ in places], np.int64),
        np.array([length for length, _ in size]), np.array([width for _, width in size]),
    )  # fmt: skip


def sensors(model: SensorModel = SURE, *xy: tuple[float, float]) -> Sensors:
    at = np.array(xy or [(0.0, 0.0)], float)
    n = len(at)
    ids = tuple(f"rsu-{k + 1}" for k in range(n))
    return Sensors(ids, at, np.zeros(n), np.full(n, model.latency_s), np.zeros(n),
                   np.zeros((n, 2)), name_hashes(1, "sensor", ids), model)  # fmt: skip


def scan(perception: Perception, who: RoadUsers, second: float = 0.0) -> Sightings:
    up = np.ones(len(perception.sensors.ids), np.bool_)
    return perception.scan(who, T0_NS + round(second * NS_PER_S), up)


def test_a_lorry_hides_the_car_behind_it_and_a_car_hides_the_next_only_when_close() -> None:
    mast = np.zeros(2)
    shares = visible_share(mast, 6.0, users(("truck", 0, 52), ("car", 0, 60), ("car", 0, 120)))
    assert shares.tolist() == [1.0, 0.0, 1.0]  # at 120 m the ray passes over the lorry's roof
    shares = visible_share(mast, 6.0, users(("car", 0, 52), ("car", 0, 58), ("car", 0, 80)))
    assert shares[0] == shares[2] == 1.0
    assert 0.0 < shares[1] < 1.0
    beside = visible_share(mast, 6.0, users(("truck", 0, 52), ("car", 12, 60)))
    assert beside.tolist() == [1.0, 1.0]
    low = visible_share(mast, 1.0, users(("car", 0, 52), ("car", 0, 80)))
    assert low[1] == 0.0


def test_a_rays_height_decides_as_on_paper() -> None:
    # Mast 6 m, aim at 0.75 m in 60 m: over a car at d the ray is 6 - 5.25 d / 60 m high, so that
    # a roof of 1.5 m is in its way from d = 51.4 m on.
    for middle_m, share in ((50.0, 1.0), (53.0, 0.0)):
        both = users(("car", 0, middle_m + 2.3), ("pedestrian", 0, 60.0))
        both = replace(both, length_m=np.array([4.6, 0.0]))
        assert visible_share(np.zeros(2), 6.0, both)[1] == share


def test_the_chance_of_detection_falls_to_nothing_at_the_ranges_end() -> None:
    who = users(*[("car", 0.0, y) for y in (1.0, 75.0, 120.0, 149.9, 151.0)])
    seen = in_view(sensors(), who)
    assert seen.user.tolist() == [0, 1, 2, 3]
    assert seen.chance[0] == pytest.approx(1.0)
    assert seen.chance[1] == pytest.approx(1.0 - 0.5**4)
    assert seen.chance[3] < 0.01
    foot = in_view(sensors(), users(("pedestrian", 0, 80), ("pedestrian", 0, 95)))
    assert foot.user.tolist() == [0]


def test_a_narrow_view_looks_one_way_and_fog_shortens_it() -> None:
    who = users(("car", 0, 50), ("car", 0, -50), ("car", 50, 0), ("car", 30, 50))
    narrow = in_view(sensors(replace(SURE, fov_deg=70.0)), who)
    assert narrow.user.tolist() == [0, 3]
    fog = in_view(
        sensors(replace(SURE, weather=KINDS["fog"])), users(("car", 0, 50), ("car", 0, 70))
    )
    assert fog.user.tolist() == [0]


def test_what_is_said_was_true_when_it_is_said_to_have_been() -> None:
    perception = Perception(sensors(replace(SURE, latency_s=0.3)))
    at = users(("car", 0, 50), mps=20.0)
    found = scan(perception, replace(at, accel_mps2=np.array([2.0])), 5.0)
    assert found.said_ns.tolist() == [T0_NS + round(4.7 * NS_PER_S)]
    assert found.y_m[0] == pytest.approx(50.0 - (20.0 * 0.3 - 0.5 * 2.0 * 0.3**2))
    assert found.speed_mps[0] == pytest.approx(20.0 - 0.6)
    late = replace(perception.sensors, clock_s=np.array([-1.5]))
    said = scan(Perception(late), at, 5.0)
    assert (said.said_ns - said.true_ns).tolist() == [round(-1.5 * NS_PER_S)]


def said(model: SensorModel, away_m: float, at_s: float = 0.0, n: int = 1500) -> Measured:
    """What is measured of as many cars at one place, each seen for the first time."""
    who = users(*[("car", 0.0, away_m)] * n)
    seen = Seen(np.zeros(n, np.int64), np.arange(n), np.full(n, away_m), np.ones(n))
    return measured(sensors(model), who, seen, T0_NS + round(at_s * NS_PER_S))


def test_errors_are_as_large_as_stated_and_grow_with_distance() -> None:
    model = replace(SURE, position_m=0.5, position_per_m=0.01, speed_mps=0.4, heading_deg=3.0)
    near, far = said(model, 10.0), said(model, 150.0)
    assert np.std(near.x_m) == pytest.approx(0.6, rel=0.1)
    assert np.std(far.x_m) == pytest.approx(2.0, rel=0.1)
    assert np.std(far.speed_mps) == pytest.approx(0.4, rel=0.1)
    assert np.std((far.heading_deg + 180.0) % 360.0) == pytest.approx(np.hypot(3.0, 2.9), rel=0.1)
    rain = said(replace(model, weather=KINDS["heavy-rain"]), 150.0)
    assert np.std(rain.x_m) == pytest.approx(3.0, rel=0.1)


def test_half_of_a_positions_error_is_still_there_in_the_next_scan() -> None:
    model = replace(SURE, position_m=1.0)
    now, next_scan, later = (said(model, 10.0, at_s).x_m for at_s in (0.0, 0.5, 60.0))
    assert np.corrcoef(now, next_scan)[0, 1] == pytest.approx(0.5, abs=0.08)
    assert np.corrcoef(now, later)[0, 1] == pytest.approx(0.0, abs=0.08)


def test_classes_are_mistaken_as_often_as_stated() -> None:
    kinds = said(replace(SURE, confusion_ratio=0.1), 75.0).kind
    assert {CLASSES[kind] for kind in kinds} == {"car", "truck"}
    assert np.mean(kinds == CLASSES.index("truck")) == pytest.approx(0.2, abs=0.04)


def test_a_track_keeps_its_number_until_it_is_lost_for_long() -> None:
    perception = Perception(sensors())
    who, nobody = users(("car", 0, 50), ("car", 5, 90)), users()
    first = scan(perception, who, 0.0).track.tolist()
    assert first == [1, 2]
    scan(perception, nobody, 0.5)
    assert scan(perception, who, 1.0).track.tolist() == first
    assert scan(perception, who, 1.0 + KEEP_S + 0.1).track.tolist() == [3, 4]


def test_tracks_break_and_neighbours_swap_as_often_as_stated() -> None:
    n, zero = 1000, np.zeros(1000, np.int64)
    book, alone = TrackBook(1), (10.0 * np.arange(n, dtype=np.float64), np.zeros(n))
    unit = sensors(replace(SURE, break_per_s=0.05))
    first = book.fold(unit, zero, np.arange(n), alone, T0_NS)
    second = book.fold(unit, zero, np.arange(n), alone, T0_NS + NS_PER_S)
    assert np.count_nonzero(first != second) == pytest.approx(50, abs=20)
    assert min(second[first != second]) > n
    book, even = TrackBook(1), np.arange(n) // 2 * 2
    pairs = (10.0 * even.astype(np.float64), 3.0 * (np.arange(n) - even).astype(np.float64))
    unit = sensors(replace(SURE, swap_per_s=0.2))
    first = book.fold(unit, zero, np.arange(n), pairs, T0_NS)
    second = book.fold(unit, zero, np.arange(n), pairs, T0_NS + NS_PER_S)
    assert np.count_nonzero(first != second) / 2 == pytest.approx(100, abs=30)
    assert sorted(second) == sorted(first)
    assert (np.sort(second.reshape(-1, 2)) == np.sort(first.reshape(-1, 2))).all()


def test_false_objects_come_as_often_as_stated_and_are_nobody() -> None:
    many = [(1000.0 * k, 0.0) for k in range(400)]
    perception = Perception(sensors(replace(SURE, false_per_s=0.1), *many))
    found = [scan(perception, users(), at_s / 2) for at_s in range(5)]
    assert sum(one.n for one in found) == pytest.approx(100, abs=30)
    assert {NOBODY} == {int(user) for one in found for user in one.user}


def loop_run() -> tuple[Traffic, Loops, list[float]]:
    """One car at 20 m/s over the loop of a street, and when its front came over it."""
    network = generators.grid(1, 1, spacing_m=400.0, lanes=1, signals=False)
    plans = Plans(network)
    plan = plans.to_edges(np.array([network.edge("out_e0")]))
    entry, kind = np.array([network.edge("in_w0")]), np.zeros(1, np.int64)
    demand = demand_of(np.zeros(1), entry, plan[:1], kind, 1, kinds=[CAR])
    traffic = Traffic(network, plans, demand)
    loops, crossed = Loops(traffic, 1), []
    at_m = network.length_m[network.lane("in_w0", 0)] - AHEAD_M
    truth = Truth(0, ["car"])
    for _ in range(60):
        before = dict(zip(traffic.rows.lane.tolist(), traffic.rows.offset_m.tolist(), strict=True))
        loops.before_step(traffic)
        traffic.step()
        loops.after_step(traffic, truth)
        lane = network.lane("in_w0", 0)
        now = dict(zip(traffic.rows.lane.tolist(), traffic.rows.offset_m.tolist(), strict=True))
        if before.get(lane, 0.0) < at_m <= now.get(lane, 0.0):
            crossed.append(float(traffic.rows.speed_mps[0]))
    return traffic, loops, crossed


def test_a_loop_counts_who_crosses_it_and_is_covered_as_long_as_the_body_is_over_it() -> None:
    traffic, loops, crossed = loop_run()
    assert len(crossed) == 1
    found = loops.take()
    place = int(np.flatnonzero(found.lane == traffic.network.lane("in_w0", 0))[0])
    assert found.vehicles[place] == 1
    assert found.speed_mps[place] == pytest.approx(crossed[0])
    covered_s = found.occupancy_ratio[place] * 60 * traffic.dt_s
    assert covered_s == pytest.approx((CAR.length_m + LOOP_M) / crossed[0], rel=0.1)
    assert loops.take().vehicles.sum() == 0


FLAGS: dict[str, Any] = {
    "rsu_range_m": 250.0, "connected_ratio": 0.3, "loop_period_s": 5.0, "rsu_clock_ms": 40.0,
    "weather": "rain", "rsu_outage_s": 4.0, "rsu_outage_for_s": 4.0, "crossing_every_s": 2.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def corridor() -> tuple[Any, list[Any]]:
    world = SCENARIOS["corridor"].make(zone="z", run_id="r", seed=3, duration_s=12.0, **FLAGS)
    return world, list(world.frames())


def test_with_everything_on_the_same_seed_gives_the_same_valid_bytes(
    corridor: tuple[Any, list[Any]],
) -> None:
    again = SCENARIOS["corridor"].make(zone="z", run_id="r", seed=3, duration_s=12.0, **FLAGS)
    assert [p for f in again.frames() for p in payloads_of(f)] == [
        p for f in corridor[1] for p in payloads_of(f)
    ]
    for frame in corridor[1][::4]:
        for outgoing in frame.messages:
            topic = Topic("z", outgoing.kind, outgoing.source_id, outgoing.batch.message)
            assert not JSON.decode(topic, JSON.encode(outgoing.batch), 0).rejects


def test_the_truth_names_whom_each_record_is_about(
    corridor: tuple[Any, list[Any]], tmp_path: Any
) -> None:
    world, frames = corridor
    said = [b for f in frames for b in f.batches() if b.message == "rsu_objects"]
    write_ground_truth(tmp_path, world)
    truth = pq.read_table(tmp_path / "sightings.parquet").to_pylist()
    pairs = [pair for b in said for pair in zip(b.texts("source_id"), b.texts("subject_id"),
                                                strict=True)]  # fmt: skip
    assert sorted(pairs) == sorted((row["source_id"], row["object_id"]) for row in truth)
    kinds = {row["subject_id"].split("-")[0] for row in truth}
    assert {"veh", "walker"} <= kinds <= {"veh", "walker", ""}
    connected = {row["subject_id"] for row in truth if row["is_connected"]}
    reported = {
        name
        for frame in frames
        for batch in frame.batches()
        if batch.message == "vehicle_state"
        for name in batch.texts("subject_id")
    }
    assert connected <= reported
    assert not any(name.startswith("walker") for name in connected)


def test_a_unit_that_fails_says_nothing_and_relays_nobody(
    corridor: tuple[Any, list[Any]],
) -> None:
    world, frames = corridor
    spoke = [
        second
        for second, frame in enumerate(frames[:-1])
        for outgoing in frame.messages
        if outgoing.source_id == "rsu-001"
    ]
    assert not {4, 5, 6, 7} & set(spoke)
    assert {1, 2, 3, 10} <= set(spoke)
    (outage,) = [event for event in world.ground_truth() if event.rule == OUTAGE_RULE]
    assert outage.subject_id == "rsu-001"


def test_a_unit_that_fails_without_sensors_counts_nothing_and_leaves_no_gap() -> None:
    flags = FLAGS | {"rsu_range_m": 0.0, "rsu_outage_s": 9.0, "rsu_outage_for_s": 22.0}
    world = SCENARIOS["corridor"].make(zone="z", run_id="r", seed=3, duration_s=35.0, **flags)
    said: dict[str, set[int]] = {}
    numbers: list[int] = []
    for second, frame in enumerate(list(world.frames())[:-1]):
        for batch in frame.batches():
            mine = np.array(batch.texts("source_id")) == "rsu-001"
            if not mine.any():
                continue
            said.setdefault(batch.message, set()).add(second)
            if batch.message != "source_status":
                numbers += batch.column("seq")[mine].tolist()
    assert {"loop_counts", "intersection_map", "rsu_objects", "rsu_status"} <= said.keys()
    assert not set(range(9, 31)) & set[int]().union(*said.values())
    assert all(35 in said[name] for name in ("loop_counts", "rsu_status"))
    assert sorted(numbers) == list(range(len(numbers)))


def test_a_units_heartbeat_tells_its_clocks_offset(corridor: tuple[Any, list[Any]]) -> None:
    world, frames = corridor
    (beat,) = [b for b in frames[0].batches() if b.message == "rsu_status"]
    offsets = dict(zip(beat.texts("source_id"), beat.column("clock_offset_ms"), strict=True))
    clock_s = world.roadside._perception.sensors.clock_s
    told_ms = [float(offsets[name]) for name in world.roadside.rsus.ids]
    assert told_ms == pytest.approx((clock_s * 1000.0).tolist(), abs=0.06)
    assert 5.0 < np.std(told_ms) < 120.0


def test_loops_count_each_lane_of_a_segment(corridor: tuple[Any, list[Any]]) -> None:
    world, frames = corridor
    counts = [b for f in frames for b in f.batches() if b.message == "loop_counts"]
    assert len(counts) == 2
    lanes = set(zip(counts[0].texts("segment_id"), counts[0].column("lane_index"), strict=True))
    assert {("n1_0-n2_0", 0), ("n1_0-n2_0", 1)} <= lanes
    assert all(segment in world.road_map for segment, _ in lanes)
    assert sum(int(b.column("count").sum()) for b in counts) > 0


def test_weather_slows_traffic_and_a_word_that_is_none_is_refused() -> None:
    def mean_mps(weather: str) -> float:
        world = SCENARIOS["corridor"].make(
            zone="z", run_id="r", duration_s=5.0, weather=weather, breakdown_s=1e6
        )
        list(world.frames())
        return float(np.mean(world.traffic.rows.speed_mps))

    assert mean_mps("snow") < 0.9 * mean_mps("clear")
    with pytest.raises(ScenarioError, match="weather is 'hail', expected one of clear, rain"):
        SCENARIOS["corridor"].make(zone="z", run_id="r", weather="hail")


def test_the_schools_children_are_seen_by_its_sensors_as_by_chance() -> None:
    world = SCENARIOS["school-zone"].make(
        zone="z", run_id="r", duration_s=8.0, rsu_range_m=150.0, connected_ratio=0.0
    )
    frames = list(world.frames())
    objects = [b for f in frames for b in f.batches() if b.message == "rsu_objects"]
    classes = {c for b in objects for c in b.column("object_class").tolist()}
    assert {CLASSES.index("pedestrian"), CLASSES.index("car")} <= classes
    assert not [b for f in frames for b in f.batches() if b.message == "vehicle_state"]
    assert {n for n in world.sightings()["subject_id"].to_pylist() if n.startswith("child")}
