"""The intake: MQTT messages with QoS 1, acknowledged only when told so.

The paho thread puts deliveries into a bounded queue; when it is full, that thread waits and so
stops reading, which makes the broker keep the rest. A persistent session makes the broker keep
messages while the edge is away. An acknowledgement carries the connection it belongs to: after a
reconnect the broker counts message ids anew, and a late one would acknowledge another message.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from openvrc.contracts.topics import subscription

LOG = logging.getLogger("edge.intake")

KEEPALIVE_S = 30
MAX_QUEUED_BYTES = 64_000_000
"""The queue's bound in memory: a few thousand of the largest payloads would be 20 GB."""
FULL_POLL_S = 0.1
"""How often a reader that waits for room looks whether it shall stop."""
LONGEST_RECONNECT_S = 10


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came; hand it back to `ack` when it is durable."""

    topic: str
    payload: bytes
    received_at_ns: int
    qos: int
    mid: int
    connection: int


class Intake:
    """Subscribes to one zone (or all) and hands out deliveries."""

    def __init__(self, broker_url: str, edge_id: str, zone: str, queue_messages: int) -> None:
        self._zone = zone
        self._queue: queue.Queue[Delivery] = queue.Queue(queue_messages)
        self._queued_bytes = 0
        self._bytes_lock = threading.Lock()
        self._connection = 0
        self._stopping = threading.Event()
        # 3.1.1: the embedded brokers both speak it, and paho takes two thirds of the time of 5.
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            f"vrc-edge-{edge_id}",
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
        )
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, LONGEST_RECONNECT_S)
        self._host, self._port = _address(self._client, broker_url)

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._client.connect_async(self._host, self._port, KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        """Take nothing more in and disconnect; what is not acknowledged comes again."""
        self._stopping.set()
        self._client.disconnect()
        self._client.loop_stop()

    def stop_reading(self) -> None:
        """Take nothing more in, but stay connected for acknowledgements."""
        self._stopping.set()

    def drain(self, wait_s: float, gather_s: float, most: int, most_bytes: int) -> list[Delivery]:
        """Deliveries of up to `gather_s` after the first, for which `wait_s` is waited."""
        found: list[Delivery] = []
        n_bytes, until_s = 0, time.monotonic() + wait_s
        while len(found) < most and n_bytes < most_bytes:
            left_s = until_s - time.monotonic()
            try:
                delivery = self._queue.get(block=left_s > 0, timeout=max(left_s, 0))
            except queue.Empty:
                break
            if not found:
                until_s = time.monotonic() + gather_s
            found.append(delivery)
            n_bytes += len(delivery.payload)
        self._count_bytes(-n_bytes)
        return found

    def ack(self, deliveries: list[Delivery]) -> None:
        """Acknowledge what is durable; deliveries of an earlier connection come again anyway."""
        for delivery in deliveries:
            if delivery.qos > 0 and delivery.connection == self._connection:
                self._client.ack(delivery.mid, delivery.qos)

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
        client.subscribe([(topic, 1) for topic in subscription(self._zone)])

    def _on_disconnect(self, _c: mqtt.Client, _u: Any, _f: Any, code: Any, _p: Any) -> None:
        self._connection += 1
        if not self._stopping.is_set():
            LOG.warning("lost the broker (%s), connecting again", code)

    def _on_message(self, _c: mqtt.Client, _u: Any, message: mqtt.MQTTMessage) -> None:
        received_at_ns = time.time_ns()
        try:
            topic = message.topic
        except UnicodeDecodeError:  # paho decodes when asked; such a topic is bad input too
            topic = "not-utf8"
        payload = bytes(message.payload)
        delivery = Delivery(
            topic, payload, received_at_ns, message.qos, message.mid, self._connection
        )
        self._put(delivery)

    def _put(self, delivery: Delivery) -> None:
        """Into the queue, as soon as there is room for it."""
        while not self._stopping.is_set():
            if self._queued_bytes > MAX_QUEUED_BYTES:
                self._stopping.wait(FULL_POLL_S)
                continue
            try:
                self._queue.put(delivery, timeout=FULL_POLL_S)
            except queue.Full:
                continue
            self._count_bytes(len(delivery.payload))
            return

    def _count_bytes(self, change: int) -> None:
        with self._bytes_lock:
            self._queued_bytes += change


def _address(client: mqtt.Client, broker_url: str) -> tuple[str, int]:
    parts = urlsplit(broker_url)
    is_secure = parts.scheme == "mqtts"
    if is_secure:
        client.tls_set()
    if parts.username:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    return parts.hostname or "127.0.0.1", parts.port or (8883 if is_secure else 1883)
