"""What a session of the amqtt broker is still to be sent, and how much of it is kept."""

from collections import deque
from dataclasses import dataclass, field

from amqtt.session import Session

OUTBOX_MESSAGES = 20_000
OUTBOX_BYTES = 256 << 20
"""Waiting for a connected subscriber; beyond either, publishers are held back (no PUBACK)."""

OFFLINE_OUTBOX_MESSAGES = 500_000
OFFLINE_OUTBOX_BYTES = 1 << 30
"""Kept for an absent subscriber. Beyond it new ones are dropped, counted and logged: an abandoned
session must not stop everybody. In the platform's accounting they are `missing`."""

_OUTBOX = "openvrc.outbox"

Message = tuple[str, bytes, bool]
"""Topic, payload, retain flag."""


@dataclass(slots=True)
class Outbox:
    """What one session is still to be sent at QoS 1, oldest first."""

    waiting: deque[Message] = field(default_factory=deque)
    waiting_bytes: int = 0
    dropped: int = 0

    def put(self, message: Message) -> None:
        """Append a message."""
        self.waiting.append(message)
        self.waiting_bytes += len(message[1])

    def take(self) -> Message:
        """Remove the oldest message."""
        message = self.waiting.popleft()
        self.waiting_bytes -= len(message[1])
        return message

    def is_full(self, *, connected: bool) -> bool:
        """Whether one more would exceed the bound that holds for this state of the session."""
        messages, size = (
            (OUTBOX_MESSAGES, OUTBOX_BYTES)
            if connected
            else (OFFLINE_OUTBOX_MESSAGES, OFFLINE_OUTBOX_BYTES)
        )
        return len(self.waiting) >= messages or self.waiting_bytes >= size


def outbox_of(session: Session) -> Outbox:
    """The session's outbox, made at first use; it lives and dies with the session."""
    outbox: Outbox = session.attributes.setdefault(_OUTBOX, Outbox())
    return outbox
