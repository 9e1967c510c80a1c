"""What the migrations make of a database where TimescaleDB is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest

from cloud.store.columns import stored_messages, time_column, unique_columns
from cloud.store.identities import Identities
from cloud.store.migrate import MINUTE_TIME, SUM_TABLES, migrate, migrations
from cloud.store.read_types import Connection
from cloud.store.writer import Writer
from tests.support.store_world import DAY_NS, START_NS, vehicle_states


@pytest.fixture
def migrated(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_every_time_series_is_a_hypertable_cut_by_its_own_time(migrated: Connection) -> None:
    found = migrated.execute(
        "SELECT hypertable_name, column_name, time_interval FROM timescaledb_information.dimensions"
    ).fetchall()
    day = timedelta(days=1)
    ours = [(m, time_column(m), day) for m in stored_messages()]
    ours += [(table, time, day) for table, time in SUM_TABLES.items()]
    aggregates = [row for row in found if row[0].startswith("_materialized")]
    assert sorted(set(found) - set(aggregates)) == sorted(ours)
    assert {row[1:] for row in aggregates} == {(MINUTE_TIME, day)}


def test_the_indexes_are_those_of_plain_postgresql(migrated: Connection) -> None:
    for message in stored_messages():
        found = migrated.execute(
            "SELECT indisunique, pg_get_indexdef(indexrelid) FROM pg_index "
            "WHERE indrelid = %s::regclass "
            "AND pg_get_indexdef(indexrelid) NOT LIKE '%%USING brin%%'",
            [message],
        ).fetchall()
        unique = unique_columns(message)
        columns = unique or ("run", time_column(message))
        ((is_unique, text),) = found
        assert is_unique == bool(unique)
        assert text.endswith(f"USING btree ({', '.join(columns)})")


@pytest.mark.parametrize("chunk_days", [0.25, 7.0])
def test_chunks_are_as_long_as_the_setting_said_when_the_database_was_new(
    empty_database_url: str, chunk_days: float
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        layout = migrate(connection, chunk_days=chunk_days)
        assert migrate(connection, chunk_days=3.0) == layout
        writer = Writer(layout, Identities())
        batch = vehicle_states(2, n_vehicles=2, sampled_at_ns=START_NS + np.array([0, 20 * DAY_NS]))
        writer.prepare(connection, [batch])
        writer.write(connection, [batch])
        chunks = connection.execute(
            "SELECT range_start, range_end FROM timescaledb_information.chunks ORDER BY 1"
        ).fetchall()
    assert [end - start for start, end in chunks] == [timedelta(days=chunk_days)] * 2
    # On the same bounds as native partitions: whole lengths from 1970.
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert all((start - epoch) % timedelta(days=chunk_days) == timedelta(0) for start, _ in chunks)


def test_migrating_again_changes_nothing(migrated: Connection) -> None:
    assert migrate(migrated, chunk_days=1.0).partitioning == "timescale"
    rows = migrated.execute("SELECT count(*) FROM schema_migration").fetchone()
    assert rows == (len(list(migrations())),)
