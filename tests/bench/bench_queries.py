"""How long the questions of the API take on ten million vehicle states, with the plan of each.

    make bench-queries        (python -m tests.bench.bench_queries [--vehicles N] [--rounds N])

On the embedded PostgreSQL, and on the server of VRC_TEST_TIMESCALE_URL if that is set. A question
is asked through `cloud.store.reads`, as the API asks it, with another subject each time; a time is
wall time of the call with fetching and decoding. Plans come from EXPLAIN ANALYZE of the same
statements. A database made by an earlier call with the same size is used again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psycopg
from psycopg import sql

from cloud.store import minutes
from cloud.store.migrate import layout_of, migrate
from cloud.store.read_types import Connection
from openvrc.cli.benchmark.machine import load_now, machine_facts
from openvrc.embedded.database import start_database
from tests.bench.query_data import Filled, Size, fill
from tests.bench.query_questions import Question, Store, questions
from tests.support.timescale_server import VARIABLE

TARGET_MS = 50.0
WARM_UP = 8
"""Calls before the measured ones: psycopg prepares a statement at its sixth, the server may then
choose a plan for any parameters five calls later."""


@dataclass(frozen=True)
class Timing:
    """One question's answer times."""

    name: str
    rows: int
    median_ms: float
    p99_ms: float
    client_cpu_ms: float
    server_cpu_ms: float
    plan: str


class Recorder(psycopg.Cursor[Any]):
    """A cursor that remembers what it was asked."""

    asked: ClassVar[list[tuple[Any, Any]]] = []

    def execute(self, query: Any, params: Any = None, **options: Any) -> Recorder:
        """As any cursor."""
        Recorder.asked.append((query, params))
        return super().execute(query, params, **options)


def measure(connection: Connection, question: Question, repetitions: int) -> Timing:
    """Ask a question many times."""
    rng = np.random.default_rng(2)
    times_ms, n_rows = [], 0
    client_s, server_s = 0.0, 0.0
    for number in range(WARM_UP + repetitions):
        if number == WARM_UP:
            client_s, server_s = time.process_time(), server_cpu_s(connection)
        started_s = time.perf_counter()
        n_rows = question.ask(connection, rng)
        if number >= WARM_UP:
            times_ms.append((time.perf_counter() - started_s) * 1000)
    client_ms = (time.process_time() - client_s) * 1000 / repetitions
    server_ms = (server_cpu_s(connection) - server_s) * 1000 / repetitions
    plan = "\n\n".join(plans(connection, question, rng))
    median_ms, p99_ms = np.percentile(times_ms, [50, 99])
    wall_ms = float(median_ms), float(p99_ms)
    return Timing(question.name, n_rows, *wall_ms, client_ms, server_ms, plan)


def server_cpu_s(connection: Connection) -> float:
    """CPU seconds of the connection's server process, which runs on this machine."""
    text = Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text(encoding="utf-8")
    return int(text.split()[0]) / 1e9


def plans(connection: Connection, question: Question, rng: np.random.Generator) -> Iterator[str]:
    """EXPLAIN ANALYZE of each SELECT that one call sends."""
    connection.cursor_factory = Recorder
    Recorder.asked.clear()
    question.ask(connection, rng)
    connection.cursor_factory = psycopg.Cursor
    for query, params in list(Recorder.asked):
        text = query.as_bytes(connection) if isinstance(query, sql.Composable) else query
        text = text.encode() if isinstance(text, str) else text
        if not text.lstrip().upper().startswith((b"SELECT", b"WITH")):
            continue
        lines = connection.execute(b"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + text, params)
        yield "\n".join(line for (line,) in lines.fetchall())


@contextmanager
def embedded(directory: Path) -> Iterator[str]:
    """A PostgreSQL of our own that is kept for the next call."""
    running = start_database(directory)
    try:
        yield running.url.rsplit("/", 1)[0] + "/postgres"
    finally:
        running.stop()


@contextmanager
def filled(server_url: str, size: Size) -> Iterator[tuple[Connection, Filled | None]]:
    """A connection to a database of this size, and what filling took if it was made now."""
    name = f"vrc_bench_{size.n_vehicles}_{size.n_rounds}"
    url = server_url.rsplit("/", 1)[0] + f"/{name}"
    with psycopg.connect(server_url, autocommit=True) as server:
        found = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if found is None:
            make = sql.SQL("CREATE DATABASE {} TEMPLATE template0")
            server.execute(make.format(sql.Identifier(name)))
    took = None
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('bench_is_filled')").fetchone() == (None,):
            took = fill(connection, size)
            minutes.refresh(connection, layout_of(connection))
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CREATE TABLE bench_is_filled (at timestamptz DEFAULT now())")
        migrate(connection, chunk_days=1.0)
        minutes.BlockRanges().summarize(connection)
        yield connection, took


def run(server_url: str, size: Size, repetitions: int, say: Callable[[str], None]) -> None:
    """Print the table of one server."""
    with filled(server_url, size) as (connection, took):
        store = Store.of(connection, size)
        say(f"\n## {store.describe()}\n")
        if took is not None:
            say(f"filled: {took.rows:,} rows in {took.wall_s:.0f} s, {took.client_cpu_s:.0f} s of "
                "the client's CPU\n")  # fmt: skip
        say("| question | rows | median ms | p99 ms | CPU ms, client + server | under 50 ms |")
        say("| --- | --- | --- | --- | --- | --- |")
        timings = []
        for question in questions(store):
            timing = measure(connection, question, repetitions)
            timings.append(timing)
            word = "yes" if timing.median_ms < TARGET_MS else "no"
            say(
                f"| {timing.name} | {timing.rows:,} | {timing.median_ms:.1f} | {timing.p99_ms:.1f} "
                f"| {timing.client_cpu_ms:.1f} + {timing.server_cpu_ms:.1f} | {word} |"
            )
        for timing in timings:
            say(f"\n### Plan: {timing.name}\n\n```\n{timing.plan}\n```")


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--vehicles", type=int, default=Size.n_vehicles)
    parser.add_argument("--rounds", type=int, default=Size.n_rounds)
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--data-dir", type=Path, default=Path("var/bench-queries"))
    options = parser.parse_args()
    size = Size(options.vehicles, options.rounds)

    def say(line: str) -> None:
        print(line, flush=True)  # noqa: T201

    for name, fact in machine_facts().items():
        say(f"- {name}: {fact}")
    with embedded(options.data_dir) as url:
        run(url, size, options.repetitions, say)
    timescale_url = os.environ.get(VARIABLE, "")
    if timescale_url:
        run(timescale_url, size, options.repetitions, say)
    else:
        say(f"\nTimescaleDB was not asked: {VARIABLE} is not set")
    say(f"\n- load after: {load_now()}")


if __name__ == "__main__":
    main()
