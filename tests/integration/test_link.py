"""What a sender's link promises, kept by both clients: nothing is lost, order stays."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from openvrc.embedded.broker import RunningBroker, start_broker
from openvrc.embedded.processes import LOOPBACK, free_port
from openvrc.mqtt import session
from openvrc.mqtt.address import BrokerUrlError
from simulator.gmqtt_link import GmqttLink
from simulator.link import Link, LinkError, LinkMaker, Stopped
from simulator.mqtt_link import MqttLink
from tests.support.cut_proxy import CutProxy
from tests.support.patience import PATIENCE_S

TIMEOUT_S = PATIENCE_S


@pytest.fixture
def broker(open_dir: Path) -> Iterator[RunningBroker]:
    running = start_broker(open_dir / "broker")
    yield running
    running.stop()


@pytest.fixture
def proxy(broker: RunningBroker) -> Iterator[CutProxy]:
    made = CutProxy(broker.port)
    yield made
    made.close()


@pytest.fixture(params=[GmqttLink, MqttLink])
def make(request: pytest.FixtureRequest) -> LinkMaker:
    made: LinkMaker = request.param
    return made


class Opened:
    """A link, what it hears, and whether it shall stop."""

    def __init__(self, make: LinkMaker, port: int) -> None:
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.halt = threading.Event()
        self.link: Link = make(
            f"mqtt://{LOOPBACK}:{port}",
            subscription="answers/+",
            on_message=lambda topic, payload: self.heard.put((topic, payload)),
            is_stopped=self.halt.is_set,
        )
        self.link.open()


@pytest.fixture
def opened(make: LinkMaker, proxy: CutProxy) -> Iterator[Opened]:
    made = Opened(make, proxy.port)
    yield made
    made.link.close()


class Reader:
    def __init__(self, broker: RunningBroker) -> None:
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        ready = threading.Event()
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, "reader")
        self.paho.on_connect = lambda client, *_: client.subscribe("a/+", qos=1)
        self.paho.on_subscribe = lambda *_: ready.set()
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.connect(broker.host, broker.port)
        self.paho.loop_start()
        assert ready.wait(TIMEOUT_S)

    def numbers(self, last: int) -> list[int]:
        """Everything up to a number."""
        found: list[int] = []
        while last not in found:
            found.append(int(self.messages.get(timeout=TIMEOUT_S).payload))
        return found


@pytest.fixture
def reader(broker: RunningBroker) -> Iterator[Reader]:
    made = Reader(broker)
    yield made
    made.paho.disconnect()
    made.paho.loop_stop()


def numbered(count: int, start: int = 0) -> list[tuple[str, bytes]]:
    return [("a/b", b"%d" % number) for number in range(start, start + count)]


def test_everything_arrives_in_order(opened: Opened, reader: Reader) -> None:
    opened.link.publish_all(numbered(3000))
    opened.link.publish("a/b", b"3000", retain=True)
    opened.link.drain()
    assert opened.link.is_connected
    assert reader.numbers(3000) == list(range(3001))


def test_nothing_is_lost_when_the_connection_is(
    opened: Opened, reader: Reader, proxy: CutProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.1)
    for first in range(0, 3000, 1000):
        opened.link.publish_all(numbered(1000, first))
        proxy.cut()
    opened.link.drain()
    found = reader.numbers(2999)
    assert sorted(set(found)) == list(range(3000))
    firsts = sorted(range(3000), key=found.index)
    assert firsts == list(range(3000)), "first copies keep their order"


def test_what_it_subscribed_to_is_heard(opened: Opened, reader: Reader) -> None:
    reader.paho.publish("answers/x", b"yes", qos=1)
    assert opened.heard.get(timeout=TIMEOUT_S) == ("answers/x", b"yes")


def test_a_wait_for_a_broker_that_is_gone_ends_when_asked(
    opened: Opened, broker: RunningBroker
) -> None:
    broker.stop()
    ended = threading.Event()

    def publish() -> None:
        with pytest.raises(Stopped):
            opened.link.publish_all(numbered(10_000))
        ended.set()

    thread = threading.Thread(target=publish)
    thread.start()
    opened.halt.set()
    assert ended.wait(TIMEOUT_S)
    thread.join(TIMEOUT_S)


def test_a_broker_that_is_not_there_is_named(make: LinkMaker) -> None:
    port = free_port()
    with pytest.raises(LinkError, match=f"127.0.0.1:{port}"):
        Opened(make, port)


@pytest.mark.parametrize("url", ["http://h", "mqtt://", "mqtt://h:port", "h:1883"])
def test_a_url_that_names_no_broker_is_refused(make: LinkMaker, url: str) -> None:
    with pytest.raises(BrokerUrlError, match="expected mqtt"):
        make(url, subscription="a", on_message=lambda *_: None, is_stopped=lambda: False)
