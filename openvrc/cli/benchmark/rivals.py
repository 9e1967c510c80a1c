"""What the platform is compared with: `tests/bench/naive_baseline.py`, measured the same way."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

from openvrc.cli.benchmark.modes import US_PER_S, Load, Mode, cpu_us_per_record
from openvrc.cli.benchmark.procfs import cpu_s, rss_mb
from openvrc.cli.benchmark.runs import (
    DRAIN_TIMEOUT_S,
    POLL_S,
    SEND_TIMEOUT_S,
    BenchError,
    database_value,
    scratch_platform,
    send_plan,
    start_sender,
)
from openvrc.cli.benchmark.sender import END, Stage
from openvrc.cli.child import Child
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.units import NS_PER_S
from simulator.load.traffic import BenchWorld, TrafficPlan
from simulator.world import RECORDS_PER_MESSAGE

SCRIPT = Path(__file__).resolve().parents[3] / "tests" / "bench" / "naive_baseline.py"
"""In a checkout; an installed wheel has no tests, and then there is no baseline."""
FRAME_SHARE = 20


def naive(mode: Mode, *, vehicles: int, send_s: float, seed: int) -> Load:
    """The naive subscriber on the same broker, server and messages."""
    # It is slow: ten whole frames ahead of it would take a minute to store.
    smaller = replace(mode, records_per_frame=mode.records_per_frame // FRAME_SHARE)
    plan = send_plan(smaller, vehicles, seed)
    with scratch_platform(with_parts=False) as platform:
        assert platform.broker is not None
        assert platform.database is not None
        address = f"{platform.broker.host}:{platform.broker.port}"
        argv = [str(SCRIPT), "subscribe", address, platform.database.url]
        log_path = platform.data_dir / "logs" / "naive.log"
        with (
            Child("naive baseline", argv, env=os.environ, log_path=log_path) as subscriber,
            start_sender(platform, plan) as sender,
        ):
            subscriber.wait_for("ready")
            sender.wait_for("ready")
            pids = {
                "sender": sender.pid,
                "broker": platform.broker.pid,
                "subscriber": subscriber.pid,
                "database": platform.database.pid,
            }
            before_s = cpu_s(pids)
            sender.say(Stage(seconds=send_s).to_json())
            sent = sender.wait_for("sent", send_s + SEND_TIMEOUT_S)
            stored = _wait_for_rows(subscriber, sent["records"])
            ended_ns = time.time_ns()
            after_s = cpu_s(pids)
            memory = rss_mb(pids)
            sender.say(END)
            sender.wait_for("ended")
        size = database_value(platform, "SELECT pg_total_relation_size('naive')::float8")
    cpu_us = cpu_us_per_record(before_s, after_s, sent["records"])
    world_us = sent["world_cpu_s"] * US_PER_S / sent["records"]
    cpu_us["sender"] -= world_us
    return Load(
        sent=sent["records"],
        stored=stored,
        rejected=0,
        records_per_s=stored / (ended_ns - sent["first_ns"]) * NS_PER_S,
        cpu_us=cpu_us,
        rss_mb=memory,
        bytes_per_row=size / stored,
        world_us=world_us,
        encode_us=sent["encode_cpu_s"] * US_PER_S / sent["records"],
        sender_busy=sent["process_cpu_s"] / sent["elapsed_s"],
    )


def copy_floor(*, vehicles: int, records: int, seed: int) -> Load:
    """Binary COPY of rows that are already in memory, into the baseline's kind of table."""
    with scratch_platform(with_parts=False) as platform:
        assert platform.database is not None
        payloads = platform.data_dir / "payloads.jsonl"
        payloads.write_bytes(b"\n".join(_payloads(vehicles, records, seed)))
        argv = [str(SCRIPT), "copy", str(payloads), platform.database.url]
        log_path = platform.data_dir / "logs" / "copy.log"
        with Child("copy floor", argv, env=os.environ, log_path=log_path) as client:
            client.wait_for("ready")
            pids = {"client": client.pid, "database": platform.database.pid}
            before_s = cpu_s(pids)
            client.say("go")
            copied = client.wait_for("copied", SEND_TIMEOUT_S)
            after_s = cpu_s(pids)
            memory = rss_mb(pids)
        size = database_value(platform, "SELECT pg_total_relation_size('copied')::float8")
    rows = copied["rows"]
    return Load(
        sent=rows,
        stored=rows,
        rejected=0,
        records_per_s=rows / copied["elapsed_s"],
        cpu_us=cpu_us_per_record(before_s, after_s, rows),
        rss_mb=memory,
        bytes_per_row=size / rows,
    )


def _payloads(vehicles: int, records: int, seed: int) -> list[bytes]:
    """Messages of the same traffic, as the JSON modes send them."""
    plan = TrafficPlan(
        vehicles, RECORDS_PER_MESSAGE, RECORDS_PER_MESSAGE, seed, time.time_ns(), "copy"
    )
    world, codec = BenchWorld(plan), JsonCodec()
    frames = world.frames()
    found = []
    while records > 0:
        (outgoing,) = next(frames).messages
        found.append(codec.encode(outgoing.batch.with_columns({"published_at_ns": plan.start_ns})))
        records -= outgoing.n_rows
    json.loads(found[0])  # a codec with line breaks would not do
    return found


def _wait_for_rows(subscriber: Child, expected: int) -> int:
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    while True:
        subscriber.say("count")
        rows: int = subscriber.wait_for("count")["rows"]
        if rows >= expected:
            return rows
        if time.monotonic() > deadline_s:
            raise BenchError(f"the naive baseline stored {rows} of {expected} records")
        time.sleep(POLL_S)
