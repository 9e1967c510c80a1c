"""Latency in logarithmic buckets: 5 % wide, so percentiles are right to 2.5 % at any load."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud.alerting import AlertTransition
from openvrc.contracts.batch import Batch
from openvrc.contracts.units import ABSENT_I64

_LOWEST_MS = 0.1
_RATIO = 1.05
_N_BUCKETS = 420
"""0.1 ms to 0.1 ms * 1.05^420 = 22 hours."""

TICKS_KEPT = 900
"""A quarter of an hour at one tick a second: older findings tell of lateness, not of speed."""


@dataclass(frozen=True)
class LatencyFigures:
    """Percentiles in ms; None before the first value."""

    p50_ms: float | None
    p99_ms: float | None
    count: int


@dataclass(frozen=True)
class Latency:
    """How long records take to be stored, and findings to be known.

    `stored`: commit less `published_at` of every record. `alert`: commit less the wall time at
    which the zone's clock read the event time of what raised the alert.
    """

    stored: LatencyFigures
    alert: LatencyFigures


class Histogram:
    """Counts of latencies."""

    def __init__(self) -> None:
        self._counts = np.zeros(_N_BUCKETS, np.int64)
        self._lock = threading.Lock()

    def add(self, latency_ms: npt.NDArray[np.float64]) -> None:
        """Count values; what is below the lowest bucket (clocks differ) goes into it."""
        if not len(latency_ms):
            return
        at_least = np.maximum(latency_ms, _LOWEST_MS)
        place = np.log(at_least / _LOWEST_MS) / np.log(_RATIO)
        place = np.minimum(place.astype(np.int64), _N_BUCKETS - 1)
        with self._lock:
            self._counts += np.bincount(place, minlength=_N_BUCKETS)

    def figures(self) -> LatencyFigures:
        """Percentiles so far."""
        with self._lock:
            counts = self._counts.copy()
        total = int(counts.sum())
        if total == 0:
            return LatencyFigures(None, None, 0)
        reached = np.cumsum(counts)
        p50_ms, p99_ms = (
            float(_LOWEST_MS * _RATIO ** (int(np.searchsorted(reached, share * total)) + 0.5))
            for share in (0.5, 0.99)
        )
        return LatencyFigures(round(p50_ms, 3), round(p99_ms, 3), total)


class LatencyMeter:
    """Both histograms, and the zone clocks that alert latency is read from."""

    def __init__(self) -> None:
        self._stored = Histogram()
        self._alert = Histogram()
        self._ticks: dict[tuple[str, str], deque[tuple[int, int]]] = {}

    def committed(
        self,
        batches: Sequence[Batch],
        transitions: Iterable[AlertTransition],
        committed_at_ns: int,
    ) -> None:
        """Count one body that was committed at this wall time."""
        for batch in batches:
            if batch.message == "tick":
                self._read_ticks(batch)
            elif batch.message != "source_ledger":
                published_ns = batch.column("published_at_ns")
                known = published_ns[published_ns != ABSENT_I64]
                self._stored.add((committed_at_ns - known) / 1e6)
        waits_ms = [self._wait_ms(told, committed_at_ns) for told in transitions]
        self._alert.add(np.array([wait for wait in waits_ms if wait is not None]))

    def latency(self) -> Latency:
        """Figures since start."""
        return Latency(self._stored.figures(), self._alert.figures())

    def _read_ticks(self, batch: Batch) -> None:
        ticks = self._ticks.setdefault((batch.zone, batch.run_id), deque(maxlen=TICKS_KEPT))
        times = batch.column("sampled_at_ns").tolist()
        for zone_ns, wall_ns in zip(times, batch.column("published_at_ns").tolist(), strict=True):
            if wall_ns != ABSENT_I64 and (not ticks or zone_ns > ticks[-1][0]):
                ticks.append((zone_ns, wall_ns))

    def _wait_ms(self, told: AlertTransition, committed_at_ns: int) -> float | None:
        """None for what is no news, or lies outside the ticks we remember."""
        if told.change != "opened":
            return None
        ticks = self._ticks.get((told.alert.zone, told.alert.run_id))
        if ticks is None or len(ticks) < 2 or told.at_ns < ticks[0][0]:
            return None
        zone_ns, wall_ns = np.array(ticks, np.int64).T
        after = int(np.clip(np.searchsorted(zone_ns, told.at_ns), 1, len(zone_ns) - 1))
        before = after - 1
        # Beyond the newest tick the clock is taken to run on as it ran between the last two.
        rate = (wall_ns[after] - wall_ns[before]) / (zone_ns[after] - zone_ns[before])
        read_at_ns = wall_ns[before] + rate * (told.at_ns - zone_ns[before])
        return float(committed_at_ns - read_at_ns) / 1e6
