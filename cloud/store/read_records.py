"""Stored records as plain values again: contract names, units and absences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from psycopg import sql

from cloud.store.columns import SqlColumn, sql_columns, time_column, unique_columns
from cloud.store.facts import moment, ns_of
from cloud.store.identities import key_kind
from cloud.store.read_types import Connection, Page, Row, decode_cursor, encode_cursor
from cloud.store.sql import statements

_FIXED = 4
"""Columns before those of the contract: zone, run_id, origin, stored_at."""
_ORDER = {
    "content": "hashtextextended(concat_ws('|', t.source, t.session, t.seq, t.topic, t.reason, "
    "t.detail, t.payload_base64), 0)"
}
"""Dead letters are not unique: those of one message share all times, and may have no source."""


def history(
    connection: Connection,
    message: str,
    subject_id: str,
    *,
    run_id: str | None = None,
    zone: str | None = None,
    from_ns: int | None = None,
    to_ns: int | None = None,
    cursor: str | None = None,
    limit: int = 1000,
) -> Page[Row]:
    """Records of one message about one subject, newest first.

    For vehicle_state, battery_state, segment_state, rsu_status and every other stored message.
    Raises ValueError for a cursor that is none.
    """
    where = "AND t.subject = (SELECT id FROM subject WHERE name = %(subject)s)"
    facts = {"subject": subject_id, **_span(run_id, zone, from_ns, to_ns)}
    return page_of(connection, message, where, facts, cursor=cursor, limit=limit)


def page_of(
    connection: Connection,
    message: str,
    where: str,
    facts: dict[str, Any],
    *,
    cursor: str | None,
    limit: int,
) -> Page[Row]:
    """Records of one message under one more condition, newest first."""
    order = order_columns(message)
    if cursor:
        parts = decode_cursor(cursor, len(order))
        facts = facts | {f"after_{place}": part for place, part in enumerate(parts)}
        names = ", ".join(_ORDER.get(name, f"t.{name}") for name in order)
        places = ", ".join(f"%(after_{place})s" for place in range(len(order)))
        where = f"{where} AND ({names}) < ({places})"
    query = select(message, where, is_newest_first=True)
    rows = connection.execute(query, facts | {"limit": limit + 1}, binary=True).fetchall()
    decode = decoder(message)
    next_cursor = None
    if len(rows) > limit:
        next_cursor = encode_cursor(*rows[limit - 1][_FIXED : _FIXED + len(order)])
    return Page(decode(rows[:limit]), next_cursor)


def order_columns(message: str) -> tuple[str, ...]:
    """What rows are ordered by: their time, then the rest of what makes them unique."""
    time = time_column(message)
    rest = unique_columns(message) or ("run", "stored_at", "content")
    return (time, *(name for name in rest if name != time))


def select(message: str, where: str, *, is_newest_first: bool) -> sql.Composed:
    """The statement `records` for one message. `where` is text of ours, never of a client."""
    columns = sql_columns(message)
    order = order_columns(message)
    shown = [
        sql.SQL("{}.name").format(sql.Identifier(f"k_{c.name}"))
        if c.kind == "key"
        else sql.SQL("t.{}").format(sql.Identifier(c.name))
        for c in columns
    ]
    joins = [
        sql.SQL("LEFT JOIN {table} {alias} ON {alias}.id = t.{name}").format(
            table=sql.Identifier(key_kind(c.name)),
            alias=sql.Identifier(f"k_{c.name}"),
            name=sql.Identifier(c.name),
        )
        for c in columns
        if c.kind == "key"
    ]
    ordered = [sql.SQL(_ORDER.get(name, f"t.{name}")) for name in order]
    direction = sql.SQL(" DESC" if is_newest_first else " ASC")
    return sql.SQL(statements()["records"]).format(
        columns=sql.SQL(", ").join(shown),
        order_columns=sql.SQL(", ").join(ordered),
        table=sql.Identifier(message),
        joins=sql.SQL("\n").join(joins),
        time=sql.Identifier(time_column(message)),
        where=sql.SQL(where),
        order=sql.SQL(", ").join(name + direction for name in ordered),
    )


def decoder(message: str) -> Callable[[Sequence[tuple[Any, ...]]], list[Row]]:
    """A function from rows of `select` to contract values; absent ones are left out.

    It goes column by column: 9 us a vehicle's record, where row by row took 28.
    """
    first = _FIXED + len(order_columns(message))
    columns = sql_columns(message)
    names = ["zone", "run_id", "origin", "stored_at_ns", *(c.contract.name for c in columns)]
    readers = [_same, _same, _same, _times, *(_reader(c) for c in columns)]

    def decode(rows: Sequence[tuple[Any, ...]]) -> list[Row]:
        if not rows:
            return []
        by_column = list(zip(*rows, strict=True))
        by_column[_FIXED:first] = []
        read = [reader(values) for reader, values in zip(readers, by_column, strict=True)]
        return [
            {name: value for name, value in zip(names, values, strict=True) if value is not None}
            for values in zip(*read, strict=True)
        ]

    return decode


_Column = tuple[Any, ...]
"""One column's values, None where absent."""


def _reader(column: SqlColumn) -> Callable[[_Column], Sequence[Any]]:
    contract = column.contract
    digits = contract.decimals if contract.decimals is not None else 6
    if column.kind == "time":
        return _times
    if column.kind == "code":
        words: list[Any] = [False, True] if contract.is_bool else list(contract.values)
        return lambda values: [None if v is None else words[v] for v in values]
    if column.kind in ("float4", "float8"):
        return lambda values: _rounded(values, digits)
    if column.kind == "list":
        scale = column.scale
        return lambda values: [None if v is None else _rounded(v, digits, scale) for v in values]
    return _same


def _same(values: _Column) -> _Column:
    return values


def _times(values: _Column) -> list[int | None]:
    return [None if value is None else ns_of(value) for value in values]


def _rounded(values: Sequence[float | None], digits: int, scale: float = 1.0) -> list[float | None]:
    rounded: list[float | None] = np.round(np.array(values, np.float64) / scale, digits).tolist()
    if None not in values:
        return rounded
    # NaN is a value; what is absent stays so.
    return [None if value is None else new for value, new in zip(values, rounded, strict=True)]


def _span(
    run_id: str | None, zone: str | None, from_ns: int | None, to_ns: int | None
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "zone": zone,
        "from": None if from_ns is None else moment(from_ns),
        "to": None if to_ns is None else moment(to_ns),
    }
