"""MQTT and the GB/T 32960 server as one intake for the edge's main loop.

The server's payloads have nothing to acknowledge: the protocol answers no valid report, so a frame
that was read and not yet spooled when the process dies is lost, and nobody learns of it but by the
gap it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.inbox import Delivery
from edge.intake import Intake
from openvrc.settings import Settings

if TYPE_CHECKING:
    from edge.gbt32960.server import Gbt32960Server


class BothIntakes:
    """See the module's text."""

    def __init__(self, mqtt: Intake, server: Gbt32960Server) -> None:
        self._mqtt, self._server = mqtt, server

    @property
    def queued_messages(self) -> int:
        """Deliveries that wait, of both."""
        return self._mqtt.queued_messages + self._server.inbox.n_messages

    def start(self) -> None:
        """Listen and connect. Raises SettingsError if the address cannot be had."""
        self._server.start()
        self._mqtt.start()

    def stop(self) -> None:
        """Close everything."""
        self._server.stop()
        self._mqtt.stop()

    def stop_reading(self) -> None:
        """Take nothing more in, but stay connected for acknowledgements."""
        self._server.stop_reading()
        self._mqtt.stop_reading()

    def drain(self, wait_s: float, gather_s: float, most: int, most_bytes: int) -> list[Delivery]:
        """Deliveries of both; terminals wait as long as MQTT's first message is waited for.

        Asked after MQTT and given before it, so that what a terminal sent before a tick was
        published is folded before that tick.
        """
        said = self._mqtt.drain(wait_s, gather_s, most, most_bytes)
        return self._server.inbox.take(0.0, 0.0, most, most_bytes) + said

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge MQTT's."""
        self._mqtt.ack([d for d in deliveries if d.ticket is not None])

    def publish(self, topic: str, payload: bytes) -> None:
        """Over MQTT."""
        self._mqtt.publish(topic, payload)


def with_terminals(mqtt: Intake, settings: Settings) -> Intake:
    """The intake with the server beside it, if the settings have a `[gbt32960]` section."""
    if settings.gbt32960 is None:
        return mqtt
    # Only here: an edge without terminals has no use for 8 MB of libcrypto.
    from edge.gbt32960.server import Gbt32960Server  # noqa: PLC0415

    server = Gbt32960Server(settings.gbt32960, settings.gbt32960.zone, settings.edge_queue_messages)
    return BothIntakes(mqtt, server)
