"""Terminals over TCP through a whole edge to the cloud's door, beside MQTT."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.gbt32960.intake import BothIntakes
from edge.service import EdgeService
from openvrc.contracts.messages.record import LATE_IN_SUBJECT
from openvrc.contracts.zone import Zone, write_zone
from openvrc.embedded.broker import start_broker
from openvrc.settings import Gbt32960Settings, Settings
from tests.support.edge_world import road_map
from tests.support.fake_cloud import KEY, FakeCloud
from tests.support.gbt32960 import VIN, full_2016, heartbeat, login_frame
from tests.support.gbt32960_client import Client, wait_for
from tests.support.patience import PATIENCE_S

S = 1_000_000_000
OTHER = "LTESTVEH000000002"


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    running = FakeCloud()
    yield running
    running.stop()


@pytest.fixture
def service(tmp_path: Path, open_dir: Path, cloud: FakeCloud) -> Iterator[EdgeService]:
    write_zone(tmp_path / "zones" / "town", Zone(name="town"), road_map())
    broker = start_broker(open_dir / "broker")
    settings = Settings(
        data_dir=tmp_path / "var",
        zones_dir=tmp_path / "zones",
        broker_url=f"mqtt://{broker.host}:{broker.port}",
        cloud_url=cloud.url,
        api_key=KEY,
        gbt32960=Gbt32960Settings(zone="town", port=0),
    )
    stopping, made = threading.Event(), queue.Queue[EdgeService]()

    def run() -> None:  # the spool belongs to the thread that opened it
        service = EdgeService(settings)
        made.put(service)
        service.run(stopping)

    thread = threading.Thread(target=run)
    thread.start()
    yield made.get(timeout=PATIENCE_S)
    stopping.set()
    thread.join(PATIENCE_S)
    broker.stop()
    assert not thread.is_alive()


@pytest.fixture
def client(service: EdgeService) -> Iterator[Client]:
    intake = service._intake
    assert isinstance(intake, BothIntakes)
    server = intake._server
    wait_for(lambda: server.port > 0, "the server")
    opened = Client(server.port)
    yield opened
    opened.close()


def stored(cloud: FakeCloud, message: str) -> list[dict[str, Any]]:
    with cloud.changed:
        return [r for b in cloud.stored if b.message == message for r in b.to_records()]


def account_of(cloud: FakeCloud, key: tuple[str, str, str]) -> dict[str, Any]:
    return next((row for k, row in cloud.ledger.items() if k[:3] == key), {})


def test_what_terminals_say_comes_to_the_cloud_and_into_the_accounts(
    client: Client, cloud: FakeCloud
) -> None:
    assert client.ask(login_frame()).head.response == 1
    now_ns = time.time_ns() // S * S
    client.send(full_2016(at_ns=now_ns))
    client.send(full_2016(at_ns=now_ns - 2 * 86_400 * S, command=3))
    client.send(b"noise" + heartbeat())
    assert client.ask(full_2016(vin=OTHER, at_ns=now_ns)).head.command == 7
    wait_for(lambda: len(stored(cloud, "battery_state")) == 2, "two battery states")
    late = {r["sampled_at_ns"]: r["lateness"] for r in stored(cloud, "battery_state")}
    assert {at_ns: mark & LATE_IN_SUBJECT for at_ns, mark in late.items()} == {
        now_ns: 0,
        now_ns - 2 * 86_400 * S: LATE_IN_SUBJECT,
    }
    assert len(stored(cloud, "vehicle_profile")) == 0, "a login of March is too far past"
    wait_for(lambda: len(stored(cloud, "dead_letter")) == 3, "three dead letters")
    letters = {(r["source_id"], r["reason"]) for r in stored(cloud, "dead_letter")}
    assert letters == {(VIN, "too_far_past"), (VIN, "bad_start"), (OTHER, "not_logged_in")}
    key = ("town", "live", VIN)
    wait_for(
        lambda: any(k[:3] == key and r["rejected"] for k, r in cloud.ledger.items()), "accounts"
    )
    account = next(row for k, row in cloud.ledger.items() if k[:3] == key)
    assert not account["is_sequenced"]
    assert account["sent"] == account["forwarded"] + 2
    client.close()
