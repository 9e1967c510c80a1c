"""Cloud or database away or slow, with load running: all waits in the spool, and arrives."""

from __future__ import annotations

import os

import pytest

from tests.support.fault_ground import (
    Edge,
    Ground,
    all_accounted,
    assert_accounted_to_the_record,
    wait_for,
)
from tests.support.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

AWAY_S = float(os.environ.get("VRC_TEST_AWAY_S", "4"))
"""60 s is the fault of the specification; 4 s run the same way through back-off (five tries), a
growing spool, and parcels of all that waited. `VRC_TEST_AWAY_S=60` takes the minute."""
COMMIT_S = 0.2
SLOW_S = 4.0


def test_a_cloud_that_is_away_gets_everything_when_it_is_back(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.start()
    ground.platform.kill_part("cloud")
    load.run_for(AWAY_S)
    ground.platform.restart_part("cloud")
    load.finish()
    assert "cloud does not take batches" in edge.log()
    assert not any(assert_accounted_to_the_record(ground, load).values())


def test_a_database_that_is_away_gets_everything_when_it_is_back(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.start()
    ground.stop_database()
    load.run_for(AWAY_S / 2)
    assert ground.accounts(load.zone) == {}, "answered without its database"
    ground.start_database()
    load.finish()
    assert not any(assert_accounted_to_the_record(ground, load).values())


SLOW = f"""
CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep({COMMIT_S}); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON ingest_batch
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_commit();
"""
FAST = "DROP TRIGGER slow ON ingest_batch; DROP FUNCTION slow_commit();"


def test_a_database_that_takes_200_ms_a_commit_is_waited_for_and_keeps_up(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    with ground.database() as connection:
        connection.execute(SLOW)
        try:
            load.start()
            load.run_for(SLOW_S)
            wait_for(
                lambda: any(a["pending"] for a in ground.accounts(load.zone).values()),
                "the accounts to say that something waits",
            )
            load.finish()
            # Still slow: five commits a second take twenty groups a second, several at once.
            all_accounted(ground, load)
        finally:
            connection.execute(FAST)
    assert not any(assert_accounted_to_the_record(ground, load).values())
