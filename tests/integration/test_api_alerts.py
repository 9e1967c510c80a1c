"""The life of an alert as people see it: raised, streamed, acted upon, cleared, by whom."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from cloud.live_frame import HEADER, VEHICLE
from tests.support.cloud_server import (
    ADMIN,
    OPERATOR,
    VIEWER,
    RunningCloud,
    bearer,
    temporary_cloud,
)
from tests.support.patience import PATIENCE_S
from tests.support.town import Town

EVERYWHERE = [-180, -90, 180, 90]


@pytest.fixture(scope="module")
def town() -> Town:
    return Town()


@pytest.fixture(scope="module")
def cloud(town: Town) -> Iterator[RunningCloud]:
    with temporary_cloud() as running:
        running.send([town.announce()])
        running.drive(town, range(60))
        yield running


@pytest.fixture
def alert(cloud: RunningCloud, town: Town) -> dict[str, Any]:
    items = cloud.json("/v1/alerts", params={"rule": "traffic.stopped_vehicle"})["items"]
    found: dict[str, Any]
    (found,) = [item for item in items if item["subject_id"] == town.stopped_id]
    return found


def test_an_alert_says_what_where_since_when_and_why(alert: dict[str, Any]) -> None:
    assert alert["origin"] == "simulated"
    assert alert["kind"] == "traffic"
    assert alert["segment_id"] == "north_in"
    assert alert["started_at"].startswith("2026-01-01T08:00:0")
    assert alert["evidence"]
    assert alert["is_open"]


@pytest.mark.parametrize(
    ("params", "is_found"),
    [
        ({"zone": "town"}, True),
        ({"zone": "elsewhere"}, False),
        ({"kind": "traffic", "origin": "simulated"}, True),
        ({"kind": "battery"}, False),
        ({"origin": "live"}, False),
        ({"state": "open"}, True),
        ({"state": "cleared"}, False),
        ({"subject": "car-stopped"}, True),
        ({"run": "another"}, False),
        # An open alert is listed however long ago it began.
        ({"from": "2026-06-01T00:00:00Z"}, True),
        ({"to": "2025-06-01T00:00:00Z"}, False),
    ],
)
def test_alerts_are_filtered(
    cloud: RunningCloud, alert: dict[str, Any], params: dict[str, str], is_found: bool
) -> None:
    ids = {item["id"] for item in cloud.json("/v1/alerts", params=params)["items"]}
    assert (alert["id"] in ids) is is_found


def test_actions_are_kept_with_who_and_when(cloud: RunningCloud, alert: dict[str, Any]) -> None:
    path = f"/v1/alerts/{alert['id']}"
    assert cloud.post(f"{path}/ack").json()["acknowledged_by"] == "olga"
    assert cloud.post(f"{path}/assign", {"to": "road service"}).json()["assigned_to"] == (
        "road service"
    )
    until = "2026-01-01T09:00:00.000Z"
    assert cloud.post(f"{path}/snooze", {"until_at": until}).json()["snoozed_until_at"] == until
    cloud.post(f"{path}/note", {"text": "seen on camera 4 <script>"}, key=ADMIN)
    shown = cloud.json(path)
    assert [(a["who"], a["action"]) for a in shown["actions"]] == [
        ("olga", "ack"),
        ("olga", "assign"),
        ("olga", "snooze"),
        ("root", "note"),
    ]
    assert shown["actions"][-1]["detail"] == {"text": "seen on camera 4 <script>"}
    assert shown["events"][0]["change"] == "opened"


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("assign", None),
        ("assign", {}),
        ("assign", {"to": ""}),
        ("assign", {"to": "a\x00b"}),
        ("assign", {"to": "a", "colour": "red"}),
        ("snooze", {"until_at": "soon"}),
        ("snooze", {"until_at": 5}),
        ("snooze", {"until_at": "9999-01-01T00:00:00Z"}),
        ("note", {"text": "x" * 5000}),
        ("note", {"text": "\ud800"}),
        ("clear", {"note": 5}),
        ("ack", {"x": 1}),
    ],
)
def test_a_wrong_action_is_refused(
    cloud: RunningCloud, alert: dict[str, Any], action: str, body: Any
) -> None:
    response = cloud.client.post(
        f"/v1/alerts/{alert['id']}/{action}",
        headers=bearer(OPERATOR) | {"Content-Type": "application/json"},
        content=b"" if body is None else json.dumps(body).encode(),
    )
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("action", ["ack", "assign", "snooze", "note", "clear"])
def test_viewers_look_and_do_not_touch(
    cloud: RunningCloud, alert: dict[str, Any], action: str
) -> None:
    body = {
        "assign": {"to": "a"},
        "note": {"text": "a"},
        "snooze": {"until_at": "2026-01-01T09:00Z"},
    }
    path = f"/v1/alerts/{alert['id']}/{action}"
    assert cloud.post(path, body.get(action), key=VIEWER).status_code == 403
    assert cloud.client.post(path, json=body.get(action)).status_code == 401
    assert cloud.post("/v1/alerts/nothing/" + action, body.get(action)).status_code == 404


def test_a_cookie_changes_things_only_from_our_own_page(
    cloud: RunningCloud, alert: dict[str, Any]
) -> None:
    with httpx.Client(base_url=cloud.url, timeout=PATIENCE_S) as page:
        answer = page.get("/", params={"key": OPERATOR})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert OPERATOR not in cookie
        assert page.get("/v1/alerts").status_code == 200
        path = f"/v1/alerts/{alert['id']}/ack"
        assert page.post(path).status_code == 403
        assert page.post(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert page.post(path, headers={"Origin": "http://evil.example"}).status_code == 403
        assert page.post(path, headers={"Origin": cloud.url}).status_code == 200
        assert page.post(path, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_a_wrong_key_gives_no_cookie(cloud: RunningCloud) -> None:
    with httpx.Client(base_url=cloud.url, timeout=PATIENCE_S) as page:
        assert "set-cookie" not in page.get("/", params={"key": "wrong-key-000000"}).headers
        assert page.post("/v1/session", json={"key": "wrong-key-000000"}).status_code == 401
        assert page.post("/v1/session", json={"key": VIEWER}).status_code == 204
        assert page.get("/v1/zones").status_code == 200


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_the_stream_starts_with_a_snapshot_and_tells_of_an_acknowledgement(
    cloud: RunningCloud, alert: dict[str, Any], town: Town
) -> None:
    headers = bearer(VIEWER) | {"Last-Event-ID": "long-ago-17"}
    url, params = f"{cloud.url}/v1/stream", {"zone": "town"}
    with httpx.stream("GET", url, params=params, headers=headers, timeout=PATIENCE_S) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = events_of(stream.iter_lines())
        name, snapshot = next(events)
        assert name == "snapshot"
        (run,) = snapshot["runs"]
        assert run["run_id"] == town.run_id
        assert {s["subject_id"] for s in run["signals"]} == {"market:0", "market:1"}
        assert len(run["segments"]) == 8
        assert alert["id"] in {a["id"] for a in snapshot["alerts"]}
        cloud.post(f"/v1/alerts/{alert['id']}/ack", key=ADMIN)
        told = next(data for name, data in events if name == "alert")
        assert (told["id"], told["acknowledged_by"]) == (alert["id"], "root")


def test_the_stream_tells_states_and_figures_of_the_chosen_zone_only(
    cloud: RunningCloud, town: Town
) -> None:
    other = Town(zone="other", run_id="other-run", n_cars=2)
    cloud.send([other.announce()])
    url, params = f"{cloud.url}/v1/stream", {"zone": "town", "run": town.run_id}
    with httpx.stream(
        "GET", url, params=params, headers=bearer(VIEWER), timeout=PATIENCE_S
    ) as stream:
        events = events_of(stream.iter_lines())
        assert next(events)[0] == "snapshot"
        cloud.send(other.at(0))
        second = 60
        cloud.send(town.at(second))
        names: dict[str, Any] = {}
        while {"segments", "signals", "kpi"} - names.keys():
            name, data = next(events)
            if name == "snapshot":  # the new run refreshed everybody: it holds what was under way
                second += 10  # windows end every ten seconds
                cloud.send(town.at(second))
                continue
            names[name] = data
            assert data.get("zone", "town") == "town"
    assert names["kpi"]["vehicles"] == town.n_cars + 1
    assert {i["zone"] for i in names["segments"]["items"]} == {"town"}


def test_clearing_by_hand_closes_an_alert_once(cloud: RunningCloud, town: Town) -> None:
    items = cloud.json("/v1/alerts", params={"rule": "battery.over_temperature"})["items"]
    (hot,) = [item for item in items if item["subject_id"] == town.hot_id]
    path = f"/v1/alerts/{hot['id']}/clear"
    cleared = cloud.post(path, {"note": "pack replaced"})
    assert cleared.status_code == 200, cleared.text
    assert cleared.json()["state"] == "cleared"
    again = cloud.post(path)
    assert again.status_code == 409
    open_ids = {a["id"] for a in cloud.json("/v1/alerts", params={"state": "open"})["items"]}
    assert hot["id"] not in open_ids


def live(cloud: RunningCloud, **headers: str) -> Any:
    url = cloud.url.replace("http", "ws") + "/v1/live"
    return connect(url, additional_headers=headers, compression=None, open_timeout=PATIENCE_S)


def test_live_positions_come_for_the_viewport_and_name_a_vehicle(
    cloud: RunningCloud, town: Town
) -> None:
    with live(cloud, **bearer(VIEWER)) as socket:
        socket.send(json.dumps({"zone": "town", "run": town.run_id, "bounds": EVERYWHERE}))
        frame = socket.recv(timeout=PATIENCE_S)
        assert isinstance(frame, bytes)
        n = HEADER.unpack(frame[: HEADER.size])[4]
        assert n == town.n_cars + 1
        assert len(frame) == HEADER.size + n * VEHICLE.itemsize
        socket.send('{"ack": 1}')
        socket.send('{"who": 0}')
        deadline = time.monotonic() + PATIENCE_S
        while isinstance(answer := socket.recv(timeout=PATIENCE_S), bytes):
            assert time.monotonic() < deadline
        assert json.loads(answer)["vehicle"]["vehicle_id"] == "car-0"


def test_nonsense_on_the_socket_closes_it_with_a_reason(cloud: RunningCloud) -> None:
    with live(cloud, **bearer(VIEWER)) as socket:
        socket.send("nonsense")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=PATIENCE_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert "JSON" in closed.value.rcvd.reason


def test_the_socket_is_closed_to_strangers_and_to_other_sites(cloud: RunningCloud) -> None:
    with pytest.raises(InvalidStatus) as refused, live(cloud):
        pass
    assert refused.value.response.status_code == 401
    with httpx.Client(base_url=cloud.url, timeout=PATIENCE_S) as page:
        page.get("/", params={"key": OPERATOR})
        cookie = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    with pytest.raises(InvalidStatus), live(cloud, Cookie=cookie, Origin="http://evil.example"):
        pass
