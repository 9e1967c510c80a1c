"""A broker session held by gmqtt: QoS 1, connecting again for ever, acknowledged when told so.

gmqtt takes a quarter of paho's time for a message. As it comes, it acknowledges either before
anything is durable, or by a coroutine for each message (21 us at the edge); it says nothing of
a publication's acknowledgement; and it cannot pause. So here every connection is a client of its
own, which makes it impossible to acknowledge over a reconnect, and four of its inner parts are
touched, all in `Connection`: the handler of PUBLISH packets, the read of the next bytes (to pause),
the transport (to write a block of acknowledgements, to abort), the time of the last bytes. The
store of what is in flight is its documented parameter.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from gmqtt import Client, Subscription
from gmqtt.mqtt.constants import MQTTCommands, MQTTv311
from gmqtt.mqtt.handler import MQTTError

from openvrc.mqtt.address import BrokerAddress
from openvrc.mqtt.loop_thread import LoopThread

LOG = logging.getLogger("mqtt.session")
CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 10.0
"""Between two attempts to connect; each failure doubles it."""
KEEPALIVE_S = 30
RECONNECT_NEVER = -2
"""gmqtt's own reconnecting is off: 0 would still allow the first, -1 means for ever."""
PUBACK = b"\x40\x02"
"""First two bytes of a PUBACK in MQTT 3.1.1; the packet's id follows."""
REFUSED = 128
NOT_UTF8 = "not-utf8"
"""Stands for a topic that cannot be decoded: bad input too, and counted as such."""


class Listener(Protocol):
    """What a session tells, always on the loop's thread."""

    def on_up(self, connection: Connection, is_resumed: bool) -> None:
        """Connected; `is_resumed`: the broker still had our session."""
        ...

    def on_down(self, reason: str) -> None:
        """The connection is gone, or could not be made; it is tried again."""
        ...

    def on_publish(
        self, connection: Connection, topic: str, payload: bytes, mid: bytes, is_retained: bool
    ) -> None:
        """A message; `mid` is empty with QoS 0, else what `acknowledge` wants."""
        ...

    def on_puback(self, mid: int) -> None:
        """The broker has a message of ours."""
        ...


class _Store:
    """gmqtt's store of what is in flight: it only tells; whoever publishes keeps the messages."""

    is_empty = True

    def __init__(self, on_puback: Callable[[int], None]) -> None:
        self.last_mid = 0
        self.remove_message_by_mid = on_puback

    def push_message(self, mid: int, _packet: bytes) -> None:
        self.last_mid = mid

    async def wait_empty(self) -> None:
        return

    def clear(self) -> None:
        return

    def get_all(self) -> list[tuple[int, bytes]]:
        return []


class _Gathering:
    """A transport whose writes of one turn of the loop are one system call.

    A call for each message costs as much as all the rest of publishing it (25 > 13 us).
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._blocks: list[bytes] = []
        self.is_closing, self.abort = transport.is_closing, transport.abort

    def write(self, block: bytes) -> None:
        if not self._blocks:
            asyncio.get_running_loop().call_soon(self._flush)
        self._blocks.append(block)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._blocks and not self._transport.is_closing():
            self._transport.write(b"".join(self._blocks))
        self._blocks.clear()


class Connection:
    """One connection, from CONNECT to its loss. For the loop's thread only."""

    def __init__(self, client_id: str, *, is_persistent: bool, listener: Listener) -> None:
        self.lost = asyncio.Event()
        self.is_resumed = False
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._answered = asyncio.Event()
        self._listener = listener
        self._store = _Store(listener.on_puback)
        client = Client(
            client_id,
            clean_session=not is_persistent,
            persistent_storage=self._store,
            logger=logging.getLogger("mqtt.gmqtt"),
        )
        client.reconnect_retries = RECONNECT_NEVER
        client.on_connect = self._on_connect
        client.on_disconnect = lambda *_: self.lost.set()
        client.on_subscribe = self._on_subscribe
        handlers = client._package_handler._handler_cache
        handlers[MQTTCommands.PUBLISH] = self._on_publish
        handlers[MQTTCommands.PINGRESP] = lambda *_: self._answered.set()
        self._client = client

    async def open(self, address: BrokerAddress) -> None:
        """Connect. Raises OSError, MQTTError (the broker's word), TimeoutError."""
        if address.user is not None:
            self._client.set_auth_credentials(address.user, address.password)
        connecting = asyncio.ensure_future(
            self._client.connect(
                address.host,
                address.port,
                ssl=address.tls_context() or False,
                keepalive=KEEPALIVE_S,
                version=MQTTv311,
            )
        )
        losing = asyncio.ensure_future(self.lost.wait())
        await asyncio.wait(
            {connecting, losing},
            timeout=CONNECT_TIMEOUT_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        losing.cancel()
        if connecting.done():
            connecting.result()
            self._gate_reading()
            self._gather_writes()
            return
        connecting.cancel()
        with suppress(asyncio.CancelledError):
            await connecting
        self.abort()
        raise TimeoutError(
            "the broker closed the connection" if self.lost.is_set() else "no answer"
        )

    async def close(self) -> None:
        """Say goodbye once the broker has read everything; at once if that takes too long.

        A broker that sees the end of a connection may leave unread what was written before it, so
        its answer to a ping is waited for.
        """
        self.resume()
        try:
            if not self.lost.is_set():
                self._client._connection._send_ping_request()
                await asyncio.wait_for(self._answered.wait(), CLOSE_TIMEOUT_S)
            await asyncio.wait_for(self._client.disconnect(), CLOSE_TIMEOUT_S)
        except (TimeoutError, OSError):
            pass
        finally:  # also of a goodbye that nobody waits for any longer
            self.abort()

    def abort(self) -> None:
        """End it without a word."""
        if self._client._connection is not None:
            self._client._connection._transport.abort()

    def subscribe(self, filters: Sequence[str], qos: int = 1) -> None:
        """Ask for these topics."""
        self._client.subscribe([Subscription(text, qos=qos) for text in filters])

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> int:
        """Send; the packet's id (0 with QoS 0), which `on_puback` will name."""
        self._client.publish(topic, payload, qos=qos, retain=retain)
        return self._store.last_mid if qos else 0

    def acknowledge(self, mids: Sequence[bytes]) -> None:
        """PUBACK in this order, in one block: one write for a whole group commit."""
        if mids and not self.lost.is_set():
            block = PUBACK + PUBACK.join(mids)
            self._client._connection._transport.write(block)

    def pause(self) -> None:
        """Read nothing more: the buffers on the way fill, and the broker keeps the rest.

        What was read already (64 KiB at most) still comes. Pausing the transport would not do:
        the stream that gmqtt reads from resumes it when it has room itself.
        """
        if self._may_read.is_set():
            self._may_read.clear()
            self._stay_alive()

    def resume(self) -> None:
        """Read again."""
        self._may_read.set()

    def _gate_reading(self) -> None:
        protocol = self._client._connection._protocol
        read = protocol.read

        async def read_when_allowed(n: int) -> bytes:
            await self._may_read.wait()
            return bytes(await read(n))

        protocol.read = read_when_allowed

    def _gather_writes(self) -> None:
        connection = self._client._connection
        gathering = _Gathering(connection._transport)
        connection._transport = connection._protocol._transport = gathering

    def _stay_alive(self) -> None:
        """Without a packet for two keepalives gmqtt takes the broker for dead; now it is not."""
        if not self._may_read.is_set() and not self.lost.is_set():
            self._client._connection._last_data_in = time.monotonic()
            asyncio.get_running_loop().call_later(KEEPALIVE_S / 2, self._stay_alive)

    def _on_connect(self, _client: Any, flags: int, _code: int, _properties: Any) -> None:
        self.is_resumed = bool(flags & 1)

    def _on_subscribe(self, _client: Any, _mid: int, granted: Any, _properties: Any) -> None:
        if REFUSED in granted:
            LOG.error("the broker refuses a subscription: granted %s", granted)

    def _on_publish(self, command: int, packet: bytes) -> None:
        """A PUBLISH of MQTT 3.1.1 (3.3): topic, id where QoS is not 0, payload."""
        end = 2 + (packet[0] << 8 | packet[1])
        try:
            topic = packet[2:end].decode()
        except UnicodeDecodeError:
            topic = NOT_UTF8
        if command & 0x06:
            mid, payload = packet[end : end + 2], packet[end + 2 :]
        else:
            mid, payload = b"", packet[end:]
        self._listener.on_publish(self, topic, payload, mid, bool(command & 1))


@dataclass
class Session:
    """Connects, and again whenever the connection is lost.

    On a loop thread of its own, or on `thread`, which whoever made it starts and stops.
    """

    address: BrokerAddress
    client_id: str
    is_persistent: bool
    listener: Listener
    thread: LoopThread | None = None

    def __post_init__(self) -> None:
        self._thread = self.thread or LoopThread(f"mqtt {self.client_id}")
        self._stopping = asyncio.Event()
        self._connection: Connection | None = None

    def start(self) -> None:
        """Begin to connect."""
        if self.thread is None:
            self._thread.start()
        self._thread.submit(self._hold())

    def stop(self) -> None:
        """Disconnect; what was handed to the connection is written first."""
        if self._thread.loop.is_running():
            with suppress(TimeoutError):
                self._thread.submit(self._close()).result(3 * CLOSE_TIMEOUT_S)
        if self.thread is None:
            self._thread.stop()

    def call(self, function: Callable[..., object], *values: object) -> None:
        """Call a function on the loop's thread."""
        self._thread.call(function, *values)

    async def _close(self) -> None:
        self._stopping.set()
        if self._connection is not None:
            await self._connection.close()

    async def _hold(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            reason = await self._connect_once()
            if self._connection is not None:
                pause_s = FIRST_PAUSE_S
                await self._connection.lost.wait()
                self._connection = None
            if self._stopping.is_set():
                return
            self.listener.on_down(reason or "connection lost")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _connect_once(self) -> str:
        """Try; why it failed, or nothing."""
        connection = Connection(
            self.client_id, is_persistent=self.is_persistent, listener=self.listener
        )
        try:
            await connection.open(self.address)
        except (OSError, MQTTError) as error:  # TimeoutError and SSLError are OSErrors
            return str(error) or type(error).__name__
        except Exception:  # the outermost loop: whatever it is, we must connect again
            LOG.exception("connecting to %s failed", self.address)
            return "an error of ours"
        self._connection = connection
        self.listener.on_up(connection, connection.is_resumed)
        return ""
