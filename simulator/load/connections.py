"""Many MQTT connections of one process; each message is timed from when it was due."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openvrc.mqtt.address import BrokerAddress, parse_broker_url
from openvrc.mqtt.loop_thread import LoopThread
from openvrc.mqtt.session import Connection, Session
from simulator.link import CONNECT_TIMEOUT_S, LinkError

MAX_IN_FLIGHT = 400
REFILL_BELOW = 200
MAX_WAITING = 20_000
"""Messages due and not on their way: beyond it the sender waits with making more, which does not
change when they are due."""
NS_PER_US = 1000


@dataclass(frozen=True)
class Message:
    """One message and the wall time at which it is due, UTC epoch ns."""

    topic: str
    payload: bytes
    due_ns: int


class Connections:
    """`open`, then `send` from one thread; order holds within a connection."""

    def __init__(self, broker_url: str, count: int, qos: int) -> None:
        """Raises BrokerUrlError."""
        address = parse_broker_url(broker_url)
        self._thread = LoopThread("load connections")
        self._each = [_One(address, qos, self._thread) for _ in range(count)]
        self._thread.start()

    def open(self) -> None:
        """Connect all. Raises LinkError if one is not connected in time."""
        for one in self._each:
            one.session.start()
        deadline_s = time.monotonic() + CONNECT_TIMEOUT_S + 0.01 * len(self._each)
        for one in self._each:
            if not one.is_up.wait(max(deadline_s - time.monotonic(), 0.01)):
                raise LinkError(
                    f"{sum(not each.is_up.is_set() for each in self._each)} of "
                    f"{len(self._each)} connections to {one.session.address} were not made in "
                    f"time: {one.problem or 'no answer'}"
                )

    def send(self, messages: Sequence[tuple[int, Message]]) -> None:
        """Hand over messages, each with the number of its sender, which picks the connection."""
        by_place: dict[int, list[Message]] = {}
        for sender, message in messages:
            by_place.setdefault(sender % len(self._each), []).append(message)
        for place, mine in by_place.items():
            one = self._each[place]
            one.n_handed += len(mine)
            self._thread.call(one.take, mine)

    @property
    def n_waiting(self) -> int:
        """Messages handed over and not acknowledged (QoS 0: not written)."""
        return sum(one.n_handed - one.n_done for one in self._each)

    @property
    def n_done(self) -> int:
        """Messages acknowledged (QoS 0: written)."""
        return sum(one.n_done for one in self._each)

    @property
    def n_reconnects(self) -> int:
        """Connections lost so far."""
        return sum(one.n_lost for one in self._each)

    def wait_below(self, n_waiting: int, until: Callable[[], bool]) -> bool:
        """Wait until fewer messages wait; False if `until` said so first."""
        while self.n_waiting >= n_waiting:
            if until():
                return False
            time.sleep(0.002)
        return True

    def take_latencies_us(self) -> list[float]:
        """From due to acknowledged (QoS 0: to written), of messages since the last call."""
        taken: list[float] = []
        for one in self._each:
            while one.latencies_us:
                taken.append(one.latencies_us.popleft())
        return taken

    def close(self) -> None:
        """Disconnect; what is not acknowledged is given up."""
        for one in self._each:
            one.session.stop()
        self._thread.stop()


class _One:
    """One connection: the listener of its session. All but `take` is for the loop's thread."""

    def __init__(self, address: BrokerAddress, qos: int, thread: LoopThread) -> None:
        name = f"vrc-load-{uuid.uuid4().hex[:12]}"
        self.session = Session(address, name, is_persistent=False, listener=self, thread=thread)
        self.is_up = threading.Event()
        self.problem = ""
        self.n_handed = self.n_done = self.n_lost = 0
        self.latencies_us: deque[float] = deque()
        self._qos = qos
        self._connection: Connection | None = None
        self._waiting: deque[Message] = deque()
        self._in_flight: dict[int, Message] = {}

    def take(self, messages: list[Message]) -> None:
        """Send these next."""
        self._waiting.extend(messages)
        self._pump()

    def on_up(self, connection: Connection, _is_resumed: bool) -> None:
        """Connected: first what the last connection left."""
        self._waiting.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()
        self._connection = connection
        self.is_up.set()
        self._pump()

    def on_down(self, reason: str) -> None:
        """Not connected; what waits, waits."""
        self._connection = None
        self.problem = reason
        self.n_lost += self.is_up.is_set()

    def on_publish(
        self, _connection: Connection, _topic: str, _payload: bytes, _mid: bytes, _retained: bool
    ) -> None:
        """We subscribe to nothing."""

    def on_puback(self, mid: int) -> None:
        """The broker has one more."""
        message = self._in_flight.pop(mid, None)
        if message is None:
            return
        self._finish(message)
        if self._waiting and len(self._in_flight) < REFILL_BELOW:
            self._pump()

    def _finish(self, message: Message) -> None:
        self.n_done += 1
        self.latencies_us.append((time.time_ns() - message.due_ns) / NS_PER_US)

    def _pump(self) -> None:
        connection, waiting, in_flight = self._connection, self._waiting, self._in_flight
        if connection is None or connection.lost.is_set():
            return
        while waiting and len(in_flight) < MAX_IN_FLIGHT:
            message = waiting.popleft()
            mid = connection.publish(message.topic, message.payload, self._qos, False)
            if self._qos:
                in_flight[mid] = message
            else:
                self._finish(message)
