"""One measured run on a platform of its own: send, wait until all is stored, look what it cost."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from openvrc.cli.benchmark.alert_watch import AlertWatch
from openvrc.cli.benchmark.child import Child
from openvrc.cli.benchmark.modes import Load, Mode, Waits, cpu_us_per_record
from openvrc.cli.benchmark.procfs import cpu_s, rss_mb
from openvrc.cli.benchmark.sender import SendPlan
from openvrc.cli.benchmark.traffic import ZONE, TrafficPlan
from openvrc.cli.platform import Platform
from openvrc.contracts.errors import VrcError
from openvrc.contracts.units import NS_PER_S
from simulator.publisher import MIN_FRAME_S

FRAME_S = 0.05
"""Wall time between two frames of a paced run: as long as the edge gathers a group."""
FRAME_MARGIN = 1.1
FULL_MESSAGE = 50
SEND_TIMEOUT_S = 120.0
DRAIN_TIMEOUT_S = 120.0
POLL_S = 0.1
BRAKINGS = 45
"""Alerts to be timed: fewer than the 50 a minute that fold into an alert storm."""
PERCENTILES = (0.5, 0.95, 0.99)

_SIZE = """
SELECT sum(pg_total_relation_size(relid))::float8 FROM pg_partition_tree('vehicle_state')
"""
_LAST_STORED = """
SELECT extract(epoch FROM max(stored_at))::float8 FROM v_vehicle_state WHERE run_id = %s
"""
_STORED_WAITS = """
SELECT percentile_cont(%s::float8[]) WITHIN GROUP
    (ORDER BY extract(epoch FROM stored_at - published_at)::float8 * 1000)
FROM v_vehicle_state WHERE run_id = %s AND sampled_at >= to_timestamp(%s)
"""
_HARD_BRAKING = """
SELECT subject_id, extract(epoch FROM min(published_at))::float8
FROM v_vehicle_state WHERE run_id = %s AND accel_long_mps2 < -5.5 GROUP BY subject_id
"""


class BenchError(VrcError):
    """A run that cannot be measured: something was lost, or something died."""


@contextmanager
def scratch_platform(*, with_parts: bool = True) -> Iterator[Platform]:
    """A platform with its files in a temporary folder; without parts: broker and database only."""
    from openvrc.embedded.broker import start_broker
    from openvrc.embedded.database import start_database

    with tempfile.TemporaryDirectory(prefix="vrc-bench-", ignore_cleanup_errors=True) as folder:
        platform = Platform(data_dir=Path(folder))
        try:
            if with_parts:
                platform.start()
            else:
                platform.broker = start_broker(platform.data_dir / "broker")
                platform.database = start_database(platform.data_dir / "database")
            yield platform
        finally:
            # For root the servers work in folders of their own account, not below ours.
            servers = [platform.database.directory] if platform.database else []
            if platform.broker is not None:
                servers.append(platform.broker.process.log_path.parent)
            platform.stop()
            for files in servers:
                shutil.rmtree(files, ignore_errors=True)


def server_pids(platform: Platform) -> dict[str, int]:
    """Process ids of a platform by role."""
    assert platform.broker is not None
    assert platform.database is not None
    pids = {"broker": platform.broker.pid}
    pids |= {name: platform.processes[name].pid for name in ("edge", "cloud")}
    return pids | {"database": platform.database.pid}


def start_sender(platform: Platform, plan: SendPlan) -> Child:
    """A sender that is ready to go."""
    argv = ["-m", "openvrc.cli.benchmark.sender"]
    log_path = platform.data_dir / "logs" / "sender.log"
    sender = Child("sender", argv, env=platform.environment, log_path=log_path)
    sender.say(plan.to_json())
    return sender


def traffic_plan(mode: Mode, vehicles: int, seed: int, **more: Any) -> TrafficPlan:
    """Traffic of a new run that begins now."""
    facts: dict[str, Any] = {
        "vehicles": vehicles,
        "records_per_message": mode.records_per_message,
        "records_per_frame": mode.records_per_frame,
        "seed": seed,
        "start_ns": time.time_ns(),
        "run_id": f"bench-{mode.name}-{uuid.uuid4().hex[:8]}",
    }
    return TrafficPlan(**facts | more)


def saturating(mode: Mode, vehicles: int, seed: int, send_s: float) -> SendPlan:
    """Traffic that is asked for faster than anything here takes it: frame upon frame.

    The publisher joins frames that stand for less wall time than `MIN_FRAME_S`; these stand for
    just that, so that messages keep their size.
    """
    frame_s = mode.records_per_frame / vehicles
    traffic = traffic_plan(mode, vehicles, seed)
    return SendPlan(traffic, mode.codec, send_s, frame_s / (MIN_FRAME_S * FRAME_MARGIN))


def saturate(platform: Platform, mode: Mode, *, vehicles: int, send_s: float, seed: int) -> Load:
    """As much as the platform takes for `send_s`, then until everything is stored."""
    plan = saturating(mode, vehicles, seed, send_s)
    run_id = plan.traffic.run_id
    with start_sender(platform, plan) as sender:
        sender.wait_for("ready")
        pids = {"sender": sender.pid} | server_pids(platform)
        before_s = cpu_s(pids)
        sender.say("go")
        sent = sender.wait_for("sent", send_s + SEND_TIMEOUT_S)
        totals = wait_until_stored(platform, run_id, sent["records"])
        after_s = cpu_s(pids)
        memory = rss_mb(pids)
    records = sent["records"]
    cpu_us = cpu_us_per_record(before_s, after_s, records)
    world_us = sent["world_cpu_s"] * 1e6 / records
    cpu_us["sender"] -= world_us
    last_s = database_value(platform, _LAST_STORED, run_id)
    size = database_value(platform, _SIZE)
    return Load(
        sent=totals["sent"],
        stored=totals["stored"],
        rejected=sum(totals["rejected"].values()),
        records_per_s=totals["stored"] / (last_s - sent["first_ns"] / NS_PER_S),
        cpu_us=cpu_us,
        rss_mb=memory,
        bytes_per_row=size / database_value(platform, "SELECT count(*) FROM vehicle_state"),
        world_us=world_us,
    )


def pace(
    platform: Platform, mode: Mode, *, vehicles: int, send_s: float, seed: int, rate: float
) -> Waits:
    """`rate` records a second; how long records and alerts take after the first third."""
    speed = rate / vehicles
    warm = int(rate * send_s / 3)
    traffic = traffic_plan(
        mode,
        vehicles,
        seed,
        records_per_frame=max(FULL_MESSAGE, round(rate * FRAME_S / FULL_MESSAGE) * FULL_MESSAGE),
        brakings_from=warm,
        braking_every=max(1, int((rate * send_s - warm) / BRAKINGS)),
    )
    plan = SendPlan(traffic, mode.codec, send_s, speed)
    with (
        start_sender(platform, plan) as sender,
        AlertWatch(platform.cloud_url, platform.api_key, ZONE, traffic.run_id) as watch,
    ):
        sender.wait_for("ready")
        sender.say("go")
        sent = sender.wait_for("sent", send_s + SEND_TIMEOUT_S)
        wait_until_stored(platform, traffic.run_id, sent["records"])
        heard_ns = watch.heard_ns()
    warm_at_s = traffic.start_ns // NS_PER_S + warm / vehicles
    waits = database_value(platform, _STORED_WAITS, list(PERCENTILES), traffic.run_id, warm_at_s)
    published_s = dict(database_rows(platform, _HARD_BRAKING, traffic.run_id))
    alert_ms = sorted(
        at_ns / 1e6 - published_s[subject] * 1e3
        for subject, at_ns in heard_ns.items()
        if subject in published_s
    )
    duration_s = (sent["last_ns"] - sent["first_ns"]) / NS_PER_S
    return Waits(
        sent["records"] / duration_s,
        waits or [None] * len(PERCENTILES),
        [percentile(alert_ms, share) for share in PERCENTILES],
        len(alert_ms),
    )


def percentile(ordered: list[float], share: float) -> float | None:
    """The value that `share` of the ordered values do not exceed; None without values."""
    if not ordered:
        return None
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def wait_until_stored(platform: Platform, run_id: str, sent: int) -> dict[str, Any]:
    """Wait until the accounting knows all that was sent; its totals. Raises BenchError."""
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    while True:
        totals: dict[str, Any] = platform.api.get("/v1/accounting", run=run_id)["totals"]
        done = totals["stored"] + sum(totals["rejected"].values())
        if done >= sent and totals["pending"] == 0:
            return totals
        for name, process in platform.processes.items():
            if not process.is_running:
                raise BenchError(f"{name} ended; its last words:\n{process.log_tail()}")
        if time.monotonic() > deadline_s:
            raise BenchError(f"{sent} records were sent, after {DRAIN_TIMEOUT_S:.0f} s: {totals}")
        time.sleep(POLL_S)


def database_rows(platform: Platform, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of a query to the platform's database."""
    assert platform.database is not None
    with psycopg.connect(platform.database.url, autocommit=True) as connection:
        return connection.execute(query.encode(), values).fetchall()


def database_value(platform: Platform, query: str, *values: Any) -> Any:
    """The one value of a query to the platform's database."""
    return database_rows(platform, query, *values)[0][0]
