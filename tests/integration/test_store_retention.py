"""Rows past their retention go by whole partitions, and no others."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from cloud.committer import Body, Committer
from cloud.store.columns import stored_messages
from cloud.store.migrate import migrate
from cloud.store.read_types import Connection
from cloud.store.upkeep import DATA_CLASS, MINUTES_CLASS, StorePolicy, drop_expired
from openvrc.contracts.wire import pack
from openvrc.settings import Settings
from tests.support.aged_rows import day, store_days, stored_days
from tests.support.store_world import DAY_NS, START_NS, vehicle_states

MOTION_10_DAYS = StorePolicy(retention_days={"motion": 10.0})


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as found:
        yield found


def test_a_day_goes_when_its_last_moment_is_past_the_retention(connection: Connection) -> None:
    layout = migrate(connection, chunk_days=1.0)
    store_days(connection, layout, [-40, 0, 1, 2, 9], "live")
    assert drop_expired(connection, layout, MOTION_10_DAYS, day(11.9))
    assert stored_days(connection) == [1, 2, 9]
    assert len(drop_expired(connection, layout, MOTION_10_DAYS, day(12.0))) == 1
    assert stored_days(connection) == [2, 9]
    assert drop_expired(connection, layout, MOTION_10_DAYS, day(12.0)) == []


def test_a_replay_of_old_days_lives_as_long_as_a_new_recording(connection: Connection) -> None:
    layout = migrate(connection, chunk_days=1.0)
    store_days(connection, layout, [-400, 0], "replay")
    connection.execute("UPDATE vehicle_state SET stored_at = %s", [day(5)])
    assert drop_expired(connection, layout, MOTION_10_DAYS, day(15)) == []
    assert len(drop_expired(connection, layout, MOTION_10_DAYS, day(15.1))) == 2


@pytest.mark.parametrize("policy", [StorePolicy(), StorePolicy(retention_days={"battery": 1.0})])
def test_nothing_goes_without_a_retention_for_its_class(
    connection: Connection, policy: StorePolicy
) -> None:
    layout = migrate(connection, chunk_days=1.0)
    store_days(connection, layout, [0], "live")
    assert drop_expired(connection, layout, policy, day(5000)) == []
    assert stored_days(connection) == [0]


def test_rows_of_a_dropped_day_can_be_stored_again(connection: Connection) -> None:
    layout = migrate(connection, chunk_days=1.0)
    store_days(connection, layout, [0], "live")
    drop_expired(connection, layout, MOTION_10_DAYS, day(100))
    store_days(connection, layout, [0], "live")
    assert stored_days(connection) == [0]


def test_a_part_that_a_reader_holds_is_left_to_the_next_time(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.store.upkeep.LOCK_TIMEOUT", "10ms")
    layout = migrate(connection, chunk_days=1.0)
    store_days(connection, layout, [0], "live")
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM vehicle_state")
        assert drop_expired(connection, layout, MOTION_10_DAYS, day(100)) == []
    assert stored_days(connection) == [0]
    assert len(drop_expired(connection, layout, MOTION_10_DAYS, day(100))) == 1


def test_every_message_has_a_class_and_every_class_a_setting() -> None:
    assert set(DATA_CLASS) == set(stored_messages())
    policy = StorePolicy.of(Settings(cloud_retention_traffic_days=3.0))
    assert set(policy.retention_days) == {*DATA_CLASS.values(), MINUTES_CLASS}
    assert {name for name, days in policy.retention_days.items() if days} == {"traffic"}


def test_a_pipeline_drops_at_a_checkpoint_and_then_stores_into_the_dropped_day_again(
    connection: Connection, database_url: str
) -> None:
    layout = migrate(connection, chunk_days=1.0)
    store_days(connection, layout, [0, 9], "live")
    committer = Committer(
        database_url,
        {},
        chunk_days=1.0,
        policy=MOTION_10_DAYS,
        wall_clock_ns=lambda: START_NS + 12 * DAY_NS,
    )
    committer.start()
    try:
        for number, at_ns in enumerate((START_NS, START_NS + DAY_NS)):
            batch = vehicle_states(1, at_ns=at_ns, run_id="late")
            committer.commit(Body(pack([batch]), [batch], f"edge-1/1/{number}"))
            connection.execute("UPDATE vehicle_state SET stored_at = sampled_at")
        assert committer.checkpoint()
        assert stored_days(connection) == [9]
        batch = vehicle_states(1, run_id="later")
        assert committer.commit(Body(pack([batch]), [batch], "edge-1/1/2")).stored == 1
        assert stored_days(connection) == [0, 9]
    finally:
        committer.close()
