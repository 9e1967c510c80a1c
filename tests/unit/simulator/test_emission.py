"""Numbering, rounding, cutting and loss of what senders say."""

import numpy as np
import pytest

from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.plugins import discover
from openvrc.contracts.topics import Topic
from simulator.emission import Emitter, topic_id
from simulator.world import RECORDS_PER_MESSAGE, Frame, Outgoing, merged

T0_NS = 1_767_225_600_000_000_000


def emitter(loss: float = 0.0) -> Emitter:
    return Emitter(zone="z", run_id="r", origin="replay", seed=3, loss=loss)


def say(
    made: Emitter, sources: list[int], at_s: int = 0, message: str = "vehicle_state"
) -> list[Outgoing]:
    n = len(sources)
    columns = {
        "sampled_at_ns": np.full(n, T0_NS + at_s * 10**9),
        "lat_deg": 53.123456789 + np.arange(n) * 1e-6,
        "lon_deg": np.full(n, 9.987654321),
        "speed_mps": 10 / 3 + np.arange(n),
    }
    subjects = (np.arange(n, dtype=np.int32), [f"car{k}" for k in range(n)])
    return made.emit(message, np.array(sources), subjects, columns)


def seqs(messages: list[Outgoing], source_id: str) -> list[int]:
    parts = [o.batch for o in messages if o.source_id == source_id]
    return concat(parts).column("seq").tolist() if parts else []


def test_each_sender_numbers_its_records_without_gaps_over_all_messages() -> None:
    made = emitter()
    rsu, car = made.source("rsu", "rsu-1"), made.source("vehicle", "car1")
    first = say(made, [rsu, car, rsu])
    status = made.emit(
        "rsu_status",
        np.array([rsu]),
        (np.zeros(1, np.int32), ["rsu-1"]),
        {"sampled_at_ns": T0_NS, "lat_deg": 1.0, "lon_deg": 1.0, "health": "ok"},
    )
    second = say(made, [car, rsu])
    assert seqs(first, "rsu-1") == [0, 1]
    assert seqs(status, "rsu-1") == [2]
    assert seqs(second, "rsu-1") == [3]
    assert seqs(first + second, "car1") == [0, 1]


def test_a_message_holds_one_sender_and_at_most_fifty_records_in_order() -> None:
    made = emitter()
    rsu, car = made.source("rsu", "rsu-1"), made.source("vehicle", "car1")
    messages = say(made, [rsu] * 120 + [car])
    sizes = [(o.kind, o.source_id, o.batch.n_rows) for o in messages]
    assert sizes == [
        ("rsu", "rsu-1", RECORDS_PER_MESSAGE),
        ("rsu", "rsu-1", RECORDS_PER_MESSAGE),
        ("rsu", "rsu-1", 20),
        ("vehicle", "car1", 1),
    ]
    relayed = concat([o.batch for o in messages[:3]])
    assert relayed.texts("subject_id") == [f"car{k}" for k in range(120)]
    assert set(relayed.texts("source_id")) == {"rsu-1"}


def test_a_message_s_own_batch_knows_only_its_own_names() -> None:
    made = emitter()
    rsu, car = made.source("rsu", "rsu-1"), made.source("vehicle", "car1")
    messages = say(made, [rsu, car, rsu])
    relayed, own = (o.batch for o in messages)
    assert messages[0].whole is messages[1].whole
    assert relayed.dictionary("subject_id") == ["car0", "car2"]
    assert own.dictionary("subject_id") == ["car1"]
    assert own.dictionary("source_id") == ["car1"]
    assert [o.n_rows for o in messages] == [relayed.n_rows, own.n_rows] == [2, 1]


def test_lost_records_keep_their_numbers_and_the_count_tells_of_them() -> None:
    made = emitter(loss=0.4)
    rsu = made.source("rsu", "rsu-1")
    messages = [o for step in range(20) for o in say(made, [rsu] * 10, step)]
    numbers = seqs(messages, "rsu-1")
    assert len(set(numbers)) == len(numbers)
    assert 80 < len(numbers) < 160
    assert max(numbers) <= 199
    (status,) = made.final_frame(T0_NS).messages
    assert status.batch.column("sent_count").tolist() == [200]


def test_a_status_is_said_once_per_change_and_by_all_at_the_end() -> None:
    made = emitter()
    rsu, car = made.source("rsu", "rsu-1"), made.source("vehicle", "car1")
    say(made, [rsu, car])
    assert {o.source_id for o in made.status(T0_NS)} == {"rsu-1", "car1"}
    say(made, [car])
    assert [o.source_id for o in made.status(T0_NS)] == ["car1"]
    assert made.status(T0_NS) == []
    assert {o.source_id for o in made.final_frame(T0_NS).messages} == {"rsu-1", "car1"}


CODECS = discover("openvrc.contracts.codecs")
OURS = sorted(name for name, codec in CODECS.items() if not hasattr(codec, "messages"))
"""Those that carry every message whole; foreign protocols have their own resolution."""


@pytest.mark.parametrize("codec_name", OURS)
def test_every_codec_carries_the_same_numbers(codec_name: str) -> None:
    codec = CODECS[codec_name]
    made = emitter()
    (sent,) = say(made, [made.source("rsu", "rsu-1")] * 9)
    topic = Topic("z", "rsu", "rsu-1", "vehicle_state", codec_name)
    decoded = codec.decode(topic, codec.encode(sent.batch), 0)
    assert not decoded.rejects
    for name in ("lat_deg", "lon_deg", "speed_mps", "sampled_at_ns", "seq", "session"):
        assert decoded.batches[0].column(name).tolist() == sent.batch.column(name).tolist()


def test_names_become_topic_levels_without_meeting_one_another() -> None:
    names = ["a b", "a_b", "a@20b", "a#b", "a/b", "a+b", "", "x" * 97, "x" * 98]
    safe = [topic_id(name) for name in names]
    assert len(set(safe)) == len(names)
    for level in safe:
        Topic("z", "vehicle", level, "vehicle_state")
        assert 0 < len(level) <= 96
        assert not set(level) & set("/+# ")


def test_merged_frames_hold_the_same_records_in_each_sender_s_order() -> None:
    made = emitter()
    car = made.source("vehicle", "car1")
    frames = [Frame(T0_NS + s * 10**9, tuple(say(made, [car], s))) for s in range(20)]
    frames.append(made.final_frame(T0_NS + 19 * 10**9))
    few = list(merged(iter(frames), 5.0))
    assert len(few) < len(frames) / 3
    assert few[-1].zone_time_ns == frames[-1].zone_time_ns
    states = [o for f in few for o in f.messages if o.batch.message == "vehicle_state"]
    assert seqs(states, "car1") == list(range(20))
    assert few[-1].messages[-1].batch.message == "source_status"


def test_frames_pass_unchanged_without_a_span() -> None:
    frames = [Frame(T0_NS, ()), Frame(T0_NS + 1, ())]
    assert list(merged(iter(frames), 0.0)) == frames


def test_a_frame_s_batches_are_one_per_message() -> None:
    made = emitter()
    sources = [made.source("vehicle", f"v{k}") for k in range(5)]
    batches: list[Batch] = Frame(T0_NS, tuple(say(made, sources) + made.status(T0_NS))).batches()
    assert [(b.message, b.n_rows) for b in batches] == [("vehicle_state", 5), ("source_status", 5)]
    assert batches[0].texts("source_id") == [f"v{k}" for k in range(5)]
