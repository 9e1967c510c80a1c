"""One load test: sending processes told to go at one moment, followed, and what came of it."""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from openvrc.cli.alert_watch import AlertWatch
from openvrc.cli.child import Child
from openvrc.cli.client import Api
from openvrc.cli.loadtest.spec import LoadSpec
from openvrc.cli.loadtest.stored import figures_ms, read_buckets
from openvrc.cli.loadtest.zone_clock import ZoneClock
from openvrc.cli.summary import read_summary, wait_until_drained
from openvrc.contracts.units import NS_PER_S
from simulator.load.histogram import LatencyHistogram

BEGIN_IN_S = 1.0
"""Between "go" and the first record: every process has its first frame by then."""
DRAIN_TIMEOUT_S = 60.0
END_SLACK_S = 60.0


@dataclass(frozen=True)
class Second:
    """What one second of a load test came to, all processes together."""

    at_s: float
    offered: float
    """Records due until then."""
    records: int
    messages: int
    waiting: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass
class Followed:
    """What the processes have said so far."""

    newest: dict[int, dict[str, Any]] = field(default_factory=dict)
    histogram: LatencyHistogram = field(default_factory=LatencyHistogram)
    fresh: LatencyHistogram = field(default_factory=LatencyHistogram)
    seconds: list[Second] = field(default_factory=list)

    def take(self, process: int, said: dict[str, Any]) -> None:
        """One process's progress."""
        self.newest[process] = said
        self.histogram.merge(said["latency"])
        self.fresh.merge(said["latency"])

    def close_second(self, at_s: float, offered: float) -> Second:
        """All of it until now as one second."""
        fresh, self.fresh = self.fresh.figures_ms(), LatencyHistogram()
        sums = {n: sum(s[n] for s in self.newest.values()) for n in _SUMMED}
        second = Second(at_s, offered, **sums, p50_ms=fresh["p50"], p99_ms=fresh["p99"])
        self.seconds.append(second)
        return second


_SUMMED = ("records", "messages", "waiting")


@dataclass(frozen=True)
class Cloud:
    """The cloud that is measured against, if any."""

    url: str
    api_key: str


def run_load(
    spec: LoadSpec, cloud: Cloud | None, on_second: Callable[[Second], None]
) -> tuple[dict[str, Any], list[Second]]:
    """Send everything; the result as plain values, and its seconds.

    Without a cloud only the broker is measured. Raises ChildError, LinkError, NoEdgeError and
    ApiError.
    """
    followed = Followed()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vrc-load-")))
        watch = before = None
        if cloud is not None:
            api = Api(cloud.url, cloud.api_key)
            stack.callback(api.close)
            api.get("/v1/zones")  # a wrong key or address is known before anything is sent
            before = read_buckets(_metrics(cloud))
            stack.enter_context(ZoneClock(spec.broker_url, spec.zone, spec.run_id))
            watch = stack.enter_context(
                AlertWatch(cloud.url, cloud.api_key, spec.zone, spec.run_id)
            )
        done = _send(spec, folder, followed, on_second)
        result = _sender_figures(spec, done, followed)
        if cloud is None:
            return result, followed.seconds
        expected = result.get("expected") or {"sent": result["records"], "missing": 0}
        is_drained = wait_until_drained(
            api, spec.run_id, expected["sent"], DRAIN_TIMEOUT_S, missing=expected["missing"]
        )
        result |= _cloud_figures(api, spec.run_id, is_drained)
        if spec.faults:
            result["is_as_expected"] = is_as_expected(result)
        result["stored_ms"] = figures_ms(before or [], read_buckets(_metrics(cloud)))
        result["alert_ms"] = _alert_figures(done, watch.heard_ns() if watch else {})
        result["clock_offset_s"] = _clock_offset_s(cloud)
    return result, followed.seconds


def _send(
    spec: LoadSpec, folder: Path, followed: Followed, on_second: Callable[[Second], None]
) -> list[dict[str, Any]]:
    """Run the processes to their end; what each said last."""
    with _children(spec, folder) as children:
        start_ns = time.time_ns() + int(BEGIN_IN_S * NS_PER_S)
        for child in children:
            child.say(f"go {start_ns}")
        heard: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
        for number, child in enumerate(children):
            threading.Thread(
                target=_listen, args=(number, child, heard, spec.seconds), daemon=True
            ).start()
        done: dict[int, dict[str, Any]] = {}
        next_s = 1.0
        while len(done) < len(children):
            number, said = heard.get()
            if isinstance(said.get("error"), Exception):
                raise said["error"]
            if said["event"] == "done":
                done[number] = said
            else:
                followed.take(number, said)
            at_s = (time.time_ns() - start_ns) / NS_PER_S
            if at_s >= next_s or len(done) == len(children):
                next_s = at_s + 1.0
                on_second(followed.close_second(at_s, spec.schedule.offered(at_s)))
        return [done[number] for number in range(len(children))]


@contextmanager
def _children(spec: LoadSpec, folder: Path) -> Iterator[list[Child]]:
    with ExitStack() as stack:
        children = []
        for number, plan in enumerate(spec.plans()):
            log_path = folder / f"sender-{number}.log"
            argv = ["-m", "simulator.load.sender"]
            child = Child(f"sender {number}", argv, env=os.environ, log_path=log_path)
            children.append(stack.enter_context(child))
            child.say(plan.to_json())
        for child in children:
            child.wait_for("ready")
        yield children


def _listen(
    number: int, child: Child, heard: queue.Queue[tuple[int, dict[str, Any]]], seconds: float
) -> None:
    try:
        while True:
            said = child.next(seconds + END_SLACK_S)
            heard.put((number, said))
            if said["event"] == "done":
                return
    except Exception as error:  # noqa: BLE001 - told to the thread that waits
        heard.put((number, {"event": "failed", "error": error}))


def _sender_figures(
    spec: LoadSpec, done: list[dict[str, Any]], followed: Followed
) -> dict[str, Any]:
    records = sum(one["records"] for one in done)
    elapsed_s, cpu_s = max(one["elapsed_s"] for one in done), sum(one["cpu_s"] for one in done)
    last = followed.seconds[-1]
    return {
        "run_id": spec.run_id,
        "offered": spec.schedule.records,
        "records": records,
        **_faulty_figures(spec, done),
        "messages": last.messages,
        "records_per_s": round(records / elapsed_s, 1),
        "messages_per_s": round(last.messages / elapsed_s, 1),
        "elapsed_s": round(elapsed_s, 3),
        "unacknowledged_messages": sum(one["unacknowledged_messages"] for one in done),
        "reconnects": sum(one["reconnects"] for one in done),
        "send_lag_max_ms": round(max(one["lag_max_s"] for one in done) * 1000, 1),
        "publish_ms": followed.histogram.figures_ms(),
        "sender": {
            "cpu_s": round(cpu_s, 3),
            "cpu_us_per_record": round(cpu_s * 1e6 / records, 2) if records else None,
            "rss_mb": round(max(one["rss_mb"] for one in done), 1),
        },
    }


def _faulty_figures(spec: LoadSpec, done: list[dict[str, Any]]) -> dict[str, Any]:
    """What was left to send after the faults, and what the accounts must come to."""
    if not spec.faults:
        return {}
    expected: Counter[str] = Counter()
    for one in done:
        expected.update(one["expected"])
    return {"due": sum(one["due"] for one in done), "expected": dict(expected)}


def is_as_expected(result: dict[str, Any]) -> bool:
    """Whether the cloud's accounts say of each record what the faults did to it.

    A broker that sends again what was acknowledged too late may add duplicates, and the rules of
    admission may reject more than what fits no contract.
    """
    expected = result["expected"]
    return bool(
        result["sent"] == expected["sent"]
        and result["missing"] == expected["missing"]
        and result["duplicates"] >= expected["duplicates"]
        and result["rejected"] >= expected["unfit"]
    )


def _cloud_figures(api: Api, run_id: str, is_drained: bool) -> dict[str, Any]:
    summary = read_summary(api, run_id)
    return {
        "sent": summary.sent,
        "stored": summary.stored,
        "rejected": sum(summary.rejected.values()),
        "rejected_by_reason": summary.rejected,
        "missing": summary.missing,
        "pending": summary.pending,
        "dropped": summary.dropped + summary.expired + summary.thinned,
        "duplicates": summary.duplicates,
        "loss_ratio": round((summary.sent - summary.stored) / max(summary.sent, 1), 6),
        "is_closed": summary.is_closed,
        "is_drained": is_drained,
        "alerts": summary.alerts,
    }


def _alert_figures(
    done: list[dict[str, Any]], heard_ns: dict[str, int]
) -> dict[str, float | int | None]:
    published_ns = {name: at for one in done for name, at in one["brakings"].items()}
    histogram = LatencyHistogram()
    waits = [(heard_ns[n] - at) / 1000 for n, at in published_ns.items() if n in heard_ns]
    histogram.add(waits)
    return histogram.figures_ms() | {"timed": len(waits), "expected": len(published_ns)}


def _metrics(cloud: Cloud) -> str:
    headers = {"Authorization": f"Bearer {cloud.api_key}"}
    answer = httpx.get(f"{cloud.url.rstrip('/')}/metrics", headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.text


def _clock_offset_s(cloud: Cloud) -> float | None:
    """The cloud's clock less ours, to a second: HTTP's Date has no more. None without a Date."""
    before_s = time.time()
    answer = httpx.get(f"{cloud.url.rstrip('/')}/healthz", timeout=10)
    middle_s = (before_s + time.time()) / 2
    if "date" not in answer.headers:
        return None
    said_s = parsedate_to_datetime(answer.headers["date"]).timestamp()
    offset_s = said_s + 0.5 - middle_s  # the Date is cut off, so half a second more on average
    return 0.0 if abs(offset_s) <= 1.0 else round(offset_s)
