"""All rows of a message in order of time, in bounded memory on both sides.

There is no tree on time, and sorting a day of rows would fill the disk first. So time is cut into
slices that block ranges find, short enough to be sorted in memory, one behind the other in one
snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from psycopg import sql

from cloud.store.facts import moment
from cloud.store.migrate import layout_of
from cloud.store.read_records import decoder, select
from cloud.store.read_types import Connection, Row
from cloud.store.upkeep import parts_of

FIRST_SLICE = timedelta(seconds=10)
SHORTEST_SLICE = timedelta(seconds=1)
FEW_ROWS, MANY_ROWS = 5_000, 20_000
"""Shorter slices read the same block ranges again and again, longer ones are sorted on disk:
20,000 vehicle states take 8 MB of the 16 that a sort may have."""
GROWTH = 4
FIRST_CHUNK_ROWS = 500
"""Of a slice: whoever asked sees the first rows soon."""
HAS_BLOCK_RANGES = frozenset({"vehicle_state", "segment_state", "battery_state", "rsu_objects"})
"""Messages whose slices are found without reading the whole part; of others there are few rows."""
_RESOLUTION = timedelta(microseconds=1)


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
    """All rows in chunks of at most `chunk_rows`, in order of time, as of the first one.

    `connection` is in autocommit, and is busy until the last chunk was taken.
    """
    query = select(message, "", is_newest_first=False)
    decode = decoder(message)
    facts: dict[str, Any] = {"zone": zone, "run_id": run_id, "limit": None}
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for start, end in _parts(connection, message, from_ns, to_ns):
            length = FIRST_SLICE if message in HAS_BLOCK_RANGES else end - start
            at = start
            while at < end:
                before = min(at + length, end)
                span = {"from": at, "to": before - _RESOLUTION}
                n_rows = 0
                for rows in _slice(connection, query, facts | span, chunk_rows):
                    n_rows += len(rows)
                    yield decode(rows)
                at, length = before, _next_length(length, n_rows)


def _next_length(length: timedelta, n_rows: int) -> timedelta:
    if n_rows < FEW_ROWS:
        return length * GROWTH
    return max(length / GROWTH, SHORTEST_SLICE) if n_rows > MANY_ROWS else length


def _slice(
    connection: Connection, query: sql.Composed, facts: dict[str, Any], chunk_rows: int
) -> Iterator[list[tuple[Any, ...]]]:
    n_rows = min(FIRST_CHUNK_ROWS, chunk_rows)
    with connection.cursor(name="export") as cursor:
        cursor.execute(query, facts, binary=True)
        while rows := cursor.fetchmany(n_rows):
            yield rows
            n_rows = chunk_rows


def _parts(
    connection: Connection, message: str, from_ns: int | None, to_ns: int | None
) -> list[tuple[datetime, datetime]]:
    """Spans [start, end) of the time partitions, cut to what was asked for, in order."""
    spans = [
        (part.start, part.end) for part in parts_of(connection, message, layout_of(connection))
    ]
    if from_ns is not None:
        spans = [(max(start, moment(from_ns)), end) for start, end in spans]
    if to_ns is not None:
        spans = [(start, min(end, moment(to_ns) + _RESOLUTION)) for start, end in spans]
    return sorted(span for span in spans if span[0] < span[1])
