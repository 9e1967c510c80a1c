"""Chunks that became columns take repeats, late rows and revisions as rows do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from cloud.store import reads
from cloud.store.columns import stored_messages
from cloud.store.identities import Identities
from cloud.store.migrate import StoreLayout, migrate
from cloud.store.read_types import Connection
from cloud.store.upkeep import StorePolicy, apply_columnstore, columnstore_keys
from cloud.store.writer import Writer, Written
from openvrc.contracts.batch import Batch
from openvrc.contracts.units import NS_PER_S
from tests.support.store_world import START_NS, one_row, vehicle_states

WEEK = StorePolicy(columnstore_after_days=7.0)


class Columns:
    """A database whose chunks become columns when a test says so."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.layout: StoreLayout = migrate(connection, chunk_days=1.0)
        self.writer = Writer(self.layout, Identities())
        apply_columnstore(connection, self.layout, WEEK)

    def write(self, *batches: Batch) -> Written:
        self.writer.prepare(self.connection, batches)
        with self.connection.transaction():
            return self.writer.write(self.connection, batches)

    def convert(self, table: str) -> None:
        chunks = self.connection.execute("SELECT show_chunks(%s)::text", [table]).fetchall()
        for (chunk,) in chunks:
            self.connection.execute("CALL convert_to_columnstore(%s::regclass)", [chunk])

    def policies(self) -> list[tuple[Any, ...]]:
        return self.connection.execute(
            "SELECT job_id, hypertable_name, (config ->> 'compress_after')::interval "
            "FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression' ORDER BY 2"
        ).fetchall()


@pytest.fixture
def store(database_url: str) -> Iterator[Columns]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield Columns(connection)


def test_every_time_series_has_its_keys_and_policy(store: Columns) -> None:
    found = store.connection.execute(
        "SELECT hypertable::text, segmentby, orderby "
        "FROM timescaledb_information.hypertable_columnstore_settings "
        "WHERE segmentby IS NOT NULL ORDER BY 1"
    ).fetchall()
    assert found == [(m, *columnstore_keys(m)) for m in sorted(stored_messages())]
    week = timedelta(days=7)
    assert [row[1:] for row in store.policies()] == [(m, week) for m in sorted(stored_messages())]


def test_applying_again_changes_nothing_another_age_replaces_and_none_removes(
    store: Columns,
) -> None:
    before = store.policies()
    apply_columnstore(store.connection, store.layout, WEEK)
    assert store.policies() == before
    apply_columnstore(store.connection, store.layout, StorePolicy(columnstore_after_days=2.5))
    assert {age for *_, age in store.policies()} == {timedelta(days=2.5)}
    apply_columnstore(store.connection, store.layout, StorePolicy())
    assert store.policies() == []


def test_repeats_and_late_rows_meet_columns_as_they_meet_rows(store: Columns) -> None:
    store.write(vehicle_states(2000))
    before = reads.history(store.connection, "vehicle_state", "car-3").items
    store.convert("vehicle_state")
    assert reads.history(store.connection, "vehicle_state", "car-3").items == before
    written = store.write(vehicle_states(2500, seed=2))
    assert list(written.counts.values()) == [[500, 2000, 0]]
    late = store.write(vehicle_states(50, at_ns=START_NS + NS_PER_S // 20))
    assert list(late.counts.values()) == [[50, 0, 0]]
    after = reads.history(store.connection, "vehicle_state", "car-3").items
    assert len(after) == 51
    assert [row for row in after if row in before] == before


def test_a_window_in_columns_is_revised(store: Columns) -> None:
    def window(revision: int) -> Batch:
        facts: dict[str, Any] = {"subject_id": "edge-1", "window_start_ns": START_NS}
        facts |= {"window_s": 10.0, "map_version": "m1", "vehicle_s": 1.0, "distance_m": 2.0}
        facts |= {"coverage_ratio": 0.5, "revision": revision, "vehicle_count": revision}
        return one_row("segment_state", at_ns=START_NS, **facts)

    store.write(window(1))
    store.convert("segment_state")
    for revision in (3, 2):
        store.write(window(revision))
    page = reads.history(store.connection, "segment_state", "edge-1")
    assert [(row["revision"], row["vehicle_count"]) for row in page.items] == [(3, 3)]
