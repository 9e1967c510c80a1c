"""Commands for a run: who may give them, which run takes them, how they reach its edge."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cloud.mailbox import KEPT_NS, MAX_WAITING, Down, Mailbox
from openvrc.contracts.batch import Batch
from openvrc.contracts.units import iso_from_ns
from tests.integration.test_api_accounts import status
from tests.support.cloud_server import VIEWER, RunningCloud, temporary_cloud
from tests.support.store_world import START_NS, tick

RUN = "run-1"
PATH = f"/v1/runs/{RUN}/control"
S = 1_000_000_000


def steered(at_s: int, **more: object) -> Batch:
    said = {"driver_state": "running", "rate_ratio": 2.0, "can_seek": True} | more
    return tick(START_NS + at_s * S, source_id="edge-1", **said)


@pytest.fixture(scope="module")
def cloud() -> Iterator[RunningCloud]:
    with temporary_cloud() as running:
        running.send([tick(START_NS + S, source_id="edge-1")])
        assert running.json(PATH)["is_controllable"] is False
        assert running.post(PATH, {"action": "pause"}).status_code == 409
        running.send([steered(2)])
        yield running


def fetched(cloud: RunningCloud) -> list[dict[str, object]]:
    answer = cloud.post("/v1/edges/edge-1", status())
    assert answer.status_code == 200
    down: list[dict[str, object]] = answer.json()["down"]
    return down


def test_the_state_is_what_the_driver_said_with_its_newest_tick(cloud: RunningCloud) -> None:
    found = cloud.json(PATH)
    assert (found["state"], found["speed"], found["can_seek"]) == ("running", 2.0, True)
    assert (found["is_controllable"], found["edge_id"]) == (True, "edge-1")
    cloud.send([steered(3, driver_state="paused", rate_ratio=0.0)])
    found = cloud.json(PATH)
    assert (found["state"], found["speed"]) == ("paused", 0.0)
    assert found["zone_time_at"] == iso_from_ns(START_NS + 3 * S)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"action": "pause"}, "pause"),
        ({"action": "resume"}, "resume"),
        ({"action": "speed", "speed": 0.5}, "speed 0.5"),
        ({"action": "seek", "by_s": -30}, "seek -30.0"),
        ({"action": "seek", "to_at": "2026-01-01T00:10:00Z"}, "seek 2026-01-01T00:10:00.000Z"),
        ({"action": "loop", "loop": True}, "loop on"),
        ({"action": "stop"}, "stop"),
    ],
)
def test_a_command_goes_with_the_next_report_of_its_edge_once(
    cloud: RunningCloud, body: dict[str, object], line: str
) -> None:
    fetched(cloud)  # it reports, so it is there
    answer = cloud.post(PATH, body)
    assert (answer.status_code, answer.json()["accepted"]) == (202, line)
    assert cloud.post("/v1/edges/edge-2", status()).json()["down"] == []
    (down,) = fetched(cloud)
    assert str(down["topic"]).endswith("/zone/driver/down/run_control")
    assert down["payload"] == {"run_id": RUN, "line": line, "by": "olga"}
    assert fetched(cloud) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "rewind"},
        {"action": "pause", "speed": 2},
        {"action": "speed"},
        {"action": "speed", "speed": -1},
        {"action": "seek"},
        {"action": "seek", "by_s": 1, "to_at": "2026-01-01T00:10:00Z"},
        {"action": "loop", "loop": True, "by_s": 3},
    ],
)
def test_a_command_that_cannot_be_meant_is_refused(
    cloud: RunningCloud, body: dict[str, object]
) -> None:
    assert cloud.post(PATH, body).status_code == 422


def test_only_operators_command_and_only_known_running_runs_obey(cloud: RunningCloud) -> None:
    fetched(cloud)
    assert cloud.post(PATH, {"action": "pause"}, key=VIEWER).status_code == 403
    assert cloud.post("/v1/runs/nowhere/control", {"action": "pause"}).status_code == 404
    cloud.send([steered(4, can_seek=False)])
    assert cloud.post(PATH, {"action": "seek", "by_s": 5}).status_code == 409
    assert fetched(cloud) == []


def test_what_nobody_fetches_is_given_up_and_bounded() -> None:
    mailbox, now_ns = Mailbox(), time.time_ns()
    assert mailbox.put("edge-1", Down("t", {"n": -1}, now_ns - KEPT_NS - 1))
    for number in range(MAX_WAITING):
        assert mailbox.put("edge-1", Down("t", {"n": number}, now_ns))
    assert not mailbox.put("edge-1", Down("t", {}, now_ns))
    assert mailbox.put("edge-1", Down("t", {"n": "late"}, now_ns + 2 * KEPT_NS))
    assert [d.payload["n"] for d in mailbox.take("edge-1", now_ns + 2 * KEPT_NS)] == ["late"]
    assert mailbox.take("edge-1", now_ns) == []
