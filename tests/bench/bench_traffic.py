"""The traffic rules on the SUMO packages: found, how soon, how far off, false alarms, speed.

    python -m tests.bench.bench_traffic [--penetration 1.0 0.25] [--seeds 1 2 3]

Positions get white noise of 1.5 m per axis. "found" counts injected vehicles, which are always
connected; the others with the penetration stated. Delay is event time from the stand to the
finding; it comes out two seconds later, when the watermark gets there. False alarms are vehicles
other than the injected ones: in the control run no alarm is right, in the event run those in the
queue behind an event are counted as false as well. Speed is of all three rules together.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterator

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.detectors.traffic import congestion, hard_braking, stopped_vehicle
from tests.support.fcd_marks import (
    EPOCH_NS,
    Fcd,
    Marks,
    prepared,
    read_map,
    vehicle_batches,
    window_batches,
)
from tests.support.traffic_events import Run, detect, distance_m, found_at, read_events, second_of

PACKAGES = ("hamburg_urban", "a39_freeway")
DETECTORS = (stopped_vehicle.PLUGIN, hard_braking.PLUGIN, congestion.PLUGIN)
HEAD = (
    f"{'package':14} {'marks':8} {'p':>5} {'run':12} {'found':>6} {'delay s mean/max':>17} "
    f"{'off m max':>10} {'false':>6} {'brakes':>7} {'congested':>10} {'records/CPU-s':>14}"
)


def timed_batches(fcd: Fcd, package: str) -> Iterator[tuple[int, Batch]]:
    """Vehicle batches and windows in order of time, windows at their end."""
    road_map = read_map(package)
    vehicles = (
        (int(b.column("sampled_at_ns")[0] - EPOCH_NS) // 10**9, b)
        for b in vehicle_batches(fcd, road_map)
    )
    windows = window_batches(fcd, road_map)
    return heapq.merge(vehicles, windows, key=lambda pair: pair[0])


def measure(package: str, file: str, marks: Marks, penetration: float, seed: int) -> str:
    """One line of the table."""
    events = read_events(package, "stopped_vehicle", "lane_block2")
    always = {e.vehicle for e in events}
    fcd = prepared(package, file, marks, penetration=penetration, seed=seed, always=always)
    run = detect(DETECTORS, read_map(package), timed_batches(fcd, package))
    raised = run.raised()
    stopped = [f for f in raised if f.rule == stopped_vehicle.NAME]
    found = [(e, found_at(e, stopped)) for e in events]
    hits = [(e, f) for e, f in found if f is not None] if file == "fcd" else []
    delays = [second_of(f) - e.start_s for e, f in hits] or [np.nan]
    off = [distance_m(e, f) for e, f in hits] or [np.nan]
    false = [f for f in stopped if file != "fcd" or f.subject_id not in always]
    return (
        f"{package:14} {marks:8} {penetration:5.2f} {file:12} {len(hits):>3}/{len(events):<2} "
        f"{np.mean(delays):8.1f} /{max(delays):6.1f}  {max(off):10.1f} {len(false):6} "
        f"{_brakes(package, file, fcd, run):>7} {_congested(run):>10} "
        f"{run.records / run.cpu_s:14,.0f}"
    )


def _brakes(package: str, file: str, fcd: Fcd, run: Run) -> str:
    """Injected brakes of connected vehicles found within a second, of how many."""
    if file != "fcd":
        return "-"
    here = {fcd.vehicles[v] for v in np.unique(fcd.vehicle)}
    events = [e for e in read_events(package, "hard_brake") if e.vehicle in here]
    raised = [f for f in run.raised() if f.rule == hard_braking.NAME]
    found = [f for e in events if (f := found_at(e, raised)) and second_of(f) <= e.start_s + 1.0]
    return f"{len(found)}/{len(events)}"


def _congested(run: Run) -> int:
    return len({f.subject_id for f in run.findings if f.rule == congestion.NAME})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--penetration", type=float, nargs="+", default=[1.0, 0.25])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    marks: tuple[Marks, ...] = ("truth", "matched")
    print(HEAD)  # noqa: T201
    for package in PACKAGES:
        for kind in marks:
            for penetration in options.penetration:
                for seed in options.seeds if penetration < 1.0 else options.seeds[:1]:
                    for file in ("fcd", "control_fcd"):
                        line = measure(package, file, kind, penetration, seed)
                        print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
