"""Prometheus figures with bounded labels: zones, messages, reasons and rules, never ids.

What a sender did is in `GET /v1/accounting`, per sender; a label per sender would be one time
series per vehicle.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from cloud.alerting import AlertTransition
from cloud.store.reads import Account, Accounting
from openvrc.contracts.batch import Batch
from openvrc.contracts.messages import message_type
from openvrc.contracts.units import ABSENT_I64, NS_PER_S

BUCKETS_S = (
    *(0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 60.0, 600.0, 3600.0),
)
"""From one group commit (50 ms) to a link loss that was filled in later."""
MAX_ZONES = 100
"""Zones beyond this are summed as "other"."""
MAX_SOURCES = 200
"""Senders with the most rejected records that are named one by one; a page of them, no flood."""
OTHER = "other"
_OUTCOMES = (
    "sent", "stored", "pending", "dropped", "expired", "thinned", "missing", "duplicates",
)  # fmt: skip


class CommitCounter:
    """Counts what is committed; a subscriber of the pipeline, called in its thread."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.transitions: Counter[tuple[str, str]] = Counter()
        self.latency_counts = np.zeros(len(BUCKETS_S) + 1, np.int64)
        self.latency_sum_s = 0.0

    def on_commit(self, batches: Sequence[Batch], transitions: Sequence[AlertTransition]) -> None:
        """Count one commit."""
        now_ns = time.time_ns()
        for batch in batches:
            if message_type(batch.message).is_stored:
                self.records[batch.message] += batch.n_rows
                self._observe(batch, now_ns)
        for transition in transitions:
            self.transitions[(transition.alert.rule, transition.change)] += 1

    def _observe(self, batch: Batch, now_ns: int) -> None:
        published_ns = batch.column("published_at_ns")
        published_ns = published_ns[published_ns != ABSENT_I64]
        waits_s = np.maximum(now_ns - published_ns, 0) / NS_PER_S
        places = np.searchsorted(BUCKETS_S, waits_s)
        self.latency_counts += np.bincount(places, minlength=len(BUCKETS_S) + 1)
        self.latency_sum_s += float(waits_s.sum())


class CloudCollector(Collector):
    """Everything `GET /metrics` says, read when it is asked."""

    def __init__(
        self,
        counter: CommitCounter,
        accounting: Callable[[], Accounting | None],
        gauges: dict[str, tuple[str, Callable[[], float]]],
        others: Sequence[Callable[[], Iterator[Metric]]] = (),
    ) -> None:
        self._counter = counter
        self._accounting = accounting
        self._gauges = gauges
        self._others = others

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._commits()
        found = self._accounting()
        if found is not None:
            yield from account_families(found)
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, text, value=read())
        for families in self._others:
            yield from families()

    def _commits(self) -> Iterator[Metric]:
        stored = CounterMetricFamily(
            "vrc_committed_records", "Records committed since start", labels=["message"]
        )
        for message, count in sorted(self._counter.records.items()):
            stored.add_metric([message], count)
        changes = CounterMetricFamily(
            "vrc_alert_changes", "Alert transitions since start", labels=["rule", "change"]
        )
        for (rule, change), count in sorted(self._counter.transitions.items()):
            changes.add_metric([rule, change], count)
        latency = HistogramMetricFamily(
            "vrc_stored_latency_seconds", "From published to committed, of every record"
        )
        sums = np.cumsum(self._counter.latency_counts).tolist()
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        latency.add_metric([], list(zip(bounds, sums, strict=True)), self._counter.latency_sum_s)
        yield from (stored, changes, latency)


def account_families(found: Accounting) -> Iterator[Metric]:
    """The accounting by zone: outcomes, and rejections by reason."""
    zones = sorted(found.zones)[:MAX_ZONES]
    outcomes: Counter[tuple[str, str]] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    account: Account
    for name, account in found.zones.items():
        zone = name if name in zones else OTHER
        for outcome in _OUTCOMES:
            outcomes[(zone, outcome)] += getattr(account, outcome)
        for reason, count in account.rejected.items():
            reasons[(zone, reason)] += count
    records = GaugeMetricFamily(
        "vrc_records", "sent = stored + rejected + ... (DESIGN rule 5)", labels=["zone", "outcome"]
    )
    for labels, count in sorted(outcomes.items()):
        records.add_metric(labels, count)
    rejected = GaugeMetricFamily(
        "vrc_rejected_records", "Records rejected, by reason", labels=["zone", "reason"]
    )
    for labels, count in sorted(reasons.items()):
        rejected.add_metric(labels, count)
    yield from (records, rejected, _worst_sources(found))


def _worst_sources(found: Accounting) -> Metric:
    """Rejections by sender; those beyond `MAX_SOURCES` are in the sums by zone only."""
    counts: Counter[tuple[str, str]] = Counter()
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for source in found.sources:
        if source.account.rejected:
            key = (source.zone, source.source_id)
            reasons.setdefault(key, Counter()).update(source.account.rejected)
            counts[key] += sum(source.account.rejected.values())
    family = GaugeMetricFamily(
        "vrc_source_rejected_records",
        f"Records rejected, of the {MAX_SOURCES} senders with the most",
        labels=["zone", "source", "reason"],
    )
    for zone, source_id in sorted(key for key, _ in counts.most_common(MAX_SOURCES)):
        for reason, count in sorted(reasons[zone, source_id].items()):
            family.add_metric([zone, source_id, reason], count)
    return family


def exposition(collector: Collector) -> bytes:
    """The text Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)
