"""The intake by paho: its network thread waits while the queue is full, and so stops reading."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.inbox import Delivery, Inbox
from openvrc.mqtt.address import BrokerAddress

LOG = logging.getLogger("edge.intake")

KEEPALIVE_S = 30
FULL_POLL_S = 0.1
"""How often a reader that waits for room looks whether it shall stop."""
LONGEST_RECONNECT_S = 10
LAST_WRITE_S = 2.0
"""paho's thread may end before it has written what waits: acknowledgements, above all."""


class PahoIntake:
    """Subscribes and hands out deliveries; see the port in `edge/intake.py`."""

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        filters: Sequence[str],
        queue_messages: int,
    ) -> None:
        self._address, self._filters = address, filters
        self._has_room = threading.Event()
        self._inbox = Inbox(queue_messages, on_room=self._has_room.set)
        self._connection = 0
        self._stopping = threading.Event()
        # 3.1.1: the embedded brokers both speak it, and paho takes two thirds of the time of 5.
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
        )
        if (context := address.tls_context()) is not None:
            self._client.tls_set_context(context)
        if address.user is not None:
            self._client.username_pw_set(address.user, address.password)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, LONGEST_RECONNECT_S)

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._client.connect_async(self._address.host, self._address.port, KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        """Take nothing more in and disconnect; what is not acknowledged comes again."""
        self._stopping.set()
        deadline_s = time.monotonic() + LAST_WRITE_S
        while self._client.want_write() and time.monotonic() < deadline_s:
            time.sleep(FULL_POLL_S / 10)
        self._client.disconnect()
        self._client.loop_stop()

    def stop_reading(self) -> None:
        """Take nothing more in, but stay connected for acknowledgements."""
        self._stopping.set()

    def drain(self, wait_s: float, gather_s: float, most: int, most_bytes: int) -> list[Delivery]:
        """Deliveries of up to `gather_s` after the first, for which `wait_s` is waited."""
        return self._inbox.take(wait_s, gather_s, most, most_bytes)

    @property
    def queued_messages(self) -> int:
        """Messages that wait to be drained."""
        return self._inbox.n_messages

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge what is durable; deliveries of an earlier connection come again anyway."""
        for delivery in deliveries:
            if delivery.ticket is not None and delivery.connection == self._connection:
                self._client.ack(delivery.ticket, 1)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0; lost when there is no connection."""
        if self._client.is_connected():
            self._client.publish(topic, payload, qos=0)

    def _on_connect(self, client: mqtt.Client, _u: Any, _f: Any, code: Any, _p: Any) -> None:
        self._connection += 1
        if code.is_failure:
            LOG.error("broker refused the connection: %s", code)
            return
        LOG.info("connected to the broker")
        client.subscribe([(topic, 1) for topic in self._filters])

    def _on_disconnect(self, _c: mqtt.Client, _u: Any, _f: Any, code: Any, _p: Any) -> None:
        self._connection += 1
        if not self._stopping.is_set():
            LOG.warning("lost the broker (%s), connecting again", code)

    def _on_message(self, _c: mqtt.Client, _u: Any, message: mqtt.MQTTMessage) -> None:
        if self._stopping.is_set():
            return
        received_at_ns = time.time_ns()
        try:
            topic = message.topic
        except UnicodeDecodeError:  # paho decodes when asked; such a topic is bad input too
            topic = "not-utf8"
        ticket = message.mid if message.qos else None
        self._put(Delivery(topic, bytes(message.payload), received_at_ns, ticket, self._connection))

    def _put(self, delivery: Delivery) -> None:
        """Into the queue; then wait until there is room for the next."""
        self._has_room.clear()
        if self._inbox.put(delivery):
            return
        while not self._stopping.is_set() and not self._has_room.wait(FULL_POLL_S):
            continue
