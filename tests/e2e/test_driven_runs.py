"""Driven runs on one platform: with faults, accounted to the record; steered through the cloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from openvrc.cli.platform import Platform
from openvrc.cli.summary import published_records, read_summary, wait_until_drained
from tests.support.fault_ground import wait_for
from tests.support.patience import PATIENCE_S
from tests.support.platform_runs import Vrc

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

FAULTS = (
    "loss:messages_ratio=0.05,burst_messages=2",
    "duplicates:messages_ratio=0.1,after_ms=1500",
    "delay:median_ms=200,p99_ms=4000",
    "reordering:messages_ratio=0.1",
    "disconnects:away_s=4,every_s=15,senders_ratio=0.2",
    "malformed:messages_ratio=0.05",
    "clock:skew_ms=60000,senders_ratio=0.1",
    "random-position-offset:vehicles_ratio=0.1,within_m=2000",
    "flooding:vehicles_ratio=0.02,rate_hz=20",
    "sybil:vehicles_ratio=0.02",
)


def test_what_faults_did_is_what_the_accounts_say(
    platform: Platform, vrc: Vrc, tmp_path: Path
) -> None:
    given = [word for fault in FAULTS for word in ("--fault", fault)]
    sent = vrc("simulate", "crossroads", "--vehicles", "60", "--for", "30", "--speed", "0",
               "--run-id", "faulty", "--out", str(tmp_path), *given)  # fmt: skip
    expected = json.loads(sent.stdout.splitlines()[-1])["expected"]
    is_drained = wait_until_drained(
        platform.api,
        "faulty",
        published_records(sent.stdout),
        PATIENCE_S,
        missing=expected["missing"],
    )
    summary = read_summary(platform.api, "faulty")
    assert is_drained, (summary, expected)
    assert summary.is_closed
    assert (summary.sent, summary.missing, summary.pending) == (
        expected["sent"],
        expected["missing"],
        0,
    )
    assert summary.duplicates == expected["duplicates"] > 0
    rejected = summary.rejected
    assert rejected["out_of_range"] == expected["unfit"] > 0
    # What nobody can read names no run: it is booked with the zone's live one.
    unreadable = read_summary(platform.api, "live").rejected
    assert unreadable["invalid_json"] + unreadable["not_utf8"] == expected["unreadable"] > 0
    assert rejected["implausible_jump"] > 0
    assert rejected["too_far_future"] > 0
    truth = json.loads((tmp_path / "ground_truth.json").read_text())
    told = {event["detail"].get("fault") for event in truth}
    assert {fault.partition(":")[0] for fault in FAULTS} <= told


def test_a_run_is_paused_hastened_and_ended_through_the_cloud(platform: Platform) -> None:
    path = "/v1/runs/steered/control"
    arguments = ["crossroads", "--vehicles", "40", "--speed", "2", "--run-id", "steered"]
    sender = platform.start_part("simulate", arguments, log="steered")

    def until(condition: Callable[[dict[str, object]], bool], what: str) -> None:
        def holds() -> bool:
            runs = platform.api.get("/v1/zones")["items"]
            is_known = any(r["run_id"] == "steered" and r["is_in_memory"] for z in runs
                           for r in z["runs"])  # fmt: skip
            return is_known and condition(platform.api.get(path))

        wait_for(holds, what)

    def told(**body: object) -> None:
        until(lambda state: bool(state["is_controllable"]), "a driver that takes commands")
        headers = {"Authorization": f"Bearer {platform.api_key}"}
        url = f"{platform.cloud_url}{path}"
        answer = httpx.post(url, json=body, headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 202, answer.text

    told(action="pause")
    until(lambda state: state["state"] == "paused", "a pause")
    held_at = platform.api.get(path)["zone_time_at"]
    told(action="speed", speed=20)
    told(action="resume")
    until(lambda state: state["speed"] == 20 and state["state"] == "running", "its new speed")
    until(lambda state: str(state["zone_time_at"]) > held_at, "zone time that goes on")
    told(action="stop")
    assert sender.popen.wait(PATIENCE_S) == 0, sender.log_tail()
    platform.processes.pop("steered")
    until(lambda state: state["state"] == "ended", "the run's end")
