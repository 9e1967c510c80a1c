"""The publisher against a real broker and an edge that answers ticks: order, waiting, ending."""

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from openvrc.contracts.topics import parse_topic
from openvrc.embedded.broker import RunningBroker, start_broker
from openvrc.settings import Settings, load_settings
from simulator.link import LinkError
from simulator.publisher import MAX_TICKS_AHEAD, Publisher, PublishError
from simulator.replay import open_recording
from simulator.service import run_world
from simulator.world import World
from tests.support.patience import PATIENCE_S

STEPS, VEHICLES = 40, 3
TIMEOUT_S = PATIENCE_S


@pytest.fixture
def broker(open_dir: Path) -> Iterator[RunningBroker]:
    running = start_broker(open_dir / "broker")
    yield running
    running.stop()


@pytest.fixture
def settings(broker: RunningBroker) -> Settings:
    return load_settings(broker_url=f"mqtt://{broker.host}:{broker.port}")


def world(folder: Path, **options: Any) -> World:
    steps = "".join(
        f'<timestep time="{t}.00">'
        + "".join(
            f'<vehicle id="car{n}" x="{10.0 + 1e-4 * t}" y="{53.5 + 1e-3 * n}" angle="90.00" '
            'type="car" speed="10.00"/>'
            for n in range(VEHICLES)
        )
        + "</timestep>"
        for t in range(STEPS)
    )
    path = folder / "fcd.xml"
    path.write_text(f"<fcd-export>{steps}</fcd-export>")
    return open_recording(path, zone="z1", run_id="run-1", **options)


class AnsweringEdge:
    """Keeps every message in order and answers the driver's announcement and ticks."""

    def __init__(self, broker: RunningBroker, *, answers: bool = True, pending: int = 0) -> None:
        self.messages: list[tuple[str, Any]] = []
        self.answers = answers
        self.pending = pending
        self.cleared: queue.Queue[None] = queue.Queue()
        self.ticked: queue.Queue[int] = queue.Queue()
        self._ready = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe("vrc/v1/z1/+/+/+", qos=1)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._on_message
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        assert self._ready.wait(TIMEOUT_S)

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        topic = parse_topic(message.topic)
        if topic.kind == "edge":
            return
        body: Any = json.loads(message.payload) if message.payload else None
        self.messages.append((f"{topic.kind}/{topic.source_id}/{topic.message}", body))
        if body is None:
            self.cleared.put(None)
        if topic.message == "tick":
            self.ticked.put(body["sampled_at_ns"])
        if topic.message == "tick" and self.answers:
            self.answer(body)

    def answer(self, tick: Any) -> None:
        mine = {**tick, "source_id": "edge-1", "pending_records": self.pending}
        self.client.publish("vrc/v1/z1/edge/edge-1/tick", json.dumps(mine), qos=0)

    def of(self, message: str) -> list[Any]:
        return [body for name, body in self.messages if name.endswith("/" + message)]

    def hear_the_end(self) -> None:
        """Wait for the removal of the retained announcement, a run's last message."""
        self.cleared.get(timeout=TIMEOUT_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def edge(broker: RunningBroker) -> Iterator[AnsweringEdge]:
    made = AnsweringEdge(broker)
    yield made
    made.close()


def test_a_run_is_announced_ticked_and_ended_and_leaves_nothing_retained(
    tmp_path: Path, broker: RunningBroker, settings: Settings, edge: AnsweringEdge
) -> None:
    summary = Publisher(world(tmp_path), settings, speed=0).run()
    assert summary["records"]["vehicle_state"] == STEPS * VEHICLES
    edge.hear_the_end()
    states = [body["state"] for body in edge.of("zone_announce") if body]
    assert states == ["running", "ended"]
    assert all(body["clock"] == "driven" for body in edge.of("zone_announce") if body)
    late = AnsweringEdge(broker)
    try:
        Publisher(world(tmp_path), settings, speed=0).run()
        late.hear_the_end()
        # Had the first run's announcement been retained, it would have come first.
        assert [b["state"] for b in late.of("zone_announce") if b] == ["running", "ended"]
    finally:
        late.close()


def test_every_record_arrives_before_the_tick_that_covers_it(
    tmp_path: Path, settings: Settings, edge: AnsweringEdge
) -> None:
    Publisher(world(tmp_path), settings, speed=0).run()
    edge.hear_the_end()
    newest_tick_ns = 0
    n_states = 0
    for name, body in edge.messages:
        if name == "zone/driver/tick":
            newest_tick_ns = body["sampled_at_ns"]
        elif name.endswith("/vehicle_state"):
            records = body if isinstance(body, list) else [body]
            n_states += len(records)
            assert all(r["sampled_at_ns"] > newest_tick_ns or n_states <= VEHICLES for r in records)
            assert all(r["published_at_ns"] > r["sampled_at_ns"] for r in records)
    assert n_states == STEPS * VEHICLES


def test_senders_state_their_exact_count_at_the_end(
    tmp_path: Path, settings: Settings, edge: AnsweringEdge
) -> None:
    Publisher(world(tmp_path, loss=0.3), settings, speed=0).run()
    edge.hear_the_end()
    counts = {body["source_id"]: body["sent_count"] for body in edge.of("source_status")}
    assert counts == {f"car{n}": STEPS for n in range(VEHICLES)}
    assert len(edge.of("vehicle_state")) < STEPS * VEHICLES


def test_a_zone_without_an_edge_is_refused_with_its_name(
    tmp_path: Path, broker: RunningBroker, settings: Settings
) -> None:
    publisher = Publisher(world(tmp_path), settings, speed=0, edge_wait_s=0.1)
    with pytest.raises(PublishError, match=r"no edge serves zone 'z1'.*vrc edge"):
        publisher.run()


def test_a_driver_waits_for_a_silent_edge_and_goes_on_when_it_answers(
    tmp_path: Path, broker: RunningBroker, settings: Settings, edge: AnsweringEdge
) -> None:
    waiting = threading.Event()

    def on_progress(progress: Any) -> None:
        if progress.frames == 5:
            edge.answers = False
        if "ticks behind" in progress.waiting_for:
            waiting.set()

    publisher = Publisher(world(tmp_path), settings, speed=0, on_progress=on_progress)
    result: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: result.append(publisher.run()))
    thread.start()
    assert waiting.wait(TIMEOUT_S)
    distinct = {body["sampled_at_ns"] for body in edge.of("tick")}
    assert len(distinct) <= 5 + MAX_TICKS_AHEAD + 2
    edge.answers = True  # the driver repeats its tick, so that a lost answer is given again
    thread.join(TIMEOUT_S)
    assert result[0]["records"]["vehicle_state"] == STEPS * VEHICLES
    assert result[0]["slowed_s"] > 0


def test_a_driver_waits_while_the_edge_holds_too_much_for_the_cloud(
    tmp_path: Path, settings: Settings, edge: AnsweringEdge
) -> None:
    edge.pending = 10**7
    reasons: list[str] = []

    def on_progress(progress: Any) -> None:
        reasons.append(progress.waiting_for)
        if "for the cloud" in progress.waiting_for:
            edge.pending = 0

    summary = Publisher(world(tmp_path), settings, speed=0, on_progress=on_progress).run()
    assert any("records for the cloud" in reason for reason in reasons)
    assert summary["frames"] == STEPS + 1


def test_a_broker_that_restarts_only_pauses_a_run(
    tmp_path: Path, open_dir: Path, broker: RunningBroker, settings: Settings, edge: AnsweringEdge
) -> None:
    if broker.kind != "mosquitto":
        pytest.skip("amqtt forgets its sessions at a restart")
    restarted: list[RunningBroker] = []

    def on_progress(progress: Any) -> None:
        if progress.frames == 10 and not restarted:
            broker.stop()
            restarted.append(start_broker(open_dir / "again", port=broker.port))

    try:
        summary = Publisher(world(tmp_path), settings, speed=0, on_progress=on_progress).run()
    finally:
        for again in restarted:
            again.stop()
    assert restarted
    assert summary["frames"] == STEPS + 1
    assert summary["records"]["vehicle_state"] == STEPS * VEHICLES


def test_an_asked_end_is_clean(tmp_path: Path, settings: Settings, edge: AnsweringEdge) -> None:
    def on_progress(progress: Any) -> None:
        if progress.frames == 7:
            publisher.stop()

    publisher = Publisher(world(tmp_path), settings, speed=0, on_progress=on_progress)
    summary = publisher.run()
    edge.hear_the_end()
    assert summary["frames"] < STEPS
    counts = {body["source_id"]: body["sent_count"] for body in edge.of("source_status")}
    assert sum(counts.values()) == summary["records"]["vehicle_state"]
    assert [b["state"] for b in edge.of("zone_announce") if b] == ["running", "ended"]


def test_the_service_says_what_failed_and_writes_the_truth(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_world(settings, world(tmp_path), speed=0, out_dir=tmp_path, edge_wait_s=0.1)
    assert code == 1
    assert "no edge serves zone" in capsys.readouterr().err
    assert json.loads((tmp_path / "ground_truth.json").read_text()) == []


def test_a_signal_ends_an_endless_scenario_cleanly(
    tmp_path: Path, settings: Settings, edge: AnsweringEdge
) -> None:
    program = (
        "import sys; from pathlib import Path; from openvrc.settings import load_settings;"
        "from simulator.scenarios.crossroads import PLUGIN;"
        "from simulator.service import run_world;"
        "world = PLUGIN.make(zone='z1', run_id='run-1', vehicles=40);"
        "settings = load_settings(broker_url=sys.argv[1]);"
        "sys.exit(run_world(settings, world, speed=20.0, out_dir=Path(sys.argv[2])))"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, settings.broker_url, str(tmp_path)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        edge.ticked.get(timeout=TIMEOUT_S)
        edge.ticked.get(timeout=TIMEOUT_S)
        process.send_signal(signal.SIGTERM)
        out, progress = process.communicate(timeout=TIMEOUT_S)
    edge.hear_the_end()
    assert process.returncode == 0, progress
    summary = json.loads(out)
    assert summary["event"] == "finished"
    assert [b["state"] for b in edge.of("zone_announce") if b] == ["running", "ended"]
    counts = {(b["source_id"], b["sent_count"]) for b in edge.of("source_status")}
    assert counts
    truth = json.loads((tmp_path / "ground_truth.json").read_text())
    assert "battery.insulation" in {event["rule"] for event in truth}
    lines = [json.loads(line) for line in progress.splitlines()]
    assert {line["event"] for line in lines} == {"progress"}


def test_an_absent_broker_is_named(tmp_path: Path) -> None:
    nowhere = load_settings(broker_url="mqtt://127.0.0.1:1")
    with pytest.raises(LinkError, match=r"no broker answers at 127\.0\.0\.1:1"):
        Publisher(world(tmp_path), nowhere, speed=0).run()
