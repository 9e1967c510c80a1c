"""Alerts, their events and actions, in the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cloud.alerting import Alert, AlertTransition, alert_id_of
from cloud.store import reads
from cloud.store.facts import write_alerts
from cloud.store.read_types import Connection
from openvrc.contracts.detection import Severity
from openvrc.contracts.units import NS_PER_S
from tests.support.store_world import START_NS


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as found:
        yield found


def alert(number: int, **columns: Any) -> Alert:
    started_ns = START_NS + number * NS_PER_S
    facts: dict[str, Any] = {
        "id": alert_id_of("run-1", "traffic.test", f"car-{number}", "", started_ns),
        "run_id": "run-1", "origin": "replay", "zone": "west", "rule": "traffic.test",
        "kind": "traffic", "severity": Severity.WARNING, "state": "active",
        "subject_type": "vehicle", "subject_id": f"car-{number}", "component": "lane:1",
        "segment_id": "a#1", "lat_deg": 53.5, "lon_deg": None, "started_at_ns": started_ns,
        "detected_at_ns": started_ns + NS_PER_S, "cleared_at_ns": None, "confidence": 0.5,
        "title": "Test", "advice": "Look.", "evidence": {"speed_mps": 1.5},
    }  # fmt: skip
    return Alert(**facts | columns)


def store(connection: Connection, *alerts: Alert) -> None:
    told = [AlertTransition(a, "opened", n, a.started_at_ns) for n, a in enumerate(alerts, 1)]
    with connection.transaction():
        write_alerts(connection, told)


def test_an_alert_comes_back_as_it_was_with_its_events(connection: Connection) -> None:
    first = alert(1)
    ended = first.changed(state="cleared", cleared_at_ns=START_NS + 9 * NS_PER_S)
    steps = [
        AlertTransition(first, "opened", 5, START_NS),
        AlertTransition(ended, "cleared", 6, START_NS + 10 * NS_PER_S),
    ]
    write_alerts(connection, steps)
    view = reads.alert(connection, first.id)
    assert view is not None
    assert view.alert == ended
    events = [(e.sequence, e.change, e.state, e.severity) for e in view.events]
    assert events == [(5, "opened", "active", "warning"), (6, "cleared", "cleared", "warning")]
    assert reads.alert(connection, "nobody") is None


def test_evidence_that_json_cannot_say_is_stored_as_null(connection: Connection) -> None:
    odd = alert(1, evidence={"ratio": float("nan"), "list": [float("inf"), 1], "text": "a\0b"})
    store(connection, odd)
    view = reads.alert(connection, odd.id)
    assert view is not None
    assert view.alert.evidence == {"ratio": None, "list": [None, 1], "text": "a\ufffdb"}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (reads.AlertFilter(), [4, 3, 2, 1]),
        (reads.AlertFilter(zone="east"), [2]),
        (reads.AlertFilter(state="open"), [4, 3, 1]),
        (reads.AlertFilter(state="cleared"), [2]),
        (reads.AlertFilter(severity="critical"), [3]),
        (reads.AlertFilter(rule="battery.test"), [4]),
        (reads.AlertFilter(kind="battery"), [4]),
        (reads.AlertFilter(subject="car-1"), [1]),
        (reads.AlertFilter(origin="live"), []),
        (reads.AlertFilter(from_ns=START_NS + 60 * NS_PER_S), [4, 3, 1]),
        (reads.AlertFilter(to_ns=START_NS + 2 * NS_PER_S), [2, 1]),
    ],
    ids=str,
)
def test_alerts_are_filtered_and_open_ones_never_cut_by_age(
    connection: Connection, where: reads.AlertFilter, expected: list[int]
) -> None:
    store(
        connection,
        alert(1),
        alert(2, zone="east", state="cleared", cleared_at_ns=START_NS + 30 * NS_PER_S),
        alert(3, severity=Severity.CRITICAL, state="recovering", cleared_at_ns=START_NS),
        alert(4, rule="battery.test", kind="battery"),
    )
    found = reads.alerts(connection, where).items
    assert [int(view.alert.subject_id.split("-")[1]) for view in found] == expected


def test_pages_join_although_alerts_start_at_the_same_moment(connection: Connection) -> None:
    same = [alert(1, id=f"id-{n:02}") for n in range(25)]
    store(connection, *same)
    seen: list[str] = []
    cursor = None
    while True:
        page = reads.alerts(connection, reads.AlertFilter(), cursor=cursor, limit=10)
        seen += [view.alert.id for view in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted((a.id for a in same), reverse=True)


def test_the_last_word_of_each_action_stands_and_all_are_kept(connection: Connection) -> None:
    one = alert(1)
    store(connection, one)
    actions: list[tuple[str, reads.ActionKind, dict[str, Any]]] = [
        ("ann", "ack", {}), ("ann", "assign", {"to": "bob"}), ("bob", "assign", {"to": "eve"}),
        ("bob", "snooze", {"until_ns": START_NS}), ("eve", "note", {"text": "seen it"}),
    ]  # fmt: skip
    for who, action, detail in actions:
        assert reads.add_action(connection, one.id, who, action, detail) is not None
    assert reads.add_action(connection, "nobody", "ann", "ack", {}) is None
    view = reads.alert(connection, one.id)
    assert view is not None
    assert [(a.who, a.action, a.detail) for a in view.actions] == actions
    said = (view.acknowledged_by, view.assigned_to, view.snoozed_until_ns)
    assert said == ("ann", "eve", START_NS)
