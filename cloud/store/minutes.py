"""Minutes of vehicles and segments: what long histories and dashboards are read from.

With TimescaleDB they are continuous aggregates. Elsewhere we sum up ourselves what was stored since
the last time, found by block ranges of `stored_at`, so that each row is read once whatever time it
is of: vehicle states are never changed and their sums are added to the minute; windows are revised,
and a minute that one of them lies in is summed up anew.

Quarters of an hour of segments, which typical days are read from, are summed up from the minutes,
those that new windows lie in.

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
QUARTERS = "segment_quarter"
"""The table of quarters of an hour of segments, summed up from their minutes on both layouts."""
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
    sums = () if layout.has_aggregates else (*MINUTES,)
    n_slices = len(MINUTES) - len(sums)
    for message in (*sums, QUARTERS):  # quarters are made of minutes, and so come last
        while _add_slice(connection, layout, message, row[0]):
            n_slices += 1
    return n_slices


def _add_slice(connection: Connection, layout: StoreLayout, sums: str, until: datetime) -> bool:
    """Sum up the next rows stored before `until`; False when there is no such time left.

    `sums` are the minutes of a message, or the quarters of segments.
    """
    message, sum_up = (
        ("segment_state", _sum_up_quarters) if sums == QUARTERS else (sums, _sum_up_minutes)
    )
    with connection.transaction():
        after = _position(connection, sums, "minute_position")
        if after is not None and after >= until:
            return False
        before = until if after is None else min(until, after + SLICE)
        facts = {"message": sums, "after": after, "before": before, "until": until}
        if after is not None and _ask(connection, "is_any_row", message, facts):
            sum_up(connection, layout, message, facts)
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


def _sum_up_minutes(
    connection: Connection, layout: StoreLayout, message: str, facts: dict[str, Any]
) -> None:
    _sum_up(connection, layout, message, _NEW, facts)


def _sum_up_quarters(
    connection: Connection, layout: StoreLayout, message: str, facts: dict[str, Any]
) -> None:
    """Quarters that new windows lie in, whole; within the caller's transaction."""
    del message
    make = sql.SQL(statements()["make_summed"]).format(table=sql.Identifier(QUARTERS))
    connection.execute(make)
    changed = sql.SQL(statements()["changed_quarters"]).format(where=_NEW)
    if connection.execute(changed, facts).rowcount:
        _make_parts(connection, layout, QUARTERS, "summed_quarter_parts")
        connection.execute(statement("merge_segment_quarters"))
    connection.execute("DROP TABLE summed")


def _make_parts(connection: Connection, layout: StoreLayout, table: str, ask: str) -> None:
    """The time partitions that what is summed up will need."""
    if layout.partitioning != "native":
        return
    for (number,) in connection.execute(statement(ask), {"chunk_us": layout.chunk_us}).fetchall():
        make_partition(connection, table, number, layout)


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
        _make_parts(connection, layout, table, "summed_parts")
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
    all_sums = (message, QUARTERS) if message == "segment_state" else (message,)
    positions = [_position(connection, sums, "read_minute_position") for sums in all_sums]
    return any(position is None or position < moment for position in positions)


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
