"""Every codec, of ours or of an installed package, through one suite."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.columns import Column, columns_of
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.plugins import discover
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic
from tests.support.bulk import assert_same_as_one_by_one

ALL_CODECS = discover("openvrc.contracts.codecs")
CODECS = {name: c for name, c in ALL_CODECS.items() if not hasattr(c, "messages")}
"""Those that carry every message whole. A foreign protocol (`messages` says what it carries) has
less to say and another resolution; its own tests show what comes back, these that it keeps to the
port."""
FOREIGN = {name: c for name, c in ALL_CODECS.items() if name not in CODECS}
N_ROWS = 3


def sample_value(column: Column, row: int) -> Any:
    """A legal value inside the column's range, different from row to row."""
    if column.name in ("source_id", "subject_id"):
        return "sender-1" if column.name == "source_id" else f"subject-{row}"
    if column.kind == "code":
        return row % len(column.values)
    if column.kind == "text":
        return f"word{row}"
    low = column.low if column.low is not None else 0.0
    if column.kind == "f32_list":
        return [low + 0.5 * i for i in range(row)]
    if column.kind == "i64":
        return int(min(low + 5 + row, column.high or 2**40))
    return low + 0.5 * (row + 1) * (1 if column.high is None else (column.high - low) / 10)


def sample_batch(message: str, *, full: bool = True) -> Batch:
    columns = [c for c in columns_of(message) if not c.is_mark and (full or c.is_required)]
    values = {c.name: [sample_value(c, row) for row in range(N_ROWS)] for c in columns}
    for column in columns:
        if column.kind == "code":
            values[column.name] = np.array(values[column.name], np.int8)  # type: ignore[assignment]
    return from_columns(
        message, zone="z", run_id="run-1", origin="replay", columns=values, n_rows=N_ROWS
    )


def topic_of(message: str) -> Topic:
    return Topic("z", MESSAGES[message].senders[0], "sender-1", message)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("full", [True, False], ids=["full", "sparse"])
def test_what_is_encoded_decodes_to_the_same_records(codec: Any, message: str, full: bool) -> None:
    batch = sample_batch(message, full=full)
    once = codec.decode(topic_of(message), codec.encode(batch), 0)
    assert once.rejects == ()
    twice = codec.decode(topic_of(message), codec.encode(once.batches[0]), 0)
    assert once.batches[0].to_records() == twice.batches[0].to_records()
    got = once.batches[0]
    assert (got.zone, got.run_id, got.origin, got.n_rows) == ("z", "run-1", "replay", N_ROWS)
    for ours, theirs in zip(batch.to_records(), got.to_records(), strict=True):
        sent = {k: v for k, v in ours.items() if v is not None}
        assert {k: theirs[k] for k in sent} == sent


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_payload_cut_anywhere_is_rejected_and_never_raises(codec: Any) -> None:
    payload = codec.encode(sample_batch("vehicle_state"))
    for length in range(0, len(payload) - 1, max(1, len(payload) // 100)):
        decoded = codec.decode(topic_of("vehicle_state"), payload[:length], 0)
        assert all(reject.reason in Reason for reject in decoded.rejects)
        assert decoded.rejects or not decoded.batches


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1), value=st.integers(0, 255))
def test_a_flipped_byte_never_raises_nor_leaves_the_contract(
    codec: Any, place: float, value: int
) -> None:
    payload = bytearray(codec.encode(sample_batch("vehicle_state")))
    payload[int(place * (len(payload) - 1))] = value
    decoded = codec.decode(topic_of("vehicle_state"), bytes(payload), 0)
    for batch in decoded.batches:
        assert (batch.column("lat_deg") >= -90).all()
        assert (batch.column("lat_deg") <= 90).all()
        assert set(batch.texts("source_id")) <= {"sender-1"}


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_parts_decode_to_the_rows_of_their_ranges(codec: Any) -> None:
    batch = sample_batch("vehicle_state")
    payloads = codec.encode_parts(batch, [(0, 1), (1, N_ROWS)])
    decoded = [codec.decode(topic_of("vehicle_state"), p, 0).batches[0] for p in payloads]
    rows = [record for part in decoded for record in part.to_records()]
    whole = codec.decode(topic_of("vehicle_state"), codec.encode(batch), 0).batches[0]
    assert rows == whole.to_records()
    assert decoded[0].dictionary("subject_id") == ["subject-0"]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_another_senders_name_in_the_payload_is_rejected(codec: Any) -> None:
    names = ["sender-1", "somebody-else", "sender-1"]
    batch = sample_batch("vehicle_state").with_columns({"source_id": names})
    decoded = codec.decode(topic_of("vehicle_state"), codec.encode(batch), 0)
    (good,) = decoded.batches
    assert good.texts("subject_id") == ["subject-0", "subject-2"]
    assert set(good.texts("source_id")) == {"sender-1"}
    (reject,) = decoded.rejects
    assert (reject.reason, reject.source_id) == (Reason.ID_MISMATCH, "sender-1")


def _damaged(payload: bytes, place: float, value: int) -> bytes:
    damaged = bytearray(payload)
    damaged[int(place * (len(damaged) - 1))] = value
    return bytes(damaged)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("message", MESSAGES)
def test_many_payloads_at_once_give_what_each_gives_alone(codec: Any, message: str) -> None:
    full, sparse = sample_batch(message), sample_batch(message, full=False)
    other = replace(full, run_id="run-2")
    mixed = full.with_columns({"source_id": ["sender-1", "somebody-else", "sender-1"]})
    batches = (full, sparse, other, mixed, full, full.slice(1, 1), full, mixed)
    good = [codec.encode(batch) for batch in batches]
    payloads = [*good[:4], good[0][:-9], b"", b"\xff\xfe", *good[4:]]
    topics = [topic_of(message)] * len(payloads)
    topics[1] = replace(topics[1], source_id="somebody-else")
    bulk = assert_same_as_one_by_one(codec, topics, payloads)
    assert bulk.parts
    assert bulk.rejects


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    damages=st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1), st.integers(0, 255)), max_size=4)
)
def test_damaged_payloads_among_others_give_what_each_gives_alone(
    codec: Any, damages: list[tuple[int, float, int]]
) -> None:
    payloads = [codec.encode(sample_batch("vehicle_state"))] * 5
    for which, place, value in damages:
        payloads[which] = _damaged(payloads[which], place, value)
    assert_same_as_one_by_one(codec, [topic_of("vehicle_state")] * 5, payloads)


@pytest.mark.parametrize("codec", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("message", MESSAGES)
def test_a_foreign_codec_makes_rows_of_the_topics_message_or_says_why_not(
    codec: Any, message: str
) -> None:
    assert set(codec.messages) <= set(MESSAGES)
    for payload in (b"", b"\xff\xfe", b"{}", b"##" * 40):
        decoded = codec.decode(topic_of(message), payload, 0)
        assert decoded.batches == ()
        assert [reject.reason in Reason for reject in decoded.rejects]
        assert decoded.rejects
    assert_same_as_one_by_one(codec, [topic_of(message)] * 3, [b"", b"junk", b""])
