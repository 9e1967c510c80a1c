"""What tables and views follow from the contracts: `python -m cloud.store.schema` prints it.

A migration that is in the main branch is never changed, because there are databases that have
applied it. After a change of the contracts a new one brings tables and views to what this prints
(new columns stand behind the old ones), and tests compare the migrated database with it.
"""

from __future__ import annotations

import sys

from cloud.store.columns import (
    SqlColumn,
    sql_columns,
    stored_messages,
    time_column,
    unique_columns,
)
from openvrc.contracts.messages import message_type


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
    """Print all tables, then all views."""
    for text in (table_sql, view_sql):
        for message in stored_messages():
            sys.stdout.write(text(message) + "\n")


if __name__ == "__main__":
    main()
