"""The modes that are compared, and what one measured run came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

US_PER_S = 1e6


@dataclass(frozen=True)
class Mode:
    """How records travel from the sender."""

    name: str
    codec: str
    records_per_message: int
    records_per_frame: int
    """At saturation: the publisher may be ten frames ahead of the edge."""


MODES = {
    mode.name: mode
    for mode in (
        Mode("arrow50", "arrow", 50, 10_000),
        Mode("json50", "json", 50, 10_000),
        Mode("json1", "json", 1, 1_000),
    )
}


@dataclass(frozen=True)
class Load:
    """One run at saturation; CPU in microseconds per record, memory in 10^6 bytes by process."""

    sent: int
    stored: int
    rejected: int
    records_per_s: float
    cpu_us: Mapping[str, float]
    rss_mb: Mapping[str, float] = field(default_factory=dict)
    bytes_per_row: float | None = None
    world_us: float = 0.0
    """What making up the traffic costs the sender's process; not part of `cpu_us`."""

    @property
    def total_us(self) -> float:
        """Over all processes."""
        return sum(self.cpu_us.values())

    @property
    def is_lossless(self) -> bool:
        """Whether every record was stored, or rejected with a reason."""
        return self.sent == self.stored + self.rejected


@dataclass(frozen=True)
class Waits:
    """Percentiles in ms of one paced run; None where nothing was timed."""

    rate: float
    stored_ms: Sequence[float | None]
    alert_ms: Sequence[float | None]
    alerts: int


def cpu_us_per_record(
    before_s: Mapping[str, float], after_s: Mapping[str, float], records: int
) -> dict[str, float]:
    """CPU microseconds per record of each process between two looks."""
    return {name: (after_s[name] - before_s[name]) * US_PER_S / records for name in after_s}


def middle(loads: Sequence[Load]) -> dict[str, Any]:
    """Medians over repetitions, for JSON; counts are sums, memory the highest."""
    parts = {name: median(load.cpu_us[name] for load in loads) for name in loads[0].cpu_us}
    sizes = [load.bytes_per_row for load in loads if load.bytes_per_row is not None]
    return {
        "records_per_s": round(median(load.records_per_s for load in loads), 0),
        "cpu_us_per_record": {name: round(value, 3) for name, value in parts.items()}
        | {"total": round(median(load.total_us for load in loads), 3)},
        "world_us_per_record": round(median(load.world_us for load in loads), 3),
        "total_us_of_each_repetition": [round(load.total_us, 2) for load in loads],
        "sent": sum(load.sent for load in loads),
        "stored": sum(load.stored for load in loads),
        "rejected": sum(load.rejected for load in loads),
        "bytes_per_row": round(median(sizes), 1) if sizes else None,
        "rss_mb": {
            name: round(max(load.rss_mb[name] for load in loads), 1) for name in loads[0].rss_mb
        },
    }


def paced(waits: Waits) -> dict[str, Any]:
    """Latencies of a paced run, for JSON."""
    found: dict[str, Any] = {"paced_records_per_s": round(waits.rate), "alerts": waits.alerts}
    for name, values in (("stored", waits.stored_ms), ("alert", waits.alert_ms)):
        for share, value in zip((50, 95, 99), values, strict=True):
            found[f"{name}_p{share}_ms"] = None if value is None else round(value, 1)
    return found


def ratios(
    modes: Mapping[str, Mapping[str, Any]], baseline: Mapping[str, Mapping[str, Any]]
) -> dict[str, float | None]:
    """How many times cheaper a record is here than in the naive baseline.

    `ratio_batched` and `ratio_single` take the total over all processes, senders included: the
    baseline's one record per message against our batches (Arrow) and our one record per message.
    `..._without_sender` leave the sender out on both sides (it is the same program), and
    `..._same_messages` compares JSON batches of 50 on both sides.
    """

    def cost(rows: Mapping[str, Mapping[str, Any]], name: str, with_sender: bool) -> float | None:
        if name not in rows:
            return None
        parts = rows[name]["cpu_us_per_record"]
        return float(parts["total"]) - (0.0 if with_sender else float(parts["sender"]))

    def ratio(ours: str, theirs: str, with_sender: bool) -> float | None:
        mine, naive = cost(modes, ours, with_sender), cost(baseline, theirs, with_sender)
        return None if not mine or not naive else round(naive / mine, 2)

    return {
        "ratio_batched": ratio("arrow50", "json1", True),
        "ratio_single": ratio("json1", "json1", True),
        "ratio_batched_without_sender": ratio("arrow50", "json1", False),
        "ratio_single_without_sender": ratio("json1", "json1", False),
        "ratio_batched_same_messages": ratio("json50", "json50", True),
    }
