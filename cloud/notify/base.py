"""What a channel is given and what it must do.

A channel is one file of this package that ends in `PLUGIN = ...`, or an entry point of the group
`cloud.notify`. It sends one notification at a time, in a thread of its own, and says by the type of
its failure whether another attempt could help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from openvrc.contracts.errors import VrcError

Event = Literal["raised", "cleared", "repeated", "escalated"]
Facts = Mapping[str, Any]
"""An alert as the API shows it (`GET /v1/alerts/{id}`), without its history."""


@dataclass(frozen=True)
class Notification:
    """One thing to tell by one channel."""

    id: str
    """The same for every attempt, so that a receiver can drop what it knows."""
    event: Event
    route: str
    alerts: tuple[Facts, ...]
    """At least one, worst first."""
    at_s: float
    """When it was decided, UTC epoch."""

    @property
    def title(self) -> str:
        """One line without line breaks.

        >>> alert = {"severity": "serious", "title": "Congestion", "subject_id": "e1", "zone": "z"}
        >>> Notification("n", "raised", "r", (alert,), 0.0).title
        '[serious] Congestion: e1 (z)'
        """
        first, others = self.alerts[0], len(self.alerts) - 1
        more = f" and {others} more" if others else ""
        state = "" if self.event == "raised" else f"{self.event}: "
        text = f"[{first['severity']}] {state}{first['title']}: {first['subject_id']}{more}"
        return " ".join(f"{text} ({first['zone']})".split())


class NotifyError(VrcError):
    """A notification that did not go out."""


class RetryableError(NotifyError):
    """Another attempt may succeed: the receiver is away, busy or slow."""


class PermanentError(NotifyError):
    """No attempt will succeed: refused, or the channel's options are wrong."""


class Channel(Protocol):
    """A way to tell people; `name` is its type in the file of channels."""

    name: str

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise PermanentError for options that cannot work, at the start."""
        ...

    def send(self, notification: Notification, options: Mapping[str, Any]) -> None:
        """Send it within some seconds. Raises RetryableError or PermanentError."""
        ...


def known_options(options: Mapping[str, Any], *, needed: set[str], others: set[str]) -> None:
    """Refuse options that a channel lacks or does not know. Raises PermanentError."""
    lacking, unknown = needed - options.keys(), options.keys() - needed - others
    if lacking or unknown:
        raise PermanentError(
            f"options lack {sorted(lacking)} and have unknown {sorted(unknown)},"
            f" expected {sorted(needed)} and perhaps {sorted(others)}"
        )


def as_text(notification: Notification) -> str:
    """The whole notification in words, for mail and terminals."""
    lines = [notification.title, ""]
    for alert in notification.alerts:
        evidence = alert.get("evidence") or {}
        lines += [
            f"{alert['severity']}: {alert['title']} ({alert['rule']})",
            f"  {alert['subject_type']} {alert['subject_id']}",
            f"  {alert.get('component') or ''}".rstrip(),
            f"  zone {alert['zone']}, {alert['origin']} data, since {alert['started_at']}",
            f"  {evidence.get('text', '')}".rstrip(),
            f"  What to do: {alert['advice']}",
            "",
        ]
    return "\n".join(line for line in lines if line.strip() or not line)
