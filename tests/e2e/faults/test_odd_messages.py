"""Messages with a wrong clock, twice, out of order, late, days old: each is accounted for."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from openvrc.contracts.units import NS_PER_S
from tests.support.fault_ground import (
    Edge,
    Ground,
    all_accounted,
    assert_accounted_to_the_record,
    wait_for,
)
from tests.support.load import STEP_S, Load, record

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

HOUR_NS = 3600 * NS_PER_S
DAYS_OLD_NS = 3 * 24 * HOUR_NS


def test_a_clock_an_hour_ahead_is_refused_by_name_and_disturbs_nobody_else(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    wrong, *right = load.vehicles
    load.clock_ahead_ns[wrong] = HOUR_NS
    load.start()
    load.run_for(1.5)
    load.finish()
    assert not any(assert_accounted_to_the_record(ground, load).values())
    accounts = ground.accounts(load.zone)
    assert accounts[wrong]["rejected"] == {"too_far_future": load.sent[wrong]}
    for name in right:
        assert (accounts[name]["stored"], accounts[name]["rejected"]) == (load.sent[name], {})
    letters = ground.platform.api.get("/v1/dead-letters", zone=load.zone, limit=1)["items"]
    assert "the sender's clock is about 3600" in letters[0]["detail"]
    latest = {v["vehicle_id"] for v in vehicles(ground, load.zone)}
    assert latest == set(right)


def vehicles(ground: Ground, zone: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ground.platform.api.get("/v1/vehicles", zone=zone)["items"]
    return found


def test_duplicate_reordered_and_delayed_messages_are_stored_once_each(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    chance = random.Random(1)
    load.start()  # in order, beside those of the last vehicle
    odd = load.vehicles[-1]
    load.run_for(1.0)
    first, count = load.retire(odd), 60
    start_ns = time.time_ns()
    step_ns = int(STEP_S * NS_PER_S)
    numbers = list(range(first, first + count))
    delayed, numbers = numbers[:10], numbers[10:]
    chance.shuffle(numbers)
    repeated = [chance.choice(numbers) for _ in range(25)]
    for seq in [*numbers, *repeated, *delayed, *delayed]:
        said = record(4, seq, start_ns + (seq - first) * step_ns // 10)
        load.publish(odd, "vehicle_state", said, seq)
    load.sent[odd] = first + count
    load.finish()
    missing = assert_accounted_to_the_record(ground, load)
    assert not any(missing.values())
    account = ground.accounts(load.zone)[odd]
    assert account["duplicates"] == len(repeated) + len(delayed)
    assert account["stored"] == first + count


def test_a_backlog_of_three_days_ago_fills_history_and_overwrites_nothing(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    returning = load.vehicles[0]
    load.start()
    load.run_for(0.5)
    load.retire(returning)
    # What it drove before its link was lost comes now, in another session: it braked hard.
    old_ns = time.time_ns() - DAYS_OLD_NS
    for seq in range(40):
        is_braking = 20 <= seq < 24
        said = record(0, seq, old_ns + seq * NS_PER_S // 20, session=0)
        said |= {"accel_long_mps2": -9.0 if is_braking else 0.0}
        load.publish(returning, "vehicle_state", said)
    load.run_for(1.0)
    load.finish()
    load.sent[returning] += 40
    all_accounted(ground, load)
    wait_for(lambda: len(ground.stored(load.zone)[returning]) == load.sent[returning], "all rows")
    history = ground.platform.api.get(
        f"/v1/vehicles/{returning}/history", zone=load.zone, limit=1000
    )["items"]
    assert len(history) == load.sent[returning]
    (shown,) = (v for v in vehicles(ground, load.zone) if v["vehicle_id"] == returning)
    assert shown["sampled_at"] == max(row["sampled_at"] for row in history)
    alerts = ground.platform.api.get("/v1/alerts", zone=load.zone)["items"]
    braking = [a for a in alerts if a["rule"] == "traffic.hard_braking"]
    assert [(a["subject_id"], a["state"]) for a in braking] == [(returning, "historical")]
    assert not any(alert["is_open"] for alert in alerts)
