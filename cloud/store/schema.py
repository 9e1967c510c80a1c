"""Writes the migrations that follow from the contracts: `python -m cloud.store.schema`.

A released migration is never changed: after a change of the contracts this prints what a new one
must come to, and a test compares the migrated tables with the contracts.
"""

from __future__ import annotations

from pathlib import Path

from cloud.store.columns import (
    SqlColumn,
    sql_columns,
    stored_messages,
    time_column,
    unique_columns,
)
from openvrc.contracts.messages import message_type

MIGRATIONS = Path(__file__).parent / "migrations"


def table_sql(message: str) -> str:
    """CREATE TABLE and indexes of one message."""
    lines = ["    run integer NOT NULL", "    zone integer NOT NULL"]
    for column in sql_columns(message):
        rule = "" if column.is_nullable else " NOT NULL"
        lines.append(f"    {column.name} {column.sql_type}{rule}")
    lines.append("    stored_at timestamptz NOT NULL DEFAULT now()")
    time = time_column(message)
    head = (message_type(message).model.__doc__ or message).split("\n", 1)[0].replace("'", "''")
    parts = [
        f"CREATE TABLE {message} (\n" + ",\n".join(lines) + f"\n) PARTITION BY RANGE ({time});",
        f"COMMENT ON TABLE {message} IS '{head}';",
    ]
    unique = unique_columns(message)
    if unique:
        parts.append(f"CREATE UNIQUE INDEX {message}_key ON {message} ({', '.join(unique)});")
    else:
        parts.append(f"CREATE INDEX {message}_by_time ON {message} (run, {time});")
    return "\n".join(parts) + "\n"


def view_sql(message: str) -> str:
    """A view with names and words instead of keys and codes."""
    shown = ["    z.name AS zone", "    r.run_id", "    r.origin"]
    joins = ["JOIN run r ON r.id = t.run", "JOIN zone z ON z.id = t.zone"]
    for column in sql_columns(message):
        shown.append("    " + _shown(column))
        if column.kind == "key":
            table = "source" if column.name == "source" else "subject"
            joins.append(
                f"LEFT JOIN {table} k_{column.name} ON k_{column.name}.id = t.{column.name}"
            )
    shown.append("    t.stored_at")
    body = ",\n".join(shown)
    return (
        f"CREATE VIEW v_{message} AS SELECT\n{body}\nFROM {message} t\n" + "\n".join(joins) + ";\n"
    )


def _shown(column: SqlColumn) -> str:
    name = column.name
    if column.kind == "key":
        return f"k_{name}.name AS {column.contract.name}"
    if column.kind == "code" and column.contract.is_bool:
        return f"t.{name} = 1 AS {name}"
    if column.kind == "code":
        words = ", ".join(f"'{word}'" for word in column.contract.values)
        return f"(ARRAY[{words}])[t.{name} + 1] AS {name}"
    return f"t.{name}"


def main() -> None:
    """Write both generated migrations."""
    note = "-- Generated from the contracts by python -m cloud.store.schema.\n\n"
    tables = "\n".join(map(table_sql, stored_messages()))
    views = "\n".join(map(view_sql, stored_messages()))
    (MIGRATIONS / "0002_messages.sql").write_text(note + tables, encoding="utf-8")
    (MIGRATIONS / "0003_views.sql").write_text(note + views, encoding="utf-8")


if __name__ == "__main__":
    main()
