"""What the API reads from the database (signatures; the bodies follow).

Synchronous: FastAPI runs `def` endpoints in its thread pool; `Pool` hands out connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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
    """None means any. `state` may be "open". Times cut by overlap: an open alert that started
    earlier is still listed.
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


@dataclass(frozen=True)
class Accounting:
    """All sources and their sum."""

    totals: Account
    sources: list[SourceAccount]


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


def alerts(
    connection: Connection, where: AlertFilter, *, cursor: str | None = None, limit: int = 100
) -> Page[AlertView]:
    """Newest first. Raises ValueError for a cursor that is none."""
    raise NotImplementedError


def alert(connection: Connection, alert_id: str) -> AlertView | None:
    """One alert with its events and actions."""
    raise NotImplementedError


def add_action(
    connection: Connection, alert_id: str, who: str, action: ActionKind, detail: Row
) -> AlertAction | None:
    """Append an action (for "clear" use Pipeline.clear_alert); None for an unknown alert."""
    raise NotImplementedError


def history(
    connection: Connection,
    message: str,
    subject_id: str,
    *,
    run_id: str | None = None,
    zone: str | None = None,
    from_ns: int | None = None,
    to_ns: int | None = None,
    cursor: str | None = None,
    limit: int = 1000,
) -> Page[Row]:
    """Records of one message about one subject, newest first: vehicle_state, battery_state,
    segment_state, rsu_status, ...
    """
    raise NotImplementedError


def accounting(
    connection: Connection,
    pipeline_counts: Any,
    *,
    zone: str | None = None,
    run_id: str | None = None,
) -> Accounting:
    """`pipeline_counts` is `Pipeline.counts` (or None): what was stored since the checkpoint."""
    raise NotImplementedError


def dead_letters(
    connection: Connection,
    *,
    zone: str | None = None,
    run_id: str | None = None,
    source: str | None = None,
    reason: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[Row]:
    """Newest first."""
    raise NotImplementedError


def trace(
    connection: Connection, source_id: str, session: int, seq: int, *, run_id: str | None = None
) -> list[Row]:
    """The stored rows (message, zone, run_id, subject_id, sampled_at_ns, published_at_ns,
    edge_received_at_ns, stored_at_ns) and dead letters of one numbered record; [] if none.
    """
    raise NotImplementedError


def zones(connection: Connection, *, with_map: bool = True) -> list[ZoneRow]:
    """Every zone that was ever announced."""
    raise NotImplementedError


def runs(connection: Connection, *, zone: str | None = None) -> list[RunRow]:
    """Newest first."""
    raise NotImplementedError


def export(
    connection: Connection,
    message: str,
    *,
    zone: str | None = None,
    run_id: str | None = None,
    from_ns: int | None = None,
    to_ns: int | None = None,
    chunk_rows: int = 5000,
) -> Iterator[list[Row]]:
    """All rows in chunks through a server-side cursor, in order of time."""
    raise NotImplementedError
