"""What the edge itself says: ticks and announcements of runs, as Batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from openvrc.contracts.batch import Batch, from_columns

OF_DRIVERS = ("driver_state", "rate_ratio", "can_seek")
"""Columns of a tick that the edge hands on as its driver said them."""


@dataclass
class RunFacts:
    """What was announced of a run."""

    zone: str
    run_id: str
    origin: str
    clock: str
    zone_time_ns: int
    time_zone: str = "UTC"
    rate_ratio: float = 1.0
    title: str = ""
    map_document: str = ""
    ended_at_ns: int = 0
    """Wall clock at which its end was heard; 0 while it runs."""
    clock_read_at_ns: int = 0
    """Wall clock at which its clock read `zone_time_ns`: what alert latency is measured from."""
    heard_at_ns: int = 0
    """Wall clock at which its driver was last heard."""
    driver: dict[str, Any] = field(default_factory=dict)
    """What a driver that takes commands says of itself with each tick."""


def tick_batch(facts: RunFacts, watermark_ns: int, edge_id: str, received_at_ns: int) -> Batch:
    """The edge's tick of a run at its zone time."""
    columns = {
        "source_id": edge_id,
        "subject_id": facts.zone,
        "id_kind": "permanent",
        "sampled_at_ns": facts.zone_time_ns,
        "published_at_ns": facts.clock_read_at_ns or received_at_ns,
        "watermark_ns": max(watermark_ns, 0),
        "edge_received_at_ns": received_at_ns,
        "lateness": 0,
        **facts.driver,
    }
    return _one_row("tick", facts, columns)


def announcement(
    facts: RunFacts, map_version: str, edge_id: str, received_at_ns: int, state: str
) -> Batch:
    """What the cloud is told of a run; `state` is running (then with the map) or ended."""
    columns = {
        "source_id": edge_id,
        "subject_id": facts.zone,
        "id_kind": "permanent",
        "sampled_at_ns": facts.zone_time_ns,
        "state": state,
        "clock": facts.clock,
        "rate_ratio": facts.rate_ratio,
        "time_zone": facts.time_zone,
        "title": facts.title,
        "map_version": map_version,
        "map_document": facts.map_document if state == "running" else "",
        "edge_received_at_ns": received_at_ns,
        "lateness": 0,
    }
    return _one_row("zone_announce", facts, columns)


def _one_row(message: str, facts: RunFacts, columns: dict[str, object]) -> Batch:
    return from_columns(
        message,
        zone=facts.zone,
        run_id=facts.run_id,
        origin=facts.origin,
        columns=columns,
        n_rows=1,
    )
