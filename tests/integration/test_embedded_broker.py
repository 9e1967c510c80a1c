"""Both brokers keep the promises that the platform's accounting rests on."""

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from openvrc.embedded.broker import RunningBroker, find_mosquitto, start_broker
from openvrc.embedded.errors import EmbeddedServerError, PortTakenError
from openvrc.embedded.processes import LOOPBACK, accepts_connections
from tests.support.patience import PATIENCE_S

TIMEOUT_S = PATIENCE_S
KINDS = ["mosquitto", "amqtt"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "mosquitto" and find_mosquitto() is None:
        pytest.skip("no mosquitto is installed")
    return name


@pytest.fixture
def broker(kind: str, open_dir: Path) -> Iterator[RunningBroker]:
    running = start_broker(open_dir / "broker", prefer=kind)
    yield running
    running.stop()


class Client:
    """A paho client that collects messages, and can hold back its acknowledgements."""

    def __init__(
        self, broker: RunningBroker, name: str, *, clean: bool = True, manual_ack: bool = False
    ) -> None:
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self.events: queue.Queue[str] = queue.Queue()
        self.paho = mqtt.Client(
            CallbackAPIVersion.VERSION2, name, clean_session=clean, manual_ack=manual_ack
        )
        self.paho.max_inflight_messages_set(100)
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_connect = lambda *_: self.events.put("connected")
        self.paho.on_subscribe = lambda *_: self.events.put("subscribed")
        self.paho.connect(broker.host, broker.port)
        self.paho.loop_start()
        assert self.events.get(timeout=TIMEOUT_S) == "connected"

    def subscribe(self, *filters: str) -> None:
        self.paho.subscribe([(topic_filter, 1) for topic_filter in filters])
        assert self.events.get(timeout=TIMEOUT_S) == "subscribed"

    def publish(self, topic: str, payloads: list[bytes], *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait until every one is acknowledged."""
        for sent in [self.paho.publish(topic, p, qos=1, retain=retain) for p in payloads]:
            sent.wait_for_publish(TIMEOUT_S)
            assert sent.is_published()

    def take(self, count: int) -> list[mqtt.MQTTMessage]:
        return [self.messages.get(timeout=TIMEOUT_S) for _ in range(count)]

    def leave(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def die(self) -> None:
        """End the connection as kill -9 would: no DISCONNECT."""
        connection = self.paho.socket()
        assert isinstance(connection, socket.socket)
        self.paho.on_disconnect = lambda *_: self.events.put("gone")
        self.paho.reconnect_delay_set(3600, 3600)
        connection.shutdown(socket.SHUT_RDWR)
        assert self.events.get(timeout=TIMEOUT_S) == "gone"
        self.paho.disconnect()
        self.paho.loop_stop()


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    made: list[Client] = []
    yield made
    for client in made:
        with contextlib.suppress(Exception):
            client.leave()


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


def payloads_of(messages: list[mqtt.MQTTMessage]) -> list[bytes]:
    return [bytes(message.payload) for message in messages]


def test_a_broker_listens_on_loopback_only(broker: RunningBroker, kind: str) -> None:
    assert broker.kind == kind
    assert broker.host == LOOPBACK
    with socket.socket() as another:  # every other address of the machine is still free
        another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        another.bind(("127.0.0.2" if os.uname().sysname == "Linux" else "::", broker.port))


def test_a_burst_arrives_complete_and_in_order(
    broker: RunningBroker, clients: list[Client]
) -> None:
    clients += [Client(broker, "reader"), Client(broker, "writer")]
    clients[0].subscribe("vrc/v1/+/vehicle/+/vehicle_state")
    sent = numbered(3000)
    clients[1].publish("vrc/v1/z/vehicle/v1/vehicle_state", sent)
    assert payloads_of(clients[0].take(len(sent))) == sent


def test_a_publisher_that_leaves_after_its_last_acknowledgement_loses_nothing(
    broker: RunningBroker, clients: list[Client]
) -> None:
    clients.append(Client(broker, "reader"))
    clients[0].subscribe("a/#")
    for burst in range(5):
        writer = Client(broker, f"writer{burst}")
        writer.publish("a/b", numbered(200, 200 * burst))
        writer.leave()
    assert payloads_of(clients[0].take(1000)) == numbered(1000)


def test_messages_wait_for_an_absent_persistent_session(
    broker: RunningBroker, clients: list[Client]
) -> None:
    edge = Client(broker, "edge", clean=False)
    edge.subscribe("a/+")
    edge.leave()
    clients.append(Client(broker, "writer"))
    sent = numbered(5000)  # five times what a default mosquitto keeps
    clients[0].publish("a/b", sent)
    clients.append(Client(broker, "edge", clean=False))
    received = clients[1].take(len(sent))
    assert payloads_of(received) == sent
    assert not any(message.retain for message in received)


def test_a_clean_session_is_forgotten(broker: RunningBroker, clients: list[Client]) -> None:
    edge = Client(broker, "edge")
    edge.subscribe("a/+")
    edge.leave()
    clients.append(Client(broker, "writer"))
    clients[0].publish("a/b", [b"nobody is there"])
    clients.append(Client(broker, "edge"))
    clients[1].subscribe("a/c")
    clients[0].publish("a/b", [b"not subscribed any more"])
    clients[0].publish("a/c", [b"this one"])
    assert payloads_of(clients[1].take(1)) == [b"this one"]


def test_a_killed_subscriber_is_sent_again_what_it_had_not_acknowledged(
    broker: RunningBroker, clients: list[Client]
) -> None:
    edge = Client(broker, "edge", clean=False, manual_ack=True)
    edge.subscribe("a/+")
    clients.append(Client(broker, "writer"))
    clients[0].publish("a/b", numbered(500))
    for message in edge.take(100):
        edge.paho.ack(message.mid, 1)
    edge.take(100)  # seen, but not acknowledged
    edge.die()
    clients[0].publish("a/b", numbered(500, 500))
    clients.append(Client(broker, "edge", clean=False))
    missing = set(numbered(900, 100))
    while missing:  # the end of the stream; acknowledged ones may come again, none may be lacking
        missing -= set(payloads_of(clients[1].take(1)))


def test_a_subscriber_may_acknowledge_late(broker: RunningBroker, clients: list[Client]) -> None:
    """amqtt as it comes gives up after 5 s and discards the message."""
    edge = Client(broker, "edge", clean=False, manual_ack=True)
    edge.subscribe("a/+")
    clients.append(Client(broker, "writer"))
    clients[0].publish("a/b", numbered(20))
    edge.take(20)
    threading.Event().wait(6.0)
    edge.die()
    clients.append(Client(broker, "edge", clean=False))
    assert payloads_of(clients[1].take(20)) == numbered(20)


def test_a_retained_message_reaches_those_who_subscribe_later(
    broker: RunningBroker, clients: list[Client]
) -> None:
    clients.append(Client(broker, "writer"))
    clients[0].publish("zone/announce", [b"first"], retain=True)
    clients[0].publish("zone/announce", [b"second"], retain=True)
    clients.append(Client(broker, "reader"))
    clients[1].subscribe("zone/+")
    (message,) = clients[1].take(1)
    assert (message.payload, message.retain) == (b"second", True)


def test_a_retained_message_is_cleared_by_an_empty_one(
    broker: RunningBroker, clients: list[Client]
) -> None:
    clients.append(Client(broker, "writer"))
    clients[0].publish("zone/announce", [b"first"], retain=True)
    clients[0].publish("zone/announce", [b""], retain=True)
    clients.append(Client(broker, "reader"))
    clients[1].subscribe("zone/+")
    clients[0].publish("zone/other", [b"next"])
    assert payloads_of(clients[1].take(1)) == [b"next"]


def test_who_connects_is_not_sent_what_others_subscribed_to(
    broker: RunningBroker, clients: list[Client]
) -> None:
    clients.append(Client(broker, "writer"))
    clients[0].subscribe("zone/+")
    clients[0].publish("zone/announce", [b"retained"], retain=True)
    clients.append(Client(broker, "reader"))
    clients[1].subscribe("a/b")
    clients[0].publish("a/b", [b"next"])
    assert payloads_of(clients[1].take(1)) == [b"next"]


def test_overlapping_subscriptions_deliver_at_least_once(
    broker: RunningBroker, clients: list[Client]
) -> None:
    clients += [Client(broker, "reader"), Client(broker, "writer")]
    clients[0].subscribe("a/+", "a/b", "#")
    clients[1].publish("a/b", [b"one"])
    assert payloads_of(clients[0].take(1)) == [b"one"]


def test_a_payload_of_five_megabytes_passes(broker: RunningBroker, clients: list[Client]) -> None:
    clients += [Client(broker, "reader"), Client(broker, "writer")]
    clients[0].subscribe("a/+")
    payload = os.urandom(1 << 16) * 80
    clients[1].publish("a/b", [payload])
    assert payloads_of(clients[0].take(1)) == [payload]


def test_a_payload_beyond_the_limit_does_not_stop_the_next(
    broker: RunningBroker, clients: list[Client]
) -> None:
    clients += [Client(broker, "reader"), Client(broker, "other")]
    clients[0].subscribe("a/+")
    writer = Client(broker, "writer")
    writer.paho.publish("a/b", bytes(17 << 20), qos=1)
    clients[1].publish("a/b", [b"next"])
    received = payloads_of(clients[0].take(1))
    writer.leave()
    assert received == [b"next"]


def test_a_session_is_taken_over_by_its_successor(
    broker: RunningBroker, clients: list[Client]
) -> None:
    first = Client(broker, "edge", clean=False)
    first.subscribe("a/+")
    first.paho.reconnect_delay_set(3600, 3600)
    clients += [Client(broker, "edge", clean=False), Client(broker, "writer")]
    clients[1].publish("a/b", numbered(50))
    received = payloads_of(clients[0].take(50))
    first.leave()
    assert received == numbered(50)


def test_mosquitto_keeps_sessions_and_retained_messages_over_a_restart(
    open_dir: Path, clients: list[Client]
) -> None:
    if find_mosquitto() is None:
        pytest.skip("no mosquitto is installed")
    broker = start_broker(open_dir, prefer="mosquitto")
    edge = Client(broker, "edge", clean=False)
    edge.subscribe("a/+")
    edge.leave()
    writer = Client(broker, "writer")
    writer.publish("a/b", numbered(10), retain=True)
    writer.leave()
    broker.stop()
    broker = start_broker(open_dir, prefer="mosquitto")
    clients.append(Client(broker, "edge", clean=False))
    assert payloads_of(clients[0].take(10)) == numbered(10)
    clients[0].leave()
    broker.stop()


def test_stop_frees_the_port(kind: str, open_dir: Path) -> None:
    broker = start_broker(open_dir / "b", prefer=kind)
    assert accepts_connections(broker.host, broker.port)
    broker.stop()
    assert not broker.process.is_running
    assert not accepts_connections(broker.host, broker.port)


def test_a_named_port_that_is_taken_is_refused(broker: RunningBroker, open_dir: Path) -> None:
    with pytest.raises(PortTakenError, match=f"port {broker.port} is taken"):
        start_broker(open_dir / "second", prefer=broker.kind, port=broker.port)


def test_a_crash_at_start_shows_the_last_log_lines(open_dir: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("no mosquitto is installed")
    (open_dir / "mosquitto").mkdir()
    (open_dir / "mosquitto" / "sessions").mkdir()
    (open_dir / "mosquitto" / "sessions" / "mosquitto.db").write_text("not a database " * 20)
    (open_dir / "mosquitto" / "sessions" / "mosquitto.db").chmod(0o644)
    with pytest.raises(EmbeddedServerError, match="ended at start") as raised:
        start_broker(open_dir / "mosquitto", prefer="mosquitto")
    assert raised.value.log_tail


def test_without_mosquitto_amqtt_is_taken(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openvrc.embedded.broker.find_mosquitto", lambda: None)
    broker = start_broker(open_dir)
    broker.stop()
    assert broker.kind == "amqtt"
    with pytest.raises(EmbeddedServerError, match="mosquitto: is not installed"):
        start_broker(open_dir, prefer="mosquitto")


def test_an_unknown_kind_is_refused(open_dir: Path) -> None:
    with pytest.raises(ValueError, match="'auto', 'mosquitto' or 'amqtt'"):
        start_broker(open_dir, prefer="rabbit")
