"""The edge's /metrics, for Prometheus: how full each stage is, and what became of every record.

Labels are reasons only, never ids: what one sender did is in the cloud's `GET /v1/accounting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from openvrc.contracts.edge_status import EdgeStatus

LOOPBACK = "127.0.0.1"
_GAUGES = {
    "queue_messages": "Messages received and not yet decoded",
    "queue_limit": "How many of them there may be",
    "spool_records": "Records on disk, not yet in the cloud",
    "spool_bytes": "Bytes of the spool",
    "spool_limit_bytes": "Bytes at which it is full",
    "spool_oldest_s": "Age of its oldest entry",
    "fill_ratio": "Share of the spool in use, 1 is full",
    "is_full": "1 while nothing more is acknowledged",
}
_COUNTERS = {
    "acknowledged": "Messages acknowledged to the broker since start",
    "sent": "Records that senders have numbered, and unnumbered units",
    "received": "Distinct units received",
    "dropped": "Records given up because the spool was full",
    "expired": "Records given up because of their age",
    "duplicates": "Units that came again",
}
_MOVING = {
    "forwarded": "Records admitted to the spool and not given up",
    "missing": "Numbers that never came, so far",
}
"""Counts that may fall: a record given up, a number that comes late."""


class EdgeCollector(Collector):
    """Reads the newest status when it is asked."""

    def __init__(self, newest: Callable[[], EdgeStatus]) -> None:
        self._newest = newest

    def collect(self) -> Iterator[Metric]:
        """All families."""
        status = self._newest()
        for name, text in (_GAUGES | _MOVING).items():
            yield GaugeMetricFamily(f"vrc_edge_{name}", text, value=float(getattr(status, name)))
        yield GaugeMetricFamily(
            "vrc_edge_uplink_ok", "0 while something holds it up", value=float(not status.problem)
        )
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"vrc_edge_{name}", text, value=float(getattr(status, name)))
        rejected = CounterMetricFamily(
            "vrc_edge_rejected", "Units rejected, by reason", labels=["reason"]
        )
        for reason, count in status.rejected.items():
            rejected.add_metric([reason], count)
        yield rejected


def serve_metrics(
    port: int, newest: Callable[[], EdgeStatus], host: str = LOOPBACK
) -> tuple[WSGIServer, Thread]:
    """Answer `GET /metrics` on this address until the server is shut down. Raises OSError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(EdgeCollector(newest))
    return start_http_server(port, addr=host, registry=registry)
