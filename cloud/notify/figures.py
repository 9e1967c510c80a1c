"""What notifying people came to since the start, for `GET /metrics`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, Metric

MOST_NAMED = 100
"""Alerts left out that are named in one row of the delivery log; the rest are counted."""


class Figures:
    """Counts of attempts, and of alerts that nobody could be told of; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._left_out = 0
        self._unwritten: list[Mapping[str, Any]] = []
        self._n_unwritten = 0

    def attempted(self, channel: str, outcome: str) -> None:
        """One attempt of a channel, or that there was no room for it."""
        with self._lock:
            self._attempts[channel, outcome] += 1

    def leave_out(self, alert: Mapping[str, Any]) -> None:
        """An alert that came while too many waited: no route will see it."""
        with self._lock:
            self._left_out += 1
            self._n_unwritten += 1
            if len(self._unwritten) < MOST_NAMED:
                self._unwritten.append(alert)

    def take_left_out(self) -> tuple[int, list[Mapping[str, Any]]]:
        """How many were left out since the last call, and the first of them."""
        with self._lock:
            found = self._n_unwritten, self._unwritten
            self._n_unwritten, self._unwritten = 0, []
            return found

    def families(self) -> Iterator[Metric]:
        """As Prometheus reads them."""
        with self._lock:
            attempts, left_out = dict(self._attempts), self._left_out
        told = CounterMetricFamily(
            "vrc_notify_attempts",
            "Attempts to tell people of alerts",
            labels=["channel", "outcome"],
        )
        for labels, count in sorted(attempts.items()):
            told.add_metric(labels, count)
        yield told
        lost = CounterMetricFamily(
            "vrc_notify_left_out_alerts", "Changes of alerts that no route saw: too many waited"
        )
        lost.add_metric([], left_out)
        yield lost
