"""`vrc analyse PATH... --out DIR`: the live pipeline's own folds on recordings, no server.

recording > edge core (admit, match, windows) > engine (detectors, alerting) > files. Health of
batteries is judged per recording: a vehicle in two of them has two rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq

from cloud.alerting import Alert
from cloud.engine import Engine
from edge.core import EdgeCore
from openvrc.cli.analysis_files import (
    write_alerts,
    write_battery_fleet,
    write_battery_health,
    write_battery_usage,
    write_summary,
)
from openvrc.cli.object_table import ObjectTable
from openvrc.cli.segment_table import SegmentTable
from openvrc.cli.signal_table import SignalTable, write_signals
from openvrc.cli.worlds import open_world, recording_options, zone_name
from openvrc.contracts.plugins import discover
from openvrc.detectors.battery_health.fleet_view import Pack, packs_of
from openvrc.detectors.battery_health.health import BatteryHealth, Health
from openvrc.traffic.completion import Completion
from simulator.publisher import announce_batch, tick_batch
from simulator.world import World, unpaced

LEDGER_TERMS = ("sent", "forwarded", "dropped", "expired", "thinned", "missing", "duplicates")
MAX_LEDGER_ROWS = 1_000_000


@dataclass
class Analysis:
    """What came out so far."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    segments: SegmentTable = field(default_factory=SegmentTable)
    objects: ObjectTable = field(default_factory=ObjectTable)
    signals: list[dict[str, Any]] = field(default_factory=list)
    health: list[Health] = field(default_factory=list)
    packs: list[Pack] = field(default_factory=list)
    ledger: dict[tuple[str, str, int], dict[str, Any]] = field(default_factory=dict)
    n_records: Counter[str] = field(default_factory=Counter)
    first_ns: int | None = None
    last_ns: int | None = None

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """First and last zone time, None for an empty recording."""
        if self.first_ns is None or self.last_ns is None:
            return None
        return self.first_ns, self.last_ns

    def facts(self) -> dict[str, Any]:
        """For summary.json."""
        totals = {term: sum(row[term] for row in self.ledger.values()) for term in LEDGER_TERMS}
        rejected: Counter[str] = Counter()
        for row in self.ledger.values():
            rejected.update(row["rejected"])
        return {
            "accounting": totals | {"rejected": dict(rejected)},
            "records": dict(self.n_records),
            "alerts": dict(sorted(Counter(a.rule for a in self.alerts.values()).items())),
        }


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the results"
)
@click.option("--zone", help="Name of the zone; made from the recording's name if not given")
@recording_options
def analyse(paths: tuple[Path, ...], out: Path, zone: str | None, **flags: Any) -> None:
    """Analyse recordings: alerts, segments, signals, objects, batteries' health and usage."""
    out.mkdir(parents=True, exist_ok=True)
    analysis = Analysis()
    for path, run_id in zip(paths, _run_ids(paths), strict=True):
        world = open_world(path, zone=zone or zone_name(path), run_id=run_id, **flags)
        run(world, analysis)
        click.echo(f"{path.name}: {sum(analysis.n_records.values())} records", err=True)
    write_alerts(out / "alerts.csv", analysis.alerts.values())
    pq.write_table(analysis.segments.table(), out / "segments.parquet")
    pq.write_table(analysis.objects.table(), out / "objects.parquet")
    write_signals(out / "signals.csv", analysis.signals)
    write_battery_health(out / "battery_health.csv", analysis.health)
    write_battery_usage(out / "battery_usage.csv", analysis.health)
    write_battery_fleet(out / "battery_fleet.json", analysis.packs)
    write_summary(out / "summary.json", analysis.facts(), analysis.span_ns)
    click.echo(json.dumps(analysis.facts()["alerts"]))


def _run_ids(paths: Sequence[Path]) -> list[str]:
    """An id for each recording; of one name in several folders, numbers from the second on."""
    found: list[str] = []
    for path in paths:
        name = f"analyse-{zone_name(path)}"
        ids = chain([name], (f"{name}-{number}" for number in count(2)))
        found.append(next(run_id for run_id in ids if run_id not in found))
    return found


def run(world: World, analysis: Analysis) -> None:
    """One world through the edge's core and the engine, into the analysis."""
    core = EdgeCore({}, edge_id="analyse", edge_epoch=0)
    engine = Engine(discover("openvrc.detectors"))
    health = BatteryHealth()
    completion = Completion(world.road_map) if world.road_map is not None else None
    signals = SignalTable()
    core.on_batch(announce_batch(world, "running", 1.0), 0)
    for frame in unpaced(world):
        for batch in frame.batches():
            core.on_batch(batch, frame.zone_time_ns)
        core.on_batch(tick_batch(world, frame.zone_time_ns), frame.zone_time_ns)
        _take(core, engine, health, completion, signals, analysis)
        analysis.first_ns = analysis.first_ns or frame.zone_time_ns
        analysis.last_ns = frame.zone_time_ns
    end_ns = analysis.last_ns
    core.on_batch(announce_batch(world, "ended", 1.0, end_ns), end_ns or 0)
    _take(core, engine, health, completion, signals, analysis)
    if world.road_map is not None:
        analysis.signals += signals.rows(world.run_id, world.road_map)
    rows = health.rows()
    analysis.health += rows
    analysis.packs += packs_of(rows, health.traits)
    for batch in core.take_ledger(MAX_LEDGER_ROWS, 0):
        for row in batch.to_records():
            key = (row["run_id"], row["source_id"], row.get("session", 0))
            analysis.ledger[key] = row | {"rejected": json.loads(row["rejected"])}


def _take(
    core: EdgeCore,
    engine: Engine,
    health: BatteryHealth,
    completion: Completion | None,
    signals: SignalTable,
    analysis: Analysis,
) -> None:
    group = core.take_group()
    output = engine.process(group.batches)
    for transition in output.transitions:
        analysis.alerts[transition.alert.id] = transition.alert
    for batch in group.batches:
        analysis.n_records[batch.message] += batch.n_rows
        health.fold(batch)
    analysis.segments.take(group.batches, completion)
    analysis.objects.take(group.batches)
    signals.take(group.batches)
