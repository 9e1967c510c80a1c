"""The whole edge between a real broker and a cloud that answers as documented."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.service import EdgeService
from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.arrow_codec import ArrowCodec
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.zone import Zone, write_zone
from openvrc.embedded.broker import RunningBroker, start_broker
from openvrc.settings import Settings
from tests.support.edge_world import RUN, T0, ZONE, announce, control, road_map, tick, vehicles
from tests.support.fake_cloud import KEY, FakeCloud
from tests.support.patience import PATIENCE_S

TIMEOUT_S = PATIENCE_S
PROJECT = Path(__file__).resolve().parents[2]
RSU_TOPIC = f"vrc/v1/{ZONE}/rsu/rsu-1/vehicle_state"
DRIVER = f"vrc/v1/{ZONE}/zone/driver"
CODEC = JsonCodec()


@pytest.fixture
def broker(open_dir: Path) -> Iterator[RunningBroker]:
    running = start_broker(open_dir / "broker")
    yield running
    running.stop()


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    running = FakeCloud()
    yield running
    running.stop()


@pytest.fixture
def settings(tmp_path: Path, broker: RunningBroker, cloud: FakeCloud) -> Settings:
    write_zone(tmp_path / "zones" / "folder", Zone(name="folder"), road_map())
    return Settings(
        data_dir=tmp_path / "var",
        zones_dir=tmp_path / "zones",
        broker_url=f"mqtt://{broker.host}:{broker.port}",
        cloud_url=cloud.url,
        api_key=KEY,
    )


class RunningEdge:
    """An edge in a thread of this process."""

    def __init__(self, settings: Settings) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: EdgeService(settings).run(self._stopping))
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()


@pytest.fixture
def edge(settings: Settings) -> Iterator[RunningEdge]:
    running = RunningEdge(settings)
    yield running
    running.stop()


class Sender:
    """Publishes with QoS 1 and listens to the edge's ticks."""

    def __init__(self, broker: RunningBroker) -> None:
        self.ticks: list[dict[str, Any]] = []
        self.heard = threading.Condition()
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, "sender")
        self.paho.max_inflight_messages_set(100)
        self.paho.on_message = self._on_tick
        self.paho.on_connect = lambda client, *_: client.subscribe("vrc/v1/+/edge/+/tick")
        self.paho.connect(broker.host, broker.port)
        self.paho.loop_start()

    def _on_tick(self, _c: mqtt.Client, _u: object, message: mqtt.MQTTMessage) -> None:
        with self.heard:
            self.ticks.append(json.loads(message.payload))
            self.heard.notify_all()

    def send(self, topic: str, payload: bytes | Batch, *, retain: bool = False) -> None:
        body = CODEC.encode(payload) if isinstance(payload, Batch) else payload
        self.paho.publish(topic, body, qos=1, retain=retain).wait_for_publish(TIMEOUT_S)

    def wait_for_tick(self, at_s: float, run_id: str = RUN) -> None:
        def has_come() -> bool:
            mine = (said for said in self.ticks if said["run_id"] == run_id)
            return any(said["sampled_at_ns"] >= T0 + at_s * 1e9 for said in mine)

        with self.heard:
            assert self.heard.wait_for(has_come, TIMEOUT_S), f"no tick of the edge at {at_s} s"

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


@pytest.fixture
def sender(broker: RunningBroker) -> Iterator[Sender]:
    client = Sender(broker)
    yield client
    client.close()


def begin_run(sender: Sender) -> None:
    """Announce the driven run and wait until the edge serves it."""
    sender.send(f"{DRIVER}/zone_announce", announce(), retain=True)
    sender.wait_for_tick(0)


def step(sender: Sender, t: int, n_vehicles: int = 3) -> None:
    """One second of the run: records, then the tick."""
    rows = [(f"v{n}", float(t), 100.0 * n + 8.0 * t) for n in range(n_vehicles)]
    first = (t - 1) * n_vehicles
    sender.send(RSU_TOPIC, vehicles(rows, seqs=range(first, first + n_vehicles)))
    sender.send(f"{DRIVER}/tick", tick(t))


def end_run(sender: Sender, t: int, sent: int) -> None:
    status = control("source_status", t, source_id="rsu-1", session=1, sent_count=sent)
    sender.send(f"vrc/v1/{ZONE}/rsu/rsu-1/source_status", status)
    sender.send(f"{DRIVER}/tick", tick(t))
    sender.send(f"{DRIVER}/zone_announce", announce("ended", t))
    sender.send(f"{DRIVER}/zone_announce", b"", retain=True)


def run_totals(cloud: FakeCloud) -> dict[str, Any]:
    rows = [row for key, row in cloud.ledger.items() if key[0] == ZONE]
    return rows[0] if len(rows) == 1 else {}


def has_all(cloud: FakeCloud, n_records: int) -> Callable[[], bool]:
    def condition() -> bool:
        row = run_totals(cloud)
        if not row or row["sent"] != n_records:
            return False
        return bool(row["forwarded"] + row["missing"] == n_records)

    return condition


def test_a_driven_run_arrives_whole_and_in_order(
    edge: RunningEdge, sender: Sender, cloud: FakeCloud
) -> None:
    begin_run(sender)
    for t in range(1, 31):
        step(sender, t)
    end_run(sender, 30, 90)
    cloud.wait_for(has_all(cloud, 90))
    cloud.wait_for(lambda: any(r.get("state") == "ended" for r in said(cloud)))
    assert [r["seq"] for r in cloud.records("vehicle_state")] == list(range(90))
    assert {r["segment_id"] for r in cloud.records("vehicle_state")} == {"a"}
    windows = [r for r in cloud.records("segment_state") if r["window_s"] == 10]
    assert [r["window_start_ns"] for r in windows][:2] == [T0, T0 + 10 * 10**9]
    assert windows[1]["speed_mps"] == pytest.approx(8.0, rel=0.1)
    assert windows[1]["vehicle_count"] == 3
    assert_records_before_their_tick(cloud)


def said(cloud: FakeCloud) -> list[dict[str, Any]]:
    return [r for b in cloud.stored if b.message == "zone_announce" for r in b.to_records()]


def assert_records_before_their_tick(cloud: FakeCloud) -> None:
    zone_time_ns = 0
    for batch in cloud.stored:
        if batch.zone != ZONE:
            continue
        if batch.message == "tick":
            zone_time_ns = max(zone_time_ns, int(batch.column("sampled_at_ns").max()))
        elif batch.message == "vehicle_state":
            assert int(batch.column("sampled_at_ns").min()) > zone_time_ns


def live(**changed: Any) -> bytes:
    record = {
        "sampled_at_ns": time.time_ns(),
        "lat_deg": 53.55,
        "lon_deg": 9.99,
        "speed_mps": 10.0,
        "session": 1,
    }
    return json.dumps(record | changed).encode()


def bad_inputs() -> list[tuple[str, str, bytes]]:
    topic = "vrc/v1/folder/vehicle/car-1/vehicle_state"
    day_ns = 86_400 * 10**9
    arrow = bytearray(ArrowCodec().encode(vehicles([("v", 1, 0)], seqs=[0])))
    arrow[40:80] = b"\xff" * 40
    return [
        ("invalid_json", topic, live(seq=0)[:-9]),
        ("not_utf8", topic, b'{"speed_mps": "\xff"}'),
        ("wrong_type", topic, live(seq=0, speed_mps="2")),
        ("missing_field", topic, b'{"sampled_at_ns": 1}'),
        ("unknown_field", topic, live(seq=1, wheels=4)),
        ("not_finite", topic, live(seq=2).replace(b"10.0", b"NaN")),
        ("not_finite", topic, live(seq=3).replace(b"10.0", b"1e999")),
        ("out_of_range", topic, live(seq=4, lat_deg=91.0)),
        ("id_mismatch", topic, live(seq=5, source_id="car-2")),
        ("unknown_zone", topic.replace("folder", "nowhere"), live(seq=0)),
        ("unknown_topic", topic.replace("vehicle_state", "vehicle_mood"), live(seq=0)),
        ("unknown_codec", topic + "/morse", b"... --- ..."),
        ("unknown_run", topic, live(seq=6, origin="simulated", run_id="never")),
        ("too_far_future", topic, live(seq=7, sampled_at_ns=time.time_ns() + day_ns)),
        ("too_far_past", topic, live(seq=8, sampled_at_ns=time.time_ns() - 30 * day_ns)),
        ("too_large", topic, b"[" + b" " * 10_000_000 + b"]"),
        ("invalid_arrow", topic + "/arrow", bytes(arrow)),
        ("implausible_jump", topic, live(seq=11, lat_deg=10.0)),
    ]


def test_bad_input_becomes_dead_letters_and_good_messages_go_through(
    edge: RunningEdge, sender: Sender, cloud: FakeCloud
) -> None:
    sender.wait_for_tick(0, "live")  # the edge listens
    topic = "vrc/v1/folder/vehicle/car-1/vehicle_state"
    first, second = live(seq=9), live(seq=10, sampled_at_ns=time.time_ns() - 10**9)
    sender.send(topic, first)
    sender.send(topic, second)  # out of order: let through, marked late
    bad = bad_inputs()
    for number, (_, bad_topic, payload) in enumerate(bad):
        sender.send(bad_topic, payload)
        good = "vrc/v1/folder/vehicle/car-2/vehicle_state"
        sender.send(good, live(seq=number))
    sender.send(topic, first)  # a duplicate by its number
    repeat = json.loads(first) | {"seq": 12}
    sender.send(topic, json.dumps(repeat).encode())  # and one by its sample
    expected = sorted([reason for reason, _, _ in bad] + ["duplicate_sample"])

    def all_counted() -> bool:
        rejected = [json.loads(row["rejected"]) for row in cloud.ledger.values()]
        duplicates = sum(row["duplicates"] for row in cloud.ledger.values())
        # Accounts may come ahead of the letters they count.
        n_letters = sum(b.n_rows for b in cloud.stored if b.message == "dead_letter")
        n_rejected = sum(sum(r.values()) for r in rejected)
        return n_rejected == n_letters == len(expected) and duplicates == 1

    cloud.wait_for(all_counted)
    letters = cloud.records("dead_letter")
    assert sorted(r["reason"] for r in letters) == expected
    assert all(r["detail"] for r in letters)
    stored = cloud.records("vehicle_state")
    assert [r["seq"] for r in stored if r["source_id"] == "car-2"] == list(range(len(bad)))
    assert [r["lateness"] & 2 for r in stored if r["source_id"] == "car-1"] == [0, 2]
    totals = cloud.totals()
    assert totals["sent"] == totals["forwarded"] + totals["rejected"] + totals["missing"]


CHILD = """
import sys
from openvrc.settings import Settings
from edge.service import run_edge
sys.exit(run_edge(Settings.model_validate_json(sys.argv[1])))
"""


def start_child(settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, settings.model_dump_json()],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stderr=out,
        )


def test_kill_9_in_the_middle_loses_and_doubles_nothing(
    settings: Settings, sender: Sender, cloud: FakeCloud, tmp_path: Path
) -> None:
    child = start_child(settings, tmp_path / "edge.log")
    try:
        begin_run(sender)
        for t in range(1, 41):
            step(sender, t)
            if t in (12, 27):
                sender.wait_for_tick(t - 6)
                child.send_signal(signal.SIGKILL)
                child.wait(TIMEOUT_S)
                child = start_child(settings, tmp_path / "edge.log")
        end_run(sender, 40, 120)
        cloud.wait_for(has_all(cloud, 120))
        cloud.wait_for(lambda: any(r.get("state") == "ended" for r in said(cloud)))
    finally:
        child.terminate()
        assert child.wait(TIMEOUT_S) == 0, (tmp_path / "edge.log").read_text()[-3000:]
    assert [r["seq"] for r in cloud.records("vehicle_state")] == list(range(120))
    assert run_totals(cloud)["missing"] == 0
    windows = cloud.records("segment_state")
    keys = [(r["subject_id"], r["window_s"], r["window_start_ns"], r["revision"]) for r in windows]
    assert len(keys) == len(set(keys))
    assert all(r["revision"] == 0 for r in windows)
    assert_records_before_their_tick(cloud)
    events = [json.loads(line) for line in (tmp_path / "edge.log").read_text().splitlines()]
    assert sum("went on from the spool" in event["text"] for event in events) >= 1


def test_a_full_spool_acknowledges_nothing_until_the_cloud_is_back(
    settings: Settings, sender: Sender, cloud: FakeCloud
) -> None:
    cloud.fault = lambda _batches: 503
    small = settings.model_copy(update={"edge_spool_max_bytes": 150_000})
    edge = RunningEdge(small)
    try:
        begin_run(sender)
        for t in range(1, 101):
            step(sender, t, n_vehicles=20)
        cloud.fault = lambda _batches: 0
        end_run(sender, 100, 2000)
        cloud.wait_for(has_all(cloud, 2000))
    finally:
        edge.stop()
    assert [r["seq"] for r in cloud.records("vehicle_state")] == list(range(2000))


def test_a_clean_stop_and_start_goes_on_where_it_was(
    settings: Settings, sender: Sender, cloud: FakeCloud
) -> None:
    edge = RunningEdge(settings)
    begin_run(sender)
    for t in range(1, 6):
        step(sender, t)
    edge.stop()
    for t in range(6, 11):
        step(sender, t)  # the broker keeps these for the session
    edge = RunningEdge(settings)
    end_run(sender, 10, 30)
    cloud.wait_for(has_all(cloud, 30))
    edge.stop()
    assert [r["seq"] for r in cloud.records("vehicle_state")] == list(range(30))


def test_the_broker_may_go_and_come_back(
    settings: Settings, cloud: FakeCloud, open_dir: Path
) -> None:
    directory = open_dir / "second"
    first = start_broker(directory)
    if first.kind != "mosquitto":
        first.stop()
        pytest.skip("amqtt forgets sessions when it stops")
    edge = RunningEdge(
        settings.model_copy(update={"broker_url": f"mqtt://{first.host}:{first.port}"})
    )
    sender = Sender(first)
    try:
        begin_run(sender)
        step(sender, 1)
        sender.wait_for_tick(1)
        sender.close()
        first.stop()
        again = start_broker(directory, port=first.port)
        sender = Sender(again)
        step(sender, 2)
        end_run(sender, 2, 6)
        cloud.wait_for(has_all(cloud, 6))
    finally:
        sender.close()
        edge.stop()
        again.stop()
