"""What pages are told: alerts at once, states conflated, key figures each second.

Alert transitions come from the pipeline's thread and are handed to the event loop; states are
taken from the latest values, so however fast a zone is, a page gets each changed thing once per
round.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool

from cloud.alerting import AlertTransition
from cloud.api import present
from cloud.api.parts import CloudParts
from cloud.api.problems import ProblemError
from cloud.api.traffic import newest_windows
from cloud.edges import HeardEdge
from cloud.latest import RunKey, RunLatest
from cloud.store import reads
from cloud.stream import Event
from openvrc.contracts.batch import Batch

log = logging.getLogger(__name__)

ROUND_S = 0.25
"""States reach a page within this: short against the second in which a person reacts."""
KPI_EVERY_ROUNDS = 4
RATE_OVER_S = 5.0
"""Records a second are averaged over this: long enough to bridge group commits and back-off."""
EXACT_SENDERS = 300
"""Up to so many senders their accounts are added up exactly; the sum of more is one pass."""
ACCOUNT_EVERY_S = 2.0
"""Sums come from the database; this is how often it is asked, however many pages look."""
ACCOUNT_MAX_EVERY_S = 30.0
ACCOUNT_SHARE = 0.05
"""Of the time at most goes into sums for pages: where they are dear they are asked less often."""
SNAPSHOT_ALERTS = 500

STATE_EVENTS = {
    "segment_state": "segments",
    "signal_state": "signals",
    "rsu_status": "rsus",
    "charger_state": "chargers",
    "road_event": "road_events",
}


@dataclass(frozen=True)
class _KnownAccount:
    account: present.Json
    due_s: float
    """Not read again before, in s of the monotonic clock."""
    has_many: bool
    """More senders than are added up one by one; senders of a run do not become fewer."""


class Broadcaster:
    """Publishes to the hub; lives in the event loop."""

    def __init__(self, parts: CloudParts) -> None:
        self._parts = parts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._counted: dict[RunKey, deque[tuple[float, int]]] = {}
        self._accounts: dict[RunKey, _KnownAccount] = {}
        self._touched: set[RunKey] = set()

    def on_commit(self, batches: Sequence[Batch], transitions: Sequence[AlertTransition]) -> None:
        """A subscriber of the pipeline: called in its thread."""
        self._touched.update((batch.zone, batch.run_id) for batch in batches)
        if transitions and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._publish_alerts, list(transitions))

    async def run(self) -> None:
        """Publish states and key figures until cancelled."""
        self._loop = asyncio.get_running_loop()
        rounds = 0
        while True:
            await asyncio.sleep(ROUND_S)
            rounds += 1
            try:
                self._publish_states()
                if rounds % KPI_EVERY_ROUNDS == 0:
                    await self._publish_kpis()
            except Exception:
                # The outermost loop: a fault here must not end the stream for everybody.
                log.exception("a round of the broadcaster failed")

    async def snapshot(self, zone: str | None, run_id: str | None) -> present.Json:
        """Everything a page needs to start from nothing."""
        latest = self._parts.latest
        with latest.lock:
            runs = latest.select(zone, run_id)
            shown = [self._run_snapshot(run) for run in runs]
        for run, facts in zip(runs, shown, strict=True):
            facts["kpi"] = await self._kpi(run)
        alerts = await run_in_threadpool(self._open_alerts, zone, run_id, runs)
        return {"runs": shown, "alerts": alerts}

    def accepts(self, event: Event, zone: str | None, run_id: str | None) -> bool:
        """Whether a client that asked for this zone and run wants an event."""
        if event.name == "runs":
            return True
        if zone is not None and event.zone != zone:
            return False
        if run_id is not None:
            return event.run_id == run_id
        newest = self._parts.latest.newest_run(event.zone)
        return newest is None or newest.run_id == event.run_id

    def _publish_alerts(self, transitions: list[AlertTransition]) -> None:
        for transition in transitions:
            alert = transition.alert
            data = present.alert(alert) | {"change": transition.change}
            self._parts.hub.publish(Event("alert", data, alert.zone, alert.run_id))

    def _publish_states(self) -> None:
        changes = self._parts.latest.take_changes()
        for (key, message), records in changes.records.items():
            run = self._parts.latest.runs.get(key)
            name = STATE_EVENTS.get(message)
            if run is not None and name is not None:
                items = [present.record(run, fields) for fields in records]
                self._parts.hub.publish(Event(name, {"items": items}, *key))
        if changes.runs:
            self._parts.hub.publish(Event("runs", {"zones": sorted({z for z, _ in changes.runs})}))
            self._parts.hub.refresh()

    async def _publish_kpis(self) -> None:
        latest = self._parts.latest
        with latest.lock:
            runs = list(latest.runs.values())
        for run in runs:
            self._count(run)
        for run in runs:
            # Sums cost a query, so only of runs that somebody looks at.
            if self._parts.hub.is_followed(Event("kpi", None, run.zone, run.run_id)):
                self._parts.hub.publish(Event("kpi", await self._kpi(run), run.zone, run.run_id))

    def _count(self, run: RunLatest) -> None:
        now_s = time.monotonic()
        counted = self._counted.setdefault((run.zone, run.run_id), deque())
        counted.append((now_s, run.records))
        while counted[0][0] < now_s - RATE_OVER_S:
            counted.popleft()

    async def _kpi(self, run: RunLatest) -> present.Json:
        with self._parts.latest.lock:
            n_vehicles = len(run.vehicles.present(run.zone_time_ns))
            speeds = run.present_speeds_mps()
            zone_time_at = present.at(run.zone_time_ns)
        latency = self._parts.pipeline.latency()
        return present.run_facts(run) | {
            "zone_time_at": zone_time_at,
            "state": run.announced.get("state", "running"),
            "is_controllable": run.is_running and bool(run.driver),
            "vehicles": n_vehicles,
            "mean_speed_mps": round(float(speeds.mean()), 2) if len(speeds) else None,
            "records_per_s": self._rate(run),
            "latency_p50_ms": present.public(latency.stored.p50_ms),
            "latency_p99_ms": present.public(latency.stored.p99_ms),
            "accounting": await self._account(run),
            "edges": [present.edge_in_short(edge, time.time_ns()) for edge in self._edges(run)],
        }

    def _edges(self, run: RunLatest) -> list[HeardEdge]:
        """Edges that may have something of this run in their spools."""
        return [e for e in self._parts.edges.all() if e.status.zone in ("+", run.zone)]

    def _rate(self, run: RunLatest) -> float:
        counted = self._counted.get((run.zone, run.run_id))
        if not counted or counted[-1][0] == counted[0][0]:
            return 0.0
        (from_s, first), (to_s, last) = counted[0], counted[-1]
        return round((last - first) / (to_s - from_s), 1)

    async def _account(self, run: RunLatest) -> present.Json:
        key, now_s = (run.zone, run.run_id), time.monotonic()
        known = self._accounts.get(key)
        if known is not None and (now_s < known.due_s or key not in self._touched):
            return known.account
        self._touched.discard(key)  # what is committed from here on is read the next time
        try:
            self._accounts[key] = await run_in_threadpool(self._read_account, key, known)
        except ProblemError:
            self._touched.add(key)
            return known.account if known else {}
        return self._accounts[key].account

    def _read_account(self, key: RunKey, known: _KnownAccount | None) -> _KnownAccount:
        began_s = time.monotonic()
        has_many = known is not None and known.has_many
        with self._parts.database() as connection:
            counts = self._parts.pipeline.counts
            # Exact for a page of senders, one pass over the tables for more.
            found = reads.accounting(
                connection, counts, zone=key[0], run_id=key[1],
                limit=1 if has_many else EXACT_SENDERS,
            )  # fmt: skip
        every_s = (time.monotonic() - began_s) / ACCOUNT_SHARE
        every_s = min(max(ACCOUNT_EVERY_S, every_s), ACCOUNT_MAX_EVERY_S)
        is_page = found.next_after is not None
        return _KnownAccount(present.account(found.totals), began_s + every_s, has_many or is_page)

    def _open_alerts(
        self, zone: str | None, run_id: str | None, runs: list[RunLatest]
    ) -> list[present.Json]:
        # With a zone alone its newest run is meant; a run in the filter keeps the list short.
        if run_id is None and zone is not None and runs:
            run_id = runs[0].run_id
        where = reads.AlertFilter(zone=zone, run_id=run_id, state="open")
        with self._parts.database() as connection:
            page = reads.alerts(connection, where, limit=SNAPSHOT_ALERTS)
        return [present.alert_view(view) for view in page.items]

    def _run_snapshot(self, run: RunLatest) -> dict[str, Any]:
        tables = {
            name: [present.record(run, fields) for fields in run.tables[message].records.values()]
            for message, name in STATE_EVENTS.items()
            if message != "segment_state"
        }
        segments = [present.record(run, fields) for fields in newest_windows(run)]
        announced = {name: run.announced.get(name) for name in ("title", "map_version", "clock")}
        return present.run_facts(run) | announced | tables | {"segments": segments}
