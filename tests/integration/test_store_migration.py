"""A database that an older program made, with data in it, becomes one of this program."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cloud.store import migrate as migrate_module
from cloud.store import minutes, reads
from cloud.store.identities import Identities
from cloud.store.migrate import MIGRATIONS, StoreLayout, migrate, migrations
from cloud.store.read_types import Connection
from cloud.store.upkeep import StorePolicy, drop_expired
from cloud.store.writer import Writer
from openvrc.contracts.batch import Batch
from tests.support.aged_rows import day
from tests.support.store_world import DAY_NS, START_NS, vehicle_states

FIRST_RELEASE = 3
"""The newest migration of the first schema that people have data in."""


@pytest.fixture
def connection(empty_database_url: str) -> Iterator[Connection]:
    with psycopg.connect(empty_database_url, autocommit=True) as found:
        yield found


@pytest.fixture(params=[FIRST_RELEASE, "the one before"])
def old_layout(
    request: pytest.FixtureRequest,
    connection: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> StoreLayout:
    """The database as an older program has made it."""
    numbered = list(migrations())
    newest = request.param if request.param == FIRST_RELEASE else numbered[-2][0]
    for number, path in numbered:
        if number <= newest:
            shutil.copy(path, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(migrate_module, "MIGRATIONS", tmp_path)
        return migrate(connection, chunk_days=1.0)


def write(connection: Connection, writer: Writer, batch: Batch) -> None:
    writer.prepare(connection, [batch])
    with connection.transaction():
        writer.write(connection, [batch])


def test_rows_stay_and_an_older_writer_goes_on_while_minutes_hold_what_both_have_written(
    connection: Connection, old_layout: StoreLayout
) -> None:
    old_writer = Writer(old_layout, Identities())
    write(connection, old_writer, vehicle_states(500))
    before = reads.history(connection, "vehicle_state", "car-3").items
    layout = migrate(connection, chunk_days=1.0)
    assert (layout.partitioning, layout.chunk_us) == (old_layout.partitioning, old_layout.chunk_us)
    assert reads.history(connection, "vehicle_state", "car-3").items == before
    write(connection, old_writer, vehicle_states(500, first_seq=500, at_ns=START_NS + DAY_NS))
    write(connection, Writer(layout, Identities()), vehicle_states(50, at_ns=START_NS + 2 * DAY_NS))
    minutes.refresh(connection, layout)
    steps = reads.steps(connection, "vehicle_state", "car-3", step_s=86_400).items
    assert [row["record_count"] for row in steps] == [1, 10, 10]


def test_old_rows_are_dropped_by_the_new_program_and_their_minutes_stay(
    connection: Connection, old_layout: StoreLayout
) -> None:
    write(connection, Writer(old_layout, Identities()), vehicle_states(500))
    layout = migrate(connection, chunk_days=1.0)
    connection.execute("UPDATE vehicle_state SET stored_at = sampled_at")
    minutes.refresh(connection, layout)
    policy = StorePolicy(retention_days={"motion": 10.0}, has_minutes=True)
    assert drop_expired(connection, layout, policy, day(50))
    minutes.refresh(connection, layout)
    assert reads.history(connection, "vehicle_state", "car-3").items == []
    (step,) = reads.steps(connection, "vehicle_state", "car-3", step_s=60).items
    assert step["record_count"] == 10


def test_migrations_are_numbered_without_a_gap() -> None:
    numbers = [number for number, _ in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(path.parent == MIGRATIONS for _, path in migrations())
