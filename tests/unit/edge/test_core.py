"""Payloads in, batches out: every bad input has its reason, and the next good one goes through."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from edge import journal
from edge.core import EdgeCore
from edge.group_log import Kept
from edge.journal import FOLDED, GROUP, PAYLOAD, WALL_CLOCK, Input
from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.arrow_codec import ArrowCodec
from openvrc.contracts.codecs.base import Decoded
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.topics import Topic
from openvrc.contracts.wire import pack, unpack
from tests.support.edge_world import (
    RUN,
    T0,
    ZONE,
    S,
    announce,
    driven_core,
    live_core,
    of,
    reasons,
    tick,
    vehicles,
)

TOPIC = f"vrc/v1/{ZONE}/vehicle/car-1/vehicle_state"
GOOD: dict[str, Any] = {
    "sampled_at_ns": T0,
    "lat_deg": 53.55,
    "lon_deg": 9.99,
    "speed_mps": 10.0,
    "session": 1,
}


def as_json(**changed: Any) -> bytes:
    record = {k: v for k, v in (GOOD | changed).items() if v is not None}
    return json.dumps(record).encode()


BAD: list[tuple[str, str, bytes]] = [
    ("invalid_json", TOPIC, as_json(seq=0)[:-9]),
    ("not_utf8", TOPIC, b'{"speed_mps": "\xff"}'),
    ("invalid_json", TOPIC, b"[" * 100_000),
    ("invalid_json", TOPIC, b"17"),
    ("wrong_type", TOPIC, as_json(seq=0, speed_mps="2")),
    ("wrong_type", TOPIC, b'["x"]'),
    ("missing_field", TOPIC, as_json(seq=0, lat_deg=None)),
    ("unknown_field", TOPIC, as_json(seq=0, wheels=4)),
    ("not_finite", TOPIC, as_json(seq=0).replace(b"10.0", b"NaN")),
    ("not_finite", TOPIC, as_json(seq=0).replace(b"10.0", b"1e999")),
    ("out_of_range", TOPIC, as_json(seq=0, lat_deg=91.0)),
    ("out_of_range", TOPIC, as_json(seq=0, subject_id="two words")),
    ("id_mismatch", TOPIC, as_json(seq=0, source_id="car-2")),
    ("unknown_zone", TOPIC.replace(ZONE, "nowhere"), as_json(seq=0)),
    ("unknown_topic", f"vrc/v1/{ZONE}/vehicle/car-1/vehicle_mood", as_json(seq=0)),
    ("unknown_topic", f"vrc/v1/{ZONE}/plane/car-1/vehicle_state", as_json(seq=0)),
    ("unknown_topic", f"vrc/v1/{ZONE}/vehicle/car-1/signal_state", as_json(seq=0)),
    ("unknown_topic", f"vrc/v1/{ZONE}/edge/other/segment_state", b"{}"),
    ("unknown_topic", "not/ours", b"\x00"),
    ("unknown_codec", TOPIC + "/morse", b"... --- ..."),
    ("unknown_run", TOPIC, as_json(seq=0, origin="simulated", run_id="never")),
    ("too_far_future", TOPIC, as_json(seq=0, sampled_at_ns=T0 + 86400 * S)),
    ("too_far_past", TOPIC, as_json(seq=0, sampled_at_ns=T0 - 30 * 86400 * S)),
    ("too_large", TOPIC, b"[" + b" " * 10_000_000 + b"]"),
    ("invalid_arrow", TOPIC + "/arrow", b"ARROW1\0\0" + b"\xff" * 50),
    ("implausible_value", TOPIC, as_json(seq=2**60)),
]


@pytest.mark.parametrize(("reason", "topic", "payload"), BAD)
def test_bad_input_is_a_dead_letter_and_the_next_message_goes_through(
    reason: str, topic: str, payload: bytes
) -> None:
    core = live_core()
    core.on_payload(topic, payload, T0)
    core.on_payload(TOPIC, as_json(seq=1), T0)
    group = core.take_group()
    assert reasons(group) == [reason]
    assert len(of(group, "vehicle_state")) == 1
    (letter,) = of(group, "dead_letter")
    assert letter["topic"] == topic
    assert letter["payload_bytes"] > 0
    totals = core.totals()
    assert totals["sent"] == totals["forwarded"] + totals["rejected"] + totals["missing"]
    assert totals["rejected"] == 1
    unpack(pack(group.batches))  # what the cloud gets is well-formed, whatever came


def test_one_bad_record_of_an_array_costs_only_itself_and_keeps_its_number() -> None:
    core = live_core()
    rows = [json.loads(as_json(seq=n, sampled_at_ns=T0 + n)) for n in range(3)]
    rows[1]["speed_mps"] = -1
    core.on_payload(TOPIC, json.dumps(rows).encode(), T0)
    group = core.take_group()
    assert [r["seq"] for r in of(group, "vehicle_state")] == [0, 2]
    assert of(group, "dead_letter")[0]["seq"] == 1
    assert core.totals()["missing"] == 0


def test_a_poisoned_arrow_batch_is_rejected_by_row_or_whole() -> None:
    core, codec = driven_core(), ArrowCodec()
    payload = codec.encode(vehicles([("v", 1, 0), ("w", 1, 0)], seqs=[0, 1]))
    topic = f"vrc/v1/{ZONE}/rsu/rsu-1/vehicle_state/arrow"
    for cut in range(0, len(payload), 97):
        core.on_payload(topic, payload[:cut], T0)
        poisoned = bytearray(payload)
        poisoned[cut] ^= 0xFF
        core.on_payload(topic, bytes(poisoned), T0)
    core.take_group()
    core.on_payload(topic, codec.encode(vehicles([("x", 2, 0)], seqs=[2])), T0)
    assert "x" in {r["subject_id"] for r in of(core.take_group(), "vehicle_state")}
    totals = core.totals()
    assert totals["sent"] == totals["forwarded"] + totals["rejected"] + totals["missing"]


class BrokenCodec:
    name, content_type = "broken", "application/x-broken"

    def decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:
        if payload == b"other":
            return Decoded((vehicles([("v", 0, 0)], seqs=[0], zone="elsewhere"),))
        raise ZeroDivisionError("in somebody else's code")

    def encode(self, batch: Batch) -> bytes:
        return b""

    def encode_parts(self, batch: Batch, bounds: Sequence[tuple[int, int]]) -> list[bytes]:
        return [b"" for _ in bounds]


@pytest.mark.parametrize("payload", [b"x", b"other"])
def test_a_foreign_codecs_fault_costs_one_message(payload: bytes) -> None:
    core = EdgeCore({}, "edge-1", 1, codecs={"broken": BrokenCodec(), "json": JsonCodec()})
    core.on_batch(announce(), T0)
    core.on_payload(TOPIC + "/broken", payload, T0)
    assert reasons(core.take_group()) == ["codec_failed"]


def test_the_edges_own_ticks_and_a_cleared_retained_message_are_no_input() -> None:
    core = driven_core()
    own = JsonCodec().encode(tick(1))
    core.on_payload(f"vrc/v1/{ZONE}/edge/edge-1/tick", own, T0)
    core.on_payload(f"vrc/v1/{ZONE}/zone/driver/zone_announce", b"", T0)
    assert core.take_group().batches == []


def test_a_map_that_cannot_be_read_is_rejected_with_its_reason() -> None:
    core = EdgeCore({}, "edge-1", 1)
    core.on_batch(announce(map_document="no map"), T0)
    group = core.take_group()
    assert reasons(group) == ["out_of_range"]
    assert "map_document" in of(group, "dead_letter")[0]["detail"]


def test_a_new_map_version_replaces_the_map_and_is_told_upwards() -> None:
    from tests.support.edge_world import road_map

    core = driven_core()
    core.on_batch(announce(map_document=road_map(100.0, 2).to_document()), T0)
    core.on_batch(announce(), T0)
    core.on_batch(announce(), T0)  # a retained message delivered again
    said = of(core.take_group(), "zone_announce")
    assert [r["map_version"] for r in said] == [
        road_map(100.0, 2).map_version,
        road_map().map_version,
    ]


def test_a_refused_record_moves_from_forwarded_to_rejected() -> None:
    core = driven_core()
    core.on_batch(vehicles([("v", 1, 0), ("w", 1, 0)], seqs=[0, 1]), T0)
    (batch,) = (b for b in core.take_group().batches if b.message == "vehicle_state")
    core.on_refused(batch.slice(1, 1), "column x", T0)
    assert reasons(core.take_group()) == ["refused_by_store"]
    totals = core.totals()
    assert (totals["sent"], totals["forwarded"], totals["rejected"]) == (2, 1, 1)


def test_wall_runs_tick_once_a_second_and_announce_their_map() -> None:
    core = live_core()
    for tenth in range(25):
        core.on_wall_clock(T0 + tenth * S // 10)
    group = core.take_group(pending_records=7)
    ticks = of(group, "tick")
    assert [r["sampled_at_ns"] - T0 for r in ticks] == [0, S, 2 * S]
    assert all(r["watermark_ns"] == r["sampled_at_ns"] - 2 * S for r in ticks)
    assert all(r["pending_records"] == 7 for r in ticks)
    assert of(group, "zone_announce")[0]["map_document"]


def inputs() -> list[Input]:
    codec = JsonCodec()
    topic = f"vrc/v1/{ZONE}/rsu/rsu-1/vehicle_state"
    found = [
        Input(PAYLOAD, T0, f"vrc/v1/{ZONE}/zone/driver/zone_announce", codec.encode(announce()))
    ]
    for t in range(1, 40):
        rows = [("v", t, 12.0 * t), ("w", t - (t % 7 == 0), 500 + 5.0 * t), ("x", t, 100.0)]
        seqs = [3 * t, 3 * t + 1, 3 * t + 2 - 3 * (t % 11 == 0)]
        found.append(Input(PAYLOAD, T0, topic, codec.encode(vehicles(rows, seqs=seqs))))
        if t % 5 == 0:
            found.append(Input(PAYLOAD, T0, topic, b"{broken"))
        found.append(Input(PAYLOAD, T0, f"vrc/v1/{ZONE}/zone/driver/tick", codec.encode(tick(t))))
        found.append(Input(WALL_CLOCK, T0 + t * S))
    found.append(
        Input(
            PAYLOAD,
            T0,
            f"vrc/v1/{ZONE}/zone/driver/zone_announce",
            codec.encode(announce("ended", 40)),
        )
    )
    return found


def records(batches: list[Batch]) -> list[tuple[str, dict[str, Any]]]:
    found = [(b.message, r) for b in batches for r in b.to_records()]
    return sorted(found, key=lambda pair: (pair[0], json.dumps(pair[1], sort_keys=True)))


def fold(groups: list[list[Input]], between: Callable[[EdgeCore, int], EdgeCore]) -> Any:
    core, out = EdgeCore({}, "edge-1", 1), list[Batch]()
    for number, group in enumerate(groups):
        for entry in group:
            entry.apply(core)
        out += core.take_group().batches
        core = between(core, number)
    return records(out), core.totals(), {r["segment_id"] for r in of_batches(out, "vehicle_state")}


def of_batches(batches: list[Batch], message: str) -> list[dict[str, Any]]:
    return [r for b in batches if b.message == message for r in b.to_records()]


def restored(core: EdgeCore, _number: int) -> EdgeCore:
    fresh = EdgeCore({}, "edge-1", 1)
    fresh.restore(core.snapshot())
    return fresh


@pytest.mark.parametrize("size", [1, pytest.param(7, marks=pytest.mark.slow), 50])
def test_groups_checkpoints_and_journals_change_nothing(size: int) -> None:
    entries = inputs()
    groups = [entries[start : start + size] for start in range(0, len(entries), size)]
    reference = fold([entries], lambda core, _: core)
    assert reference[2] == {"a", "b"}
    assert any(message == "segment_state" for message, _ in reference[0])
    assert fold(groups, lambda core, _: core) == reference
    assert fold(groups, restored) == reference

    assert fold_over_crashes(groups) == reference[:2]


def fold_over_crashes(groups: list[list[Input]]) -> Any:
    """A process that loses everything but its journal after each group."""
    core, out, blobs = EdgeCore({}, "edge-1", 1), list[Batch](), list[bytes]()
    for number, group in enumerate(groups):
        for place, entry in enumerate(group):
            entry.apply(core, place)
        taken = core.take_group()
        out += taken.batches
        blobs.append(journal.write(group, taken.steps, pack(taken.batches)))
        if number % max(len(groups) // 6, 1) == 0:  # each crash folds everything again
            core = EdgeCore({}, "edge-1", 1)
            journal.replay(core, blobs)
    return records(out), core.totals()


def test_a_journal_keeps_payloads_only_where_not_every_record_was_admitted() -> None:
    codec, topic = JsonCodec(), f"vrc/v1/{ZONE}/rsu/rsu-1/vehicle_state"

    def journal_of(payloads: list[bytes]) -> list[int]:
        core = driven_core()
        group = [Input(PAYLOAD, T0, topic, payload) for payload in payloads]
        for place, entry in enumerate(group):
            entry.apply(core, place)
        taken = core.take_group()
        blob = journal.write(group, taken.steps, pack(taken.batches))
        return [entry.kind for entry in journal.read(blob)]

    first = codec.encode(vehicles([("v", 1, 0), ("w", 1, 0)], seqs=[0, 1]))
    second = codec.encode(vehicles([("v", 2, 10)], seqs=[2]))
    assert journal_of([first, second]) == [GROUP, FOLDED]
    assert journal_of([first, first]) == [PAYLOAD, PAYLOAD]
    assert journal_of([first, b"{"]) == [PAYLOAD, PAYLOAD]
    ahead = codec.encode(vehicles([("v", 9000, 10)], seqs=[2]))
    assert journal_of([first, ahead]) == [PAYLOAD, PAYLOAD]


def test_an_input_survives_the_journal_byte_for_byte() -> None:
    entries = [Input(PAYLOAD, 2**62, "tö/pic", bytes(range(256))), Input(WALL_CLOCK, -1)]
    steps = [Kept(0), Kept(1)]
    assert list(journal.read(journal.write(entries, steps, None))) == entries
    with pytest.raises(journal.JournalError, match="cannot be read"):
        list(journal.read(b"\x09" * 30))


def test_account_rows_name_run_and_edge() -> None:
    core = driven_core()
    core.on_batch(vehicles([("v", 1, 0)], seqs=[0]), T0)
    core.take_group()
    (batch,) = core.take_ledger(10, T0)
    assert (batch.zone, batch.run_id, batch.origin) == (ZONE, RUN, "simulated")
    assert core.take_ledger(10, T0) == []


def test_an_ended_runs_account_is_kept_until_its_last_row_went_up() -> None:
    core = driven_core()
    core.on_batch(vehicles([("v", 1, 0)], seqs=[0]), T0)
    core.on_batch(announce("ended", 2), T0)
    core.take_group()
    core.on_wall_clock(T0 + 700 * S)
    core = restored(core, 0)
    core.on_wall_clock(T0 + 800 * S)
    (batch,) = core.take_ledger(10, T0)
    assert batch.n_rows == 1
    core.on_wall_clock(T0 + 900 * S)
    assert core.totals()["sent"] == 0


def test_the_examples_in_the_docstrings_are_true() -> None:
    import doctest

    from edge import seq_set, slots

    for module in (seq_set, slots):
        result = doctest.testmod(module)
        assert (result.failed, result.attempted > 0) == (0, True)
