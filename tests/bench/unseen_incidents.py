"""Every traffic rule on worlds that no limit was set on: detection, delay, false alarms an hour.

    python -m tests.bench.sumo_worlds OUT
    python -m tests.bench.unseen_incidents OUT [--seeds 5] [--noise white ar1] [--shares 1 .25 .1]
                                           [--each] [--say]

Positions err by 1.5 m per axis: independently, or as an AR(1) process that forgets with 60 s; the
edge's matcher makes the marks. Shares of connected vehicles are drawn by hash, five draws. False
alarms are those of the control runs, one per (rule, segment, 180 s). Of the rules that are no
incidents a raise is false if the truth has nothing of the kind: no lane against the course, no
speed over 1.2 of the limit, no braking below -4.5 m/s2 within 2 s, a stop with a vehicle ahead.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from openvrc.contracts.detection import Detector, Finding
from openvrc.contracts.maps import RoadMap
from tests.bench.traffic_speed import vehicle_rules
from tests.support.fcd_marks import (
    Fcd,
    read_fcd,
    read_map,
    vehicle_batches,
    with_correlated_noise,
    with_matched_marks,
    with_noise,
)
from tests.support.incidents import (
    INCIDENT_RULES,
    Found,
    false_alarms,
    first_raises,
    found,
    read_incidents,
    summary,
    thinned,
    timed_batches,
)
from tests.support.traffic_events import detect, second_of

NOISES = {"white": with_noise, "ar1": with_correlated_noise}
ONLY_WHOLE = ("traffic.conflict",)
"""Measured by `bench_traffic --only conflicts`; costs more than all others."""


@dataclass
class Tally:
    """What came of some worlds at one share."""

    hours: float = 0.0
    hits: list[Found | None] = field(default_factory=list)
    false: Counter[str] = field(default_factory=Counter)
    real: int = 0

    def add(self, other: Tally) -> None:
        """Pool."""
        self.hours, self.real = self.hours + other.hours, self.real + other.real
        self.hits += other.hits
        self.false += other.false


def judge(
    world: str, noise: str, share: float, seeds: int, rules: Sequence[Detector], *, say: bool
) -> Tally:
    """One world at one share of connected vehicles."""
    road_map, tally = read_map(world), Tally()
    for file in ("fcd", "control_fcd"):
        truth = read_fcd(world, file)
        fcd = with_matched_marks(NOISES[noise](truth, road_map, 1), road_map)
        timed = timed_batches(list(vehicle_batches(fcd, road_map)))
        for seed in (1,) if share >= 1.0 else range(1, seeds + 1):
            run = detect(rules, road_map, thinned(timed, fcd.vehicles, share, seed))
            raised = first_raises(run.findings)
            if file == "fcd":
                hits = [found(event, raised, truth) for event in read_incidents(world)]
                tally.hits += hits
                if say:
                    _say_missed(world, share, seed, hits)
                continue
            false, real = false_alarms(raised, truth, road_map.segment_length_m)
            false += [f for f in run.raised() if _is_false(f, truth, road_map)]
            tally.real += len(real)
            tally.false.update(f.rule.removeprefix("traffic.") for f in false)
            tally.hours += float(truth.time_s[-1] - truth.time_s[0]) / 3600.0
            if say:
                _say_false(world, share, seed, false)
    return tally


def _is_false(finding: Finding, truth: Fcd, road_map: RoadMap) -> bool:
    """Whether the truth has nothing of what a rule says that is no incident."""
    if finding.rule in INCIDENT_RULES:
        return False
    rows = np.flatnonzero(truth.vehicle == truth.vehicles.index(finding.subject_id))
    rows = rows[np.abs(truth.time_s[rows] - second_of(finding)) <= 2.0]
    if finding.rule == "traffic.hard_braking":
        return not (truth.accel_mps2[rows] < -4.5).any()
    if finding.rule == "traffic.speeding":
        limit_mps = road_map.segment_speed_limit_mps[truth.segment[rows]]
        return not (truth.speed_mps[rows] > 1.2 * limit_mps).any()
    return True


def _say_missed(world: str, share: float, seed: int, hits: Sequence[Found | None]) -> None:
    for event, hit in zip(read_incidents(world), hits, strict=True):
        what = f"{hit.finding.rule} after {hit.delay_s:.0f} s" if hit else "missed"
        _line(f"    {Path(world).name} {share:g}/{seed} {event.type} on {event.segment_id}: {what}")


def _say_false(world: str, share: float, seed: int, false: Sequence[Finding]) -> None:
    for f in false:
        _line(
            f"    {Path(world).name} {share:g}/{seed} FALSE {f.rule} {f.subject_id} {f.segment_id} "
            f"{f.component} at {second_of(f):.0f} s: {f.evidence.get('text')}"
        )


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _print(name: str, noise: str, share: float, tally: Tally) -> None:
    facts = summary(tally.hits)
    by_rule = ", ".join(f"{rule} {n}" for rule, n in sorted(tally.false.items())) or "none"
    events = facts["events"] or 1
    _line(
        f"{name:18} {noise:5} {100 * share:4.0f} %  found {facts['found']:3}/{facts['events']:3}"
        f" ({facts['found'] / events:4.0%}, {facts['within_120_s'] / events:4.0%} in 120 s, mean "
        f"{facts['mean_delay_s']:4.0f} s)"
        f"  kind {facts['right_kind']:3} lane {facts['right_lane']:3}"
        f"  false {sum(tally.false.values()) / tally.hours:5.1f} / h of {tally.hours:.1f} h"
        f" ({by_rule}); real stands {tally.real}"
    )


def main() -> None:
    """One line a world, noise and share, then all together and by kind of event."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("worlds", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--noise", nargs="+", choices=NOISES, default=list(NOISES))
    parser.add_argument("--shares", nargs="+", type=float, default=[1.0, 0.25, 0.1])
    parser.add_argument("--rules", nargs="+", help="only these, as traffic.stopped_vehicle")
    parser.add_argument("--only", nargs="+", default=[""], help="worlds whose names contain one")
    parser.add_argument("--say", action="store_true", help="each miss and each false alarm")
    options = parser.parse_args()
    rules = [r for r in vehicle_rules() if r.name not in ONLY_WHOLE]
    rules = [r for r in rules if not options.rules or r.name in options.rules]
    folders = sorted(p.parent.resolve() for p in options.worlds.glob("*/events.json"))
    folders = [f for f in folders if any(part in f.name for part in options.only)]
    for noise in options.noise:
        pooled: dict[float, Tally] = {share: Tally() for share in options.shares}
        for folder in folders:
            for share in options.shares:
                tally = judge(str(folder), noise, share, options.seeds, rules, say=options.say)
                _print(folder.name, noise, share, tally)
                pooled[share].add(tally)
        for share, tally in pooled.items():
            _print("all", noise, share, tally)
            _by_kind(tally)


def _by_kind(tally: Tally) -> None:
    kinds: dict[str, list[float]] = {}
    for hit in tally.hits:
        if hit is not None:
            kinds.setdefault(f"{hit.event.type} by {hit.finding.rule}", []).append(hit.delay_s)
    for kind, delays in sorted(kinds.items()):
        _line(f"    {kind}: {len(delays)}, mean {np.mean(delays):.0f} s")


if __name__ == "__main__":
    main()
