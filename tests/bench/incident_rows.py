"""Incidents in the packages and in made worlds: found, how soon, false alarms, by share connected.

Connected vehicles are drawn by `tests.support.incidents.is_connected`, those in events as all
others; no roadside unit sees anybody (coverage 0). Exposed is an event-seed in which a connected
vehicle was in the event, or was made to stop or slow within the time: no more can be found.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openvrc.contracts.batch import Batch
from openvrc.contracts.plugins import discover
from tests.bench.rows import Row
from tests.support.fcd_marks import Fcd, prepared, read_fcd, read_map, vehicle_batches
from tests.support.incidents import (
    INCIDENT_RULES,
    Found,
    false_alarms,
    first_raises,
    found,
    is_connected,
    is_exposed,
    read_incidents,
    summary,
    thinned,
    timed_batches,
)
from tests.support.traffic_events import detect

SHARES = (1.0, 0.25, 0.1)
NAIVE_FALSE = {1.0: "1,200-1,500 / h", 0.25: "", 0.1: "130-150 / h"}
""""A connected car stands still for 5 s"; docs/traffic.md, "Sources"."""
MUST = {1.0: "6 of 7, 20 s", 0.25: "35 %", 0.1: "20 % in 120 s"}


@dataclass
class Measured:
    """What was found of some recordings at one share."""

    hits: list[Found | None] = field(default_factory=list)
    exposed: list[bool] = field(default_factory=list)
    false: int = 0
    real: int = 0
    hours: float = 0.0
    records: int = 0
    cpu_s: float = 0.0

    def __add__(self, other: Measured) -> Measured:
        """Both together."""
        return Measured(
            *(
                mine + theirs
                for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)
            )
        )


@functools.lru_cache(maxsize=2)
def timed(package: str, file: str) -> tuple[Fcd, list[tuple[int, Batch]]]:
    """A recording as the edge's matcher sees it, in batches of a second."""
    fcd = prepared(package, file, "matched")
    return fcd, timed_batches(list(vehicle_batches(fcd, read_map(package))))


@functools.cache
def measured(package: str, share: float, seeds: int) -> Measured:
    """One recording and its control run."""
    detectors = [d for name, d in discover("openvrc.detectors").items() if name in INCIDENT_RULES]
    road_map, result = read_map(package), Measured()
    draws = range(1, 2 if share >= 1.0 else seeds + 1)
    for file in ("fcd", "control_fcd"):
        truth = read_fcd(package, file)
        fcd, batches = timed(package, file)
        for seed in draws:
            run = detect(detectors, road_map, thinned(batches, fcd.vehicles, share, seed))
            raised = first_raises(run.findings)
            if file == "control_fcd":
                wrong, right = false_alarms(raised, truth, road_map.segment_length_m)
                result.false, result.real = result.false + len(wrong), result.real + len(right)
                continue
            result.records, result.cpu_s = result.records + run.records, result.cpu_s + run.cpu_s
            chosen = is_connected(truth.vehicles, share, seed)
            for event in read_incidents(package):
                result.hits.append(found(event, raised, truth))
                result.exposed.append(is_exposed(event, truth, chosen, 120.0))
        span_s = float(truth.time_s[-1] - truth.time_s[0])
    result.hours = span_s / 3600.0 * len(draws)
    return result


def incident_rows(packages: Sequence[str], seeds: int) -> Iterator[Row]:
    """Some packages together, at each share."""
    where = Path(packages[0]).name if len(packages) == 1 else "together"
    for share in SHARES:
        got = functools.reduce(Measured.__add__, (measured(p, share, seeds) for p in packages))
        facts, exposed = summary(got.hits), sum(got.exposed)
        n, n_found, soon = max(facts["events"], 1), facts["found"], facts["within_120_s"]
        label = f"incidents {100 * share:.0f} %"
        yield Row(where, f"{label}: found of event-seeds", f"{n_found}/{n} ({n_found / n:.0%})", "",
                  MUST[share])  # fmt: skip
        yield Row(where, f"{label}: within 120 s, mean delay",
                  f"{soon / n:.0%}, {facts['mean_delay_s']:.0f} s", "", "100-200 s")  # fmt: skip
        yield Row(where, f"{label}: exposed in 120 s; found in 120 s of them",
                  f"{exposed / n:.2f}; {soon / max(exposed, 1):.2f}")  # fmt: skip
        yield Row(where, f"{label}: right kind, lane, within 50 m",
                  f"{facts['right_kind']}, {facts['right_lane']}, {facts['in_place']}")  # fmt: skip
        yield Row(where, f"{label}: false alarms (real stands)",
                  f"{got.false / got.hours:.1f} / h ({got.real})", NAIVE_FALSE[share],
                  "4 / h, 5-15 unseen")  # fmt: skip
        yield Row(where, f"{label}: records per CPU-s", f"{got.records / got.cpu_s:,.0f}")
