"""The parts of a load test: when records are due, what latencies came to, what is sent."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core import EdgeCore
from openvrc.cli.loadtest.spec import LoadSpec
from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.topics import Topic
from openvrc.contracts.units import NS_PER_S
from simulator.faults.kind import FaultError
from simulator.load.faulty import FaultyLoad, encoded
from simulator.load.histogram import LatencyHistogram
from simulator.load.schedule import Schedule, Span, schedule_of
from simulator.load.sender import LoadPlan
from simulator.load.traffic import TrafficPlan
from simulator.load.world import LoadWorld, brakings, published
from simulator.publisher import DRIVER_ID, announce_batch

START_NS = 1_790_000_000_000_000_000
SPAN = st.builds(
    Span,
    seconds=st.floats(0.1, 100.0),
    from_rate=st.floats(0.0, 1e5),
    to_rate=st.floats(1.0, 1e5),
)


@given(st.lists(SPAN, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_record_is_due_when_as_many_were_offered(spans: list[Span]) -> None:
    schedule = Schedule(spans)
    numbers = np.unique(np.linspace(0, schedule.records, 50).astype(np.int64))
    numbers = numbers[numbers < schedule.records]
    due_s = schedule.due_s(numbers)
    assert (np.diff(due_s) >= 0).all()
    offered = np.array([schedule.offered(at_s) for at_s in due_s.tolist()])
    assert np.allclose(offered, numbers, rtol=1e-6, atol=1e-3)


def test_a_ramp_and_steps_take_the_time_they_are_given() -> None:
    schedule = schedule_of(1000.0, 60.0, 20.0, [0.5, 1.5])
    assert (schedule.seconds, schedule.peak_rate) == (60.0, 1500.0)
    assert schedule.records == 20 * 250 + 20 * 500 + 20 * 1500
    assert schedule.offered(1e9) == pytest.approx(schedule.records)
    halves = schedule.share(2)
    assert halves.records == schedule.records // 2
    assert halves.due_s(np.array([100])) == pytest.approx(schedule.due_s(np.array([200])))


def test_records_beyond_a_rate_of_nothing_are_due_at_the_end() -> None:
    schedule = schedule_of(100.0, 4.0, 0.0, [1.0, 0.0])
    assert schedule.due_s(np.array([0, 199, 200, 5000])).tolist() == [0.0, 1.99, 2.0, 4.0]


@pytest.mark.parametrize(("seconds", "ramp_s"), [(10.0, 10.0), (10.0, 12.0)])
def test_a_ramp_that_leaves_no_time_is_refused(seconds: float, ramp_s: float) -> None:
    with pytest.raises(ValueError, match="expected time after it"):
        schedule_of(100.0, seconds, ramp_s, [])


@given(st.lists(st.floats(1.0, 1e8), min_size=1, max_size=300), st.floats(0.1, 100.0))
@settings(max_examples=60, deadline=None)
def test_a_percentile_is_right_to_a_thousandth(values: list[float], percent: float) -> None:
    histogram = LatencyHistogram()
    histogram.add(values)
    true_us = sorted(values)[max(0, int(np.ceil(percent / 100 * len(values))) - 1)]
    assert true_us <= histogram.percentile_us(percent) * (1 + 1e-12) <= true_us * 1.0011


def test_histograms_of_processes_add_up() -> None:
    one, two, both = LatencyHistogram(), LatencyHistogram(), LatencyHistogram()
    early, late = np.linspace(10, 1000, 500), np.linspace(500, 90_000, 700)
    one.add(early)
    two.add(late)
    both.add(np.concatenate([early, late]))
    one.merge(two.to_json())
    assert one.figures_ms() == both.figures_ms()
    assert (one.count, LatencyHistogram().figures_ms()["p99"]) == (1200, None)


def world(schedule: Schedule, **changes: int) -> LoadWorld:
    plan = {
        "vehicles": 1000, "records_per_message": 50, "records_per_frame": 500, "seed": 3,
        "first_rsu": 0,
    } | changes  # fmt: skip
    return LoadWorld(TrafficPlan(start_ns=START_NS, run_id="load-1", **plan), schedule)  # type: ignore[arg-type]


def test_records_are_sampled_when_they_are_due_and_published_with_their_message() -> None:
    schedule = schedule_of(2000.0, 3.013, 1.0, [])  # the last frame is no full one
    frames = list(world(schedule).due_frames())
    assert sum(m.n_rows for frame in frames for m in frame.messages) == schedule.records
    at_ns = np.sort(np.concatenate([f.messages[0].whole.column("sampled_at_ns") for f in frames]))
    due_s = schedule.due_s(np.arange(schedule.records))
    assert np.abs((at_ns - START_NS) / NS_PER_S - due_s).max() < 1e-6
    whole, due_ns = published(frames[0].messages[0].whole, list(frames[0].messages))
    for message, due in zip(frames[0].messages, due_ns.tolist(), strict=True):
        rows = slice(*message.bounds)
        assert set(whole.column("published_at_ns")[rows].tolist()) == {due}
        assert whole.column("sampled_at_ns")[rows].max() == due


def test_vehicles_drive_on_at_whatever_rate_they_speak() -> None:
    frames = list(world(schedule_of(5000.0, 2.0, 0.0, [])).due_frames())
    batch = concat([frame.messages[0].whole for frame in frames])
    order = np.lexsort((batch.column("sampled_at_ns"), np.array(batch.texts("subject_id"))))
    place = order.reshape(1000, -1)
    at_s = batch.column("sampled_at_ns")[place] / 1e9
    north_m = np.diff(batch.column("lat_deg")[place], axis=1) * 111_320
    assert (np.abs(north_m) <= 31.0 * np.diff(at_s, axis=1) + 10.0).all()


@pytest.mark.parametrize("vehicles", [1, 49, 730, 1251])
def test_every_vehicle_speaks_once_a_second_however_many_there_are(vehicles: int) -> None:
    made = world(schedule_of(float(vehicles), 3.0, 0.0, []), vehicles=vehicles)
    frames = list(made.due_frames())
    said = [m for frame in frames for m in frame.messages]
    assert sum(m.n_rows for m in said) == 3 * vehicles
    names = [name for m in said for name in m.batch.texts("subject_id")]
    assert set(map(names.count, set(names))) == {3}
    units = {m.source_id: {n for m2 in said if m2.source_id == m.source_id
                           for n in m2.batch.texts("subject_id")} for m in said}  # fmt: skip
    assert len(units) == -(-vehicles // 500)
    assert sum(map(len, units.values())) == vehicles


def test_processes_share_a_run_without_sharing_a_name() -> None:
    schedule = schedule_of(1000.0, 1.0, 0.0, [])
    names = [
        set(next(iter(world(schedule, first_rsu=first).due_frames())).messages[0].whole.texts(name))
        for first in (0, 2)
        for name in ("source_id", "subject_id")
    ]
    assert not names[0] & names[2]
    assert not names[1] & names[3]


def test_a_braking_is_told_with_the_time_it_was_published() -> None:
    made = world(schedule_of(1000.0, 3.0, 0.0, []))
    made.brakings_from = made.braking_every = 500
    told: dict[str, int] = {}
    for frame in made.due_frames():
        whole, _ = published(frame.messages[0].whole, list(frame.messages))
        told = brakings(whole) | told
    assert 4 <= len(told) <= 6
    assert all(START_NS <= at_ns <= START_NS + 3 * NS_PER_S for at_ns in told.values())


def test_messages_hold_as_many_records_as_asked_and_the_plan_travels_as_json() -> None:
    made = world(schedule_of(1000.0, 1.0, 0.0, []), records_per_message=7)
    sizes = [m.n_rows for m in next(iter(made.due_frames())).messages]
    assert set(sizes) == {7, 1}
    plan = LoadPlan("mqtt://h", "r", 500, 0, [[1.0, 0.0, 5.0]], 7, "json", 1, 2, 3)
    assert LoadPlan(**json.loads(plan.to_json())) == plan


FAULTS = (
    "loss:messages_ratio=0.1",
    "duplicates:messages_ratio=0.1,after_ms=300",
    "delay:median_ms=100,p99_ms=900",
    "malformed:messages_ratio=0.1",
    "clock:skew_ms=-1500,senders_ratio=0.5",
    "flooding:vehicles_ratio=0.02,rate_hz=20",
    "sybil:vehicles_ratio=0.01,ghosts=3",
)


def faulty(*faults: str) -> FaultyLoad:
    return FaultyLoad(world(schedule_of(1500.0, 3.0, 0.0, [])), faults, 1)


def test_an_edge_books_what_the_faults_of_a_load_did_to_the_record() -> None:
    load, codec = faulty(*FAULTS), JsonCodec()
    core = EdgeCore({}, "edge-1", 1)

    def say(batch: Batch) -> None:
        core.on_payload(
            str(Topic("load", "zone", DRIVER_ID, batch.message)), codec.encode(batch), 0
        )

    say(announce_batch(world(schedule_of(1.0, 1.0, 0.0, [])), "running", 1.0))
    n_said = 0
    for frame in load.frames():
        payloads, _ = encoded(frame, load.due_ns(frame), codec, codec)
        for message, payload in zip(frame.messages, payloads, strict=True):
            topic = Topic("load", message.kind, message.source_id, message.message)
            core.on_payload(str(topic), payload, frame.zone_time_ns)
        n_said += sum(m.n_rows for m in frame.messages if m.message != "source_status")
        core.take_group()
    expected, totals = load.expected(), core.totals()
    assert all(expected.values())
    assert totals["sent"] == expected["sent"] + expected["unreadable"]
    assert (totals["missing"], totals["duplicates"]) == (
        expected["missing"],
        expected["duplicates"],
    )
    assert core.rejected()["out_of_range"] == expected["unfit"]
    assert n_said != 4500


def test_what_a_fault_holds_is_sent_after_its_time_and_nothing_before_it() -> None:
    load = faulty("delay:median_ms=300,p99_ms=300")
    before_ns, held_s = START_NS, []
    for frame in load.frames():
        due_ns = load.due_ns(frame)
        assert ((due_ns > before_ns) | (due_ns == frame.zone_time_ns)).all()
        assert (due_ns <= frame.zone_time_ns).all()
        for message, due in zip(frame.messages, due_ns.tolist(), strict=True):
            if message.message != "source_status":
                sampled_ns = message.whole.column("sampled_at_ns")[slice(*message.bounds)].max()
                held_s.append((due - sampled_ns) / NS_PER_S)
        before_ns = frame.zone_time_ns
    assert len(held_s) == 90
    assert min(held_s[:60]) >= 0.3  # the rest comes when the schedule is at its end
    assert max(held_s) < 0.3 + 2 * 500 / 1500


def test_brakings_are_timed_of_messages_that_can_be_read() -> None:
    for fault, is_told in (("malformed:messages_ratio=1,form=garbled", False), ("delay", True)):
        load = world(schedule_of(1000.0, 4.0, 0.0, []))
        load.braking_every, load.brakings_from = 400, 400
        lossy = FaultyLoad(load, [fault], 1)
        told = [
            encoded(frame, lossy.due_ns(frame), JsonCodec(), JsonCodec())[1]
            for frame in lossy.frames()
        ]
        assert any(told) is is_told


def test_faults_that_contradict_themselves_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(FaultError, match="burst_messages of at least 9"):
        LoadSpec("r", "load", "mqtt://x", faults=("loss:messages_ratio=0.9,burst_messages=2",))
