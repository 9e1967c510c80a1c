"""Silences of notifications, and the log of what was told."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row

from cloud.store.facts import moment, ns_of
from cloud.store.read_types import Connection, Row
from cloud.store.sql import statement


def add_delivery(connection: Connection, facts: Row) -> None:
    """Write one attempt down; `facts` are the columns of `notify_delivery`."""
    connection.execute(statement("add_delivery"), facts)


def deliveries(
    connection: Connection, *, before: int | None, alert_id: str | None, limit: int
) -> list[Row]:
    """The newest attempts, older than the id `before`."""
    facts = {"before": before, "alert": alert_id, "limit": limit}
    return _rows(connection, "deliveries", facts)


def silences(connection: Connection) -> list[Row]:
    """Those that have not ended; times as `*_ns`."""
    return _rows(connection, "silences", {})


def add_silence(
    connection: Connection,
    *,
    who: str,
    begins_ns: int,
    ends_ns: int,
    zone: str,
    rule: str,
    subject: str,
    reason: str,
) -> int:
    """Begin one; its number. `zone`, `rule` and `subject` are globs."""
    facts = {
        "who": who, "begins": moment(begins_ns), "ends": moment(ends_ns), "zone": zone,
        "rule": rule, "subject": subject, "reason": reason,
    }  # fmt: skip
    row = connection.execute(statement("add_silence"), facts).fetchone()
    assert row is not None
    number: int = row[0]
    return number


def end_silence(connection: Connection, number: int, who: str) -> bool:
    """End one early; False where there is none that could be ended."""
    facts = {"id": number, "who": who}
    return connection.execute(statement("end_silence"), facts).fetchone() is not None


def _rows(connection: Connection, name: str, facts: dict[str, Any]) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement(name), facts).fetchall()
    for row in rows:
        for column in [c for c in row if c == "at" or c.endswith("_at")]:
            row[f"{column.removesuffix('_at')}_ns" if column != "at" else "at_ns"] = ns_of(
                row.pop(column)
            )
    return rows
