"""Single records: what was refused, and the trace of one record."""

from __future__ import annotations

from cloud.store.read_records import decoder, page_of, select
from cloud.store.read_types import Connection, Page, Row
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

    Each with its `message`. A sender that speaks of itself is found by index; for one that
    speaks of others (an RSU) the tables are scanned, from where the times of its session allow.
    """
    facts = {"source": source_id, "session": session, "seq": seq, "run_id": run_id}
    facts |= {"zone": None, "from": None, "to": None, "limit": 20}
    sender = (
        " AND t.source = (SELECT id FROM source WHERE name = %(source)s)"
        " AND t.session = %(session)s AND t.seq = %(seq)s"
    )
    itself = " AND t.subject = (SELECT id FROM subject WHERE name = %(source)s)"
    for where in (sender + itself, sender):
        found: list[Row] = []
        for message, row in MESSAGES.items():
            if row.is_stored and (row.is_numbered or message == "dead_letter"):
                query = select(message, where, is_newest_first=True)
                decode = decoder(message)
                rows = connection.execute(query, facts).fetchall()
                found += [{"message": message} | decode(values) for values in rows]
        if found:
            return found
    return []
