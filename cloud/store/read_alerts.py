"""Alerts with what people did to them."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cloud.alerting import OPEN_STATES
from cloud.store.facts import alert_of_row, moment, ns_of
from cloud.store.read_types import (
    ActionKind,
    AlertAction,
    AlertEvent,
    AlertFilter,
    AlertView,
    Connection,
    Page,
    Row,
    decode_cursor,
    encode_cursor,
)
from cloud.store.sql import statement
from openvrc.contracts.detection import Severity


def alerts(
    connection: Connection, where: AlertFilter, *, cursor: str | None = None, limit: int = 100
) -> Page[AlertView]:
    """Newest first. Raises ValueError for a cursor that is none."""
    at, after_id = decode_cursor(cursor, 2) if cursor else (None, None)
    facts = _filter_facts(where) | {"at": at, "after_id": after_id, "limit": limit + 1}
    rows = _select(connection, facts)
    shown = rows[:limit]
    is_more = len(rows) > limit
    next_cursor = encode_cursor(shown[-1]["started_at"], shown[-1]["id"]) if is_more else None
    return Page([_view(row) for row in shown], next_cursor)


def alert(connection: Connection, alert_id: str) -> AlertView | None:
    """One alert with its events and actions."""
    facts = _filter_facts(AlertFilter()) | {"id": alert_id, "at": None, "after_id": None}
    rows = _select(connection, facts | {"limit": 1})
    if not rows:
        return None
    actions = connection.execute(statement("alert_actions"), {"id": alert_id}).fetchall()
    events = connection.execute(statement("alert_events"), {"id": alert_id}).fetchall()
    return _view(
        rows[0],
        [AlertAction(ns_of(at), who, action, detail) for at, who, action, detail in actions],
        [_event(event) for event in events],
    )


def worst_by_rule(
    connection: Connection,
    kind: str,
    *,
    zone: str | None = None,
    run_id: str | None = None,
    least: Severity = Severity.INFO,
) -> dict[tuple[str, str], dict[str, Severity]]:
    """The worst of the open alerts of each rule, by run and subject; every alert counts."""
    facts = {"kind": kind, "zone": zone, "run_id": run_id, "severity": int(least)}
    found: dict[tuple[str, str], dict[str, Severity]] = {}
    for of_run, subject, rule, worst in connection.execute(statement("worst_by_rule"), facts):
        found.setdefault((of_run, subject), {})[rule] = Severity(worst)
    return found


def add_action(
    connection: Connection, alert_id: str, who: str, action: ActionKind, detail: Row
) -> AlertAction | None:
    """Append an action (for "clear" use Pipeline.clear_alert); None for an unknown alert."""
    facts = {"id": alert_id, "who": who, "action": action, "detail": Jsonb(detail)}
    row = connection.execute(statement("add_action"), facts).fetchone()
    return None if row is None else AlertAction(ns_of(row[0]), who, action, detail)


def _select(connection: Connection, facts: Row) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement("alerts"), facts).fetchall()


def _filter_facts(where: AlertFilter) -> dict[str, Any]:
    states = list(OPEN_STATES) if where.state == "open" else [where.state] if where.state else None
    return {
        "id": None,
        "zone": where.zone,
        "run_id": where.run_id,
        "origin": where.origin,
        "rule": where.rule,
        "kind": where.kind,
        "severity": None if where.severity is None else int(Severity[where.severity.upper()]),
        "subject": where.subject,
        "states": states,
        "from": None if where.from_ns is None else moment(where.from_ns),
        "to": None if where.to_ns is None else moment(where.to_ns),
    }


def _event(row: tuple[Any, ...]) -> AlertEvent:
    sequence, change, severity, state, at, stored_at, evidence = row
    word = Severity(severity).word
    return AlertEvent(sequence, change, word, state, ns_of(at), ns_of(stored_at), evidence)


def _view(
    row: Row, actions: list[AlertAction] | None = None, events: list[AlertEvent] | None = None
) -> AlertView:
    at = row["acknowledged_at"]
    return AlertView(
        alert=alert_of_row(row),
        acknowledged_by=row["acknowledged_by"],
        acknowledged_at_ns=None if at is None else ns_of(at),
        assigned_to=row["assigned_to"],
        snoozed_until_ns=row["snoozed_until_ns"],
        actions=actions or [],
        events=events or [],
    )
