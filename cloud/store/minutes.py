"""Minutes of vehicles and segments: what long histories and dashboards are read from.

With TimescaleDB they are continuous aggregates. Elsewhere we sum up ourselves what was stored since
the last time, found by block ranges of `stored_at`, so that each row is read once whatever time it
is of: vehicle states are never changed and their sums are added to the minute; windows are revised,
and a minute that one of them lies in is summed up anew.

Dropped rows leave their minutes behind. Ours are there already; a continuous aggregate would lose
them at its next refresh, so those of a part are kept apart as it is dropped (`keep`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from cloud.store.migrate import StoreLayout, make_partition
from cloud.store.sql import statement, statements

Connection = psycopg.Connection[Any]

MINUTES: Mapping[str, str] = {"vehicle_state": "vehicle", "segment_state": "segment"}
"""Messages that are summed up, and what the minutes are of."""
SLICE = timedelta(minutes=10)
"""Of storing: one transaction. At 50,000 records/s it sums up 30 million rows."""
_NEW = sql.SQL("t.stored_at >= %(after)s AND t.stored_at < %(before)s")


def refresh(connection: Connection, layout: StoreLayout) -> int:
    """Bring all minutes up to date with what is stored; how many transactions that took.

    `connection` is in autocommit. Several at the same time wait for each other.
    """
    row = connection.execute(statement("stored_for_sure")).fetchone()
    assert row is not None
    if layout.has_aggregates:
        for message, kind in MINUTES.items():
            connection.execute(statement("refresh_aggregate"), {"view": f"{kind}_minute_fresh"})
            facts = {"message": message, "before": row[0]}
            connection.execute(statement("move_minute_position"), facts)
        return len(MINUTES)
    n_slices = 0
    for message in MINUTES:
        while _add_slice(connection, layout, message, row[0]):
            n_slices += 1
    return n_slices


def _add_slice(connection: Connection, layout: StoreLayout, message: str, until: datetime) -> bool:
    """Sum up the next rows stored before `until`; False when there is no such time left."""
    with connection.transaction():
        after = _position(connection, message, "minute_position")
        if after is not None and after >= until:
            return False
        before = until if after is None else min(until, after + SLICE)
        facts = {"message": message, "after": after, "before": before, "until": until}
        if after is not None and _ask(connection, "is_any_row", message, facts):
            _sum_up(connection, layout, message, _NEW, facts)
        else:  # on to the next row, however long nothing was stored
            facts["before"] = _ask(connection, "first_stored", message, facts) or until
        connection.execute(statement("move_minute_position"), facts)
    return True


def _ask(connection: Connection, name: str, message: str, facts: dict[str, Any]) -> Any:
    """The one value that a statement about a message's table answers."""
    query = sql.SQL(statements()[name]).format(table=sql.Identifier(message), where=_NEW)
    row = connection.execute(query, facts).fetchone()
    return None if row is None else row[0]


def _position(connection: Connection, message: str, name: str) -> datetime | None:
    row = connection.execute(statement(name), {"message": message}).fetchone()
    return None if row is None else row[0]


def _sum_up(
    connection: Connection,
    layout: StoreLayout,
    message: str,
    where: sql.Composable,
    facts: dict[str, Any],
) -> None:
    """Rows, or minutes of an aggregate, under a condition into those that are kept.

    Within the caller's transaction.
    """
    kind = MINUTES[message]
    table = f"{kind}_minute_kept"
    make = sql.SQL(statements()["make_summed"]).format(table=sql.Identifier(table))
    connection.execute(make)
    source = f"copy_{kind}_minutes" if layout.has_aggregates else f"sum_{kind}_minutes"
    total = sql.SQL(statements()[source]).format(where=where)
    if connection.execute(total, facts).rowcount:
        if layout.partitioning == "native":
            parts = connection.execute(statement("summed_parts"), {"chunk_us": layout.chunk_us})
            for (number,) in parts.fetchall():
                make_partition(connection, table, number, layout)
        connection.execute(statement(f"merge_{kind}_minutes"))
    connection.execute("DROP TABLE summed")


def keep(
    connection: Connection, layout: StoreLayout, message: str, start: datetime, end: datetime
) -> None:
    """Keep the minutes of a part [start, end) that is being dropped, in the same transaction.

    They are copied from the continuous aggregate, which must not be behind (`are_behind`): summing
    up a day would hold up the writer for minutes. The aggregate's own part goes with the rows.
    """
    if message not in MINUTES or not layout.has_aggregates:
        return
    where = sql.SQL("t.minute_start >= %(start)s AND t.minute_start < %(end)s")
    facts: dict[str, Any] = {"start": start, "end": end}
    _sum_up(connection, layout, message, where, facts)
    view = f"{MINUTES[message]}_minute_fresh"
    connection.execute(statement("drop_chunk"), facts | {"table": view})


def are_behind(connection: Connection, message: str, moment: datetime) -> bool:
    """Whether rows stored before `moment` may be missing in the minutes."""
    if message not in MINUTES:
        return False
    position = _position(connection, message, "read_minute_position")
    return position is None or position < moment


class BlockRanges:
    """Keeps BRIN indexes complete: a range that is not summarized is read by every query.

    PostgreSQL does it when it vacuums, which for tables that only grow is seldom.
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def summarize(self, connection: Connection) -> int:
        """Note what filled block ranges hold; how many indexes had new ones."""
        sizes = dict(connection.execute(statement("block_range_indexes")).fetchall())
        grown = [name for name, ranges in sizes.items() if ranges > self._known.get(name, 0)]
        for name in grown:
            connection.execute(statement("summarize"), {"index": name})
        self._known = sizes
        return len(grown)
