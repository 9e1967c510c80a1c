"""What is written beside the time series: alerts, accounts, maps, runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cloud.alerting import Alert, AlertTransition
from cloud.store.identities import Identities
from cloud.store.sql import statement
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Severity
from openvrc.contracts.finding_rows import plain

Connection = psycopg.Connection[Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_LEDGER_COUNTS = (
    "edge_id", "edge_epoch", "version", "is_sequenced", "sent", "received", "forwarded",
    "dropped", "expired", "thinned", "missing", "duplicates",
)  # fmt: skip


def moment(time_ns: int) -> datetime:
    """Epoch ns as the datetime PostgreSQL takes, to the microsecond."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def ns_of(time: datetime) -> int:
    """Epoch ns of a datetime with an offset."""
    since = time - _EPOCH  # by its parts: dividing timedeltas takes twice as long
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def write_alerts(connection: Connection, transitions: Sequence[AlertTransition]) -> None:
    """Every transition, and each alert as its last one left it."""
    if not transitions:
        return
    newest = {told.alert.id: told for told in transitions}
    alerts = [_alert_row(told.alert) | {"sequence": told.sequence} for told in newest.values()]
    events = [_event_row(told) for told in transitions]
    connection.execute(statement("upsert_alerts"), {"rows": _json(alerts)})
    connection.execute(statement("add_alert_events"), {"rows": _json(events)})


def _alert_row(alert: Alert) -> dict[str, Any]:
    row = dict(vars(alert))
    for name in ("started_at", "detected_at", "cleared_at"):
        time_ns = row.pop(f"{name}_ns")
        row[name] = None if time_ns is None else moment(time_ns)
    return row | {"severity": int(alert.severity)}


def alert_of_row(row: Mapping[str, Any]) -> Alert:
    """The alert in a row of the table `alert`, by column name."""
    values = {name: row[name] for name in Alert.__dataclass_fields__ if name in row}
    for name in ("started_at", "detected_at", "cleared_at"):
        values[f"{name}_ns"] = None if row[name] is None else ns_of(row[name])
    return Alert(**values | {"severity": Severity(row["severity"])})


def cleared_in_store(
    connection: Connection, run_id: str, alert_id: str
) -> tuple[AlertTransition, ...]:
    """The transition that clears an open alert which only the store knows; () if it is not open.

    It is cleared as of the newest zone time that its run has seen.
    """
    facts = {"run_id": run_id, "id": alert_id}
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(statement("open_alert"), facts).fetchone()
    if row is None:
        return ()
    alert = alert_of_row(row)
    last_at_ns = alert.detected_at_ns if row["last_at"] is None else ns_of(row["last_at"])
    at_ns = max(alert.detected_at_ns, last_at_ns)
    cleared = replace(alert, state="cleared", cleared_at_ns=alert.cleared_at_ns or at_ns)
    return (AlertTransition(cleared, "cleared", row["sequence"] + 1, at_ns),)


def _event_row(told: AlertTransition) -> dict[str, Any]:
    return {
        "id": told.alert.id,
        "sequence": told.sequence,
        "change": told.change,
        "severity": int(told.alert.severity),
        "state": told.alert.state,
        "at": moment(told.at_ns),
        "evidence": told.alert.evidence,
    }


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    """JSON that PostgreSQL takes: it knows neither NaN (null here) nor the NUL character."""
    text = msgspec.json.encode(rows, enc_hook=plain).decode()
    return text.replace("\\u0000", "\\ufffd")


def write_ledgers(connection: Connection, batches: Iterable[Batch], identities: Identities) -> None:
    """The edges' accounts; an older version changes nothing."""
    rows = []
    for batch in batches:
        where = {"run": identities.run(batch), "zone": identities.key("zone", batch.zone)}
        sources = identities.column("source", batch, "subject_id").tolist()
        for record, source in zip(batch.to_records(), sources, strict=True):
            row = where | {name: record[name] for name in _LEDGER_COUNTS}
            row["source"] = source
            row["session"] = record.get("session", -1)
            row["clock_offset_ms"] = record.get("clock_offset_ms")
            row["rejected"] = Jsonb(json.loads(record.get("rejected") or "{}"))
            row["gaps"] = Jsonb(json.loads(record.get("gaps") or "[]"))
            rows.append(row)
    with connection.cursor() as cursor:
        cursor.executemany(statement("upsert_ledger"), rows)


@dataclass(frozen=True)
class SenderCount:
    """What one sender without an edge sent in one request, for the cloud's own ledger."""

    zone: str
    run_id: str
    origin: str
    source_id: str
    forwarded: int
    rejected: Mapping[str, int]


def add_to_ledger(connection: Connection, count: SenderCount, identities: Identities) -> None:
    """Add to the cloud's own account of a sender."""
    facts = {
        "run": identities.run_key(count.run_id, count.origin),
        "zone": identities.key("zone", count.zone),
        "source": identities.key("source", count.source_id),
        "sent": count.forwarded + sum(count.rejected.values()),
        "forwarded": count.forwarded,
        "rejected": Jsonb(dict(count.rejected)),
    }
    connection.execute(statement("add_to_ledger"), facts)


def write_zone_facts(
    connection: Connection, batches: Iterable[Batch], identities: Identities
) -> None:
    """Runs, maps and zone time from `zone_announce` and `tick`."""
    for batch in batches:
        where = {"run": identities.run(batch), "zone": identities.key("zone", batch.zone)}
        if batch.message == "tick":
            at_ns = int(batch.column("sampled_at_ns").max())
            connection.execute(statement("tick_zone_run"), where | {"at": moment(at_ns)})
        elif batch.message == "zone_announce":
            for record in batch.to_records():
                _write_announce(connection, record, where)


def _write_announce(
    connection: Connection, record: Mapping[str, Any], where: Mapping[str, int]
) -> None:
    version, document = record.get("map_version"), record.get("map_document")
    if version and document:
        facts = {"map_version": version, "document": document}
        connection.execute(statement("add_map"), facts)
    row = {
        "state": record["state"],
        "clock": record["clock"],
        "rate_ratio": record.get("rate_ratio", 1.0),
        "time_zone": record.get("time_zone", "UTC"),
        "title": record.get("title"),
        "map_version": version,
        "at": moment(record["sampled_at_ns"]),
    }
    connection.execute(statement("upsert_zone_run"), {**row, **where})
