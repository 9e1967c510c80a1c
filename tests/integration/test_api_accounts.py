"""Accounts by sender and in pages, edges that report, and the trace of stored and lost records."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cloud import broadcast
from cloud.store import reads
from openvrc.contracts.batch import Batch
from openvrc.contracts.edge_status import EdgeStatus
from openvrc.contracts.wire import CONTENT_TYPE, pack
from tests.support.cloud_server import OPERATOR, VIEWER, RunningCloud, bearer, temporary_cloud
from tests.support.patience import PATIENCE_S
from tests.support.store_world import START_NS, one_row, vehicle_states

N_SENDERS = 7


def told(source: str, edge: tuple[str, int] = ("edge-1", 1), **columns: Any) -> Batch:
    """An edge's account of a sender's session 7."""
    facts: dict[str, Any] = {
        "source_id": source, "subject_id": source, "session": 7, "edge_id": edge[0],
        "edge_epoch": edge[1], "version": 1, "is_sequenced": True, "sent": 20, "received": 20,
        "forwarded": 20, "rejected": "{}", "dropped": 0, "expired": 0, "thinned": 0, "missing": 0,
        "duplicates": 0, "gaps": "[]",
    }  # fmt: skip
    return one_row("source_ledger", at_ns=START_NS, **(facts | columns))


def rsu(number: int) -> str:
    return f"rsu-{number}"


@pytest.fixture(scope="module")
def cloud() -> Iterator[RunningCloud]:
    with temporary_cloud() as running:
        for number in range(N_SENDERS):
            running.send([vehicle_states(20, source=rsu(number))])
        running.send([vehicle_states(20, source="east-1", zone="east")])
        missing: dict[str, Any] = {
            "sent": 25,
            "missing": 3,
            "gaps": "[[20,22]]",
            "rejected": '{"out_of_range":1}',
        }
        accounts = [
            told("rsu-0", received=22, forwarded=21, **missing),
            # An edge lost its spool: neither account has all, both together have.
            told("rsu-1", sent=10, received=10, forwarded=10),
            told("rsu-1", ("edge-1", 2), received=10, forwarded=10, missing=10, gaps="[[0,9]]"),
            # The lost spool's last word came before its last records: they are stored all the same.
            told("east-1", zone="east", sent=7, received=7, forwarded=7),
            told(
                "east-1",
                ("edge-1", 2),
                zone="east",
                received=10,
                forwarded=10,
                missing=10,
                gaps="[[0,9]]",
            ),
            *(told(rsu(number)) for number in range(2, N_SENDERS)),
        ]
        headers = {"Content-Type": CONTENT_TYPE, "X-VRC-Edge": "edge-1"} | bearer(OPERATOR)
        answer = running.client.post("/v1/ingest", headers=headers, content=pack(accounts))
        assert answer.status_code == 200, answer.text
        yield running


def test_senders_come_in_pages_and_each_page_has_the_whole_sum(cloud: RunningCloud) -> None:
    whole = cloud.json("/v1/accounting", params={"zone": "west"})
    assert whole["next_cursor"] is None
    seen: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": 2, "zone": "west"}
    has_more = True
    while has_more:
        page = cloud.json("/v1/accounting", params=params)
        assert page["totals"] == whole["totals"]
        seen += page["sources"]
        params["cursor"] = page["next_cursor"]
        has_more = page["next_cursor"] is not None
    assert seen == whole["sources"]
    assert len({source["source_id"] for source in seen}) == N_SENDERS
    totals = whole["totals"]
    assert (totals["sent"], totals["stored"], totals["pending"]) == (145, 140, 1)
    assert (totals["missing"], totals["rejected"]) == (3, {"out_of_range": 1})
    assert totals["is_closed"]


def test_one_sender_is_asked_for_by_name(cloud: RunningCloud) -> None:
    answer = cloud.json("/v1/accounting", params={"source": "rsu-0", "zone": "west"})
    (source,) = answer["sources"]
    assert (source["sent"], source["gaps"]) == (25, [[20, 22]])
    assert answer["totals"]["sent"] == 25
    assert cloud.json("/v1/accounting", params={"source": "nobody"})["sources"] == []
    assert cloud.json("/v1/accounting", params={"zone": "nowhere"})["totals"]["sent"] == 0


@pytest.mark.parametrize("sender", ["rsu-1", "east-1"])
def test_gaps_are_what_no_spool_of_the_edge_has(cloud: RunningCloud, sender: str) -> None:
    (source,) = cloud.json("/v1/accounting", params={"source": sender})["sources"]
    assert (source["sent"], source["missing"], source["gaps"]) == (20, 0, [])


@pytest.mark.parametrize("cursor", ["eA==", "WyIxIl0=", "WyItMSIsICIxIiwgIjEiXQ=="])
def test_a_foreign_cursor_of_accounts_is_refused(cloud: RunningCloud, cursor: str) -> None:
    assert cloud.get("/v1/accounting", params={"cursor": cursor}).status_code == 422


@pytest.mark.parametrize(
    ("path", "outcome"),
    [("rsu-0/7/3", "stored"), ("rsu-0/7/21", "missing"), ("rsu-0/7/24", "pending")],
)
def test_a_record_is_traced_to_where_it_is(cloud: RunningCloud, path: str, outcome: str) -> None:
    answer = cloud.json(f"/v1/trace/{path}")
    assert answer["outcome"] == outcome
    assert answer["accounts"][0]["edge_id"] == "edge-1"
    stages = [stage["stage"] for item in answer["items"] for stage in item["stages"]]
    expected = ["sampled", "published", "edge_received", "stored"] if outcome == "stored" else []
    assert stages == expected


def test_a_record_nobody_heard_of_has_no_trace(cloud: RunningCloud) -> None:
    assert cloud.get("/v1/trace/rsu-0/7/25").status_code == 404
    assert cloud.get("/v1/trace/rsu-0/8/0").status_code == 404


def status(**changed: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "at_ns": time.time_ns(), "epoch": 1, "zone": "+", "queue_messages": 3, "queue_limit": 9,
        "spool_records": 70, "spool_bytes": 500, "spool_limit_bytes": 1000, "spool_oldest_s": 2.5,
        "is_full": False, "problem": "", "acknowledged": 5, "sent": 80, "received": 80,
        "forwarded": 79, "rejected": {"out_of_range": 1}, "dropped": 0, "expired": 0, "missing": 0,
        "duplicates": 0,
    }  # fmt: skip
    return EdgeStatus.model_validate(facts | changed).model_dump()


def test_an_edge_that_reports_is_seen_in_the_stages(cloud: RunningCloud) -> None:
    assert cloud.post("/v1/edges/edge-9", status()).status_code == 200
    assert cloud.post("/v1/edges/edge-9", status(problem="503 full")).status_code == 200
    (edge,) = cloud.json("/v1/edges")["items"]
    assert (edge["edge_id"], edge["fill_ratio"], edge["problem"]) == ("edge-9", 0.5, "503 full")
    assert not edge["is_silent"]
    stages = cloud.json("/v1/accounting")["stages"]
    assert [seen["spool_records"] for seen in stages["edges"]] == [70]
    assert stages["cloud"]["is_database_connected"]


def test_a_report_needs_an_operators_key_and_every_figure(cloud: RunningCloud) -> None:
    assert cloud.post("/v1/edges/e", status(), key=VIEWER).status_code == 403
    lacking = {name: value for name, value in status().items() if name != "spool_bytes"}
    answer = cloud.post("/v1/edges/e", lacking)
    assert answer.status_code == 422
    assert "spool_bytes" in json.dumps(answer.json())


def national_report(second: int, **columns: Any) -> Batch:
    """A report of a driving vehicle that speaks the national protocol."""
    facts: dict[str, Any] = {
        "source_id": "LTESTVEH000000001", "subject_id": "LTESTVEH000000001",
        "id_kind": "permanent", "quality_bits": 0, "vehicle_speed_mps": 10.0,
        "bms_alarm_level": 0, "lateness": 0,
    }  # fmt: skip
    at_ns = START_NS + second * 1_000_000_000
    received = {"edge_received_at_ns": at_ns}
    return one_row("battery_state", at_ns=at_ns, zone="nation", **(facts | received | columns))


def test_what_a_regulator_asks_stands_beside_the_accounts(cloud: RunningCloud) -> None:
    clean = {"found": 0, "open": 0}
    west = cloud.json("/v1/accounting", params={"zone": "west"})
    assert west["national_reporting"] == dict.fromkeys(
        ("period", "back_fill", "alarm_window"), clean
    )
    assert all("national_reporting" not in source for source in west["sources"])
    times = [0, 30, 150, *range(180, 900, 30)]  # a gap of 120 s that nobody fills
    cloud.send([national_report(second) for second in times])
    expected = {
        "period": {"found": 1, "open": 0},
        "back_fill": {"found": 1, "open": 1},
        "alarm_window": clean,
    }

    def answers() -> dict[str, Any]:
        told: dict[str, Any] = cloud.json("/v1/accounting", params={"zone": "nation"})
        return told

    deadline_s = time.monotonic() + PATIENCE_S
    while answers()["national_reporting"] != expected and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert answers()["national_reporting"] == expected
    (vehicle,) = answers()["sources"]
    assert vehicle["national_reporting"] == expected
    narrowed = cloud.json("/v1/accounting", params={"source": "LTESTVEH000000001"})
    assert narrowed["national_reporting"] == expected
    assert cloud.json("/v1/accounting", params={"run": "other"})["national_reporting"][
        "period"
    ] == (clean)


def test_sums_for_pages_are_read_again_after_a_commit_only(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read = reads.accounting

    def counted(*given: Any, **more: Any) -> Any:
        asked.append(more["limit"])
        return read(*given, **more)

    monkeypatch.setattr(reads, "accounting", counted)
    monkeypatch.setattr(broadcast, "ACCOUNT_EVERY_S", 0.0)
    monkeypatch.setattr(broadcast, "ACCOUNT_SHARE", float("inf"))
    monkeypatch.setattr(broadcast, "EXACT_SENDERS", 3)

    def sent() -> int:
        snapshot = asyncio.run(cloud.app.state.broadcaster.snapshot("west", None))
        found: int = snapshot["runs"][0]["kpi"]["accounting"]["stored"]
        return found

    before = sent()
    assert sent() == before
    assert asked == [3]
    cloud.send([vehicle_states(20, source="rsu-new")])
    assert sent() == before + 20
    assert asked == [3, 1]  # more senders than are added up: their page is not read again
