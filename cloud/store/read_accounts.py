"""Where every record went: accounts per sender, dead letters, the trace of one record."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from psycopg.rows import dict_row

from cloud.store.read_records import decoder, page_of, select
from cloud.store.read_types import (
    Account,
    Accounting,
    Connection,
    Page,
    Row,
    SourceAccount,
)
from cloud.store.sql import statement
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.reasons import Reason

MAX_GAPS = 100
CONSISTENT_WITHIN_S = 2.0
"""A checkpoint moves counts from memory to the table within milliseconds."""


class PipelineCounts(Protocol):
    """What a pipeline in this process has counted since its checkpoint."""

    def read(self) -> tuple[int, dict[tuple[int, int, int, int, str], list[int]]]:
        """Position of the checkpoint, and [stored, repeated, refused] by key.

        A key is (run, zone, source, session, message).
        """
        ...


@dataclass
class _Session:
    """One session of a sender: its ledger rows and what the cloud made of it."""

    ledgers: list[Row] = field(default_factory=list)
    stored: int = 0
    repeated: int = 0
    refused: int = 0


_SessionKey = tuple[str, str, str, int]
"""(run_id, zone, source_id, session)"""


def accounting(
    connection: Connection,
    pipeline_counts: PipelineCounts | None,
    *,
    zone: str | None = None,
    run_id: str | None = None,
) -> Accounting:
    """Accounts of all senders. `pipeline_counts` is `Pipeline.counts`, None without one."""
    sessions: dict[_SessionKey, _Session] = {}
    facts = {"zone": zone, "run_id": run_id}
    counters = _read_counters(connection, pipeline_counts, facts)
    for row in counters:
        session = sessions.setdefault(_key(row), _Session())
        session.stored, session.repeated = row["stored"], row["repeated"]
        session.refused = row["refused"]
    # After the counters: what was stored is then never ahead of what the edge said it sent, but
    # for ledger rows that are still on their way.
    for row in _select(connection, "ledgers", facts):
        sessions.setdefault(_key(row), _Session()).ledgers.append(row)
    by_source: dict[tuple[str, str, str], list[_Session]] = {}
    for key, session in sorted(sessions.items()):
        by_source.setdefault(key[:3], []).append(session)
    sources = [_source_account(who, members) for who, members in by_source.items()]
    return Accounting(_sum(source.account for source in sources), sources)


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


def _read_counters(
    connection: Connection, pipeline_counts: PipelineCounts | None, facts: Row
) -> list[Row]:
    """Counts of table and memory that stand on the same checkpoint."""
    deadline_s = time.monotonic() + CONSISTENT_WITHIN_S
    while True:
        position, counts = pipeline_counts.read() if pipeline_counts else (None, {})
        keys, values = list(counts), list(counts.values())
        arrays: Row = {
            name: [key[place] for key in keys]
            for place, name in enumerate(("run", "zone_key", "source", "session"))
        }
        for place, name in enumerate(("stored", "repeated", "refused")):
            arrays[name] = [value[place] for value in values]
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = connection.execute(statement("checkpoint_position")).fetchone()
            rows = _select(connection, "counters", facts | arrays)
        is_consistent = position is None or (found is not None and found[0] == position)
        if is_consistent or time.monotonic() > deadline_s:
            return rows
        time.sleep(0.005)


def _select(connection: Connection, name: str, facts: Row) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(name), facts).fetchall()


def _key(row: Row) -> _SessionKey:
    return row["run_id"], row["zone"], row["source_id"], row["session"]


def _source_account(who: tuple[str, str, str], sessions: list[_Session]) -> SourceAccount:
    run_id, zone, source_id = who
    gaps = [tuple(gap) for s in sessions for ledger in s.ledgers for gap in ledger["gaps"]]
    ledgers = [ledger for s in sessions for ledger in s.ledgers]
    return SourceAccount(
        zone=zone,
        run_id=run_id,
        source_id=source_id,
        is_sequenced=any(ledger["is_sequenced"] for ledger in ledgers),
        sessions=len(sessions),
        gaps=gaps[:MAX_GAPS],
        account=_sum(_session_account(s) for s in sessions),
    )


def _session_account(session: _Session) -> Account:
    """One session's sum.

    Two edges (or an edge that lost its spool) may each have an account of it: their receipts add
    up, the sender's own count is the larger one, and what none of them has is missing.
    """
    total = _sum(_ledger_account(row) for row in session.ledgers)
    sent, missing = total.sent, total.missing
    if len(session.ledgers) > 1 and all(row["is_sequenced"] for row in session.ledgers):
        accounted = total.sent - total.missing
        sent = max(*(row["sent"] for row in session.ledgers), accounted)
        missing = sent - accounted
    rejected = dict(total.rejected)
    for reason, count in (
        (Reason.DUPLICATE_SAMPLE, session.repeated),
        (Reason.REFUSED_BY_STORE, session.refused),
    ):
        if count:
            rejected[str(reason)] = rejected.get(str(reason), 0) + count
    settled = session.stored + session.repeated + session.refused
    # Records may overtake the account of them: they were sent and received all the same.
    ahead = max(0, settled - total.forwarded)
    return Account(
        sent=sent + ahead,
        received=total.received + ahead,
        forwarded=total.forwarded + ahead,
        stored=session.stored,
        rejected=rejected,
        dropped=total.dropped,
        expired=total.expired,
        thinned=total.thinned,
        pending=total.forwarded + ahead - settled,
        missing=missing,
        duplicates=total.duplicates,
    )


_COUNTS = (
    "sent", "received", "forwarded", "dropped", "expired", "thinned", "missing", "duplicates",
)  # fmt: skip


def _ledger_account(row: Row) -> Account:
    rejected = {reason: int(n) for reason, n in row["rejected"].items()}
    return Account(**{name: row[name] for name in _COUNTS}, rejected=rejected)


def _sum(accounts: Iterable[Account]) -> Account:
    totals: dict[str, Any] = dict.fromkeys((*_COUNTS, "stored", "pending"), 0)
    rejected: dict[str, int] = {}
    for account in accounts:
        for name in totals:
            totals[name] += getattr(account, name)
        for reason, count in account.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
    return Account(**totals, rejected=rejected)
