"""What reads of the database return."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import psycopg

from cloud.alerting import Alert

Row = dict[str, Any]
"""Contract names and values as `Batch.to_records` gives them, absent values left out, plus
zone, run_id, origin and stored_at_ns."""
Connection = psycopg.Connection[Any]
ActionKind = Literal["ack", "assign", "snooze", "note", "clear"]
T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Part of a list; `next_cursor` is None at its end."""

    items: list[T]
    next_cursor: str | None = None


@dataclass(frozen=True)
class AlertFilter:
    """None means any; `state` may be "open".

    Times cut by overlap: an open alert is listed however long ago it started.
    """

    zone: str | None = None
    run_id: str | None = None
    origin: str | None = None
    rule: str | None = None
    kind: str | None = None
    severity: str | None = None
    state: str | None = None
    subject: str | None = None
    from_ns: int | None = None
    to_ns: int | None = None


@dataclass(frozen=True)
class AlertAction:
    """Who did what to an alert, when (wall clock)."""

    at_ns: int
    who: str
    action: ActionKind
    detail: Row = field(default_factory=dict)
    """{"text"} for note, {"to"} for assign, {"until_ns"} for snooze."""


@dataclass(frozen=True)
class AlertEvent:
    """One stored transition."""

    sequence: int
    change: str
    severity: str
    state: str
    at_ns: int
    stored_at_ns: int
    evidence: Row


@dataclass(frozen=True)
class AlertView:
    """An alert and what people did to it."""

    alert: Alert
    acknowledged_by: str | None = None
    acknowledged_at_ns: int | None = None
    assigned_to: str | None = None
    snoozed_until_ns: int | None = None
    actions: list[AlertAction] = field(default_factory=list)
    events: list[AlertEvent] = field(default_factory=list)
    """Filled by `alert`, empty in lists."""


@dataclass(frozen=True)
class Account:
    """DESIGN rule 5: sent = stored + rejected + dropped + expired + thinned + pending + missing.

    `received` is what reached the edge; `rejected` by reason, the cloud's own included;
    `duplicates` stand beside the sum.
    """

    sent: int = 0
    received: int = 0
    forwarded: int = 0
    stored: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    expired: int = 0
    thinned: int = 0
    pending: int = 0
    missing: int = 0
    duplicates: int = 0

    @property
    def is_closed(self) -> bool:
        """Whether the sum holds."""
        return self.sent == (
            self.stored + sum(self.rejected.values()) + self.dropped + self.expired
            + self.thinned + self.pending + self.missing
        )  # fmt: skip


@dataclass(frozen=True)
class SourceAccount:
    """The account of one sender in one zone and run, over all its sessions."""

    zone: str
    run_id: str
    source_id: str
    is_sequenced: bool
    sessions: int
    gaps: list[tuple[int, int]]
    account: Account
    clock_offset_ms: float | None = None
    """Its clock less true time, as the edge moves its times by now; None while it is right."""


@dataclass(frozen=True)
class Accounting:
    """Some senders, and the sum over all that were asked for."""

    totals: Account
    sources: list[SourceAccount]
    next_after: tuple[int, int, int] | None = None
    """Where the next page begins; None on the last one."""
    zones: dict[str, Account] = field(default_factory=dict)
    """Sums by zone, where they were asked for."""


@dataclass(frozen=True)
class ZoneRow:
    """A zone's newest announced map."""

    zone: str
    time_zone: str
    map_version: str | None
    geojson: Row | None
    clock: str


@dataclass(frozen=True)
class RunRow:
    """One run in one zone."""

    run_id: str
    zone: str
    origin: str
    title: str | None
    state: str
    first_at_ns: int | None
    last_at_ns: int | None


def encode_cursor(*parts: Any) -> str:
    """Where a page ended: opaque to clients."""
    plain = [part.isoformat() if isinstance(part, datetime) else part for part in parts]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, n_parts: int) -> list[Any]:
    """The parts of a cursor, the first one a time. Raises ValueError for anything else."""
    padding = "=" * (-len(cursor) % 4)
    try:
        parts = json.loads(base64.b64decode(cursor + padding, altchars=b"-_", validate=True))
        first = datetime.fromisoformat(parts[0])
        if len(parts) != n_parts or first.tzinfo is None:
            raise ValueError(f"{len(parts)} parts, expected {n_parts}")
        if not all(type(part) in (str, int, float) for part in parts):
            raise ValueError("expected text and numbers")
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"cursor {cursor[:80]!r} is none of ours: {error}") from error
    return [first, *parts[1:]]
