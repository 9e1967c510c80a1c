"""Batches into PostgreSQL and out again: nothing changes on the way."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from cloud.store import reads
from cloud.store.columns import stored_messages
from cloud.store.identities import Identities
from cloud.store.migrate import migrate
from cloud.store.writer import TooManyPartitionsError, Writer, Written
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.columns import columns_of
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from tests.support.store_world import DAY_NS, START_NS, one_row, vehicle_states

N_ROWS = 7


class Store:
    """A migrated database and its writer."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        layout = migrate(self.connection, chunk_days=1.0)
        self.writer = Writer(layout, Identities())

    def write(self, *batches: Batch) -> Written:
        self.writer.prepare(self.connection, batches)
        with self.connection.transaction():
            return self.writer.write(self.connection, batches)

    def count(self, table: str) -> int:
        row = self.connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    found = Store(database_url)
    yield found
    found.connection.close()


def sample(message: str, *, is_full: bool) -> Batch:
    """Every column of a message: with values inside its range, or absent where it may be."""
    rng = np.random.default_rng(5)
    columns: dict[str, object] = {}
    for column in columns_of(message):
        if not is_full and not column.is_required:
            continue
        low = -100.0 if column.low is None else max(column.low, -100.0)
        high = 100.0 if column.high is None else min(column.high, 100.0)
        if column.name in ("sampled_at_ns", "edge_received_at_ns", "window_start_ns"):
            columns[column.name] = START_NS + np.arange(N_ROWS) * NS_PER_S
        elif column.unit == "ns":
            columns[column.name] = START_NS + rng.integers(0, 10**9, N_ROWS) * 1000
        elif column.kind == "i64":
            columns[column.name] = rng.integers(int(max(low, 0)), int(high) + 1, N_ROWS)
        elif column.kind in ("f32", "f64"):
            values = low + rng.random(N_ROWS) * (high - low)
            # Without a stated resolution: eighths, which are the same number in any precision.
            values = np.round(values * 8) / 8 if not column.decimals else values
            columns[column.name] = np.round(values, column.decimals or 3)
        elif column.kind == "code":
            columns[column.name] = rng.integers(0, len(column.values), N_ROWS).astype(np.int8)
        elif column.kind == "text":
            columns[column.name] = [f"{column.name}-{row % 3}é" for row in range(N_ROWS)]
        else:
            step = 1.0 / (1000 if column.unit == "V" else 10)
            flat = (rng.integers(0, 4000, 12) * step).astype(np.float32)
            flat[4] = np.nan
            columns[column.name] = (flat, np.array([0, 0, 3, 5, 5, 9, 12, 12], np.int32))
    shared = {"zone": "west", "run_id": "run-1", "origin": "replay"}
    return from_columns(message, **shared, columns=columns, n_rows=N_ROWS)


def comparable(batch: Batch) -> list[dict[str, object]]:
    """Records as the store gives them back: lists keep their missing elements as None."""
    return sorted(batch.to_records(), key=lambda record: record["sampled_at_ns"])


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "sparse"])
@pytest.mark.parametrize("message", stored_messages())
def test_every_message_comes_back_as_it_went_in(store: Store, message: str, is_full: bool) -> None:
    batch = sample(message, is_full=is_full)
    assert store.write(batch).stored == N_ROWS
    found = [row for chunk in reads.export(store.connection, message) for row in chunk]
    for row in found:
        assert row.pop("stored_at_ns") > 0
        assert row.pop("zone") == "west"
    assert sorted(found, key=lambda row: row["sampled_at_ns"]) == comparable(batch)


def test_the_view_shows_names_words_and_times(store: Store) -> None:
    at_ns = START_NS + 1_500_000
    store.write(vehicle_states(1, at_ns=at_ns, brake_on=True, segment_id="edge#2"))
    row = store.connection.execute(
        "SELECT zone, run_id, origin, subject_id, vehicle_class, brake_on, segment_id, "
        "extract(epoch FROM sampled_at)::text, altitude_m FROM v_vehicle_state"
    ).fetchone()
    shown = (
        "west",
        "run-1",
        "simulated",
        "car-0",
        "car",
        True,
        "edge#2",
        "1767225600.001500",
        None,
    )
    assert row == shown


def test_a_repeated_row_is_counted_and_not_stored_twice(store: Store) -> None:
    store.write(vehicle_states(100))
    written = store.write(vehicle_states(150, seed=2))
    assert (written.stored, written.rejected) == (50, 100)
    assert store.count("vehicle_state") == 150
    assert list(written.counts.values()) == [[50, 100, 0]]


def test_a_row_twice_in_one_body_is_stored_once(store: Store) -> None:
    batch = vehicle_states(10)
    written = store.write(batch, batch)
    assert (written.stored, written.rejected) == (10, 10)
    assert store.count("vehicle_state") == 10


def test_the_same_sample_from_two_sources_and_in_two_runs_is_stored_for_each(store: Store) -> None:
    variants: list[dict[str, Any]] = [{}, {"source": "rsu-2"}, {"run_id": "run-2"}]
    for facts in variants:
        assert store.write(vehicle_states(20, **facts)).stored == 20
    assert store.count("vehicle_state") == 60


def test_rows_go_to_the_partition_of_their_day(store: Store) -> None:
    days = np.array([0, 0, 1, 1, 40], np.int64)
    store.write(vehicle_states(5, n_vehicles=5, sampled_at_ns=START_NS + days * DAY_NS))
    rows = store.connection.execute(
        "SELECT count(*) FROM vehicle_state GROUP BY tableoid ORDER BY min(sampled_at)"
    ).fetchall()
    assert rows == [(2,), (2,), (1,)]


def test_a_body_scattered_over_too_many_days_is_refused(store: Store) -> None:
    batch = vehicle_states(500, sampled_at_ns=START_NS + np.arange(500) * DAY_NS)
    with pytest.raises(TooManyPartitionsError, match="500 time partitions"):
        store.write(batch)


@pytest.mark.parametrize(
    ("message", "columns", "detail"),
    [
        (
            "battery_state",
            {"cell_voltages_v": [[3.7, 48.0]]},
            "cell_voltages_v: a value beyond 32.767 V either way",
        ),
        (
            "road_event",
            {"kind": "other", "lat_deg": 1.0, "lon_deg": 1.0, "cause": "a\0b"},
            "cause: a NUL character, expected text",
        ),
    ],
    ids=["a cell beyond a smallint of mV", "a NUL character"],
)
def test_a_row_that_the_table_cannot_hold_is_refused_and_kept_as_a_dead_letter(
    store: Store, message: str, columns: dict[str, Any], detail: str
) -> None:
    bad = one_row(message, at_ns=START_NS, session=3, seq=8, **columns)
    good = {
        name: value for name, value in columns.items() if name in ("kind", "lat_deg", "lon_deg")
    }
    written = store.write(bad, one_row(message, at_ns=START_NS + 1000, session=3, seq=9, **good))
    assert (written.stored, written.rejected) == (1, 1)
    assert list(written.counts.values()) == [[1, 0, 1]]
    (letter,) = reads.dead_letters(store.connection, reason="refused_by_store").items
    assert letter["detail"] == detail
    assert (letter["source_id"], letter["session"], letter["seq"]) == ("edge-1", 3, 8)
    kept = json.loads(base64.b64decode(letter["payload_base64"]))
    assert kept == json.loads(json.dumps(bad.to_records()[0]))
    assert letter["payload_bytes"] == len(json.dumps(kept, separators=(",", ":")))
    assert reads.trace(store.connection, "edge-1", 3, 8) == [{"message": "dead_letter"} | letter]


def test_a_row_whose_sender_no_table_can_hold_is_kept_without_a_sender(store: Store) -> None:
    batch = vehicle_states(3, source="rsu\0")
    assert store.write(batch).stored == 0
    letters = reads.dead_letters(store.connection).items
    assert [letter.get("source_id") for letter in letters] == [None] * 3
    assert {letter["subject_id"] for letter in letters} == {"car-0", "car-1", "car-2"}


@pytest.mark.parametrize("source", ["rsu-1", "rsu\0"], ids=["known sender", "unknown sender"])
def test_pages_of_dead_letters_hold_each_once_though_one_body_s_share_all_times(
    store: Store, source: str
) -> None:
    n_letters = 7
    batch = vehicle_states(n_letters, source=source)
    bad = batch.with_columns({"subject_id": [f"car-{n}\0" for n in range(n_letters)]})
    assert store.write(bad).rejected == n_letters
    seen: list[str] = []
    cursor = None
    for _ in range(n_letters):
        page = reads.dead_letters(store.connection, cursor=cursor, limit=2)
        seen += [letter["payload_base64"] for letter in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == n_letters


def test_the_letters_of_a_body_go_when_its_transaction_does(store: Store) -> None:
    bad = one_row("battery_state", at_ns=START_NS, cell_voltages_v=[[48.0]])
    store.writer.prepare(store.connection, [bad])
    with store.connection.transaction(force_rollback=True):
        store.writer.write(store.connection, [bad])
    assert store.count("dead_letter") == 0
    assert store.write(bad).rejected == 1
    assert store.count("dead_letter") == 1


def window(revision: int, vehicle_count: int, **columns: object) -> Batch:
    facts: dict[str, Any] = {
        "subject_id": "edge-1", "window_start_ns": START_NS, "window_s": 10.0,
        "map_version": "m1", "vehicle_s": 1.0, "distance_m": 2.0, "coverage_ratio": 0.5,
    }  # fmt: skip
    facts |= {"revision": revision, "vehicle_count": vehicle_count, **columns}
    return one_row("segment_state", at_ns=START_NS + 10 * NS_PER_S, **facts)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_a_window_the_highest_revision_stays(store: Store, order: tuple[int, ...]) -> None:
    for revision in order:
        store.write(window(revision, 100 + revision))
    page = reads.history(store.connection, "segment_state", "edge-1")
    assert [(row["revision"], row["vehicle_count"]) for row in page.items] == [(2, 102)]


def test_revisions_of_one_window_in_one_body_come_to_the_highest(store: Store) -> None:
    store.write(window(1, 5), window(3, 7), window(2, 6), window(0, 9, window_s=60.0))
    page = reads.history(store.connection, "segment_state", "edge-1")
    assert sorted((r["window_s"], r["vehicle_count"]) for r in page.items) == [(10, 7), (60, 9)]


def test_pages_of_a_history_join_without_gap_or_repeat(store: Store) -> None:
    store.write(vehicle_states(200, n_vehicles=2), vehicle_states(200, n_vehicles=2, run_id="r2"))
    seen, cursor = [], None
    while True:
        page = reads.history(store.connection, "vehicle_state", "car-1", cursor=cursor, limit=30)
        seen += [(row["sampled_at_ns"], row["run_id"]) for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 200
    assert [at for at, _ in seen] == sorted((at for at, _ in seen), reverse=True)


def test_a_history_is_cut_by_run_zone_and_time(store: Store) -> None:
    store.write(
        vehicle_states(20, n_vehicles=1), vehicle_states(20, n_vehicles=1, zone="east", run_id="r2")
    )
    span: dict[str, Any] = {"from_ns": START_NS + NS_PER_S // 2, "to_ns": START_NS + NS_PER_S}
    page = reads.history(store.connection, "vehicle_state", "car-0", run_id="run-1", **span)
    assert len(page.items) == 6
    assert not reads.history(
        store.connection, "vehicle_state", "car-0", run_id="run-1", zone="east"
    ).items


@pytest.mark.parametrize("cursor", ["x", "W10", "bm90aGluZw", "WyIyMDI2IiwgMV0"])
def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(ValueError, match="none of ours"):
        reads.history(store.connection, "vehicle_state", "car-0", cursor=cursor)


def test_a_record_is_traced_by_its_number(store: Store) -> None:
    store.write(vehicle_states(50, session=9))
    store.write(
        vehicle_states(5, source="car-3", session=9, at_ns=START_NS + NS_PER_S, n_vehicles=5)
    )
    (row,) = reads.trace(store.connection, "rsu-1", 9, 17)
    assert (row["message"], row["subject_id"], row["seq"]) == ("vehicle_state", "car-17", 17)
    assert row["published_at_ns"] < row["edge_received_at_ns"] < row["stored_at_ns"]
    assert reads.trace(store.connection, "rsu-1", 9, 5000) == []


def test_records_without_a_session_are_counted_as_such(store: Store) -> None:
    written = store.write(vehicle_states(10, session=ABSENT_I64))
    ((key, counts),) = written.counts.items()
    assert key[3] == -1
    assert counts == [10, 0, 0]
