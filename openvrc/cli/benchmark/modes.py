"""The modes that are compared, what one run of a mode came to, and the medians of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

US_PER_S = 1e6
SHARES = (50, 95, 99)
"""Percentiles of latency."""


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
    """One measured stage; CPU in microseconds per record, memory in 10^6 bytes by process."""

    sent: int
    stored: int
    rejected: int
    records_per_s: float
    cpu_us: Mapping[str, float]
    rss_mb: Mapping[str, float] = field(default_factory=dict)
    bytes_per_row: float | None = None
    world_us: float = 0.0
    """What making up the traffic costs the sender's process; not part of `cpu_us`."""
    encode_us: float = 0.0
    """What encoding costs the sender; part of `cpu_us`."""
    sender_busy: float = 0.0
    """CPU time of the sender's process by wall time: near 1 it is what limits the rate."""

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
    """Percentiles (`SHARES`) in ms of a paced stage; None where nothing was timed."""

    stored_ms: Sequence[float | None]
    alert_ms: Sequence[float | None]
    alerts: int


@dataclass(frozen=True)
class ModeRun:
    """One repetition of a mode on a platform of its own, in stages."""

    first_pass: Load
    """Every vehicle for the first time, in full messages."""
    steady: Load
    """At saturation, after that."""
    paced: Load
    """At half of the saturated rate."""
    waits: Waits
    """Latencies of the paced stage."""
    paho_sender: Load | None = None
    """At saturation with paho's sender instead."""

    @property
    def stages(self) -> list[Load]:
        """All that were measured."""
        return [self.first_pass, self.steady, self.paced] + (
            [self.paho_sender] if self.paho_sender else []
        )


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
        "records_per_s_spread": _spread([load.records_per_s for load in loads], 0),
        "cpu_us_per_record": {name: round(value, 3) for name, value in parts.items()}
        | {"total": round(median(load.total_us for load in loads), 3)},
        "cpu_us_total_spread": _spread([load.total_us for load in loads], 2),
        "world_us_per_record": round(median(load.world_us for load in loads), 3),
        "encode_us_per_record": round(median(load.encode_us for load in loads), 3),
        "sender_busy": round(median(load.sender_busy for load in loads), 2),
        "sent": sum(load.sent for load in loads),
        "stored": sum(load.stored for load in loads),
        "rejected": sum(load.rejected for load in loads),
        "bytes_per_row": round(median(sizes), 1) if sizes else None,
        "rss_mb": {
            name: round(max(load.rss_mb[name] for load in loads), 1) for name in loads[0].rss_mb
        },
    }


def _spread(values: Sequence[float], digits: int) -> list[float]:
    """Least and most."""
    return [round(min(values), digits), round(max(values), digits)]


def mode_result(name: str, runs: Sequence[ModeRun]) -> dict[str, Any]:
    """One mode over its repetitions, for JSON.

    On top the steady state at saturation, with the latencies at half of it and the counts of all
    stages; below that the stages by themselves.
    """
    steady = middle([run.steady for run in runs])
    paced = middle([run.paced for run in runs])
    everything = [stage for run in runs for stage in run.stages]
    counts = {
        count: sum(getattr(stage, count) for stage in everything)
        for count in ("sent", "stored", "rejected")
    }
    senders = [run.paho_sender for run in runs if run.paho_sender is not None]
    return {
        "name": name,
        **steady,
        **counts,
        **_latencies([run.waits for run in runs]),
        "first_pass": middle([run.first_pass for run in runs]),
        "paced": paced,
        "paho_sender": middle(senders) if senders else None,
    }


def _latencies(waits: Sequence[Waits]) -> dict[str, Any]:
    found: dict[str, Any] = {"alerts": sum(one.alerts for one in waits)}
    for kind in ("stored", "alert"):
        for place, share in enumerate(SHARES):
            values = [getattr(one, f"{kind}_ms")[place] for one in waits]
            known = [value for value in values if value is not None]
            name = f"{kind}_p{share}_ms"
            found[name] = round(median(known), 1) if known else None
            if share == SHARES[-1]:
                found[f"{kind}_p{share}_ms_spread"] = _spread(known, 1) if known else None
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
