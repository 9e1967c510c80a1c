"""POST /v1/ingest: what is stored, what is refused, and that the next good message goes through."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.wire import CONTENT_TYPE, pack
from tests.support.cloud_server import OPERATOR, VIEWER, RunningCloud, bearer, temporary_cloud
from tests.support.town import Town

MAX_BODY_BYTES = 300_000
HOUR_NS = 3600 * NS_PER_S


@pytest.fixture(scope="module")
def cloud() -> Iterator[RunningCloud]:
    with temporary_cloud(cloud_max_body_bytes=MAX_BODY_BYTES) as running:
        running.send([Town(zone=zone, run_id=zone).announce() for zone in ("curl", "listed")])
        yield running


def assert_problem(response: httpx.Response, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    for word in words:
        assert word in problem["detail"]


def test_a_batch_is_stored_and_its_repetition_is_a_duplicate(cloud: RunningCloud) -> None:
    town = Town(zone="dup", run_id="dup-1")
    batches = [town.announce(), *town.at(0)]
    first = cloud.ingest(batches, **{"X-VRC-Batch": "edge-t/e1/900"})
    again = cloud.ingest(batches, **{"X-VRC-Batch": "edge-t/e1/900"})
    assert first.json()["stored"] > 0
    assert first.json()["is_duplicate"] is False
    assert again.status_code == 200
    assert again.json()["is_duplicate"] is True
    vehicles = cloud.json("/v1/vehicles/car-1/history", params={"run": "dup-1"})["items"]
    assert len(vehicles) == 1


def with_unreadable_metadata() -> bytes:
    """A body whose first stream has a metadata key that is no UTF-8."""
    codec = pa.Codec("zstd")
    plain = pa.input_stream(pa.BufferReader(pack(Town().at(0))), compression="zstd").read()
    return bytes(codec.compress(plain.replace(b"run_id", b"run\xe0id", 1), asbytes=True))


@pytest.mark.parametrize(
    "body",
    [
        with_unreadable_metadata(),
        b"",
        b"garbage",
        b"\x28\xb5\x2f\xfd" + b"\x00" * 40,
        pack(Town().at(0))[:-20],
        pack(Town().at(0))[20:],
    ],
    ids=["metadata", "empty", "text", "broken zstd", "truncated", "beheaded"],
)
def test_a_poisoned_body_is_refused_and_the_next_good_one_goes_through(
    cloud: RunningCloud, body: bytes
) -> None:
    headers = bearer(OPERATOR) | {
        "Content-Type": CONTENT_TYPE,
        "X-VRC-Edge": "edge-t",
        "X-VRC-Batch": "edge-t/e1/77",
    }
    assert_problem(cloud.client.post("/v1/ingest", headers=headers, content=body), 400)
    town = Town(zone="after", run_id=f"after-{zlib.crc32(body)}")
    assert cloud.send([town.announce(), *town.at(0)]) > 0


@pytest.mark.parametrize(
    ("headers", "status", "word"),
    [
        ({"Content-Type": "text/plain"}, 415, CONTENT_TYPE),
        ({"X-VRC-Edge": "a b"}, 422, "x-vrc-edge"),
        ({"X-VRC-Batch": "edge-t"}, 422, "x-vrc-batch"),
        ({"X-VRC-Batch": "another/e1/1"}, 422, "edge-t"),
        ({"X-VRC-Batch": ""}, 422, ""),
    ],
)
def test_wrong_headers_are_refused_with_what_was_expected(
    cloud: RunningCloud, headers: dict[str, str], status: int, word: str
) -> None:
    response = cloud.ingest(Town().at(0), **headers)
    assert_problem(response, status)
    assert word.lower() in response.text.lower()


def test_a_body_over_the_limit_is_refused_while_it_is_read(cloud: RunningCloud) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 10_000

    headers = bearer(OPERATOR) | {"Content-Type": CONTENT_TYPE, "X-VRC-Edge": "edge-t"}
    try:
        response = cloud.client.post("/v1/ingest", headers=headers, content=endless())
    except (httpx.WriteError, httpx.RemoteProtocolError):
        return  # refused before all was sent: the connection may be cut
    assert_problem(response, 413, str(MAX_BODY_BYTES))


def record(**changes: Any) -> dict[str, Any]:
    base = {
        "source_id": "curl-1",
        "sampled_at_ns": time.time_ns(),
        "lat_deg": 53.55,
        "lon_deg": 9.99,
        "speed_mps": 3.5,
    }
    return {name: value for name, value in (base | changes).items() if value is not ...}


def post_json(cloud: RunningCloud, body: bytes | str, **query: str) -> httpx.Response:
    params = {"zone": "curl", "message": "vehicle_state"} | query
    headers = bearer(OPERATOR) | {"Content-Type": "application/json"}
    return cloud.client.post("/v1/ingest", params=params, headers=headers, content=body)


def test_a_newcomer_sends_one_record_with_curl_and_finds_it(cloud: RunningCloud) -> None:
    response = post_json(cloud, json.dumps(record()))
    assert response.status_code == 200, response.text
    assert response.json()["stored"] == 1
    found = cloud.json("/v1/vehicles/curl-1")
    assert found["zone"] == "curl"
    assert found["speed_mps"] == 3.5


def test_one_bad_record_of_an_array_costs_only_itself(cloud: RunningCloud) -> None:
    records = [
        record(source_id="curl-2"),
        record(source_id="curl-3", speed_mps="fast"),
        record(source_id="curl-4"),
    ]
    answer = post_json(cloud, json.dumps(records)).json()
    assert (answer["stored"], answer["rejected"]) == (2, 1)
    assert answer["rejects"][0]["reason"] == "wrong_type"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"source_id": "a"', "invalid_json"),
        (b"\xff\xfe{}", "not_utf8"),
        (b"5", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (json.dumps(record(speed_mps="5")).encode(), "wrong_type"),
        (json.dumps(record(speed_mps=...)).encode(), "missing_field"),
        (json.dumps(record(speed_mps=float("nan"))).encode(), "not_finite"),
        (json.dumps(record(speed_mps=float("inf"))).encode(), "not_finite"),
        (json.dumps(record(lat_deg=91)).encode(), "out_of_range"),
        (json.dumps(record(colour="red")).encode(), "unknown_field"),
        (json.dumps(record(sampled_at_ns=time.time_ns() + HOUR_NS)).encode(), "too_far_future"),
        (json.dumps(record(sampled_at_ns=time.time_ns() - 200 * HOUR_NS)).encode(), "too_far_past"),
        (json.dumps(record(sampled_at_ns=0)).encode(), "too_far_past"),
        (json.dumps(record(run_id="nobody-1", origin="replay")).encode(), "unknown_run"),
        (json.dumps(record(sampled_at_ns=10**30)).encode(), ""),
        (json.dumps(record(source_id="a b")).encode(), ""),
        (json.dumps(record(subject_id="\x00")).encode(), ""),
    ],
    # The bodies hold the time of collection: as names they would differ between workers.
    ids=lambda value: "body" if isinstance(value, bytes) else value or "any",
)
def test_a_bad_record_is_answered_with_its_reason(
    cloud: RunningCloud, body: bytes, reason: str
) -> None:
    response = post_json(cloud, body)
    assert_problem(response, 422, reason)


@pytest.mark.parametrize(
    "query",
    [
        {"message": "nonsense"},
        {"zone": "a/b"},
        {"zone": "\x00"},
        {"zone": ""},
        {"colour": "red"},
        {"message": "tick"},
    ],
)
def test_a_wrong_address_of_a_record_is_refused(cloud: RunningCloud, query: dict[str, str]) -> None:
    response = post_json(cloud, json.dumps(record()), **query)
    assert_problem(response, 422)


def test_a_record_of_an_unknown_zone_is_refused_and_counted(cloud: RunningCloud) -> None:
    response = post_json(cloud, json.dumps(record(source_id="lost-1")), zone="atlantis")
    assert_problem(response, 422, "unknown_zone", "vrc zone new")
    totals = cloud.json("/v1/accounting", params={"zone": "atlantis"})["totals"]
    assert (totals["rejected"], totals["stored"], totals["is_closed"]) == (
        {"unknown_zone": 1}, 0, True,
    )  # fmt: skip


def test_a_record_of_an_hour_ago_is_stored_and_marked_late(cloud: RunningCloud) -> None:
    old_ns = time.time_ns() - HOUR_NS
    sent = [record(source_id="old-1"), record(source_id="old-1", sampled_at_ns=old_ns)]
    assert post_json(cloud, json.dumps(sent)).json()["stored"] == 2
    rows = cloud.json("/v1/vehicles/old-1/history")["items"]
    assert sorted(row["lateness"] for row in rows) == [0, 1]


@pytest.mark.parametrize(
    ("column", "value", "word"),
    [
        ("lat_deg", 95.0, "out_of_range"),
        ("lat_deg", float("nan"), "missing_field"),
        ("speed_mps", float("inf"), "not_finite"),
        ("sampled_at_ns", -5, "out_of_range"),
        ("vehicle_class", np.int8(77), "out_of_range"),
        ("source_id", "a b", "out_of_range"),
        ("source_id", "", "missing_field"),
    ],
)
def test_a_poisoned_row_of_a_batch_is_refused_with_its_column_and_reason(
    cloud: RunningCloud, column: str, value: object, word: str
) -> None:
    town = Town(zone="poisoned", run_id="poisoned-1")
    bad = []
    for batch in town.at(0):
        poison = np.repeat(value, batch.n_rows) if isinstance(value, np.generic) else value
        is_states = batch.message == "vehicle_state"
        bad.append(batch.with_columns({column: poison}) if is_states else batch)
    assert_problem(cloud.ingest([town.announce(), *bad]), 422, f"vehicle_state.{column}", word)
    assert cloud.send([town.announce(), *town.at(0)]) >= 0


def test_bad_records_are_counted_and_listed(cloud: RunningCloud) -> None:
    post_json(cloud, json.dumps(record(source_id="bad-1", lat_deg=95)), zone="listed")
    letters = cloud.json("/v1/dead-letters", params={"zone": "listed"})["items"]
    assert [letter["reason"] for letter in letters] == ["out_of_range"]
    account = cloud.json("/v1/accounting", params={"zone": "listed"})
    assert account["totals"]["rejected"] == {"out_of_range": 1}
    assert account["totals"]["is_closed"]
    metrics = cloud.get("/metrics").text
    labels = 'reason="out_of_range",source="bad-1",zone="listed"'
    assert f"vrc_source_rejected_records{{{labels}}} 1.0" in metrics


@pytest.mark.parametrize(("key", "status"), [(VIEWER, 403), ("unknown-key-000", 401)])
def test_only_operators_may_ingest(cloud: RunningCloud, key: str, status: int) -> None:
    response = cloud.ingest(Town().at(0), Authorization=f"Bearer {key}")
    assert_problem(response, status)
