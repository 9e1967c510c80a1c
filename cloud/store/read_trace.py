"""Single records: what was refused, and the trace of one record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql
from psycopg.rows import dict_row

from cloud.store.read_records import decoder, page_of, select
from cloud.store.read_types import Connection, Page, Row
from cloud.store.sql import statement, statements
from openvrc.contracts.messages import MESSAGES


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
    """Newest first. Raises ValueError for a cursor that is none."""
    where = ""
    if source is not None:
        where += " AND t.source = (SELECT id FROM source WHERE name = %(source)s)"
    if reason is not None:
        where += " AND t.reason = %(reason)s"
    facts = {"zone": zone, "run_id": run_id, "source": source, "reason": reason}
    facts |= {"from": None, "to": None}
    return page_of(connection, "dead_letter", where, facts, cursor=cursor, limit=limit)


def trace(
    connection: Connection, source_id: str, session: int, seq: int, *, run_id: str | None = None
) -> list[Row]:
    """The stored rows and dead letters of one numbered record; [] if there are none.

    Each with its `message`. Looked for where it costs least: a sender that speaks of itself has an
    index; dead letters are few; of a sender that speaks of others (an RSU) the rows between its own
    heartbeats are scanned, which have an index and are numbered in the same session; only without
    those, the block ranges that may hold its number.
    """
    record = {"source": source_id, "session": session, "seq": seq, "run_id": run_id}
    facts: Row = record | {"zone": None, "from": None, "to": None, "limit": 20}
    numbered = [name for name, row in MESSAGES.items() if row.is_stored and row.is_numbered]
    found = _find(connection, numbered, _SENDER + _ITSELF, facts)
    found = found or _find(connection, ["dead_letter"], _SENDER, facts)
    if found or _is_missing(connection, record):
        return found
    span = _span_between_own_rows(connection, numbered, facts)
    spans = [(span[0] - around, span[1] + around) for around in _AROUND] if span else []
    for low, high in [*spans, (None, None)]:
        found = found or _find(connection, numbered, _SENDER, facts | {"from": low, "to": high})
    return found


# The block ranges of numbers hold bigints: compared with an integer they are not used.
_SENDER = (
    " AND t.source = (SELECT id FROM source WHERE name = %(source)s)"
    " AND t.session = %(session)s AND t.seq = %(seq)s::bigint"
)
_ITSELF = " AND t.subject = (SELECT id FROM subject WHERE name = %(source)s)"
_AROUND = (timedelta(seconds=2), timedelta(seconds=60))
"""How far in time a sender's records may lie from the heartbeats around them; further away they are
found by the scan of everything."""


def _find(connection: Connection, messages: list[str], where: str, facts: Row) -> list[Row]:
    found: list[Row] = []
    for message in messages:
        decode = decoder(message)
        rows = connection.execute(select(message, where, is_newest_first=True), facts).fetchall()
        found += [{"message": message} | record for record in decode(rows)]
    return found


def _span_between_own_rows(
    connection: Connection, messages: list[str], facts: Row
) -> tuple[datetime, datetime] | None:
    """When the record was sampled, by the sender's own rows before and after it in its session."""
    lows, highs = [], []
    for message in messages:
        text = sql.SQL(statements()["own_rows_around"]).format(table=sql.Identifier(message))
        low, high = connection.execute(text, facts).fetchone() or (None, None)
        lows += [low] if low else []
        highs += [high] if high else []
    if not lows or not highs:
        return None
    return max(lows), min(highs)


def _is_missing(connection: Connection, record: Row) -> bool:
    """Whether the edges' accounts say that the record never came: no row of it can be there."""
    told = session_accounts(connection, **record)
    return bool(told) and all(account.lacks(record["seq"]) for account in told)


def session_accounts(
    connection: Connection, source: str, session: int, run_id: str | None, seq: int = 0
) -> list[SessionAccount]:
    """What the edges say of one session of a sender, one account by run, zone and spool."""
    del seq  # a record's facts are passed as they are
    facts = {"source": source, "session": session, "run_id": run_id}
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement("session_ledgers"), facts).fetchall()
    return [SessionAccount(**row | {"gaps": [tuple(gap) for gap in row["gaps"]]}) for row in rows]


@dataclass(frozen=True)
class SessionAccount:
    """An edge's account of one session, as far as a single record's fate shows in it."""

    zone: str
    run_id: str
    edge_id: str
    sent: int
    forwarded: int
    dropped: int
    expired: int
    missing: int
    gaps: list[tuple[int, int]]

    def lacks(self, seq: int) -> bool:
        """Whether this number is listed as one that never came, or lies behind the last one."""
        return seq >= self.sent or any(low <= seq <= high for low, high in self.gaps)
