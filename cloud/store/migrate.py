"""Applies the numbered migrations, forwards only, one process at a time.

On a server that offers TimescaleDB the message tables become hypertables, elsewhere native range
partitions; which of the two, and how long a part is, is decided once and kept in the database.

A file may hold sections behind lines "-- only: own", "-- only: continuous" and "-- only: any": for
databases whose minutes the service sums up, and for those with TimescaleDB's continuous aggregates.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

from cloud.store.columns import stored_messages, time_column
from openvrc.contracts.errors import VrcError

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x56524301
US_PER_MINUTE = 60_000_000
MINUTES_PER_DAY = 1440

Partitioning = Literal["native", "timescale"]
MINUTE_TIME = "minute_start"
SUM_TABLES = {
    "vehicle_minute_kept": MINUTE_TIME,
    "segment_minute_kept": MINUTE_TIME,
    "segment_quarter": "quarter_start",
}
"""Tables of minutes and quarters that are cut by time as messages are, and by which."""
CONTINUOUS = ("vehicle_minute_fresh", "segment_minute_fresh")
_PARTITION_BY = re.compile(r"\) PARTITION BY RANGE \(\w+\);")
_SECTION = re.compile(r"^-- only: (own|continuous|any)$", re.MULTILINE)


class MigrationError(VrcError):
    """The database's schema is not what these files made, or newer than this program."""


@dataclass(frozen=True)
class StoreLayout:
    """How the message tables are cut by time."""

    partitioning: Partitioning
    chunk_us: int
    has_aggregates: bool = False
    """Minutes are TimescaleDB's continuous aggregates, not ours."""


def migrate(connection: psycopg.Connection[Any], *, chunk_days: float) -> StoreLayout:
    """Bring the schema up to date; `chunk_days` counts only when the database is new.

    A part is a whole number of minutes long, so that a minute lies in one part.

    Raises MigrationError for a changed or unknown migration.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration (number integer PRIMARY KEY, "
            "name text NOT NULL, sha256 text NOT NULL, applied_at timestamptz DEFAULT now())"
        )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS store_layout "
            "(partitioning text NOT NULL, chunk_us bigint NOT NULL)"
        )
        chunk_us = max(round(chunk_days * MINUTES_PER_DAY), 1) * US_PER_MINUTE
        layout = _layout(connection, chunk_us)
        known = dict(connection.execute("SELECT number, sha256 FROM schema_migration").fetchall())
        _refuse_unknown(known)
        for number, path in migrations():
            _apply(connection, number, path, known.get(number), layout)
    return layout_of(connection)


def layout_of(connection: psycopg.Connection[Any]) -> StoreLayout:
    """The layout of a migrated database."""
    row = connection.execute(
        "SELECT partitioning, chunk_us, to_regclass(%s) IS NOT NULL FROM store_layout",
        [CONTINUOUS[0]],
    ).fetchone()
    if row is None:
        raise MigrationError("the database is not migrated")
    return StoreLayout(*row)


def migrations() -> Iterator[tuple[int, Path]]:
    """The files in order of their numbers."""
    for path in sorted(MIGRATIONS.glob("[0-9]*.sql")):
        yield int(path.name.split("_", 1)[0]), path


def _refuse_unknown(known: dict[int, str]) -> None:
    newest = max(number for number, _ in migrations())
    if known and max(known) > newest:
        raise MigrationError(
            f"the database has migration {max(known)}, this program knows up to {newest}: "
            "update the program"
        )


def _layout(connection: psycopg.Connection[Any], chunk_us: int) -> StoreLayout:
    row = connection.execute("SELECT partitioning, chunk_us FROM store_layout").fetchone()
    if row is None:
        row = ("timescale" if _has_timescale(connection) else "native", chunk_us)
        if row[0] == "timescale":
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        connection.execute("INSERT INTO store_layout VALUES (%s, %s)", row)
    return StoreLayout(*row)


def _has_timescale(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server offers TimescaleDB.

    Raises MigrationError where its files are there but the server does not load them: making the
    extension would end the connection, and native partitions would be chosen for ever.
    """
    found = connection.execute(
        "SELECT current_setting('timescaledb.disable_load', true) IS NOT NULL "
        "FROM pg_available_extensions WHERE name = 'timescaledb'"
    ).fetchone()
    if found == (False,):
        raise MigrationError(
            "TimescaleDB is installed on this server but not loaded: add timescaledb to "
            "shared_preload_libraries and restart it, or uninstall it for native partitions"
        )
    return found is not None


def _apply(
    connection: psycopg.Connection[Any],
    number: int,
    path: Path,
    known_sha256: str | None,
    layout: StoreLayout,
) -> None:
    text = path.read_text(encoding="utf-8")
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    if known_sha256 == sha256:
        return
    if known_sha256 is not None:
        raise MigrationError(
            f"migration {path.name} was changed after this database applied it: "
            "restore the file and add a new migration instead"
        )
    text = _sections_for(connection, text, layout)
    created = _PARTITION_BY.findall(text)
    if layout.partitioning == "timescale":
        text = _PARTITION_BY.sub(");", text)
    connection.execute(text.encode())
    if layout.partitioning == "timescale" and created:
        _make_hypertables(connection, layout)
    connection.execute(
        "INSERT INTO schema_migration (number, name, sha256) VALUES (%s, %s, %s)",
        [number, path.name, sha256],
    )


def _sections_for(connection: psycopg.Connection[Any], text: str, layout: StoreLayout) -> str:
    """A migration without the sections that are for other databases."""
    always, *sections = _SECTION.split(text)
    if not sections:
        return text
    kind = "own"
    if layout.partitioning == "timescale":
        row = connection.execute("SELECT current_setting('timescaledb.license')").fetchone()
        kind = "continuous" if row == ("timescale",) else "own"
    chosen = zip(sections[::2], sections[1::2], strict=True)
    return always + "".join(part for word, part in chosen if word in (kind, "any"))


def _make_hypertables(connection: psycopg.Connection[Any], layout: StoreLayout) -> None:
    made = connection.execute("SELECT hypertable_name FROM timescaledb_information.hypertables")
    names = {name for (name,) in made.fetchall()}
    wanted = [(message, time_column(message)) for message in stored_messages()]
    wanted += SUM_TABLES.items()
    for table, time in wanted:
        found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
        if table not in names and found == (True,):
            connection.execute(
                "SELECT create_hypertable(%s::regclass, by_range(%s, make_interval(secs => %s)), "
                "create_default_indexes => false)",
                [table, time, layout.chunk_us / 1e6],
            )
    aggregates = connection.execute(
        "SELECT view_name FROM timescaledb_information.continuous_aggregates"
    )
    for (view,) in aggregates.fetchall():
        # Their chunks go with those of their rows: the same length, the same bounds.
        connection.execute(
            "SELECT set_chunk_time_interval(%s::regclass, make_interval(secs => %s))",
            [view, layout.chunk_us / 1e6],
        )


def make_partition(
    connection: psycopg.Connection[Any], message: str, number: int, layout: StoreLayout
) -> None:
    """The native partition that holds chunk `number` (epoch microseconds / chunk_us).

    Made beside the table and attached: unlike CREATE ... PARTITION OF, that lets readers go on.
    """
    name = sql.Identifier(f"{message}_p{number}" if number >= 0 else f"{message}_m{-number}")
    parent = sql.Identifier(message)
    bounds = [_timestamp(layout.chunk_us * edge) for edge in (number, number + 1)]
    with connection.transaction():
        found = connection.execute("SELECT to_regclass(%s)", [name.as_string(connection)])
        row = found.fetchone()
        if row is not None and row[0] is not None:
            return
        make = "CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        connection.execute(sql.SQL(make).format(name, parent))
        attach = "ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})"
        connection.execute(sql.SQL(attach).format(parent, name, *map(sql.Literal, bounds)))


def _timestamp(epoch_us: int) -> str:
    """Epoch microseconds as PostgreSQL reads it, exact."""
    seconds, rest_us = divmod(epoch_us, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=days)
    clock = f"{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}.{rest_us:06}"
    return f"{day.isoformat()} {clock}+00"
