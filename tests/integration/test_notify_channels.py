"""Mails and MQTT messages against real servers: an SMTP server with TLS and a broker."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from paho.mqtt.enums import CallbackAPIVersion

from cloud.notify.base import Channel, Notification, PermanentError, RetryableError
from openvrc.contracts.plugins import discover
from openvrc.embedded.broker import RunningBroker, start_broker
from openvrc.embedded.processes import free_port
from tests.support.patience import PATIENCE_S

CHANNELS: dict[str, Channel] = discover("cloud.notify")
WITHIN_S = PATIENCE_S
HOST = "127.0.0.1"


def notification(**more: Any) -> Notification:
    alert = {
        "id": "a", "rule": "battery.thermal_event", "kind": "battery", "title": "Battery too hot",
        "advice": "Stop and get out.", "severity": "critical", "state": "active", "is_open": True,
        "zone": "town", "run_id": "live", "origin": "live", "subject_type": "vehicle",
        "subject_id": "car-1", "component": "probe:3", "started_at": "2026-01-01T00:00:00.000Z",
        "folded_into": None, "evidence": {"text": "73 °C, 电池过热"},
    }  # fmt: skip
    return Notification("id-1", "raised", "worst", (alert | more,), 1_767_225_600.0)


class MailBox:
    """What an SMTP server took, and whom it refuses."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], Message]] = []
        self.refused: dict[str, str] = {}

    async def handle_RCPT(  # noqa: N802 - the server looks it up by this name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - as above
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 taken"


Serve = Callable[..., dict[str, Any]]


@pytest.fixture
def box() -> MailBox:
    return MailBox()


@pytest.fixture
def serve(box: MailBox) -> Iterator[Serve]:
    """Starts an SMTP server; the options of a channel that sends there."""
    servers: list[Controller] = []

    def start(**options: Any) -> dict[str, Any]:
        server = Controller(box, hostname=HOST, port=free_port(), **options)
        server.start()
        servers.append(server)
        return {
            "host": HOST, "port": server.port, "security": "none",
            "sender": "vrc@example.com", "recipients": ["a@example.com", "b@example.com"],
        }  # fmt: skip

    yield start
    for server in servers:
        server.stop()


def send(channel: str, options: dict[str, Any], told: Notification | None = None) -> None:
    CHANNELS[channel].check(options)
    CHANNELS[channel].send(told or notification(), options)


def test_a_mail_arrives_whole_at_all_recipients(serve: Serve, box: MailBox) -> None:
    send("smtp", serve())
    ((recipients, mail),) = box.mails
    assert recipients == ["a@example.com", "b@example.com"]
    assert mail["Subject"] == "[critical] Battery too hot: car-1 (town)"
    assert mail["Date"] == "Thu, 01 Jan 2026 00:00:00 -0000"
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert "73 °C, 电池过热" in payload.decode()


def test_a_mail_by_starttls_with_a_password_needs_a_certificate_that_is_trusted(
    serve: Serve, box: MailBox, tmp_path: Path
) -> None:
    authority, cafile = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(cafile))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(context)

    def authenticate(_s: Any, _e: Any, _se: Any, _m: str, given: LoginPassword) -> AuthResult:
        return AuthResult(success=given == LoginPassword(b"vrc", b"right"), handled=False)

    options = serve(
        tls_context=context, require_starttls=True, auth_required=True, authenticator=authenticate
    ) | {"security": "starttls", "user": "vrc", "password": "right"}
    with pytest.raises(RetryableError, match="certificate"):
        send("smtp", options)
    with pytest.raises(PermanentError, match="answered 535"):
        send("smtp", options | {"cafile": str(cafile), "password": "wrong"})
    assert box.mails == []
    send("smtp", options | {"cafile": str(cafile)})
    assert len(box.mails) == 1


@pytest.mark.parametrize(
    ("answers", "error", "says", "n_mails"),
    [
        ({"a@example.com": "550 no such user"}, PermanentError, "refused for a@example.com", 1),
        (dict.fromkeys("ab", "450 later"), RetryableError, "2 recipients", 0),
        (dict.fromkeys("ab", "550 no"), PermanentError, "2 recipients", 0),
    ],
)
def test_recipients_that_are_refused_are_told_and_tried_again_only_where_it_may_help(
    serve: Serve, box: MailBox, answers: dict[str, str], error: Any, says: str, n_mails: int
) -> None:
    box.refused = {f"{n}@example.com" if len(n) == 1 else n: text for n, text in answers.items()}
    with pytest.raises(error, match=says):
        send("smtp", serve())
    assert len(box.mails) == n_mails


def test_a_mail_server_that_is_away_is_tried_again() -> None:
    options = {"host": HOST, "port": free_port(), "sender": "a@b.c", "recipients": ["d@e.f"]}
    with pytest.raises(RetryableError):
        send("smtp", options)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    running = start_broker(tmp_path_factory.mktemp("broker"))
    yield running
    running.stop()


def test_an_event_is_published_where_the_topic_says_and_acknowledged(
    broker: RunningBroker,
) -> None:
    got: list[tuple[str, dict[str, Any]]] = []
    is_subscribed, has_come = threading.Event(), threading.Event()
    listener = paho.Client(CallbackAPIVersion.VERSION2)

    def take(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        got.append((message.topic, json.loads(message.payload)))
        has_come.set()

    listener.on_subscribe = lambda *_: is_subscribed.set()
    listener.on_message = take
    listener.connect(broker.host, broker.port)
    listener.loop_start()
    listener.subscribe("alerts/#", qos=1)
    assert is_subscribed.wait(WITHIN_S)
    url = f"mqtt://{broker.host}:{broker.port}"
    send("mqtt", {"url": url, "topic": "alerts/{zone}/{severity}/{event}"})
    assert has_come.wait(WITHIN_S)
    listener.disconnect()
    listener.loop_stop()
    ((topic, event),) = got
    assert topic == "alerts/town/critical/raised"
    assert event["type"] == "org.openvrc.alert.raised"
    assert event["data"]["alerts"][0]["subject_id"] == "car-1"


def test_a_broker_that_is_away_is_tried_again() -> None:
    with pytest.raises(RetryableError):
        send("mqtt", {"url": f"mqtt://{HOST}:{free_port()}", "timeout_s": 1.0})
