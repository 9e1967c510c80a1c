"""SQL columns of a message, derived from its contract: nothing about them is written by hand.

| contract | SQL |
|---|---|
| `source_id`, `subject_id`, `segment_id` | integer keys `source`, `subject`, `segment` |
| int64 in ns | `timestamptz` without the `_ns` (PostgreSQL keeps microseconds) |
| other integers | the smallest of smallint, integer, bigint that holds the contract's range |
| float32, float64, codes, text | real, double precision, smallint, text |
| lists in V or degC | smallint[] in mV or tenths of a degree (266 B a 96-cell frame, not 457) |

Absent values are NULL.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from openvrc.contracts.columns import Column, columns_of
from openvrc.contracts.messages import MESSAGES

SqlKind = Literal["key", "time", "int2", "int4", "int8", "float4", "float8", "code", "text", "list"]

KEYS = {"source_id": "source", "subject_id": "subject", "segment_id": "segment"}
LIST_SCALE = {"V": ("_v", "_mv", 1000.0), "degC": ("_degc", "_ddegc", 10.0)}
"""Unit to (suffix of the contract's name, suffix of the SQL column, factor)."""

SQL_TYPE: dict[SqlKind, str] = {
    "key": "integer",
    "time": "timestamptz",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "code": "smallint",
    "text": "text",
    "list": "smallint[]",
}

TIME_COLUMN = {"segment_state": "window_start", "dead_letter": "edge_received_at"}
"""What a table is partitioned by where it is not `sampled_at`: a window's row keeps its place when
it is revised, and a dead letter's own time may be the very thing that was wrong with it."""

UNIQUE: dict[str, tuple[str, ...]] = {
    "segment_state": ("run", "zone", "subject", "window_start", "window_s"),
    "dead_letter": (),
}
_UNIQUE_DEFAULT = ("run", "subject", "sampled_at", "source")


@dataclass(frozen=True)
class SqlColumn:
    """One column of a message's table."""

    name: str
    kind: SqlKind
    contract: Column
    is_nullable: bool
    scale: float = 1.0
    """Stored number per contract number, for lists."""

    @property
    def sql_type(self) -> str:
        """As CREATE TABLE writes it."""
        return SQL_TYPE[self.kind]


def stored_messages() -> list[str]:
    """Messages that become rows."""
    return [name for name, row in MESSAGES.items() if row.is_stored]


def time_column(message: str) -> str:
    """The column a table is partitioned by."""
    return TIME_COLUMN.get(message, "sampled_at")


def unique_columns(message: str) -> tuple[str, ...]:
    """The columns of a table's unique index; none for dead letters."""
    return UNIQUE.get(message, _UNIQUE_DEFAULT)


@cache
def sql_columns(message: str) -> tuple[SqlColumn, ...]:
    """Columns of a message's table that come from its contract, in order.

    Before them stand `run` and `zone`, behind them `stored_at`.
    """
    return tuple(_sql_column(message, column) for column in columns_of(message))


def _sql_column(message: str, column: Column) -> SqlColumn:
    is_nullable = not column.is_required or message == "dead_letter"
    if column.name in KEYS:
        # Off the map is "no segment", although the contract's mark is required.
        is_nullable |= column.name == "segment_id"
        return SqlColumn(KEYS[column.name], "key", column, is_nullable)
    if column.kind == "i64" and column.unit == "ns":
        return SqlColumn(column.name.removesuffix("_ns"), "time", column, is_nullable)
    if column.kind == "i64":
        return SqlColumn(column.name, _integer_kind(column), column, is_nullable)
    if column.kind == "f32_list":
        old, new, scale = LIST_SCALE[column.unit]
        name = column.name.removesuffix(old) + new
        return SqlColumn(name, "list", column, True, scale)
    kinds: dict[str, SqlKind] = {"f64": "float8", "f32": "float4", "code": "code", "text": "text"}
    return SqlColumn(column.name, kinds[column.kind], column, is_nullable)


def _integer_kind(column: Column) -> SqlKind:
    if column.low is None or column.high is None:
        return "int8"
    reach = max(abs(column.low), abs(column.high))
    return "int2" if reach < 2**15 else "int4" if reach < 2**31 else "int8"
