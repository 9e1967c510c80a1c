"""The port of a sender to its broker: nothing is lost, a bounded number is in flight.

`simulator/mqtt_link.py` (paho) is behind it for scenarios and replay, `simulator/gmqtt_link.py`
for load, where the sender's own cost counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from openvrc.contracts.errors import VrcError

CONNECT_TIMEOUT_S = 10.0
POLL_S = 0.5
"""How often a wait looks whether it shall be given up."""

OnMessage = Callable[[str, bytes], None]


class LinkError(VrcError):
    """The broker cannot be reached or refuses us."""

    retryable = True


class Stopped(Exception):  # noqa: N818 (not an error: somebody asked for it)
    """The wait was given up because `is_stopped` said so."""


class Link(Protocol):
    """A connection as publisher, with subscriptions. Its methods are for one thread."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there right now."""
        ...

    def open(self) -> None:
        """Connect and subscribe. Raises LinkError after `CONNECT_TIMEOUT_S`."""
        ...

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send with QoS 1. Raises LinkError for what cannot be sent, Stopped."""
        ...

    def publish_all(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Send topics and payloads with QoS 1, in order. Raises LinkError, Stopped."""
        ...

    def drain(self) -> None:
        """Wait until the broker has acknowledged everything. Raises Stopped."""
        ...

    def close(self) -> None:
        """Disconnect; what is not acknowledged is given up."""
        ...


class LinkMaker(Protocol):
    """How a link is made; both clients' classes are one."""

    def __call__(
        self,
        url: str,
        *,
        subscription: str | Sequence[str],
        on_message: OnMessage,
        is_stopped: Callable[[], bool],
    ) -> Link:
        """`on_message(topic, payload)` is called on the network thread; one filter or several.

        Waits end with `Stopped` when `is_stopped` is true. Raises BrokerUrlError.
        """
        ...


def filters_of(subscription: str | Sequence[str]) -> list[str]:
    """One filter or several as a list."""
    return [subscription] if isinstance(subscription, str) else list(subscription)
