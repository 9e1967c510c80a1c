"""The migrated database against the contracts, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from cloud.store import migrate as migrate_module
from cloud.store.columns import sql_columns, stored_messages, time_column, unique_columns
from cloud.store.migrate import MigrationError, make_partition, migrate, migrations
from cloud.store.read_types import Connection
from cloud.store.schema import view_sql
from cloud.store.sql import statements


@pytest.fixture
def migrated(database_url: str) -> Iterator[Connection]:
    connection = psycopg.connect(database_url, autocommit=True)
    migrate(connection, chunk_days=1.0)
    yield connection
    connection.close()


@pytest.mark.parametrize("message", stored_messages())
def test_the_columns_of_a_table_are_those_of_its_contract(
    migrated: Connection, message: str
) -> None:
    found = migrated.execute(
        "SELECT a.attname, format_type(a.atttypid, NULL), NOT a.attnotnull FROM pg_attribute a "
        "WHERE attrelid = %s::regclass AND attnum > 0",
        [message],
    ).fetchall()
    expected = [(c.name, c.sql_type, c.is_nullable) for c in sql_columns(message)]
    stored_at = ("stored_at", "timestamp with time zone", False)
    spoken = {"timestamptz": "timestamp with time zone"}
    expected = [(name, spoken.get(kind, kind), empty) for name, kind, empty in expected]
    keys = [("run", "integer", False), ("zone", "integer", False)]
    assert sorted(found) == sorted([*keys, *expected, stored_at])


@pytest.mark.parametrize("message", stored_messages())
def test_a_table_is_cut_by_time_and_has_its_unique_index(
    migrated: Connection, message: str
) -> None:
    cut = migrated.execute("SELECT pg_get_partkeydef(%s::regclass)", [message]).fetchone()
    assert cut == (f"RANGE ({time_column(message)})",)
    indexes = migrated.execute(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass "
        "AND indisunique",
        [message],
    ).fetchall()
    expected = f"({', '.join(unique_columns(message))})"
    assert [text.endswith(expected) for (text,) in indexes] == ([True] if expected != "()" else [])


@pytest.mark.parametrize("message", stored_messages())
def test_the_view_of_a_message_is_what_its_contract_says_now(
    migrated: Connection, message: str
) -> None:
    made = view_sql(message).replace(f"VIEW v_{message} ", "VIEW pg_temp.expected ")
    migrated.execute(made.encode())
    texts = migrated.execute(
        "SELECT pg_get_viewdef(%s::regclass), pg_get_viewdef('pg_temp.expected'::regclass)",
        [f"v_{message}"],
    ).fetchone()
    assert texts is not None
    assert texts[0] == texts[1]


RELEASED = {
    "0001_platform.sql": "45f43fc077bd5830",
    "0002_messages.sql": "aa52cf8a679922c8",
    "0003_views.sql": "8ddf4dc544259e54",
    "0004_minutes.sql": "919fff238922e39e",
    "0005_gbt32960.sql": "e3b2abd95bffa3a3",
    "0006_alert_desk.sql": "69893699440ed08c",
    "0007_gbt32960_drive.sql": "64e38e259c0333b0",
    "0008_quarters.sql": "8692ff6849af650d",
    "0009_clock_offset.sql": "0b74ae4c1303d1db",
}
"""The first digits of their SHA-256. There are databases that have applied these files and would
refuse changed ones: add a migration, and a line here."""


def test_a_migration_that_databases_have_applied_is_never_changed() -> None:
    found = {path.name: sha256(path.read_bytes()).hexdigest()[:16] for _, path in migrations()}
    assert found == RELEASED


def test_migrating_twice_changes_nothing_and_keeps_the_first_chunk_length(
    migrated: Connection,
) -> None:
    again = migrate(migrated, chunk_days=7.0)
    assert again.chunk_us == 86_400_000_000
    rows = migrated.execute("SELECT count(*) FROM schema_migration").fetchone()
    assert rows == (len(list(migrations())),)


def test_a_changed_migration_is_refused(migrated: Connection) -> None:
    migrated.execute("UPDATE schema_migration SET sha256 = 'other' WHERE number = 1")
    with pytest.raises(MigrationError, match=r"0001_platform\.sql was changed"):
        migrate(migrated, chunk_days=1.0)


def test_a_database_of_a_newer_program_is_refused(migrated: Connection) -> None:
    migrated.execute("INSERT INTO schema_migration VALUES (9999, 'later', 'x')")
    with pytest.raises(MigrationError, match="knows up to"):
        migrate(migrated, chunk_days=1.0)


def test_a_failed_migration_leaves_nothing_behind(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a (x integer);")
    (tmp_path / "0002_b.sql").write_text("CREATE TABLE b (x nonsense);")
    monkeypatch.setattr(migrate_module, "MIGRATIONS", tmp_path)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.UndefinedObject):
            migrate(connection, chunk_days=1.0)
        assert connection.execute("SELECT to_regclass('a')").fetchone() == (None,)


@pytest.mark.parametrize("number", [-1, 0, 20_454])
def test_a_partition_holds_its_chunk_and_is_made_once(migrated: Connection, number: int) -> None:
    layout = migrate(migrated, chunk_days=1.0)
    make_partition(migrated, "rsu_status", number, layout)
    make_partition(migrated, "rsu_status", number, layout)
    bounds = migrated.execute(
        "SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i "
        "JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'rsu_status'::regclass"
    ).fetchall()
    assert len(bounds) == 1
    day = migrated.execute(
        "SELECT to_char(to_timestamp(%s * 86400.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD')", [number]
    ).fetchone()
    assert day is not None
    assert day[0] in bounds[0][0]


def test_every_statement_is_described_and_named_once() -> None:
    assert "records" in statements()
    assert all("--" not in text for text in statements().values())
