"""The JSON door: every kind of bad input has its own reason and costs only itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openvrc.contracts.codecs.json_codec import PLUGIN as JSON
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import parse_topic

TOPIC = parse_topic("vrc/v1/z/vehicle/car-1/vehicle_state")
GOOD: dict[str, Any] = {
    "sampled_at_ns": 1_767_225_600_000_000_000,
    "seq": 0,
    "session": 7,
    "lat_deg": 53.5,
    "lon_deg": 10.0,
    "speed_mps": 13.5,
}


def decode(value: object) -> Any:
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    return JSON.decode(TOPIC, payload, 0)


def test_one_object_and_an_array_of_one_mean_the_same() -> None:
    alone, listed = decode(GOOD), decode([GOOD])
    assert alone.batches[0].to_records() == listed.batches[0].to_records()
    assert alone.rejects == listed.rejects == ()


def test_ids_left_out_are_taken_from_the_topic() -> None:
    (batch,) = decode(GOOD).batches
    assert batch.texts("source_id") == batch.texts("subject_id") == ["car-1"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"sampled_at_ns": 17', Reason.INVALID_JSON),
        (b"", Reason.INVALID_JSON),
        (b"null", Reason.INVALID_JSON),
        (b"3", Reason.INVALID_JSON),
        (b'"text"', Reason.INVALID_JSON),
        (b"\xff\xfe\x00", Reason.NOT_UTF8),
        (b"[" * 100_000, Reason.INVALID_JSON),
    ],
)
def test_a_payload_nobody_can_read_is_one_whole_reject(payload: bytes, reason: Reason) -> None:
    decoded = decode(payload)
    assert decoded.batches == ()
    (reject,) = decoded.rejects
    assert (reject.reason, reject.is_whole, reject.source_id) == (reason, True, "car-1")
    assert "expected" in reject.detail or reject.detail


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"speed_mps": "13"}, Reason.WRONG_TYPE),
        ({"brake_on": 1}, Reason.WRONG_TYPE),
        ({"sampled_at_ns": 1.5}, Reason.WRONG_TYPE),
        ({"sampled_at_ns": -1}, Reason.OUT_OF_RANGE),
        ({"sampled_at_ns": 10**30}, Reason.OUT_OF_RANGE),
        ({"seq": -1}, Reason.OUT_OF_RANGE),
        ({"lat_deg": 90.1}, Reason.OUT_OF_RANGE),
        ({"lat_deg": float("nan")}, Reason.NOT_FINITE),
        ({"lon_deg": float("inf")}, Reason.NOT_FINITE),
        ({"speed": 3}, Reason.UNKNOWN_FIELD),
        ({"vehicle_class": "ufo"}, Reason.OUT_OF_RANGE),
        ({"subject_id": "a b"}, Reason.OUT_OF_RANGE),
        ({"subject_id": "x" * 97}, Reason.OUT_OF_RANGE),
        ({"source_id": "car-2"}, Reason.ID_MISMATCH),
        ({"segment_id": "e1"}, Reason.UNKNOWN_FIELD),
        ({"origin": "invented"}, Reason.OUT_OF_RANGE),
    ],
)
def test_a_bad_record_is_rejected_with_its_reason(change: dict[str, Any], reason: Reason) -> None:
    decoded = decode([GOOD, GOOD | change, GOOD])
    assert sum(batch.n_rows for batch in decoded.batches) == 2
    (reject,) = decoded.rejects
    assert reject.reason == reason
    assert next(iter(change)) in reject.detail
    assert not reject.is_whole


def test_a_missing_field_is_named() -> None:
    (reject,) = decode({k: v for k, v in GOOD.items() if k != "lat_deg"}).rejects
    assert reject.reason is Reason.MISSING_FIELD
    assert "lat_deg" in reject.detail


def test_a_bad_record_keeps_its_number_so_that_it_can_be_accounted() -> None:
    (reject,) = decode(GOOD | {"speed_mps": -1, "seq": 41}).rejects
    assert (reject.session, reject.seq) == (7, 41)


def test_runs_within_one_payload_become_batches_of_their_own() -> None:
    decoded = decode([GOOD, GOOD | {"run_id": "r2", "origin": "replay"}, GOOD])
    assert [(b.run_id, b.origin, b.n_rows) for b in decoded.batches] == [
        ("live", "live", 2),
        ("r2", "replay", 1),
    ]


@given(st.binary(max_size=200))
def test_no_bytes_whatsoever_raise(payload: bytes) -> None:
    decoded = decode(payload)
    assert all(reject.reason in Reason for reject in decoded.rejects)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "subject_id", "run_id", "heading_deg"]), _JSON))
def test_any_values_in_known_fields_are_a_record_or_a_reject(change: dict[str, Any]) -> None:
    decoded = decode([GOOD | change])
    assert sum(b.n_rows for b in decoded.batches) + len(decoded.rejects) == 1
