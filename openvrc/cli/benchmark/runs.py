"""One measured run: send a stage, wait until all of it is stored, look what it cost; the next."""

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

from openvrc.cli.alert_watch import AlertWatch
from openvrc.cli.benchmark.modes import (
    SHARES,
    US_PER_S,
    Load,
    Mode,
    ModeRun,
    Waits,
    cpu_us_per_record,
)
from openvrc.cli.benchmark.procfs import cpu_s, rss_mb
from openvrc.cli.benchmark.sender import END, SendPlan, Stage
from openvrc.cli.child import Child
from openvrc.cli.platform import Platform
from openvrc.contracts.errors import VrcError
from openvrc.contracts.units import NS_PER_S
from simulator.load.traffic import ZONE, TrafficPlan

FRAME_S = 0.05
"""Wall time between two frames of a paced stage: as long as the edge gathers a group."""
SETTLE_S = 1.0
"""What a paced stage begins with is not timed."""
HALF = 0.5
FULL_MESSAGE = 50
FIRST_PASS_FRAME = 10_000
SEND_TIMEOUT_S = 120.0
DRAIN_TIMEOUT_S = 120.0
POLL_S = 0.1
BRAKINGS = 45
"""Alerts to be timed: fewer than the 50 a minute that fold into an alert storm."""
PERCENTILES = tuple(share / 100 for share in SHARES)
COUNTS = ("sent", "stored", "rejected")
FIRST_RULES = (
    "traffic.congestion,traffic.stopped_vehicle,traffic.hard_braking,"
    "battery.over_temperature,battery.self_discharge,battery.insulation"
)
"""The headline's rules; the cell outlier is called self-discharge."""
ALL_RULES = "traffic.*,battery.*"

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
def scratch_platform(
    *, with_parts: bool = True, rules: str = FIRST_RULES, workers: int = 0
) -> Iterator[Platform]:
    """A platform with its files in a temporary folder; without parts: broker and database only."""
    from openvrc.embedded.broker import start_broker
    from openvrc.embedded.database import start_database

    with tempfile.TemporaryDirectory(prefix="vrc-bench-", ignore_cleanup_errors=True) as folder:
        settings = {"VRC_CLOUD_DETECTORS": rules, "VRC_EDGE_WORKERS": str(workers)}
        platform = Platform(data_dir=Path(folder), extra_env=settings)
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
    """A sender that gets ready."""
    argv = ["-m", "openvrc.cli.benchmark.sender"]
    log_path = platform.data_dir / "logs" / f"sender-{plan.client}.log"
    sender = Child("sender", argv, env=platform.environment, log_path=log_path)
    sender.say(plan.to_json())
    return sender


def send_plan(
    mode: Mode, vehicles: int, seed: int, client: str = "gmqtt", *, has_batteries: bool = False
) -> SendPlan:
    """Traffic of a new run that begins now."""
    traffic = TrafficPlan(
        vehicles=vehicles,
        records_per_message=mode.records_per_message,
        records_per_frame=mode.records_per_frame,
        seed=seed,
        start_ns=time.time_ns(),
        run_id=f"bench-{mode.name}-{uuid.uuid4().hex[:8]}",
        has_batteries=has_batteries,
    )
    return SendPlan(traffic, mode.codec, client)


class Running:
    """A run under way: its sender, and what of it has been stored so far."""

    def __init__(self, platform: Platform, plan: SendPlan, sender: Child) -> None:
        self.platform, self.plan, self._sender = platform, plan, sender
        self.pids = {"sender": sender.pid} | server_pids(platform)
        self._counts = dict.fromkeys(COUNTS, 0)
        self._sent = 0
        sender.wait_for("ready")

    @property
    def run_id(self) -> str:
        """Its name."""
        return self.plan.traffic.run_id

    def measure(self, stage: Stage) -> tuple[Load, dict[str, Any]]:
        """Send a stage, wait until it is stored; what it cost, and the sender's own words."""
        before_s = cpu_s(self.pids)
        self._sender.say(stage.to_json())
        sent = self._sender.wait_for("sent", stage.seconds + SEND_TIMEOUT_S)
        self._sent += sent["records"]
        totals = wait_until_stored(self.platform, self.run_id, self._sent)
        after_s = cpu_s(self.pids)
        return self._load(sent, totals, cpu_us_per_record(before_s, after_s, sent["records"])), sent

    def _load(self, sent: dict[str, Any], totals: dict[str, Any], cpu_us: dict[str, float]) -> Load:
        records = sent["records"]
        counts = {
            "sent": self._sent,
            "stored": totals["stored"],
            "rejected": sum(totals["rejected"].values()),
        }
        mine = {name: counts[name] - self._counts[name] for name in COUNTS}
        self._counts = counts
        world_us = sent["world_cpu_s"] * US_PER_S / records
        cpu_us["sender"] -= world_us
        last_s = database_value(self.platform, _LAST_STORED, self.run_id)
        return Load(
            **mine,
            records_per_s=mine["stored"] / (last_s - sent["first_ns"] / NS_PER_S),
            cpu_us=cpu_us,
            rss_mb=rss_mb(self.pids),
            bytes_per_row=bytes_per_row(self.platform),
            world_us=world_us,
            encode_us=sent["encode_cpu_s"] * US_PER_S / records,
            sender_busy=sent["process_cpu_s"] / sent["elapsed_s"],
        )

    def end(self) -> None:
        """Let the run end; its last words come to the edge."""
        self._sender.say(END)
        self._sender.wait_for("ended", SEND_TIMEOUT_S)


@contextmanager
def running(platform: Platform, plan: SendPlan) -> Iterator[Running]:
    """A run on this platform; it ends with the block."""
    with start_sender(platform, plan) as sender:
        run = Running(platform, plan, sender)
        yield run
        run.end()


def measure_mode(
    platform: Platform,
    mode: Mode,
    *,
    vehicles: int,
    send_s: float,
    paced_s: float,
    seed: int,
    has_batteries: bool = False,
) -> ModeRun:
    """First pass, saturation, half of it: the stages of one repetition, in one run."""
    plan = send_plan(mode, vehicles, seed, has_batteries=has_batteries)
    with running(platform, plan) as run:
        first_pass, _ = run.measure(first_pass_stage(vehicles))
        steady, _ = run.measure(Stage(seconds=send_s))
        paced, waits = pace(run, HALF * steady.records_per_s, paced_s)
    return ModeRun(first_pass, steady, paced, waits)


def paho_sender(platform: Platform, mode: Mode, *, vehicles: int, send_s: float, seed: int) -> Load:
    """The same traffic at saturation by paho's sender, on a platform that is warm."""
    with running(platform, send_plan(mode, vehicles, seed, "paho")) as run:
        return run.measure(Stage(seconds=send_s))[0]


def first_pass_stage(vehicles: int) -> Stage:
    """Every vehicle once, in full messages: what a mode does later does not matter here."""
    return Stage(records=vehicles, records_per_frame=FIRST_PASS_FRAME, is_warming=True)


def paced_stage(rate: float, seconds: float) -> Stage:
    """A steady rate, in frames as long as the edge gathers a group."""
    frame = max(FULL_MESSAGE, round(rate * FRAME_S / FULL_MESSAGE) * FULL_MESSAGE)
    return Stage(
        seconds=seconds, rate=rate, records_per_frame=frame, brakings=BRAKINGS, settle_s=SETTLE_S
    )


def pace(run: Running, rate: float, seconds: float) -> tuple[Load, Waits]:
    """`rate` records a second; what it costs, how long records and alerts take once settled."""
    platform, traffic = run.platform, run.plan.traffic
    with AlertWatch(platform.cloud_url, platform.api_key, ZONE, run.run_id) as watch:
        load, sent = run.measure(paced_stage(rate, seconds))
        heard_ns = watch.heard_ns()
    settled_s = sent["from_ns"] / NS_PER_S + rate * SETTLE_S / traffic.vehicles
    waits = database_value(platform, _STORED_WAITS, list(PERCENTILES), run.run_id, settled_s)
    published_s = dict(database_rows(platform, _HARD_BRAKING, run.run_id))
    alert_ms = sorted(
        at_ns / 1e6 - published_s[subject] * 1e3
        for subject, at_ns in heard_ns.items()
        if subject in published_s
    )
    none: list[float | None] = [None] * len(PERCENTILES)
    alerts = [percentile(alert_ms, share) for share in PERCENTILES]
    return load, Waits(waits or none, alerts, len(alert_ms))


def bytes_per_row(platform: Platform) -> float:
    """Of vehicle states, with their index and partitions."""
    size: float = database_value(platform, _SIZE)
    rows: int = database_value(platform, "SELECT count(*) FROM vehicle_state")
    return size / max(rows, 1)


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
