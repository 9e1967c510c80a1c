"""The intake by gmqtt: deliveries on a loop's thread, acknowledgements in one block a group."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from edge.inbox import Delivery, Inbox
from openvrc.mqtt.address import BrokerAddress
from openvrc.mqtt.session import Connection, Session

LOG = logging.getLogger("edge.intake")


class GmqttIntake:
    """Subscribes and hands out deliveries; see the port in `edge/intake.py`."""

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        filters: Sequence[str],
        queue_messages: int,
    ) -> None:
        self._filters = filters
        self._inbox = Inbox(queue_messages, on_room=lambda: self._session.call(self._resume))
        self._session = Session(address, client_id, is_persistent=True, listener=self)
        self._connection: Connection | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._session.start()

    def stop(self) -> None:
        """Take nothing more in and disconnect; what is not acknowledged comes again."""
        self._is_stopping = True
        self._session.stop()

    def stop_reading(self) -> None:
        """Take nothing more in, but stay connected for acknowledgements."""
        self._is_stopping = True
        self._session.call(self._pause)

    def drain(self, wait_s: float, gather_s: float, most: int, most_bytes: int) -> list[Delivery]:
        """Deliveries of up to `gather_s` after the first, for which `wait_s` is waited."""
        return self._inbox.take(wait_s, gather_s, most, most_bytes)

    @property
    def queued_messages(self) -> int:
        """Messages that wait to be drained."""
        return self._inbox.n_messages

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge what is durable; deliveries of an earlier connection come again anyway."""
        if deliveries:
            self._session.call(self._ack, deliveries)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0; lost when there is no connection."""
        self._session.call(self._publish, topic, payload)

    # What follows runs on the loop's thread.

    def on_up(self, connection: Connection, is_resumed: bool) -> None:
        """Connected."""
        LOG.info("connected to the broker, session %s", "resumed" if is_resumed else "new")
        self._connection = connection
        connection.subscribe(self._filters)
        if self._inbox.is_full or self._is_stopping:
            connection.pause()

    def on_down(self, reason: str) -> None:
        """Not connected."""
        self._connection = None
        LOG.warning("no broker (%s), connecting again", reason)

    def on_publish(
        self, connection: Connection, topic: str, payload: bytes, mid: bytes, is_retained: bool
    ) -> None:
        """A message. What the library had read before reading was paused still comes."""
        if self._is_stopping:
            return
        delivery = Delivery(topic, payload, time.time_ns(), mid, connection, is_retained)
        if not self._inbox.put(delivery):
            connection.pause()

    def on_puback(self, mid: int) -> None:
        """Nothing is published with QoS 1 here."""

    def _ack(self, deliveries: Sequence[Delivery]) -> None:
        connection = self._connection
        if connection is not None:
            connection.acknowledge(
                [d.ticket for d in deliveries if d.connection is connection and d.ticket]
            )

    def _publish(self, topic: str, payload: bytes) -> None:
        if self._connection is not None:
            self._connection.publish(topic, payload, qos=0)

    def _pause(self) -> None:
        if self._connection is not None:
            self._connection.pause()

    def _resume(self) -> None:
        if self._connection is not None and not self._is_stopping:
            self._connection.resume()
