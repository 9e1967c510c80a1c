"""A worker's session at the broker: its share of the records, and every word of the drivers.

Markers on topics of its own say when it is subscribed, and whether the broker deals out shared
subscriptions at all: `.../fence/joined/N` comes back to all, `.../fence/shared/N` by a shared one.
"""

from __future__ import annotations

from edge.gmqtt_intake import GmqttIntake
from openvrc.contracts.topics import PREFIX
from openvrc.mqtt.address import parse_broker_url
from openvrc.mqtt.session import Connection
from openvrc.settings import Settings

DEALT_KINDS = ("vehicle/+/+", "rsu/+/+", "signal/+/+", "charger/+/+", "edge/+/road_event")
HEARD_KIND = "zone/+/+"
ALL, JOINED, SHARED, FENCE = "all", "joined", "shared", "fence"


def client_id(edge_id: str, number: int) -> str:
    """Of a worker's session."""
    return f"vrc-edge-{edge_id}-worker-{number}"


def marker_topic(settings: Settings, what: str, number: int) -> str:
    """Deeper than any topic of records, so that no other edge hears it."""
    zone = "all" if settings.edge_zone == "+" else settings.edge_zone
    return f"{PREFIX}/{zone}/edge/{settings.edge_id}/marker/{what}/{number}"


def marker_of(topic: str) -> tuple[str, int] | None:
    """What a marker is and whose; None for other topics."""
    levels = topic.split("/")
    if len(levels) != 8 or levels[5] != "marker":
        return None
    return levels[6], int(levels[7])


class WorkerIntake(GmqttIntake):
    """The intake of one worker."""

    def __init__(self, settings: Settings, number: int) -> None:
        name = client_id(settings.edge_id, number)
        address = parse_broker_url(settings.broker_url)
        super().__init__(address, name, _filters(settings, number), settings.edge_queue_messages)
        self._settings, self._number = settings, number

    def on_up(self, connection: Connection, is_resumed: bool) -> None:
        """Connected: the markers follow the subscriptions on the same connection."""
        super().on_up(connection, is_resumed)
        for what in (SHARED, JOINED):
            topic = marker_topic(self._settings, what, self._number)
            connection.publish(topic, b"", qos=1)

    def publish_fence(self) -> None:
        """Send the fence to every worker."""
        self._session.call(self._publish_fence)

    def _publish_fence(self) -> None:
        if self._connection is not None:
            self._connection.publish(marker_topic(self._settings, FENCE, 0), b"", qos=1)


def _filters(settings: Settings, number: int) -> list[str]:
    zone = f"{PREFIX}/{settings.edge_zone}"
    dealt = [text for kind in DEALT_KINDS for text in (f"{zone}/{kind}", f"{zone}/{kind}/+")]
    shared = [f"$share/vrc-edge-{settings.edge_id}/{text}" for text in dealt]
    probe = f"$share/vrc-edge-{settings.edge_id}-{number}/"
    return [
        f"{zone}/{HEARD_KIND}",
        f"{zone}/{HEARD_KIND}/+",
        *shared,
        probe + marker_topic(settings, SHARED, number),
        marker_topic(settings, JOINED, number),
        marker_topic(settings, FENCE, 0),
    ]
