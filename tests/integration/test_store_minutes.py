"""Minutes of vehicles and segments: what they say, late data, retention, writers that are slow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from cloud.store import minutes, reads
from cloud.store.identities import Identities
from cloud.store.migrate import StoreLayout, migrate
from cloud.store.minute_keeper import MinuteKeeper
from cloud.store.read_types import Connection, Row
from cloud.store.upkeep import StorePolicy, drop_expired
from cloud.store.writer import Writer
from openvrc.contracts.batch import Batch
from openvrc.contracts.units import NS_PER_S
from tests.support.aged_rows import day
from tests.support.store_world import DAY_NS, START_NS, one_row, vehicle_states

MINUTE_NS = 60 * NS_PER_S
START_S = START_NS // NS_PER_S
CAR = "car-0"


class MinuteStore:
    """A migrated database with a writer."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.layout: StoreLayout = migrate(connection, chunk_days=1.0)
        self.writer = Writer(self.layout, Identities())

    def write(self, *batches: Batch) -> None:
        self.writer.prepare(self.connection, batches)
        with self.connection.transaction():
            self.writer.write(self.connection, batches)

    def refresh(self) -> None:
        minutes.refresh(self.connection, self.layout)

    def drop(self, number: float, **days: float) -> list[str]:
        """Drop what is past its retention at a day, as if each row was stored as it was sampled."""
        for table in ("vehicle_state", "segment_state"):
            self.connection.execute(f"UPDATE {table} SET stored_at = sampled_at".encode())
        dropped = drop_expired(
            self.connection,
            self.layout,
            StorePolicy(retention_days=days, has_minutes=True),
            day(number),
        )
        self.writer = Writer(self.layout, Identities())
        return dropped

    def steps(self, subject: str = CAR, *, step_s: int = 60, **facts: Any) -> list[Row]:
        message = "segment_state" if subject.startswith("edge") else "vehicle_state"
        return reads.steps(self.connection, message, subject, step_s=step_s, **facts).items

    def quarters(self) -> list[tuple[float, float, float]]:
        """Seconds behind START, vehicle seconds and metres of each quarter of the segment."""
        found = reads.quarters_of_segment(
            self.connection, "edge-1", zone="west", origin="simulated",
            from_ns=START_NS - DAY_NS, to_ns=START_NS + 99 * DAY_NS,
        )  # fmt: skip
        return [(q.quarter_start.timestamp() - START_S, q.vehicle_s, q.distance_m) for q in found]

    def counts(self) -> dict[int, int]:
        """Records by day and minute of the car: minutes since START."""
        return {
            (row["step_start_ns"] - START_NS) // MINUTE_NS: row["record_count"]
            for row in self.steps()
        }


@pytest.fixture
def store(database_url: str) -> Iterator[MinuteStore]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield MinuteStore(connection)


def at(*seconds: float, speed_mps: Any = 10.0, seed: int = 1) -> Batch:
    """Records of one car at seconds behind START."""
    at_ns = START_NS + (np.array(seconds) * NS_PER_S).astype(np.int64)
    return vehicle_states(
        len(seconds), n_vehicles=1, sampled_at_ns=at_ns, speed_mps=speed_mps, seed=seed
    )


def window(second: int, *, revision: int = 0, vehicle_s: float = 5.0, **facts: Any) -> Batch:
    at_ns = START_NS + second * NS_PER_S
    facts = {"vehicle_count": 3, "density_vpkm": 20.0, "flow_vph": 100.0} | facts
    facts |= {"subject_id": "edge-1", "window_start_ns": at_ns, "window_s": 10.0}
    facts |= {"map_version": "m1", "vehicle_s": vehicle_s, "distance_m": 50.0}
    facts |= {"coverage_ratio": 0.5, "revision": revision}
    return one_row("segment_state", at_ns=at_ns + 10 * NS_PER_S, **facts)


def test_a_minute_says_what_its_records_say(store: MinuteStore) -> None:
    batch = at(0, 20, 59.9, 60, speed_mps=np.array([4.0, 8.0, 12.0, 7.0], np.float32))
    store.write(batch)
    store.refresh()
    second, first = store.steps()
    assert (first["step_start_ns"], second["step_start_ns"]) == (START_NS, START_NS + MINUTE_NS)
    assert (first["record_count"], second["record_count"]) == (3, 1)
    assert [first[f"speed_{name}_mps"] for name in ("min", "mean", "max")] == [4.0, 8.0, 12.0]
    assert first["newest_at_ns"] == batch.column("sampled_at_ns")[2]
    assert first["lat_deg"] == pytest.approx(batch.column("lat_deg")[2], abs=1e-7)
    assert first["lon_deg"] == pytest.approx(batch.column("lon_deg")[2], abs=1e-7)
    assert (first["zone"], first["run_id"], first["origin"]) == ("west", "run-1", "simulated")


def test_rows_are_summed_up_once_however_often_it_is_done(store: MinuteStore) -> None:
    store.write(at(0, 1, 2), window(0), window(10))
    for _ in range(3):
        store.refresh()
    assert store.counts() == {0: 3}
    assert [row["window_count"] for row in store.steps("edge-1")] == [2]


def test_a_record_that_comes_again_is_not_counted_again(store: MinuteStore) -> None:
    store.write(at(0, 1, 2))
    store.refresh()
    store.write(at(1, 2, 3))
    store.refresh()
    assert store.counts() == {0: 4}


def test_a_backlog_three_days_old_corrects_its_minutes(store: MinuteStore) -> None:
    three_days_s = 3 * 86_400
    store.write(at(0, 30, speed_mps=10.0), at(three_days_s, three_days_s + 1), window(0))
    store.refresh()
    store.write(at(10, 40, 70, speed_mps=20.0), window(10, vehicle_s=15.0))
    store.refresh()
    assert store.counts() == {0: 4, 1: 1, 3 * 1440: 2}
    assert store.steps()[-1]["speed_mean_mps"] == 15.0
    (segment,) = store.steps("edge-1")
    assert (segment["window_count"], segment["vehicle_s"]) == (2, 20.0)
    assert segment["speed_mps"] == 5.0


def test_a_revised_window_takes_the_place_of_the_older_one(store: MinuteStore) -> None:
    store.write(window(0, vehicle_s=5.0), window(10, vehicle_s=5.0))
    store.refresh()
    store.write(window(10, revision=1, vehicle_s=20.0, vehicle_count=9))
    store.refresh()
    (segment,) = store.steps("edge-1")
    assert segment["window_count"] == 2
    assert (segment["vehicle_s"], segment["vehicle_count_max"]) == (25.0, 9)


def test_minutes_outlive_the_rows_they_were_made_of(store: MinuteStore) -> None:
    store.write(at(0, 30), window(0), window(10))
    store.refresh()
    before = store.steps(), store.steps("edge-1")
    assert store.drop(50, motion=10.0, traffic=10.0)
    assert reads.history(store.connection, "vehicle_state", CAR).items == []
    assert (store.steps(), store.steps("edge-1")) == before
    store.refresh()
    assert (store.steps(), store.steps("edge-1")) == before


def test_a_late_record_of_a_dropped_day_is_added_to_its_minute(store: MinuteStore) -> None:
    store.write(at(0, 30))
    store.refresh()
    store.drop(50, motion=10.0)
    store.write(at(45, 61))
    store.refresh()
    assert store.counts() == {0: 3, 1: 1}


def test_a_late_window_of_a_dropped_minute_does_not_empty_it(store: MinuteStore) -> None:
    store.write(window(0), window(10))
    store.refresh()
    store.drop(50, traffic=10.0)
    store.write(window(10, revision=2))
    store.refresh()
    assert [row["window_count"] for row in store.steps("edge-1")] == [2]


def test_rows_that_are_in_no_minute_yet_are_not_lost_with_their_part(store: MinuteStore) -> None:
    store.write(at(0, 30))
    store.drop(50, motion=10.0)
    store.refresh()
    assert store.counts() == {0: 2}
    store.drop(50, motion=10.0)
    assert reads.history(store.connection, "vehicle_state", CAR).items == []
    assert store.counts() == {0: 2}


def test_minutes_go_by_a_retention_of_their_own(store: MinuteStore) -> None:
    store.write(at(0), at(20 * 86_400), window(0))
    store.refresh()
    for table in ("vehicle_minute_kept", "segment_minute_kept"):
        store.connection.execute(f"UPDATE {table} SET stored_at = minute_start".encode())
    dropped = store.drop(11, minutes=10.0)
    if store.layout.has_aggregates:  # they are as old as their rows' storing, which was just now
        assert dropped == []
        return
    assert len(dropped) == 2
    assert list(store.counts()) == [20 * 1440]
    assert store.steps("edge-1") == []


def test_rows_of_a_transaction_that_was_slow_to_commit_are_not_skipped(
    store: MinuteStore, database_url: str
) -> None:
    store.write(at(0))
    with psycopg.connect(database_url) as slow:
        batch = at(1, 2)
        store.writer.prepare(slow, [batch])
        slow.commit()
        store.writer.write(slow, [batch])
        if not store.layout.has_aggregates:  # a refresh would wait for the writer
            store.write(at(3))
            store.refresh()
        slow.commit()
    store.refresh()
    assert store.counts()[0] >= 3
    assert store.counts() == {0: 3 if store.layout.has_aggregates else 4}


def test_a_quarter_of_an_hour_holds_its_minutes_and_is_corrected_with_them(
    store: MinuteStore,
) -> None:
    store.write(window(0), window(890), window(900, vehicle_s=7.0))
    store.refresh()
    assert store.quarters() == [(0, 10.0, 100.0), (900, 7.0, 50.0)]
    store.write(window(300), window(890, revision=1, vehicle_s=20.0))
    store.refresh()
    store.refresh()
    assert store.quarters() == [(0, 30.0, 150.0), (900, 7.0, 50.0)]


def test_windows_of_another_length_are_not_in_a_quarter_twice(store: MinuteStore) -> None:
    store.write(window(0), window(0, window_s=60.0))
    store.refresh()
    assert store.quarters() == [(0, 5.0, 50.0)]


def test_quarters_outlive_windows_and_a_late_one_does_not_empty_them(store: MinuteStore) -> None:
    store.write(window(0), window(10))
    store.refresh()
    store.drop(50, traffic=10.0)
    store.write(window(10, revision=2, vehicle_s=1.0))
    store.refresh()
    assert store.quarters() == [(0, 10.0, 100.0)]


def test_of_replays_of_one_quarter_one_counts(store: MinuteStore) -> None:
    store.write(window(0), window(60), window(900, vehicle_s=7.0))
    store.write(*(window(second, vehicle_s=20.0, run_id="short") for second in (0, 910)))
    store.refresh()
    # The most minutes in the first quarter; in the second, with as many, the newest run.
    assert store.quarters() == [(0, 10.0, 100.0), (900, 20.0, 50.0)]


def test_windows_that_are_in_no_quarter_yet_are_not_dropped(store: MinuteStore) -> None:
    store.write(window(0))
    store.refresh()
    store.connection.execute(
        "UPDATE minute_position SET stored_before = '-infinity' WHERE message = 'segment_quarter'"
    )
    assert store.drop(50, traffic=10.0) == []


def test_steps_are_summed_up_from_minutes_and_begin_at_whole_multiples(store: MinuteStore) -> None:
    store.write(at(0, 299, 300, 601, speed_mps=np.array([1, 3, 5, 7], np.float32)))
    store.refresh()
    steps = store.steps(step_s=300)
    assert [(r["step_start_ns"] - START_NS) // NS_PER_S for r in steps] == [600, 300, 0]
    assert [(r["record_count"], r["speed_mean_mps"]) for r in steps] == [
        (1, 7.0),
        (1, 5.0),
        (2, 2.0),
    ]
    whole = store.steps(
        step_s=300, from_ns=START_NS + 200 * NS_PER_S, to_ns=START_NS + 300 * NS_PER_S
    )
    assert [r["record_count"] for r in whole] == [1, 2]


@pytest.mark.parametrize("step_s", [0, 59, 61, -60])
def test_a_step_that_is_no_whole_minute_is_refused(store: MinuteStore, step_s: int) -> None:
    with pytest.raises(ValueError, match="no steps"):
        store.steps(step_s=step_s)


def test_pages_of_steps_hold_every_step_once(store: MinuteStore) -> None:
    store.write(at(*range(0, 900, 30)), *(window(second) for second in range(0, 600, 60)))
    store.refresh()
    for message, subject, n_steps in (("vehicle_state", CAR, 15), ("segment_state", "edge-1", 10)):
        found, cursor = [], None
        while True:
            page = reads.steps(
                store.connection, message, subject, step_s=60, limit=4, cursor=cursor
            )
            found += [row["step_start_ns"] for row in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == sorted(set(found), reverse=True)
        assert len(found) == n_steps


def test_a_round_of_the_keeper_brings_minutes_up_to_date(
    store: MinuteStore, database_url: str
) -> None:
    store.write(at(0, 1))
    keeper = MinuteKeeper(database_url, every_s=60.0)
    keeper.keep_up()
    assert store.counts() == {0: 2}
    keeper.start()
    keeper.stop()


def test_the_times_between_two_storings_far_apart_are_passed_over(store: MinuteStore) -> None:
    store.write(at(0, DAY_NS // NS_PER_S))
    store.connection.execute(
        "UPDATE vehicle_state SET stored_at = now() - interval '3 days' WHERE sampled_at < %s",
        [day(0.5)],
    )
    store.refresh()
    assert store.counts() == {0: 1, 1440: 1}


def test_full_block_ranges_are_summarized_once(store: MinuteStore) -> None:
    store.write(vehicle_states(12_000))
    ranges = minutes.BlockRanges()
    assert ranges.summarize(store.connection) > 0
    assert ranges.summarize(store.connection) == 0
