"""The intake: MQTT messages with QoS 1, acknowledged only when told so.

A port with two clients behind it, chosen by the setting `edge_mqtt_client`. What both keep:

- acknowledged when `ack` is called, in that order, and never on another connection than the one
  the message came by: after a reconnect the broker counts message ids anew, and a late
  acknowledgement would be another message's;
- a queue bounded in messages and bytes; when it is full, nothing more is read from the socket, so
  that the broker keeps the rest, and nothing is dropped;
- a persistent session, so that the broker keeps messages while the edge is away, and sends again
  what was not acknowledged;
- TLS with a checked certificate, user and password.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge.gmqtt_intake import GmqttIntake
from edge.inbox import Delivery
from edge.paho_intake import PahoIntake
from openvrc.contracts.topics import subscription
from openvrc.mqtt.address import BrokerAddress, parse_broker_url
from openvrc.settings import Settings


class Intake(Protocol):
    """What the main loop needs of a client."""

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        ...

    def stop(self) -> None:
        """Take nothing more in and disconnect; what is not acknowledged comes again."""
        ...

    def stop_reading(self) -> None:
        """Take nothing more in, but stay connected for acknowledgements."""
        ...

    def drain(self, wait_s: float, gather_s: float, most: int, most_bytes: int) -> list[Delivery]:
        """Deliveries of up to `gather_s` after the first, for which `wait_s` is waited."""
        ...

    @property
    def queued_messages(self) -> int:
        """Messages that wait to be drained."""
        ...

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge what is durable; deliveries of an earlier connection come again anyway."""
        ...

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0; lost when there is no connection."""
        ...


class IntakeMaker(Protocol):
    """How an intake is made; both clients' classes are one."""

    def __call__(
        self, address: BrokerAddress, client_id: str, filters: Sequence[str], queue_messages: int
    ) -> Intake:
        """Not yet started; `queue_messages` bounds its queue."""
        ...


CLIENTS: dict[str, IntakeMaker] = {"gmqtt": GmqttIntake, "paho": PahoIntake}


def open_intake(settings: Settings) -> Intake:
    """The intake of these settings, not yet started. Raises BrokerUrlError."""
    make = CLIENTS[settings.edge_mqtt_client]
    return make(
        parse_broker_url(settings.broker_url),
        f"vrc-edge-{settings.edge_id}",
        subscription(settings.edge_zone),
        settings.edge_queue_messages,
    )
