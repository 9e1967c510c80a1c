"""The same rows give the same answers with TimescaleDB and without, in every function of `reads`.

Both stores take the same bodies: rows of several days, late and out of order, repeats, revised
windows, refused rows, two runs and two zones, alerts with what people did to them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.rows import dict_row

from cloud.store import minutes, reads
from cloud.store.columns import stored_messages
from cloud.store.facts import moment
from cloud.store.identities import Identities
from cloud.store.migrate import layout_of, migrate
from cloud.store.read_types import Connection, Page
from cloud.store.writer import Writer, Written
from openvrc.contracts.batch import Batch
from openvrc.contracts.units import NS_PER_S
from tests.support import grafana_rows
from tests.support.store_world import DAY_NS, START_NS, fresh_database, one_row, vehicle_states
from tests.support.timescale_server import passing_database

PLACE: dict[str, Any] = {"lat_deg": 53.5, "lon_deg": 10.0, "health": "ok"}
WALL_TIMES = {"stored_at_ns", "acknowledged_at_ns"}
"""When something was stored or done: the one thing that must differ."""
Question = Callable[[Connection], Any]


def bodies() -> list[list[Batch]]:
    """Requests in the order in which both stores take them."""
    rng = np.random.default_rng(3)
    scattered = START_NS + rng.permutation(300) * (DAY_NS // 40)
    return [
        [vehicle_states(500)],
        [vehicle_states(300, sampled_at_ns=scattered, source="car-7", session=8, zone="east")],
        [vehicle_states(700, seed=2), vehicle_states(60, run_id="run-2", at_ns=START_NS + DAY_NS)],
        [vehicle_states(40, at_ns=START_NS - 3 * DAY_NS, first_seq=700)],
        [_window(1, 5), _window(3, 7), _window(2, 6)],
        [_window(2, 9), _window(0, 4, at_ns=START_NS + DAY_NS)],
        [one_row("battery_state", at_ns=START_NS, cell_voltages_v=[[3.7, 48.0]], session=1, seq=4)],
        [one_row("rsu_status", at_ns=START_NS + n * DAY_NS, **PLACE) for n in (5, 1, 3)],
    ]


def _window(revision: int, vehicle_count: int, *, at_ns: int = START_NS) -> Batch:
    facts: dict[str, Any] = {"subject_id": "edge-1", "window_start_ns": at_ns, "window_s": 10.0}
    facts |= {"map_version": "m1", "vehicle_s": 1.0, "distance_m": 2.0, "coverage_ratio": 0.5}
    facts |= {"revision": revision, "vehicle_count": vehicle_count}
    return one_row("segment_state", at_ns=at_ns + 10 * NS_PER_S, **facts)


def write(connection: Connection, writer: Writer, batches: list[Batch]) -> Written:
    writer.prepare(connection, batches)
    with connection.transaction():
        return writer.write(connection, batches)


def filled(connection: Connection) -> tuple[str, list[Written]]:
    """The kind of partitions, and what the writer said of each body."""
    layout = migrate(connection, chunk_days=1.0)
    writer = Writer(layout, Identities())
    written = []
    for batches in bodies():
        written.append(write(connection, writer, batches))
        minutes.refresh(connection, layout_of(connection))
    grafana_rows.fill(connection, layout)
    minutes.refresh(connection, layout_of(connection))
    reads.add_action(connection, "b", "bert", "snooze", {"until_ns": START_NS})
    reads.add_action(connection, "b", "bert", "assign", {"to": "anna"})
    return layout.partitioning, written


@pytest.fixture(scope="module")
def timescale(timescale_server: str) -> Iterator[Connection]:
    with (
        passing_database(timescale_server) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        assert filled(connection)[0] == "timescale"
        yield connection


@pytest.fixture(scope="module")
def plain(timescale: Connection, database_server: str) -> Iterator[Connection]:
    """Needs the other one first: without it no server has to be started."""
    with (
        fresh_database(database_server, "same_answers") as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        assert filled(connection)[0] == "native"
        yield connection


def pages(ask: Callable[[str | None], Page[Any]]) -> list[Any]:
    """All pages, one after the other, with the length of each."""
    items, lengths, cursor = [], [], None
    while True:
        page = ask(cursor)
        items += page.items
        lengths.append(len(page.items))
        cursor = page.next_cursor
        if cursor is None:
            return [items, lengths]


def history_of(message: str, subject: str, **facts: Any) -> Question:
    return lambda connection: pages(
        lambda cursor: reads.history(connection, message, subject, cursor=cursor, limit=7, **facts)
    )


def export_of(message: str, **facts: Any) -> Question:
    return lambda connection: [
        row for chunk in reads.export(connection, message, **facts) for row in chunk
    ]


def alerts_where(**facts: Any) -> Question:
    where = reads.AlertFilter(**facts)
    return lambda c: pages(lambda cursor: reads.alerts(c, where, cursor=cursor, limit=1))


def steps_of(message: str, subject: str, **facts: Any) -> Question:
    return lambda connection: pages(
        lambda cursor: reads.steps(connection, message, subject, cursor=cursor, limit=2, **facts)
    )


def rows_of(view: str) -> Question:
    """Every row of a view but for when it was stored; sums of floats to ten digits."""

    def ask(connection: Connection) -> list[Any]:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(f"SELECT * FROM {view}".encode()).fetchall()
        for row in rows:
            del row["stored_at"]
            for name, value in row.items():
                row[name] = float(f"{value:.10g}") if isinstance(value, float) else value
        return sorted((list(row.items()) for row in rows), key=str)

    return ask


def by_text(rows: list[Any]) -> list[str]:
    """Rows of one instant have no order among themselves."""
    return sorted(map(str, known(rows)))


def newest(connection: Connection, at_ns: int) -> list[Any]:
    return reads.newest_at(
        connection, "segment_state", zone="west", run_id="run-1", at_ns=at_ns, within_s=86_400.0,
        rank=lambda row: (row["sampled_at_ns"], row["revision"]), limit=1000,
    )  # fmt: skip


PAST: dict[str, Any] = {
    "zone": "west", "run_id": "run-1", "from_ns": START_NS, "to_ns": START_NS + DAY_NS,
}  # fmt: skip
SPAN = {"from_ns": START_NS + NS_PER_S // 2, "to_ns": START_NS + 2 * DAY_NS}
QUESTIONS: dict[str, Question] = {
    **{f"export of {message}": export_of(message) for message in stored_messages()},
    "export of a span": export_of("vehicle_state", zone="west", run_id="run-1", **SPAN),
    "history of a vehicle": history_of("vehicle_state", "car-7"),
    "history of a vehicle in a span": history_of("vehicle_state", "car-7", **SPAN),
    "history of a vehicle in a zone": history_of("vehicle_state", "car-7", zone="east"),
    "history of a run": history_of("vehicle_state", "car-1", run_id="run-2"),
    "history of a segment": history_of("segment_state", "edge-1"),
    "history of nobody": history_of("vehicle_state", "nobody"),
    "steps of a vehicle": steps_of("vehicle_state", "car-7", step_s=60),
    "steps of an hour": steps_of("vehicle_state", "car-1", step_s=3600, run_id="run-1"),
    "steps of a segment": steps_of("segment_state", "edge-1", step_s=60, **SPAN),
    "minutes of vehicles": rows_of("v_vehicle_minute"),
    "minutes of segments": rows_of("v_segment_minute"),
    "quarters of segments": rows_of("v_segment_quarter"),
    "quarters of a segment": lambda c: reads.quarters_of_segment(
        c, "edge-1", zone="west", origin="simulated", from_ns=0, to_ns=START_NS + 9 * DAY_NS
    ),
    "quarters at moments": lambda c: reads.quarters_at(
        c, [moment(START_NS), moment(START_NS + DAY_NS)], zone="west", origin="simulated"
    ),
    "dead letters": lambda c: sorted(map(str, known(reads.dead_letters(c, limit=100).items))),
    "dead letters of a reason": lambda c: reads.dead_letters(c, reason="refused_by_store").items,
    "trace of a sender": lambda c: reads.trace(c, "rsu-1", 7, 710),
    "trace of a vehicle": lambda c: reads.trace(c, "car-7", 8, 207),
    "trace of a refused record": lambda c: reads.trace(c, "edge-1", 1, 4),
    "accounting": lambda c: reads.accounting(c, None),
    "sums of each zone": lambda c: reads.zone_sums(c, None),
    "accounts of most rejected": lambda c: reads.most_rejected(c, None, 5),
    "accounts of a session": lambda c: reads.session_accounts(c, "rsu-1", 1, None),
    "accounting of a zone": lambda c: reads.accounting(c, None, zone="west", run_id="run-1"),
    "positions of the past": lambda c: reads.past_positions(c, **PAST, step_s=2.0, limit=1000),
    "positions of the past in bounds": lambda c: reads.past_positions(
        c, **PAST, step_s=1.0, limit=1000, bounds=(10.0, 53.5, 10.005, 53.505)
    ),
    "first positions of the past": lambda c: reads.past_positions(c, **PAST, step_s=0.1, limit=5),
    "records of a span": lambda c: by_text(
        reads.records_between(c, "vehicle_state", **PAST, limit=1000)
    ),
    "records of a span of some": lambda c: by_text(
        reads.records_between(c, "segment_state", **PAST, limit=1000, subjects=["edge-1", "nobody"])
    ),
    "newest at a moment": lambda c: newest(c, START_NS + 15 * NS_PER_S),
    "newest at a later moment": lambda c: newest(c, START_NS + DAY_NS + 15 * NS_PER_S),
    "alerts": alerts_where(),
    "open alerts": alerts_where(state="open", zone="west"),
    "worst by rule": lambda c: [reads.worst_by_rule(c, kind) for kind in ("battery", "traffic")],
    "an alert": lambda c: reads.alert(c, "b"),
    "zones": reads.zones,
    "runs": reads.runs,
}


def known(value: Any) -> Any:
    """An answer without wall times, as plain values."""
    if isinstance(value, reads.AlertAction):
        return [value.who, value.action, value.detail]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: known(item) for name, item in value.items() if name not in WALL_TIMES}
    if isinstance(value, list | tuple):
        return [known(item) for item in value]
    return value


MAY_BE_EMPTY = {
    "export of vehicle_profile", "export of rsu_objects", "export of intersection_map",
    "export of road_event", "export of charger_state", "export of drive_state",
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_is_the_same_with_and_without_timescaledb(
    plain: Connection, timescale: Connection, name: str
) -> None:
    answers = [known(QUESTIONS[name](connection)) for connection in (plain, timescale)]
    assert answers[0] == answers[1]
    assert answers[0] or name in MAY_BE_EMPTY, "compares nothing with nothing"


def test_every_function_of_reads_is_asked() -> None:
    asked = " ".join(QUESTIONS)
    for name in (
        "export", "history", "dead letters", "trace", "accounting", "alerts", "an alert",
        "positions of the past", "records of a span", "newest at", "worst by rule",
    ):  # fmt: skip
        assert name in asked
    functions = {n for n in reads.__all__ if callable(getattr(reads, n)) and n.islower()}
    assert functions == {
        "accounting", "add_action", "alert", "alerts", "dead_letters", "export", "history",
        "most_rejected", "newest_at", "past_positions", "quarters_are_of", "quarters_at",
        "quarters_of_segment", "records_between", "runs", "session_accounts", "steps", "trace",
        "worst_by_rule", "zone_sums", "zones",
    }  # fmt: skip


def test_the_writer_says_the_same_of_every_body_and_nothing_new_of_a_repeated_one(
    timescale_server: str, database_server: str
) -> None:
    said = []
    with (
        passing_database(timescale_server) as timescale_url,
        fresh_database(database_server, "same_words") as plain_url,
    ):
        for url in (timescale_url, plain_url):
            with psycopg.connect(url, autocommit=True) as connection:
                writer = Writer(migrate(connection, chunk_days=1.0), Identities())
                first = [write(connection, writer, body) for body in bodies()]
                n_rows = _rows(connection)
                again = [write(connection, writer, body) for body in bodies()]
                assert _rows(connection) == n_rows
                assert not any(stored for told in again for stored, *_ in told.counts.values())
                said.append((first, again, n_rows))
    assert said[0] == said[1]


def _rows(connection: Connection) -> dict[str, int]:
    """Rows by table; a refused record leaves a letter each time it comes."""
    counts = {}
    for message in set(stored_messages()) - {"dead_letter"}:
        row = connection.execute(f"SELECT count(*) FROM {message}".encode()).fetchone()
        assert row is not None
        counts[message] = int(row[0])
    return counts
