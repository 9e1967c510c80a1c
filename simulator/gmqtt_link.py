"""The link by gmqtt, for load: a quarter of paho's time for each message.

What is not acknowledged when a connection is lost is published again on the next one, in order and
before anything newer: it may come twice, like any message with QoS 1.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from openvrc.mqtt.address import parse_broker_url
from openvrc.mqtt.session import Connection, Session
from simulator.link import (
    CONNECT_TIMEOUT_S,
    POLL_S,
    LinkError,
    OnMessage,
    Stopped,
    filters_of,
)

MAX_IN_FLIGHT = 400
REFILL_BELOW = 200
"""Publishing in bursts of 200 and more takes a third less time than one message for each
acknowledgement: fewer turns of the loop, fewer system calls, here and at the broker."""
Message = tuple[str, bytes, bool]


class GmqttLink:
    """A connection as publisher, with one subscription; see the port in `simulator/link.py`."""

    def __init__(
        self,
        url: str,
        *,
        subscription: str | Sequence[str],
        on_message: OnMessage,
        is_stopped: Callable[[], bool],
    ) -> None:
        """`on_message(topic, payload)` is called on the network thread. Raises BrokerUrlError."""
        self._filters, self._on_message = filters_of(subscription), on_message
        self._is_stopped = is_stopped
        address = parse_broker_url(url)
        client_id = f"vrc-link-{uuid.uuid4().hex[:12]}"
        self._session = Session(address, client_id, is_persistent=False, listener=self)
        self._connection: Connection | None = None
        self._problem = ""
        self._is_subscribed = threading.Event()
        # Both belong to the loop's thread; the publishing thread only looks at their lengths.
        self._waiting: deque[Message] = deque()
        self._in_flight: dict[int, Message] = {}
        self._n_handed = self._n_acknowledged = 0
        self._wanted = 0
        self._has_come = threading.Event()

    def open(self) -> None:
        """Connect and subscribe. Raises LinkError after `CONNECT_TIMEOUT_S`."""
        self._session.start()
        deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
        while not self._is_subscribed.wait(POLL_S):
            if self._problem or time.monotonic() > deadline_s:
                self._session.stop()
                where = self._session.address
                raise LinkError(f"no broker for us at {where}: {self._problem or 'no answer'}")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send with QoS 1."""
        self._hand_over([(topic, payload, retain)])

    def publish_all(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Send all of them with QoS 1, in order; returns when the last one is on its way."""
        handed = [(topic, payload, False) for topic, payload in messages]
        self._hand_over(handed)
        self._wait_for(self._n_handed - MAX_IN_FLIGHT)

    def drain(self) -> None:
        """Wait until the broker has acknowledged everything."""
        self._wait_for(self._n_handed)

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there right now."""
        return self._connection is not None

    def close(self) -> None:
        """Disconnect; what is not acknowledged is given up."""
        self._session.stop()

    def _hand_over(self, messages: list[Message]) -> None:
        self._n_handed += len(messages)
        self._session.call(self._take, messages)

    def _wait_for(self, n_acknowledged: int) -> None:
        """Until that many messages have been acknowledged since the beginning."""
        self._wanted = n_acknowledged
        while self._n_acknowledged < n_acknowledged:
            if self._is_stopped():
                raise Stopped
            self._has_come.clear()
            if self._n_acknowledged < n_acknowledged:
                self._has_come.wait(POLL_S)

    # What follows runs on the loop's thread.

    def on_up(self, connection: Connection, _is_resumed: bool) -> None:
        """Connected: first what the last connection left."""
        self._waiting.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()
        self._connection = connection
        connection.subscribe(self._filters, qos=0)
        self._is_subscribed.set()
        self._pump()

    def on_down(self, reason: str) -> None:
        """Not connected; what waits, waits."""
        self._connection = None
        self._problem = reason

    def on_publish(
        self, _connection: Connection, topic: str, payload: bytes, _mid: bytes, _retained: bool
    ) -> None:
        """A message for us."""
        self._on_message(topic, payload)

    def on_puback(self, mid: int) -> None:
        """The broker has one more."""
        if self._in_flight.pop(mid, None) is None:
            return
        self._n_acknowledged += 1
        if self._n_acknowledged >= self._wanted and not self._has_come.is_set():
            self._has_come.set()
        if self._waiting and len(self._in_flight) < REFILL_BELOW:
            self._pump()

    def _take(self, messages: list[Message]) -> None:
        self._waiting.extend(messages)
        self._pump()

    def _pump(self) -> None:
        connection, waiting, in_flight = self._connection, self._waiting, self._in_flight
        if connection is None or connection.lost.is_set():
            return
        while waiting and len(in_flight) < MAX_IN_FLIGHT:
            message = waiting.popleft()
            topic, payload, retain = message
            in_flight[connection.publish(topic, payload, 1, retain)] = message
