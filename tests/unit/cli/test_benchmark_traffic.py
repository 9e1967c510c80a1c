"""The traffic of `vrc bench`: full messages, shuffled, plausible, the same for the same seed."""

from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest

from openvrc.cli.benchmark.sender import SendPlan
from openvrc.cli.benchmark.traffic import LENGTH_M_PER_DEG, BenchWorld, TrafficPlan
from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.messages import MESSAGES

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
    plan = replace(PLAN, brakings_from=500, braking_every=100)
    batch = records(plan, 1)
    hard = np.flatnonzero(batch.column("accel_long_mps2") < -5.5)
    assert len(hard) == 5
    assert not (records(PLAN, 1).column("accel_long_mps2") < -5.5).any()


def test_records_are_valid_under_the_contract() -> None:
    outgoing = next(BenchWorld(PLAN).frames()).messages[0]
    model = MESSAGES["vehicle_state"].model
    for record in outgoing.batch.to_records(with_marks=False):
        model.model_validate(record)


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, other = (
        [JsonCodec().encode(m.batch) for m in next(BenchWorld(PLAN).frames()).messages]
        for _ in range(2)
    )
    assert one == other


@pytest.mark.parametrize(
    "change", [{"vehicles": 750}, {"records_per_frame": 70}, {"records_per_message": 7}]
)
def test_a_plan_that_would_cut_messages_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        BenchWorld(replace(PLAN, **change))  # type: ignore[arg-type]


def test_a_plan_reaches_the_sender_as_it_was() -> None:
    plan = SendPlan(PLAN, "arrow", 3.0, 0.5)
    assert SendPlan.from_json(plan.to_json()) == plan
