"""The traffic of `vrc bench`: full messages, shuffled, plausible, the same for the same seed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest

from openvrc.cli.benchmark import sender
from openvrc.cli.benchmark.sender import SendPlan, Stage, StagedWorld
from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.messages import MESSAGES
from simulator.load.traffic import LENGTH_M_PER_DEG, BenchWorld, TrafficPlan
from simulator.world import Frame

PLAN = TrafficPlan(
    vehicles=1000,
    records_per_message=50,
    records_per_frame=500,
    seed=3,
    start_ns=1_790_000_000_000_000_000,
    run_id="run-1",
)
FRAMES_PER_S = 2


def records(plan: TrafficPlan, seconds: int) -> Batch:
    frames = islice(BenchWorld(plan).frames(), seconds * plan.vehicles // plan.records_per_frame)
    return concat([batch for frame in frames for batch in frame.batches()])


def test_every_vehicle_is_heard_once_a_second_by_one_unit() -> None:
    batch = records(PLAN, 2)
    subjects, counts = np.unique(batch.texts("subject_id"), return_counts=True)
    assert len(subjects) == PLAN.vehicles
    assert set(counts.tolist()) == {2}
    pairs = set(zip(batch.texts("subject_id"), batch.texts("source_id"), strict=True))
    assert len(pairs) == PLAN.vehicles


def test_messages_are_full_and_the_order_is_new_each_second() -> None:
    frames = list(islice(BenchWorld(PLAN).frames(), 2 * FRAMES_PER_S))
    assert {message.n_rows for frame in frames for message in frame.messages} == {50}
    first, second = (
        [m.batch.texts("subject_id") for frame in frames[half : half + 2] for m in frame.messages]
        for half in (0, 2)
    )
    assert first != second
    assert first[0] != sorted(first[0])


def test_single_records_are_the_same_records_in_messages_of_one() -> None:
    single = next(BenchWorld(replace(PLAN, records_per_message=1)).frames())
    batched = next(BenchWorld(PLAN).frames())
    assert {message.n_rows for message in single.messages} == {1}
    one, other = (concat(frame.batches()).to_records() for frame in (single, batched))
    assert one == other


def test_a_frame_reaches_its_own_time_and_times_never_run_back() -> None:
    frames = list(islice(BenchWorld(PLAN).frames(), 2 * FRAMES_PER_S))
    for frame, following in pairwise(frames):
        newest_ns = max(b.column("sampled_at_ns").max() for b in frame.batches())
        oldest_ns = min(b.column("sampled_at_ns").min() for b in following.batches())
        assert frame.zone_time_ns == newest_ns < oldest_ns


def test_numbers_have_no_gaps_and_the_last_frame_states_the_counts() -> None:
    world = BenchWorld(PLAN)
    frames = world.frames()
    sent = [next(frames), next(frames)]
    world.stop()
    (final,) = list(frames)
    batch = concat([b for frame in sent for b in frame.batches()])
    counts = {
        b.texts("source_id")[0]: b.column("sent_count")[0]
        for m in final.messages
        for b in [m.batch]
    }
    for source, count in counts.items():
        mine = np.array(batch.texts("source_id")) == source
        assert sorted(batch.column("seq")[mine].tolist()) == list(range(count))


def test_vehicles_drive_as_fast_as_they_say() -> None:
    batch = records(PLAN, 3)
    place = np.argsort(np.array(batch.texts("subject_id")), kind="stable").reshape(-1, 3)
    at_s = batch.column("sampled_at_ns")[place] / 1e9
    lat_deg, lon_deg = batch.column("lat_deg")[place], batch.column("lon_deg")[place]
    north_m = np.diff(lat_deg, axis=1) * LENGTH_M_PER_DEG
    east_m = np.diff(lon_deg, axis=1) * LENGTH_M_PER_DEG * np.cos(np.radians(lat_deg[:, :-1]))
    driven_m = np.hypot(north_m, east_m)
    said_m = batch.column("speed_mps")[place][:, :-1] * np.diff(at_s, axis=1)
    assert np.abs(driven_m - said_m).max() < 10.0  # a metre of noise on either side, and 0.1 m/s


def test_chosen_vehicles_brake_hard_when_they_are_heard_and_nobody_else() -> None:
    world = BenchWorld(PLAN)
    world.brakings_from, world.braking_every = 500, 100
    frames = islice(world.frames(), FRAMES_PER_S)
    batch = concat([batch for frame in frames for batch in frame.batches()])
    hard = np.flatnonzero(batch.column("accel_long_mps2") < -5.5)
    assert len(hard) == 5
    assert not (records(PLAN, 1).column("accel_long_mps2") < -5.5).any()


def test_records_are_valid_under_the_contract() -> None:
    outgoing = next(BenchWorld(PLAN).frames()).messages[0]
    model = MESSAGES["vehicle_state"].model
    for record in outgoing.batch.to_records(with_marks=False):
        model.model_validate(record)


def test_with_batteries_every_vehicle_tells_of_its_pack_once_in_ten_seconds() -> None:
    plan = replace(PLAN, vehicles=5000, records_per_frame=5000, has_batteries=True)
    frames = list(islice(BenchWorld(plan).frames(), 10))
    batches = [b for frame in frames for b in frame.batches() if b.message == "battery_state"]
    batch = concat(batches)
    assert sorted(batch.texts("subject_id")) == [f"vehicle-{n:06d}" for n in range(5000)]
    cells_v, offsets = batch.lists("cell_voltages_v")
    assert set(np.diff(offsets).tolist()) == {96}
    assert 3.0 < cells_v.min() < cells_v.max() < 4.2
    model = MESSAGES["battery_state"].model
    for record in batch.slice(0, 20).to_records(with_marks=False):
        model.model_validate(record)
    states = [b for frame in frames for b in frame.batches() if b.message == "vehicle_state"]
    assert sum(b.n_rows for b in states) == 50_000


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, other = (
        [JsonCodec().encode(m.batch) for m in next(BenchWorld(PLAN).frames()).messages]
        for _ in range(2)
    )
    assert one == other


@pytest.mark.parametrize(
    "change", [{"vehicles": 0}, {"records_per_frame": 70}, {"records_per_message": 51}]
)
def test_a_plan_that_would_cut_messages_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        BenchWorld(replace(PLAN, **change))  # type: ignore[arg-type]


def test_a_plan_reaches_the_sender_as_it_was() -> None:
    plan = SendPlan(PLAN, "arrow", "paho")
    assert SendPlan.from_json(plan.to_json()) == plan


class FakePublisher:
    encode_cpu_s = waited_s = 0.0


def staged(monkeypatch: pytest.MonkeyPatch, plan: TrafficPlan, *stages: Stage) -> Iterator[Frame]:
    """The frames of these stages; what the sender would say is dropped."""
    monkeypatch.setattr(sender, "say", lambda *_, **__: None)
    world = StagedWorld(plan)
    world.publisher = FakePublisher()  # type: ignore[assignment]
    for stage in [*stages, None]:
        world.stages.put(stage)
    return world.frames()


def test_the_first_pass_comes_in_full_messages_and_the_rest_as_the_mode_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = replace(PLAN, records_per_message=1)
    first = Stage(records=PLAN.vehicles, records_per_frame=250, is_warming=True)
    frames = list(staged(monkeypatch, plan, first, Stage(records=500)))
    sizes = [{message.n_rows for message in frame.messages} for frame in frames[:-1]]
    assert sizes == [{50}] * 4 + [{1}]
    heard = {s for frame in frames[:4] for b in frame.batches() for s in b.texts("subject_id")}
    assert len(heard) == PLAN.vehicles
    assert {message.message for message in frames[-1].messages} == {"source_status"}


def test_so_many_brake_in_a_paced_stage_and_only_after_it_has_settled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rate = 1e6  # so fast that the test does not wait
    stage = Stage(records=2000, rate=rate, seconds=2000 / rate, brakings=10, settle_s=500 / rate)
    frames = list(staged(monkeypatch, PLAN, stage))[:-1]
    batches = [batch for frame in frames for batch in frame.batches()]
    hard = [batch.column("accel_long_mps2") < -5.5 for batch in batches]
    assert [len(frames), hard[0].sum()] == [4, 0]
    braking = {
        subject
        for batch, is_hard in zip(batches, hard, strict=True)
        for subject, brakes in zip(batch.texts("subject_id"), is_hard, strict=True)
        if brakes
    }
    assert len(braking) == 10
