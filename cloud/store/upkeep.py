"""What happens to rows as they age: turned into columns, and one day dropped, by whole parts.

Columns need TimescaleDB, which converts closed chunks in the background. Dropping is ours on both
layouts, with one meaning: a part goes when its last moment is older than the retention *and*
nothing in it was stored within the retention. TimescaleDB's own policy looks at the first only, and
would drop the replay of a recording of 2019 within the day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from cloud.store import minutes
from cloud.store.columns import sql_columns, stored_messages, time_column, unique_columns
from cloud.store.migrate import (
    CONTINUOUS,
    MINUTE_TIME,
    SUM_TABLES,
    MigrationError,
    StoreLayout,
)
from cloud.store.sql import statement, statements
from openvrc.contracts.errors import SettingsError
from openvrc.settings import Settings

DATA_CLASS = {
    "vehicle_state": "motion",
    "rsu_objects": "motion",
    "battery_state": "battery",
    "drive_state": "battery",
    "vehicle_profile": "battery",
    "charger_state": "battery",
    "segment_state": "traffic",
    "loop_counts": "traffic",
    "signal_state": "roadside",
    "intersection_map": "roadside",
    "road_event": "roadside",
    "rsu_status": "roadside",
    "dead_letter": "dead_letters",
}
"""Which retention a message's rows fall under."""
MINUTES_CLASS = "minutes"
Keys = tuple[str, str]
"""Segment key and order key of columns, each as names with commas."""
LOCK_TIMEOUT = "2s"
"""Dropping waits for readers no longer than this: ingest would queue behind it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PART = re.compile(r"_([pm])(\d+)$")


@dataclass(frozen=True)
class StorePolicy:
    """Ages in days; 0 and absent classes mean never."""

    columnstore_after_days: float = 0.0
    retention_days: Mapping[str, float] = field(default_factory=dict)
    columnstore_keys: Mapping[str, Keys] = field(default_factory=dict)
    """By message; for others `columnstore_keys`."""
    has_minutes: bool = False
    """Rows are summed up into minutes, and not dropped before."""

    @classmethod
    def of(cls, settings: Settings) -> StorePolicy:
        """As the settings say. Raises SettingsError for columnstore keys that are none."""
        return cls(
            settings.cloud_columnstore_after_days,
            {
                "motion": settings.cloud_retention_motion_days,
                "battery": settings.cloud_retention_battery_days,
                "traffic": settings.cloud_retention_traffic_days,
                "roadside": settings.cloud_retention_roadside_days,
                "dead_letters": settings.cloud_retention_dead_letters_days,
                MINUTES_CLASS: settings.cloud_retention_minutes_days,
            },
            keys_in(settings.cloud_columnstore_keys),
            settings.cloud_minutes_every_s > 0,
        )


@dataclass(frozen=True)
class Part:
    """One partition or chunk: its name, and the times [start, end) it holds."""

    name: str
    start: datetime
    end: datetime


def keys_in(text: str) -> dict[str, Keys]:
    """Columnstore keys as the setting writes them: `message = segment, ... / order, ...; ...`.

    Raises SettingsError.

    >>> keys_in("vehicle_state = run / subject, sampled_at, source")
    {'vehicle_state': ('run', 'subject,sampled_at,source')}
    """
    found: dict[str, Keys] = {}
    for entry in filter(None, map(str.strip, text.split(";"))):
        message, equals, keys = (part.strip() for part in entry.partition("="))
        segment, slash, order = keys.partition("/")
        if not equals or not slash or message not in stored_messages():
            raise SettingsError(
                f"VRC_CLOUD_COLUMNSTORE_KEYS holds {entry!r}, expected a stored message "
                "'= segment columns / order columns', such as 'vehicle_state = run,subject / "
                "sampled_at,source'"
            )
        found[message] = (_columns_in(message, segment), _columns_in(message, order))
    return found


def _columns_in(message: str, text: str) -> str:
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {"run", "zone", "stored_at", *(column.name for column in sql_columns(message))}
    unknown = sorted(set(names) - known)
    if unknown:
        raise SettingsError(
            f"VRC_CLOUD_COLUMNSTORE_KEYS names {', '.join(unknown)}, expected columns of {message}"
        )
    return ",".join(names)


def columnstore_keys(message: str) -> Keys:
    """Segment key and order key of a message's columns.

    Histories ask for one subject: its rows stand together. Time comes next, so that a repeated row
    is looked for in one batch of 1000 only.
    """
    time = time_column(message)
    unique = unique_columns(message)
    if not unique:
        return "run", time
    segment = [name for name in unique if name in ("run", "zone", "subject")]
    rest = [name for name in unique if name not in (*segment, time)]
    return ",".join(segment), ",".join([time, *rest])


def apply_columnstore(
    connection: psycopg.Connection[Any], layout: StoreLayout, policy: StorePolicy
) -> None:
    """Make the server's policies what the setting says; nothing where they already are.

    Raises MigrationError where TimescaleDB was built without its columnstore.
    """
    if layout.partitioning != "timescale":
        return
    is_wanted = policy.columnstore_after_days > 0
    row = connection.execute(statement("timescale_license")).fetchone()
    if row != ("timescale",):
        if is_wanted:
            raise MigrationError(
                f"cloud_columnstore_after_days is {policy.columnstore_after_days:g}, but this "
                "TimescaleDB has no columnstore (timescaledb.license is not 'timescale'): set 0"
            )
        return
    after = timedelta(days=policy.columnstore_after_days) if is_wanted else None
    for message in stored_messages():
        with connection.transaction():
            keys = policy.columnstore_keys.get(message, columnstore_keys(message))
            _apply_to(connection, message, after, keys)


def _apply_to(
    connection: psycopg.Connection[Any], message: str, after: timedelta | None, keys: Keys
) -> None:
    facts = {"table": message, "after": after}
    row = connection.execute(statement("columnstore_state"), facts).fetchone()
    segment, order, known_after = row if row is not None else (None, None, None)
    if after is not None and (segment, order) != keys:
        parts = {
            "table": sql.Identifier(message),
            "segment": sql.Literal(keys[0]),
            "order": sql.Literal(keys[1]),
        }
        connection.execute(sql.SQL(statements()["set_columnstore"]).format(**parts))
    if known_after == after:
        return
    if known_after is not None:
        connection.execute(statement("remove_columnstore_policy"), facts)
    if after is not None:
        connection.execute(statement("add_columnstore_policy"), facts)


@dataclass(frozen=True)
class _Ageing:
    """A table whose parts go one day."""

    table: str
    time: str
    data_class: str


def _ageing(layout: StoreLayout) -> Iterator[_Ageing]:
    for message in stored_messages():
        yield _Ageing(message, time_column(message), DATA_CLASS[message])
    for table, time in SUM_TABLES.items():
        yield _Ageing(table, time, MINUTES_CLASS)
    for table in CONTINUOUS if layout.has_aggregates else ():
        yield _Ageing(table, MINUTE_TIME, MINUTES_CLASS)


def drop_expired(
    connection: psycopg.Connection[Any], layout: StoreLayout, policy: StorePolicy, now: datetime
) -> list[str]:
    """Drop parts past their retention; their names. `now` is wall time.

    A part that readers hold, or whose rows may not be in the minutes yet, is left to the next call.
    A `Writer` must not outlive this: it remembers which partitions there are.
    """
    dropped = []
    for ageing in _ageing(layout):
        days = policy.retention_days.get(ageing.data_class, 0.0)
        if days <= 0:
            continue
        cutoff = now - timedelta(days=days)
        if policy.has_minutes and minutes.are_behind(connection, ageing.table, cutoff):
            continue
        for part in list(parts_of(connection, ageing.table, layout)):
            is_old = part.end <= cutoff
            if is_old and not _is_in_use(connection, ageing, part, cutoff):
                dropped += _drop(connection, ageing.table, part, layout, policy)
    return dropped


def parts_of(
    connection: psycopg.Connection[Any], table: str, layout: StoreLayout
) -> Iterator[Part]:
    """The partitions or chunks of a table, of a message or of minutes."""
    facts = {"table": table}
    if layout.partitioning == "timescale":
        chunks = "aggregate_chunks" if table in CONTINUOUS else "chunks"
        for row in connection.execute(statement(chunks), facts).fetchall():
            yield Part(*row)
        return
    for (name,) in connection.execute(statement("partitions"), facts).fetchall():
        found = _PART.search(name)
        if found is not None:
            number = int(found[2]) * (1 if found[1] == "p" else -1)
            start, end = (
                _EPOCH + timedelta(microseconds=layout.chunk_us * edge)
                for edge in (number, number + 1)
            )
            yield Part(name, start, end)


def _is_in_use(
    connection: psycopg.Connection[Any], ageing: _Ageing, part: Part, cutoff: datetime
) -> bool:
    query = sql.SQL(statements()["is_in_use"]).format(
        table=sql.Identifier(ageing.table), time=sql.Identifier(ageing.time)
    )
    facts = {"start": part.start, "end": part.end, "cutoff": cutoff}
    return connection.execute(query, facts).fetchone() == (True,)


def _drop(
    connection: psycopg.Connection[Any],
    table: str,
    part: Part,
    layout: StoreLayout,
    policy: StorePolicy,
) -> list[str]:
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'".encode())
            if policy.has_minutes:
                minutes.keep(connection, layout, table, part.start, part.end)
            if layout.partitioning == "timescale":
                facts = {"table": table, "start": part.start, "end": part.end}
                connection.execute(statement("drop_chunk"), facts)
            else:
                connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(part.name)))
    except psycopg.errors.LockNotAvailable:
        return []
    return [part.name]
