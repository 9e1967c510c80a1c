"""Alerts on their way to people: a signed webhook that fails first, the log of it, a silence."""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cloud.notify import notifier
from tests.support.cloud_server import VIEWER, RunningCloud, temporary_cloud
from tests.support.patience import PATIENCE_S
from tests.support.town import Town

SECRET = "a-secret-of-the-tests"
WITHIN_S = PATIENCE_S


@dataclass
class Receiver:
    """A webhook's receiver: answers 503 to the first request, 204 to all others."""

    url: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    n_requests: int = 0

    def take(self, body: bytes, signature: str) -> int:
        self.n_requests += 1
        t, v1 = (part.split("=", 1)[1] for part in signature.split(","))
        good = hmac.new(SECRET.encode(), f"{t}.".encode() + body, sha256).hexdigest()
        if not hmac.compare_digest(good, v1):
            return 401
        if self.n_requests == 1:
            return 503
        self.events.append(json.loads(body))
        return 204


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(found.take(body, self.headers["X-VRC-Signature"]))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def cloud(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    path: Path = tmp_path_factory.mktemp("notify") / "notify.toml"
    path.write_text(
        f"""
        [[channel]]
        name = "ops"
        type = "webhook"
        options = {{ url = "{receiver.url}", secret = "{SECRET}" }}
        [[route]]
        name = "traffic"
        channels = ["ops"]
        rules = ["traffic.stopped_vehicle"]
        origins = ["simulated"]
        group_wait_s = 0
        """
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notifier, "FIRST_PAUSE_S", 0.05)
        patch.setattr(notifier, "SILENCES_EVERY_S", 0.0)
        with temporary_cloud(notify_file=path) as running:
            yield running


def until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WITHIN_S
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found


def test_an_alert_reaches_a_signed_webhook_after_a_retry_and_the_log_tells(
    cloud: RunningCloud, receiver: Receiver
) -> None:
    town = Town()
    cloud.send([town.announce()])
    cloud.drive(town, range(20))
    event = until(lambda: receiver.events)[0]
    assert event["type"] == "org.openvrc.alert.raised"
    (told,) = event["data"]["alerts"]
    assert told["subject_id"] == town.stopped_id
    path = f"/v1/notify/deliveries?alert={told['id']}"
    log = until(lambda: len(items := cloud.json(path)["items"]) == 2 and items)
    assert [(d["attempt"], d["outcome"]) for d in log] == [(2, "sent"), (1, "retry")]
    assert log[1]["detail"] == "answered 503"


def test_a_silence_keeps_an_alert_from_being_told_until_it_is_ended(
    cloud: RunningCloud, receiver: Receiver
) -> None:
    window = {"begins_at": "2020-01-01T00:00:00Z", "ends_at": "2100-01-01T00:00:00Z"}
    body = window | {"zone": "second", "reason": "roadworks"}
    assert cloud.post("/v1/notify/silences", body, key=VIEWER).status_code == 403
    number = cloud.post("/v1/notify/silences", body).json()["id"]
    assert [s["id"] for s in cloud.json("/v1/notify/silences")["items"]] == [number]
    town = Town(zone="second", run_id="second-1")
    cloud.send([town.announce()])
    cloud.drive(town, range(20))
    raised = {"zone": "second", "rule": "traffic.stopped_vehicle"}
    until(lambda: cloud.json("/v1/alerts", params=raised)["items"])
    told_before = len(receiver.events)
    assert all(e["source"] != "/openvrc/zones/second" for e in receiver.events)
    assert cloud.post(f"/v1/notify/silences/{number}/end").status_code == 200
    until(lambda: len(receiver.events) > told_before)
    assert receiver.events[-1]["source"] == "/openvrc/zones/second"
    assert cloud.post(f"/v1/notify/silences/{number}/end").status_code == 404


def test_a_silence_that_ends_before_it_begins_is_refused(cloud: RunningCloud) -> None:
    body = {"begins_at": "2030-01-01T00:00:00Z", "ends_at": "2020-01-01T00:00:00Z", "reason": "x"}
    assert cloud.post("/v1/notify/silences", body).status_code == 422
