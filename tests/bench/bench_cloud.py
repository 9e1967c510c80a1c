"""What the cloud and its database cost per record, stage by stage.

    python tests/bench/bench_cloud.py [--groups 2000 5000 10000] [--passes 6] [--vehicles 100000]
        [--detectors NAMES] [--app] [--profile FILE]

Bodies are what an edge posts: `wire.pack` of one group of vehicle states and a tick, 100,000
vehicles in a new random order each pass, 200 senders, no map; once a pass the senders' accounts.
They are made before the clock starts and fed one after the other, as one edge does, into a
`Pipeline` with the latest values in this process, on an embedded PostgreSQL of its own. The first
pass, in which every name is new, is told apart from the others. `--app` posts the same bodies to
`vrc cloud` (uvicorn, keys, headers) in a process of its own. CPU is user and system time of the
process, and of PostgreSQL with all its children; stages are thread times of the pipeline's worker.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import http.client
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from cloud import committer, pipeline
from cloud.engine import Engine
from cloud.latest import Latest
from cloud.pipeline import Pipeline
from cloud.ports import PostgresLog
from cloud.service import DETECTORS
from cloud.store import writer
from openvrc.cli.benchmark.procfs import cpu_s, rss_mb
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.plugins import chosen, discover
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.wire import CONTENT_TYPE, pack
from openvrc.embedded.database import RunningDatabase, start_database
from openvrc.embedded.processes import free_port, start_process, wait_until_ready
from openvrc.settings import Settings
from simulator.load.traffic import ZONE, BenchWorld, TrafficPlan

SIX = (
    "traffic.congestion,traffic.stopped_vehicle,traffic.hard_braking,"
    "battery.over_temperature,battery.self_discharge,battery.insulation"
)
EDGE, EPOCH = "edge-b", "1"
START_NS = 1_767_225_600 * NS_PER_S  # 2026-01-01
US_PER_S = 1e6
READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class Body:
    """One request: records or accounts."""

    payload: bytes
    n_records: int
    batch_id: str


def bodies(group: int, n_passes: int, vehicles: int) -> Iterator[list[Body]]:
    """Pass after pass over all vehicles; the accounts stand at its end."""
    world = BenchWorld(TrafficPlan(vehicles, 50, group, 1, START_NS, "bench-run"))
    world.braking_every = vehicles // 10
    frames = world.frames()
    number = 0
    for _ in range(n_passes):
        made: list[Body] = []
        n_records = 0
        while n_records < vehicles:
            frame = next(frames)
            batch = _as_forwarded(frame.messages[0].whole)
            payload = pack([batch, _tick(frame.zone_time_ns)])
            made.append(Body(payload, batch.n_rows, f"{EDGE}/{EPOCH}/{number}"))
            n_records += batch.n_rows
            number += 1
        made.append(Body(pack([_accounts(batch, number)]), 0, ""))
        yield made


def _as_forwarded(batch: Batch) -> Batch:
    """A sender's records with what the edge adds to them."""
    now_ns = time.time_ns()
    marks = {
        "published_at_ns": now_ns,
        "edge_received_at_ns": now_ns,
        "lateness": 0,
        "segment_id": "",
        "lane_index": -1,
    }
    return batch.with_columns(marks)


def _tick(zone_time_ns: int) -> Batch:
    columns = {
        "source_id": EDGE,
        "subject_id": ZONE,
        "id_kind": "permanent",
        "sampled_at_ns": zone_time_ns,
        "published_at_ns": time.time_ns(),
        "edge_received_at_ns": time.time_ns(),
        "lateness": 0,
        "watermark_ns": zone_time_ns - 2 * NS_PER_S,
    }
    shared = {"zone": ZONE, "run_id": "bench-run", "origin": "simulated"}
    return from_columns("tick", **shared, columns=columns, n_rows=1)


def _accounts(batch: Batch, version: int) -> Batch:
    senders = sorted(set(batch.texts("source_id")))
    counts = ("sent", "received", "forwarded")
    nothing = ("dropped", "expired", "thinned", "missing", "duplicates")
    columns: dict[str, Any] = {
        "source_id": EDGE,
        "subject_id": senders,
        "id_kind": "permanent",
        "session": batch.column("session")[0],
        "sampled_at_ns": int(batch.column("sampled_at_ns")[-1]),
        "edge_received_at_ns": time.time_ns(),
        "lateness": 0,
        "edge_id": EDGE,
        "edge_epoch": 1,
        "version": version,
        "is_sequenced": True,
        "rejected": "{}",
        "gaps": "[]",
    }
    columns |= dict.fromkeys(counts, version) | dict.fromkeys(nothing, 0)
    shared = {"zone": batch.zone, "run_id": batch.run_id, "origin": batch.origin}
    return from_columns("source_ledger", **shared, columns=columns, n_rows=len(senders))


@dataclass
class Stages:
    """CPU seconds of wrapped calls, less that of wrapped calls inside them."""

    cpu_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _inner_s: list[float] = field(default_factory=lambda: [0.0])

    def wrap(self, owner: Any, name: str, stage: str) -> None:
        """Measure `owner.name` from now on."""
        inner = getattr(owner, name)

        def timed(*args: Any, **more: Any) -> Any:
            began_s = time.thread_time()
            self._inner_s.append(0.0)
            try:
                return inner(*args, **more)
            finally:
                spent_s = time.thread_time() - began_s
                self.cpu_s[stage] += spent_s - self._inner_s.pop()
                self._inner_s[-1] += spent_s

        setattr(owner, name, timed)


@dataclass(frozen=True)
class Figures:
    """CPU microseconds per record, request time in ms."""

    cloud_us: float
    database_us: float
    stages_us: dict[str, float]
    wait_ms: tuple[float, float, float]
    """Median, 99th percentile and greatest."""

    def lines(self) -> str:
        """For a terminal."""
        p50, p99, most = self.wait_ms
        parts = "  ".join(f"{k} {v:.2f}" for k, v in sorted(self.stages_us.items()))
        return (
            f"cloud {self.cloud_us:6.2f}  database {self.database_us:6.2f}  request p50 {p50:.1f} "
            f"p99 {p99:.1f} max {most:.1f} ms\n      {parts}"
        )


@contextmanager
def database() -> Iterator[RunningDatabase]:
    """An embedded PostgreSQL in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="openvrc-bench-"))
    folder.chmod(0o755)
    try:
        running = start_database(folder / "db")
        try:
            yield running
        finally:
            running.stop(delete_files=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


Post = Callable[[Body], None]


def run(
    passes: Sequence[list[Body]],
    post: Post,
    pids: dict[str, int],
    stages: Stages,
    say: Callable[[str], None],
    settle: Callable[[], None],
) -> None:
    """Feed all passes; tell of the first and of the others."""
    for name, part in (("first pass", passes[:1]), ("steady", passes[1:])):
        if not part:
            continue
        stages.cpu_s.clear()
        before_s, waits_ms, n_records = cpu_s(pids), [], 0
        for body in (body for one in part for body in one):
            began_s = time.perf_counter()
            post(body)
            if body.n_records:
                waits_ms.append((time.perf_counter() - began_s) * 1e3)
            n_records += body.n_records
        settle()
        spent_s = {who: now_s - before_s[who] for who, now_s in cpu_s(pids).items()}
        per = US_PER_S / n_records
        p50, p99, most = np.percentile(waits_ms, [50, 99, 100]).tolist()
        figures = Figures(
            (spent_s["cloud"] - spent_s["database"] * (pids["cloud"] == os.getpid())) * per,
            spent_s["database"] * per,
            {k: v * per for k, v in stages.cpu_s.items()},
            (p50, p99, most),
        )
        say(f"    {name:10} {figures.lines()}")


def in_process(
    passes: Sequence[list[Body]], detectors: str, say: Callable[[str], None], profile: str
) -> None:
    """A Pipeline and the latest values in this process."""
    with database() as server:
        # The harness's own wait for PostgreSQL's checkpoints would only add noise: none is due.
        settings = Settings(database_url=server.url)
        subject = Pipeline(settings, chosen(discover(DETECTORS), detectors))
        subject.register(Latest())
        stages = Stages()
        _wrap(stages, subject)
        profiler = cProfile.Profile() if profile else None
        if profiler is not None:
            inner = subject._committer.commit

            def profiled(body: Any) -> Any:
                return profiler.runcall(inner, body)

            subject._committer.commit = profiled  # type: ignore[method-assign]
        with asyncio.Runner() as runner:
            runner.run(subject.start())
            post = _submitter(runner, subject)
            pids = {"cloud": os.getpid(), "database": server.pid}  # the server is our child
            run(passes, post, pids, stages, say, lambda: time.sleep(0.3))
            runner.run(subject.stop())
        if profiler is not None:
            profiler.dump_stats(profile)


def _submitter(runner: asyncio.Runner, subject: Pipeline) -> Post:
    def post(body: Body) -> None:
        result = runner.run(subject.submit(body.payload, EDGE, body.batch_id))
        assert result.stored >= body.n_records, result

    return post


def _wrap(stages: Stages, subject: Pipeline) -> None:
    one = subject._committer
    stages.wrap(pipeline, "unpack", "unpack")
    stages.wrap(pipeline, "require_in_range", "ranges")
    stages.wrap(one, "commit", "commit")
    stages.wrap(one, "checkpoint", "checkpoint")
    stages.wrap(Engine, "process", "engine")
    stages.wrap(committer, "write_alerts", "alerts")
    stages.wrap(committer, "write_ledgers", "ledgers")
    stages.wrap(committer, "write_zone_facts", "zone facts")
    stages.wrap(PostgresLog, "append", "log")
    stages.wrap(one._identities, "learn", "learn")
    stages.wrap(one, "_fold", "latest")
    stages.wrap(one.meter, "committed", "meter")
    stages.wrap(writer.Writer, "write", "write")
    stages.wrap(writer.Writer, "_encode", "encode")
    stages.wrap(writer, "_copy", "copy")


def through_app(passes: Sequence[list[Body]], detectors: str, say: Callable[[str], None]) -> None:
    """`vrc cloud` in a process of its own."""
    with database() as server:
        key, port = secrets.token_urlsafe(16), free_port()
        env = dict(os.environ) | {
            "VRC_DATABASE_URL": server.url,
            "VRC_CLOUD_PORT": str(port),
            "VRC_CLOUD_API_KEYS": f"bench:admin:{key}",
            "VRC_CLOUD_DETECTORS": detectors,
        }
        folder = Path(tempfile.mkdtemp(prefix="openvrc-bench-log-"))
        argv = [sys.executable, "-m", "openvrc.cli.main", "cloud"]
        process = start_process("cloud", argv, log_path=folder / "cloud.log", env=env)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(lambda: _answers(url), process, READY_WITHIN_S)
            pids = {"cloud": process.pid, "database": server.pid}
            before = rss_mb(pids)
            post = _poster(url, key)
            run(passes, post, pids, Stages(), say, lambda: time.sleep(0.3))
            after = rss_mb(pids)
            shown = ", ".join(f"{name} {before[name]:.0f} to {after[name]:.0f} MB" for name in pids)
            say(f"    memory     {shown}")
        finally:
            process.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _poster(url: str, key: str) -> Post:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def post(body: Body) -> None:
        headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": CONTENT_TYPE,
            "X-VRC-Edge": EDGE,
        }
        if body.batch_id:
            headers["X-VRC-Batch"] = body.batch_id
        connection.request("POST", "/v1/ingest", body.payload, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text

    return post


def main() -> None:
    """Measure each group size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", type=int, nargs="+", default=[2_000, 5_000, 10_000])
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--vehicles", type=int, default=100_000)
    parser.add_argument("--detectors", default=SIX)
    parser.add_argument("--app", action="store_true", help="through vrc cloud")
    parser.add_argument("--profile", default="", help="file for a cProfile of the worker")
    given = parser.parse_args()

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    for group in given.groups:
        passes = list(bodies(group, given.passes, given.vehicles))
        n_bytes = sum(len(body.payload) for one in passes for body in one)
        n_records = sum(body.n_records for one in passes for body in one)
        say(f"groups of {group}: {n_bytes / n_records:.0f} B a record; us per record")
        if given.app:
            through_app(passes, given.detectors, say)
        else:
            in_process(passes, given.detectors, say, given.profile)


if __name__ == "__main__":
    main()
