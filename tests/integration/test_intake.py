"""What the edge's intake promises, kept by both clients on both brokers."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge import gmqtt_intake, paho_intake
from edge.inbox import Delivery
from edge.intake import CLIENTS, Intake
from openvrc.embedded.broker import RunningBroker, find_mosquitto, start_broker
from openvrc.embedded.processes import LOOPBACK, accepts_connections, free_port
from openvrc.mqtt import session
from openvrc.mqtt.address import parse_broker_url
from tests.support.cut_proxy import CutProxy
from tests.support.patience import PATIENCE_S

TIMEOUT_S = PATIENCE_S
KEEPALIVE_S = 5
TOPIC = "vrc/v1/z/vehicle/v1/vehicle_state"
FILTERS = ["vrc/v1/+/+/+/+"]
PUBACK_BYTES = 4
PASSWD = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"


@pytest.fixture(params=["gmqtt", "paho"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["mosquitto", "amqtt"])
def broker(request: pytest.FixtureRequest, open_dir: Path) -> Iterator[RunningBroker]:
    if request.param == "mosquitto" and find_mosquitto() is None:
        pytest.skip("no mosquitto is installed")
    running = start_broker(open_dir / "broker", prefer=request.param)
    yield running
    running.stop()


@pytest.fixture
def proxy(broker: RunningBroker) -> Iterator[CutProxy]:
    made = CutProxy(broker.port)
    yield made
    made.close()


class Publisher:
    def __init__(self, broker: RunningBroker) -> None:
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, "sender")
        self.paho.max_inflight_messages_set(100)
        self.paho.connect(broker.host, broker.port)
        self.paho.loop_start()

    def send(self, payloads: list[bytes]) -> None:
        """Until the broker has them all."""
        for sent in [self.paho.publish(TOPIC, payload, qos=1) for payload in payloads]:
            sent.wait_for_publish(TIMEOUT_S)
            assert sent.is_published()


@pytest.fixture
def publisher(broker: RunningBroker) -> Iterator[Publisher]:
    made = Publisher(broker)
    yield made
    made.paho.disconnect()
    made.paho.loop_stop()


class Intakes:
    """Makes intakes of one client, all with the same session; ends them."""

    def __init__(self, client: str, port: int) -> None:
        self._client, self._port = client, port
        self._made: list[Intake] = []

    def start(self, *, url: str = "", queue_messages: int = 5000) -> Intake:
        address = parse_broker_url(url or f"mqtt://{LOOPBACK}:{self._port}")
        made: Intake = CLIENTS[self._client](address, "vrc-edge-x", FILTERS, queue_messages)
        self._made.append(made)
        made.start()
        return made

    def close(self) -> None:
        for made in self._made:
            made.stop()


@pytest.fixture
def intakes(client: str, proxy: CutProxy) -> Iterator[Intakes]:
    made = Intakes(client, proxy.port)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.1)


def numbered(count: int, start: int = 0, n_bytes: int = 8) -> list[bytes]:
    return [b"%d" % number + b" " * n_bytes for number in range(start, start + count)]


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [int(d.payload) for d in deliveries]


def take(intake: Intake, count: int) -> list[Delivery]:
    """So many numbered messages; a probe of `hears` may come again after a cut."""
    found: list[Delivery] = []
    while len(found) < count:
        got = intake.drain(TIMEOUT_S, 0.0, count - len(found), 10**9)
        assert got, f"{len(found)} of {count} came"
        found += [delivery for delivery in got if not delivery.payload.startswith(b"-")]
    return found


def hears(intake: Intake, publisher: Publisher) -> None:
    """Wait until it is subscribed: the newest message comes through, so no earlier one will."""
    deadline_s = time.monotonic() + TIMEOUT_S
    newest = 0
    heard: list[int] = []
    while newest not in heard:
        assert time.monotonic() < deadline_s, "it is not subscribed"
        newest -= 1
        publisher.send([b"%d" % newest])
        got = intake.drain(0.5, 0.0, 100, 10**9)
        intake.ack(got)
        heard = numbers(got)


def test_messages_come_in_order_and_once_acknowledged_never_again(
    intakes: Intakes, publisher: Publisher
) -> None:
    intake = intakes.start()
    hears(intake, publisher)
    publisher.send(numbered(3000))
    found: list[Delivery] = []
    while len(found) < 3000:  # a broker sends no more than 2000 ahead of the acknowledgements
        found += (got := take(intake, 500))
        intake.ack(got)
    assert numbers(found) == list(range(3000))
    assert all(d.topic == TOPIC and d.received_at_ns > 0 for d in found)
    intake.stop()
    publisher.send(numbered(1, 3000))
    assert numbers(take(intakes.start(), 1)) == [3000]


def test_what_is_not_acknowledged_comes_again_after_a_lost_connection(
    intakes: Intakes, publisher: Publisher, proxy: CutProxy
) -> None:
    intake = intakes.start()
    hears(intake, publisher)
    publisher.send(numbered(300))
    first = take(intake, 300)
    bytes_before = proxy.bytes_up
    intake.ack(first[:100])
    until_up(proxy, bytes_before + 100 * PUBACK_BYTES)
    publisher.send(numbered(1, 300))  # a round trip: the broker has read the acknowledgements
    take(intake, 1)
    proxy.cut()
    assert numbers(take(intake, 201)) == list(range(100, 301))


def test_an_acknowledgement_never_crosses_a_reconnect(
    intakes: Intakes, publisher: Publisher, proxy: CutProxy
) -> None:
    intake = intakes.start()
    hears(intake, publisher)
    publisher.send(numbered(20))
    old = take(intake, 20)
    proxy.cut()
    again = take(intake, 20)
    assert numbers(again) == list(range(20))
    intake.ack(old)  # late: the ids are the same, the connection is not
    publisher.send(numbered(1, 20))
    assert numbers(take(intake, 1)) == [20]
    proxy.cut()
    assert numbers(take(intake, 21)) == list(range(21))


def test_a_full_queue_stops_reading_and_drops_nothing(
    intakes: Intakes, publisher: Publisher, proxy: CutProxy
) -> None:
    intake = intakes.start(queue_messages=50)
    hears(intake, publisher)
    n_messages, n_bytes = 1500, 20_000
    sender = threading.Thread(target=publisher.send, args=(numbered(n_messages, 0, n_bytes),))
    sender.start()
    sender.join(TIMEOUT_S)
    assert not sender.is_alive()
    until_quiet(proxy)
    # What the sockets and the proxy hold, far less than all of it.
    assert proxy.bytes_down < n_messages * n_bytes / 2
    found = intake.drain(TIMEOUT_S, 0.0, 10**6, 10**9)
    assert 50 <= len(found) <= 50 + 2 * 65_536 // n_bytes
    intake.ack(found)
    rest: list[Delivery] = []
    while len(found) + len(rest) < n_messages:
        got = take(intake, 1)
        intake.ack(got)
        rest += got
    assert numbers(found + rest) == list(range(n_messages))
    assert proxy.n_connections == 1


def until_up(proxy: CutProxy, n_bytes: int) -> None:
    """Wait until the client has sent so many bytes."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while proxy.bytes_up < n_bytes:
        assert time.monotonic() < deadline_s, f"{proxy.bytes_up} of {n_bytes} bytes"
        time.sleep(0.01)


def until_quiet(proxy: CutProxy) -> None:
    """Wait until half a second has passed without a byte."""
    seen = -1
    while seen != proxy.bytes_down:
        seen = proxy.bytes_down
        time.sleep(0.5)


def test_gmqtt_keeps_its_connection_while_it_may_not_read(
    broker: RunningBroker,
    publisher: Publisher,
    proxy: CutProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The broker waits half as long again: so long may a busy machine keep us from asking.
    monkeypatch.setattr(session, "KEEPALIVE_S", KEEPALIVE_S)
    intakes = Intakes("gmqtt", proxy.port)
    intake = intakes.start(queue_messages=2)
    try:
        hears(intake, publisher)
        publisher.send(numbered(200, n_bytes=2000))
        time.sleep(2.2 * KEEPALIVE_S)
        found = [d for _ in range(200) for d in take(intake, 1)]
        intake.ack(found)
        assert numbers(found) == list(range(200))
        assert proxy.n_connections == 1
    finally:
        intakes.close()


def test_messages_wait_for_an_absent_edge(intakes: Intakes, publisher: Publisher) -> None:
    intake = intakes.start()
    hears(intake, publisher)
    intake.stop()
    publisher.send(numbered(900))
    assert numbers(take(intakes.start(), 900)) == list(range(900))


def test_nothing_more_is_taken_in_before_a_stop_but_acknowledged(
    intakes: Intakes, publisher: Publisher
) -> None:
    intake = intakes.start()
    hears(intake, publisher)
    publisher.send(numbered(10))
    found = take(intake, 10)
    intake.stop_reading()
    publisher.send(numbered(10, 10))
    intake.ack(found)
    intake.stop()
    assert numbers(take(intakes.start(), 10)) == list(range(10, 20))


def test_a_topic_that_is_no_text_is_delivered_as_such(
    intakes: Intakes, publisher: Publisher
) -> None:
    made = CLIENTS["gmqtt"](parse_broker_url("mqtt://h"), "c", FILTERS, 10)
    connection = session.Connection("c", is_persistent=True, listener=made)  # type: ignore[arg-type]
    connection._on_publish(0x32, b"\x00\x02\xff\xfe\x00\x07payload")
    (found,) = made.drain(0.0, 0.0, 1, 10**9)
    assert (found.topic, found.payload, found.ticket) == ("not-utf8", b"payload", b"\x00\x07")


def test_what_the_edge_publishes_is_heard(
    intakes: Intakes, publisher: Publisher, broker: RunningBroker
) -> None:
    intake = intakes.start()
    hears(intake, publisher)
    intake.publish(TOPIC, b"7")  # it is subscribed to that itself
    assert numbers(take(intake, 1)) == [7]


@pytest.fixture(scope="module")
def secure_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A mosquitto with TLS and one user: its port and the certificate to trust."""
    program, openssl = find_mosquitto(), shutil.which("openssl")
    if program is None or openssl is None or not Path(PASSWD).exists():
        pytest.skip("needs mosquitto, mosquitto_passwd and openssl")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    passwords = folder / "passwords"
    passwords.touch()
    subprocess.run([PASSWD, "-b", str(passwords), "edge", "pass/word"], check=True)
    port = free_port()
    lines = [f"listener {port} {LOOPBACK}", f"certfile {certificate}", f"keyfile {key}"]
    lines += [f"password_file {passwords}", "allow_anonymous false"]
    if os.geteuid() == 0:  # as root it would change to a user who cannot read this folder
        lines.append("user root")
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    process = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")])
    deadline_s = time.monotonic() + TIMEOUT_S
    while not accepts_connections(LOOPBACK, port) and time.monotonic() < deadline_s:
        assert process.poll() is None, "mosquitto refused our configuration"
        time.sleep(0.02)
    yield port, certificate
    process.terminate()
    process.wait()


def test_tls_and_a_password_are_used(
    client: str, secure_broker: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, certificate = secure_broker
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    intakes = Intakes(client, port)
    intake = intakes.start(url=f"mqtts://edge:pass%2Fword@localhost:{port}")
    try:
        assert echoes(intake)
    finally:
        intakes.close()


# Not paho with a stranger's certificate: it leaves the socket to the garbage collector, with a
# warning, which is an error here.
@pytest.mark.parametrize(
    ("client", "trusted", "user"),
    [
        ("gmqtt", False, "edge:pass%2Fword"),
        ("gmqtt", True, "edge:guess"),
        ("paho", True, "edge:guess"),
    ],
)
def test_a_stranger_s_certificate_and_a_wrong_password_are_no_connection_and_tried_again(
    client: str,
    trusted: bool,
    user: str,
    secure_broker: tuple[int, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, certificate = secure_broker
    monkeypatch.setattr(paho_intake, "LONGEST_RECONNECT_S", 1)
    tries: list[str] = []
    gmqtt_log, paho_log = gmqtt_intake.LOG, paho_intake.LOG
    monkeypatch.setattr(gmqtt_log, "warning", lambda text, *_: tries.append(text))
    monkeypatch.setattr(paho_log, "error", lambda text, *_: tries.append(text))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    proxy = CutProxy(port)
    intakes = Intakes(client, port)
    intake = intakes.start(url=f"mqtts://{user}@localhost:{proxy.port}")
    try:
        deadline_s = time.monotonic() + TIMEOUT_S
        while proxy.n_connections < 2:
            assert time.monotonic() < deadline_s, "it gave up"
            time.sleep(0.05)
        assert not echoes(intake, wait_s=0.5)
    finally:
        intakes.close()
        proxy.close()


def echoes(intake: Intake, wait_s: float = TIMEOUT_S) -> bool:
    """Whether what it publishes comes back to it in time."""
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s:
        intake.publish(TOPIC, b"7")
        if intake.drain(0.1, 0.0, 1, 10**9):
            return True
    return False
