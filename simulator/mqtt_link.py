"""One MQTT connection that loses nothing: QoS 1, a bounded number in flight, reconnecting.

paho re-sends what is not acknowledged after a reconnect; this adds the bound (publishing costs
paho 38 us with 100 in flight, 261 us with 3000) and the wait for the last acknowledgement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from openvrc.mqtt.address import parse_broker_url
from simulator.link import (
    CONNECT_TIMEOUT_S,
    POLL_S,
    LinkError,
    OnMessage,
    Stopped,
    filters_of,
)

MAX_IN_FLIGHT = 100
MAX_RECONNECT_DELAY_S = 5
KEEPALIVE_S = 30


class MqttLink:
    """The link by paho; see the port in `simulator/link.py`."""

    def __init__(
        self,
        url: str,
        *,
        subscription: str | Sequence[str],
        on_message: OnMessage,
        is_stopped: Callable[[], bool],
        qos: int = 0,
    ) -> None:
        """`on_message(topic, payload)` is called on the network thread; `qos` is for subscribing.

        Raises BrokerUrlError.
        """
        self._qos = qos
        self._address = parse_broker_url(url)
        self._filters = filters_of(subscription)
        self._is_stopped = is_stopped
        self._changed = threading.Condition()
        self._in_flight = 0
        self._is_subscribed = False
        self._refusal = ""
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        client.reconnect_delay_set(1, MAX_RECONNECT_DELAY_S)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = lambda _client, _data, message: on_message(
            message.topic, bytes(message.payload)
        )
        if self._address.user is not None:
            client.username_pw_set(self._address.user, self._address.password)
        if (context := self._address.tls_context()) is not None:
            client.tls_set_context(context)
        self._client = client

    def open(self) -> None:
        """Connect and subscribe. Raises LinkError after `CONNECT_TIMEOUT_S`."""
        where = str(self._address)
        try:
            self._client.connect(self._address.host, self._address.port, KEEPALIVE_S)
        except OSError as error:
            raise LinkError(f"no broker answers at {where}: {error}") from error
        self._client.loop_start()
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        with self._changed:
            while not self._is_subscribed and not self._refusal and time.monotonic() < deadline:
                self._changed.wait(0.1)
        if not self._is_subscribed:
            self._client.loop_stop()
            raise LinkError(f"the broker at {where} {self._refusal or 'did not answer'}")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send with QoS 1 once fewer than `MAX_IN_FLIGHT` messages are unacknowledged."""
        self._wait_below(MAX_IN_FLIGHT)
        with self._changed:
            self._in_flight += 1
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        # "No connection" is fine: the message waits in paho's queue for the reconnect.
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            raise LinkError(f"publishing to {topic} failed: {mqtt.error_string(info.rc)}")

    def publish_all(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Send all of them with QoS 1, in order."""
        for topic, payload in messages:
            self.publish(topic, payload)

    def drain(self) -> None:
        """Wait until the broker has acknowledged everything."""
        self._wait_below(1)

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there right now."""
        return self._client.is_connected()

    def close(self) -> None:
        """Disconnect; what is not acknowledged is given up."""
        self._client.disconnect()
        self._client.loop_stop()

    def _wait_below(self, limit: int) -> None:
        with self._changed:
            while self._in_flight >= limit:
                if self._is_stopped():
                    raise Stopped
                self._changed.wait(POLL_S)

    def _on_connect(
        self, client: mqtt.Client, _data: object, _flags: object, reason: object, _p: object
    ) -> None:
        if getattr(reason, "is_failure", False):
            with self._changed:
                self._refusal = f"refuses us: {reason}"
                self._changed.notify_all()
            return
        client.subscribe([(topic, self._qos) for topic in self._filters])

    def _on_subscribe(self, *_: object) -> None:
        with self._changed:
            self._is_subscribed = True
            self._changed.notify_all()

    def _on_publish(self, *_: object) -> None:
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()
