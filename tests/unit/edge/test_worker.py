"""What a worker makes of its messages, and how it comes to the owner."""

import json
from pathlib import Path

import pytest

from edge import parcel
from edge.core import EdgeCore
from edge.inbox import Delivery
from edge.journal import BATCHES, PAYLOAD, Input
from edge.parcel import Entry
from edge.sessions import read_sessions, settle_sessions, write_sessions
from edge.worker import Decoder
from edge.worker_link import marker_of, marker_topic
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.errors import SettingsError
from openvrc.contracts.plugins import discover
from openvrc.contracts.wire import unpack
from openvrc.settings import Settings
from tests.support.edge_world import ZONE, announce, tick, vehicles

DECODER = Decoder(discover("openvrc.contracts.codecs"), 100_000)
TOPIC = f"vrc/v1/{ZONE}/rsu/rsu-1/vehicle_state"
TICK = f"vrc/v1/{ZONE}/zone/driver/tick"


def delivery(topic: str, payload: bytes, *, is_retained: bool = False) -> Delivery:
    return Delivery(topic, payload, 7, b"\0\1", None, is_retained)


def records(t: int, seq: int) -> bytes:
    return JsonCodec().encode(vehicles([("v0", float(t), 8.0 * t)], seqs=[seq]))


def test_clean_payloads_become_one_batch_in_their_order() -> None:
    (entry,) = DECODER.entries([delivery(TOPIC, records(t, t)) for t in range(5)])
    assert (entry.kind, entry.n_messages, entry.at_ns) == (parcel.BATCH, 5, 7)
    (batch,) = unpack(entry.payload)
    assert batch.column("seq").tolist() == [0, 1, 2, 3, 4]


def test_what_is_bad_goes_as_it_came_and_costs_nobody_else() -> None:
    bad = [b"{", records(1, 1).replace(b'"lat_deg":5', b'"lat_deg":500')]
    given = [records(0, 0), *bad, records(2, 2)]
    found = list(DECODER.entries([delivery(TOPIC, payload) for payload in given]))
    raw = [entry.payload for entry in found if entry.kind == parcel.PAYLOAD]
    assert b"{" in raw
    (clean,) = (entry for entry in found if entry.kind == parcel.BATCH)
    assert clean.n_messages + len(raw) == len(given)
    assert {0, 2} <= set(unpack(clean.payload)[0].column("seq").tolist())


@pytest.mark.parametrize(
    "topic",
    ["not a topic", TOPIC.replace("vehicle_state", "mood"), TOPIC + "/morse", TOPIC + "/gbt32960"],
)
def test_what_a_worker_cannot_decode_is_left_to_the_owner(topic: str) -> None:
    (entry,) = DECODER.entries([delivery(topic, b"x")])
    assert (entry.kind, entry.text, entry.payload) == (parcel.PAYLOAD, topic, b"x")


def test_a_driver_s_word_keeps_its_place_among_the_records() -> None:
    said = JsonCodec().encode(tick(1))
    given = [delivery(TOPIC, records(1, 0)), delivery(TICK, said), delivery(TOPIC, records(2, 1))]
    kinds = [entry.kind for entry in DECODER.entries(given)]
    assert kinds == [parcel.BATCH, parcel.CONTROL, parcel.BATCH]


def test_what_was_retained_is_no_barrier() -> None:
    topic = TICK.replace("tick", "zone_announce")
    said = delivery(topic, JsonCodec().encode(announce()), is_retained=True)
    (entry,) = DECODER.entries([said])
    assert entry.kind == parcel.PAYLOAD


def test_a_parcel_is_read_as_it_was_written() -> None:
    entries = [Entry(parcel.BATCH, 2**62, "vrc/ü", b"\0" * 9, 50), Entry(parcel.FENCE)]
    assert parcel.read(parcel.write(12, entries)) == (12, entries)
    assert parcel.read(parcel.write(1, [])) == (1, [])


def test_a_marker_s_topic_is_known_again_and_no_other_edge_hears_it() -> None:
    topic = marker_topic(Settings(edge_id="edge-9"), "joined", 3)
    assert marker_of(topic) == ("joined", 3)
    assert len(topic.split("/")) == 8  # records have six or seven levels
    assert marker_of(TOPIC) is None


def test_batches_lead_to_the_same_records_as_payloads() -> None:
    def group(inputs: list[Input]) -> list[dict[str, object]]:
        core = EdgeCore({}, "edge-1", 1)
        core.on_payload(TICK.replace("tick", "zone_announce"), JsonCodec().encode(announce()), 7)
        core.take_group()
        for number, entry in enumerate(inputs):
            entry.apply(core, number)
        taken = core.take_group()
        return [r for b in taken.batches if b.message == "vehicle_state" for r in b.to_records()]

    given = [delivery(TOPIC, records(t, t)) for t in range(1, 4)]
    (entry,) = DECODER.entries(given)
    as_batches = group([Input(BATCHES, entry.at_ns, entry.text, entry.payload)])
    as_payloads = group([Input(PAYLOAD, d.received_at_ns, d.topic, d.payload) for d in given])
    assert len(as_batches) == 3
    assert as_batches == as_payloads


def test_another_number_of_workers_is_refused_while_sessions_are_left(tmp_path: Path) -> None:
    settle_sessions(Settings(), tmp_path)
    settle_sessions(Settings(), tmp_path)
    with pytest.raises(SettingsError, match=r"--workers 0 before.*--forget-sessions"):
        settle_sessions(Settings(edge_workers=2), tmp_path)
    write_sessions(tmp_path, 2, is_fenced=True)
    with pytest.raises(SettingsError, match="--workers 2 before"):
        settle_sessions(Settings(), tmp_path)


def test_more_workers_than_before_leave_no_session_behind(tmp_path: Path) -> None:
    write_sessions(tmp_path, 2, is_fenced=True)
    settle_sessions(Settings(edge_workers=2), tmp_path)
    assert read_sessions(tmp_path).is_fenced
    settle_sessions(Settings(edge_workers=3), tmp_path)
    found = read_sessions(tmp_path)
    assert (found.n_workers, found.is_fenced) == (3, False)
    assert json.loads((tmp_path / "sessions.json").read_text()) == {
        "workers": 3,
        "is_fenced": False,
    }
