"""What the cloud's own histogram says of records stored between two moments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

NAME = "vrc_stored_latency_seconds"
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

Buckets = list[tuple[float, float]]
"""(upper edge in s, records up to it since the cloud's start)"""


def read_buckets(exposition: str) -> Buckets:
    """The histogram in the text of /metrics; empty if there is none."""
    return [
        (float(sample.labels["le"]), sample.value)
        for family in text_string_to_metric_families(exposition)
        if family.name == NAME
        for sample in family.samples
        if sample.name.endswith("_bucket")
    ]


def figures_ms(before: Buckets, after: Buckets) -> dict[str, float | None]:
    """Percentiles of what came between, ms, linear within a bucket; None without any."""
    edges_s = [edge for edge, _ in after]
    earlier = dict(before)
    reached = [count - earlier.get(edge, 0.0) for edge, count in after]
    if not reached or reached[-1] <= 0:
        return dict.fromkeys(SHARES)
    return {name: _at(edges_s, reached, share) for name, share in SHARES.items()}


def _at(edges_s: Sequence[float], reached: Sequence[float], share: float) -> float:
    wanted = share * reached[-1]
    place = int(np.searchsorted(np.asarray(reached), wanted))
    low_s = edges_s[place - 1] if place else 0.0
    if not np.isfinite(edges_s[place]):
        return round(low_s * 1000.0, 1)
    below = reached[place - 1] if place else 0.0
    part = (wanted - below) / max(reached[place] - below, 1e-9)
    return round((low_s + part * (edges_s[place] - low_s)) * 1000.0, 1)
