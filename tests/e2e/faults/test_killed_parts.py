"""kill -9 of each part in turn, with load running; the accounts close to the last record."""

from __future__ import annotations

import pytest

from tests.support.fault_ground import Edge, Ground, assert_accounted_to_the_record, wait_for
from tests.support.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

BEFORE_S, DEAD_S, AFTER_S = 1.0, 0.7, 1.0


def test_kill_9_of_the_edge_loses_and_doubles_nothing(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.start()
    for _ in range(2):
        load.run_for(BEFORE_S)
        edge.kill()
        load.run_for(DEAD_S)
        edge.start()
    load.run_for(AFTER_S)
    load.finish()
    missing = assert_accounted_to_the_record(ground, load)
    assert not any(missing.values())


def test_kill_9_of_the_cloud_loses_and_doubles_nothing(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.start()
    for _ in range(2):
        load.run_for(BEFORE_S)
        ground.platform.kill_part("cloud")
        load.run_for(DEAD_S)
        ground.platform.restart_part("cloud")
    load.run_for(AFTER_S)
    load.finish()
    missing = assert_accounted_to_the_record(ground, load)
    assert not any(missing.values())


def test_kill_9_of_the_database_loses_and_doubles_nothing(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.start()
    load.run_for(BEFORE_S)
    ground.kill_database()
    load.run_for(DEAD_S)
    ground.start_database()
    load.run_for(AFTER_S)
    load.finish()
    missing = assert_accounted_to_the_record(ground, load)
    assert not any(missing.values())


def test_what_a_killed_broker_had_acknowledged_and_lost_is_missing_to_the_record(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.steps(20)
    wait_for(
        lambda: sum(a["stored"] for a in ground.accounts(load.zone).values()) == 100, "100 records"
    )
    edge.kill()
    load.steps(30)  # acknowledged by the broker, for an edge that is away
    lost = {name: set(range(20, 50)) for name in load.vehicles}
    assert all(lost[name] <= load.acknowledged[name] for name in load.vehicles)
    ground.kill_broker(forget=True)
    ground.start_broker()
    edge.start()
    wait_for(lambda: edge.log().count("connected to the broker") == 2, "the edge to listen")
    load.start()
    load.run_for(AFTER_S)
    load.finish()
    assert assert_accounted_to_the_record(ground, load) == lost


def test_kill_9_of_the_broker_with_load_running_accounts_for_every_record(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.start()
    load.run_for(BEFORE_S)
    ground.kill_broker(forget=True)
    load.run_for(DEAD_S)
    ground.start_broker()
    load.run_for(DEAD_S + AFTER_S)
    wait_for(lambda: edge.log().count("connected to the broker") == 2, "the edge to listen again")
    load.run_for(AFTER_S)
    load.finish()
    missing = assert_accounted_to_the_record(ground, load)
    # Whatever is missing, the broker had told the sender that it has it.
    assert all(missing[name] <= load.acknowledged[name] for name in load.vehicles)
