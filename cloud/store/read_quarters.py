"""Quarters of an hour of segments: what typical days are made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import sql

from cloud.store.facts import moment
from cloud.store.minutes import QUARTERS
from cloud.store.read_types import Connection
from cloud.store.sql import statement, statements

_OF_SEGMENT = sql.SQL(
    "q.subject = (SELECT id FROM subject WHERE name = %(subject)s) "
    "AND q.quarter_start >= %(from)s AND q.quarter_start < %(to)s"
)
_AT = sql.SQL("q.quarter_start = ANY (%(starts)s::timestamptz[])")


class SeenQuarter(NamedTuple):
    """What was seen on one segment in the quarter of an hour that begins at a moment."""

    segment_id: str
    quarter_start: datetime
    vehicle_s: float
    distance_m: float


def quarters_of_segment(
    connection: Connection,
    segment_id: str,
    *,
    zone: str,
    origin: str,
    from_ns: int,
    to_ns: int,
    run_id: str | None = None,
) -> list[SeenQuarter]:
    """Quarters of one segment that begin in a span, by time.

    Of runs of one time, such as two replays of one recording, that with the most minutes of a
    quarter counts, the newest of equals.
    """
    facts: dict[str, Any] = {
        "subject": segment_id, "zone": zone, "origin": origin, "run_id": run_id,
        "from": moment(from_ns), "to": moment(to_ns),
    }  # fmt: skip
    return _ask(connection, _OF_SEGMENT, facts)


def quarters_at(
    connection: Connection, starts: Sequence[datetime], *, zone: str, origin: str
) -> list[SeenQuarter]:
    """Quarters that begin at one of some moments, of every segment seen in them."""
    facts: dict[str, Any] = {"zone": zone, "origin": origin, "run_id": None, "starts": list(starts)}
    return _ask(connection, _AT, facts)


def quarters_are_of(connection: Connection) -> datetime | None:
    """Rows stored before this moment are in the quarters; None for none."""
    row = connection.execute(statement("read_minute_position"), {"message": QUARTERS}).fetchone()
    return None if row is None else row[0]


def _ask(connection: Connection, which: sql.SQL, facts: dict[str, Any]) -> list[SeenQuarter]:
    query = sql.SQL(statements()["segment_quarters"]).format(which=which)
    rows = connection.execute(query, facts, binary=True).fetchall()
    return [SeenQuarter(*row) for row in rows]
