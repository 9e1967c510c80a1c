"""Everything that is measured about traffic, in one table.

    make bench-traffic
    python -m tests.bench.bench_traffic [--only matching state speed] [--seeds 5]
                                        [--worlds FOLDER]

Positions get white noise of 1.5 m per axis and go through the edge's matcher. The columns beside
ours are a naive baseline and a floor or published figure; where they come from stands in
docs/traffic.md. Shares of connected vehicles are drawn by `tests.support.incidents.is_connected`;
no roadside unit sees the others. `--worlds` adds the incident rows of worlds made by
`tests.bench.sumo_worlds`, to which no rule was tuned. Whole, it takes about ten minutes of CPU.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edge.aggregate.matching import Matcher
from openvrc.detectors.security import misbehaviour
from openvrc.detectors.traffic import hard_braking, wrong_way
from tests.bench import (
    bench_matching,
    fusion_rows,
    queue_rows,
    traffic_speed,
    traffic_state_rows,
    travel_time_rows,
)
from tests.bench.incident_rows import incident_rows
from tests.bench.incident_rows import timed as timed_batches_of
from tests.bench.rows import Row
from tests.support import ssm
from tests.support.fcd_marks import Fcd, prepared, read_fcd, read_ghosts, read_map, vehicle_batches
from tests.support.incidents import is_connected, timed_batches
from tests.support.misbehaviour import flagged, read_reports, scores
from tests.support.traffic_events import detect, found_at, read_events, second_of

PACKAGES = ("a39_freeway", "hamburg_urban")


# Figures of the naive rules and of the literature, by package: docs/traffic.md, "Sources".
NAIVE_EDGES = {"a39_freeway": ".993", "hamburg_urban": ".962"}
BEST_EDGES = {"a39_freeway": ".998 (HMM)", "hamburg_urban": ".990 (HMM)"}
BEST_LANES = {"a39_freeway": ".958", "hamburg_urban": ".953"}
FLOOR = {"a39_freeway": ("1.2 %", "0.15 m/s"), "hamburg_urban": ("3.2 %", "0.29 m/s")}
NAIVE_SPEED = {
    0.25: "0.88 m/s at .93",
    0.1: "1.25 m/s at .76",
    0.05: "1.37 m/s at .55",
    0.02: "1.65 m/s at .31",
}
MUST_SPEED = {0.1: "0.95 at .90", 0.05: "1.10 at .80", 0.02: "1.35 at .60"}
"""Agreed with the people who judge demo zones; no published figure fits."""
PUBLISHED_QUEUES = {0.5: "11 %", 0.25: "28 %", 0.1: "39 %"}
"""Journal of Advanced Transportation 2023, 3241207."""


@functools.lru_cache(maxsize=1)
def matched(package: str, file: str) -> Fcd:
    """A recording as the edge's matcher sees it."""
    return prepared(package, file, "matched")


def matching_rows(package: str) -> Iterator[Row]:
    """Edges and lanes."""
    road_map = read_map(package)
    folder = bench_matching.data_root() / "traffic" / package
    trace = bench_matching.load(folder, road_map, 1, bench_matching.POSITION_NOISE_M)
    got = bench_matching.score(
        road_map, trace, *bench_matching.match(Matcher(road_map), trace, batch_s=1)
    )
    yield Row(package, "matching: right edge", f"{got.edges:.4f}", NAIVE_EDGES[package],
              BEST_EDGES[package])  # fmt: skip
    yield Row(package, "matching: edge, or next within 5 m", f"{got.edges_adjacent:.4f}")
    yield Row(package, "matching: right lane, at once", f"{got.lanes:.4f}", "", BEST_LANES[package])
    yield Row(package, "matching: points per CPU-s", f"{got.points_per_cpu_s:,.0f}", "", "285,000")
    trace = bench_matching.load(folder, road_map, 1, bench_matching.POSITION_NOISE_M, memory_s=60.0)
    got = bench_matching.score(
        road_map, trace, *bench_matching.match(Matcher(road_map), trace, batch_s=1)
    )
    yield Row(package, "matching: right edge, AR(1) noise", f"{got.edges:.4f}", "", ".98")
    yield Row(package, "matching: right lane, AR(1) noise", f"{got.lanes:.4f}", "", ".80")


def state_rows(package: str) -> Iterator[Row]:
    """Completed 60 s states, with the loops that the package has."""
    road_map, fcd = read_map(package), matched(package, "fcd")
    loops = traffic_state_rows.read_loops(package, road_map)
    density, speed = FLOOR[package]
    for share in (1.0, 0.25, 0.1, 0.05, 0.02):
        states = []
        for seed in (1,) if share == 1.0 else (1, 2, 3, 4, 5):
            part = fcd.rows(is_connected(fcd.vehicles, share, seed)[fcd.vehicle])
            states.append(
                traffic_state_rows.measure(
                    package, road_map, part, everybody=share == 1.0, loops=loops
                )
            )
        naive = NAIVE_SPEED.get(share, "") if package == "hamburg_urban" else ""
        label = f"state {100 * share:.0f} %"
        mean = {
            name: np.mean([getattr(state, name) for state in states])
            for name in ("speed_mae_mps", "coverage", "density_mape", "within_80", "share")
        }
        yield Row(package, f"{label}: speed MAE, coverage",
                  f"{mean['speed_mae_mps']:.2f} m/s at {mean['coverage']:.2f}", naive,
                  speed if share == 1.0 else MUST_SPEED.get(share, ""))  # fmt: skip
        yield Row(package, f"{label}: density MAPE", f"{100 * mean['density_mape']:.1f} %", "",
                  density if share == 1.0 else "")  # fmt: skip
        yield Row(package, f"{label}: truth within the 80 % interval", f"{mean['within_80']:.2f}")
        yield Row(package, f"{label}: estimated penetration", f"{mean['share']:.3f}")


def manoeuvre_rows(package: str) -> Iterator[Row]:
    """Hard brakes and wrong-way drivers."""
    _, timed = timed_batches_of(package, "fcd")
    raised = detect([hard_braking.PLUGIN], read_map(package), timed).raised()
    events = read_events(package, "hard_brake")
    soon = [f for e in events if (f := found_at(e, raised)) and second_of(f) <= e.start_s + 1.0]
    yield Row(package, "hard brakes within 1 s", f"{len(soon)}/{len(events)}", "", "7/7")
    road_map, soon_s, ghosts = read_map(package), 0, 0
    for seed in range(1, 6):
        fcd = read_ghosts(package, seed)
        timed = timed_batches(list(vehicle_batches(fcd, road_map)))
        first_s = {
            f.subject_id: second_of(f)
            for f in reversed(detect([wrong_way.PLUGIN], road_map, timed).raised())
        }
        for number, name in enumerate(fcd.vehicles):
            begins_s = int(fcd.time_s[fcd.vehicle == number].min())
            ghosts, soon_s = ghosts + 1, soon_s + (first_s.get(name, np.inf) - begins_s <= 3.0)
    yield Row(package, "wrong way: ghosts within 3 s, five draws", f"{soon_s}/{ghosts}")
    _, timed = timed_batches_of(package, "control_fcd")
    wrong = detect([wrong_way.PLUGIN], road_map, timed).raised()
    yield Row(package, "wrong way: false in the control run", str(len(wrong)), "19-105", "0")


def conflict_rows(package: str) -> Iterator[Row]:
    """Pairs on a collision course against SUMO's surrogate safety measures."""
    got = ssm.measure(package)
    yield Row(package, "conflicts: recall of pairs below 3 s", f"{got.recall:.3f}")
    yield Row(package, "conflicts: precision", f"{got.precision:.3f}")
    yield Row(package, "conflicts: records per CPU-s", f"{got.records_per_cpu_s:,.0f}")


def speed_rows() -> Iterator[Row]:
    """All rules about vehicles together, beyond map matching."""
    for n_vehicles in (1_000, 10_000, 100_000):
        got = traffic_speed.measure(n_vehicles)
        yield Row("made", f"all vehicle rules, {n_vehicles:,} vehicles: records per CPU-s",
                  f"{got.records_per_cpu_s:,.0f}")  # fmt: skip


PUBLISHED_F1 = {
    "const_pos_offset": ".56-.85",
    "random_pos_offset": ".79-.96",
    "position_mirroring": ".09-.19",
    "const_speed_offset": ".38-.64",
    "random_speed_offset": ".67-.81",
    "zero_speed": ".63-.91",
    "sudden_stop": ".02-.18",
    "reversed_heading": ".51-.59",
    "time_delay": ".02-.13",
    "data_replay": ".27-.39",
}


def misbehaviour_rows(package: str) -> Iterator[Row]:
    """F1 over the reports of each attack's senders, and honest senders' reports flagged."""
    road_map, reports = read_map(package), read_reports(package)
    timed = timed_batches(list(vehicle_batches(reports.fcd, road_map)))
    run = detect([misbehaviour.PLUGIN], road_map, timed)
    by_attack, honest = scores(reports, flagged(reports, run.findings))
    for attack, score in by_attack.items():
        yield Row(package, f"misbehaviour F1: {attack}", f"{score.f1:.2f}", "",
                  PUBLISHED_F1[attack])  # fmt: skip
    yield Row(package, "misbehaviour: honest reports flagged", f"{honest:.2%}", "", "2-11 %")
    yield Row(package, "misbehaviour: records per CPU-s", f"{run.records / run.cpu_s:,.0f}")


def travel_time_rows_of(package: str) -> Iterator[Row]:
    """Trips over two minutes, answered as each vehicle left."""
    road_map, fcd = read_map(package), matched(package, "fcd")
    trips = travel_time_rows.trips_of(read_fcd(package, "fcd"), road_map)
    for share in (1.0, 0.1):
        part = fcd.rows(is_connected(fcd.vehicles, share, 1)[fcd.vehicle])
        got = travel_time_rows.measure(road_map, trips, part)
        label = f"travel time {100 * share:.0f} %"
        yield Row(package, f"{label}: MAPE of {got.trips} trips", f"{100 * got.mape:.1f} %", "",
                  "10 %" if share == 0.1 else "")  # fmt: skip
        yield Row(package, f"{label}: trips within the 80 % interval", f"{got.within_80:.2f}")


def queue_rows_of(package: str) -> Iterator[Row]:
    """The longest queue of each approach and minute; a motorway has none."""
    road_map = read_map(package)
    if not road_map.segment_ends_at_signal.any():
        return
    truth = queue_rows.true_queues(read_fcd(package, "fcd"), road_map)
    if not any((lengths_m >= queue_rows.MIN_QUEUE_M).any() for lengths_m in truth.values()):
        return  # signals at its ramps, and nobody who waits long
    fcd = matched(package, "fcd")
    for share in (1.0, 0.5, 0.25, 0.1):
        got = []
        for seed in (1,) if share == 1.0 else (1, 2, 3):
            part = fcd.rows(is_connected(fcd.vehicles, share, seed)[fcd.vehicle])
            got.append(queue_rows.measure(truth, *queue_rows.queues_of(part, road_map)))
        label = f"queues {100 * share:.0f} %"
        error, inside, learned = (
            float(np.mean([getattr(g, name) for g in got]))
            for name in ("error_ratio", "within_80", "share")
        )
        yield Row(package, f"{label}: error of {got[0].n_queues} maxima", f"{error:.0%}", "",
                  PUBLISHED_QUEUES.get(share, ""))  # fmt: skip
        yield Row(package, f"{label}: within the 80 % interval", f"{inside:.2f}")
        yield Row(package, f"{label}: penetration told by queues", f"{learned:.3f}")


GROUPS: dict[str, Callable[[str], Iterator[Row]]] = {
    "matching": matching_rows,
    "state": state_rows,
    "travel-time": travel_time_rows_of,
    "queues": queue_rows_of,
    "manoeuvres": manoeuvre_rows,
    "misbehaviour": misbehaviour_rows,
    "conflicts": conflict_rows,
}


def fusion_table() -> Iterator[Row]:
    """Reports joined on a simulated corridor; naive: all, and these carried on, de-duplicated."""
    for case, fused, union, clean in fusion_rows.rows():
        naive = f"{union.gospa_m:.1f} / {clean.gospa_m:.1f} m"
        yield Row("corridor", f"fusion, {case}: GOSPA", f"{fused.gospa_m:.1f} m", naive)
        naive = f"{union.rms_m:.2f} / {clean.rms_m:.2f} m"
        yield Row("corridor", f"fusion, {case}: localisation", f"{fused.rms_m:.2f} m", naive)
        for word in ("missed", "false"):
            ours, all_of, less = (float(getattr(f, f"{word}_ratio")) for f in (fused, union, clean))
            yield Row("corridor", f"fusion, {case}: {word}", f"{ours:.1%}",
                      f"{all_of:.1%} / {less:.1%}")  # fmt: skip
        yield Row("corridor", f"fusion, {case}: numbers changed", f"{fused.switches}")
    for copies in (1, 10, 100):
        n = 75 * copies
        yield Row("corridor", f"fusion: CPU at about {n:,} reports a second",
                  f"{fusion_rows.cost_us(copies):.0f} us a report")  # fmt: skip


def main() -> None:
    """Print the table, row by row as it comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*GROUPS, "incidents", "speed", "fusion"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--worlds", type=Path)
    options = parser.parse_args()
    wanted = options.only or [*GROUPS, "incidents", "speed", "fusion"]
    _print(Row("package", "figure", "ours", "naive", "floor or published"))
    for package in PACKAGES:
        for name, rows in GROUPS.items():
            if name in wanted:
                _print(*rows(package))
        if "incidents" in wanted:
            _print(*incident_rows([package], options.seeds))
    if "incidents" in wanted:
        _print(*incident_rows(PACKAGES, options.seeds))
    if "speed" in wanted:
        _print(*speed_rows())
    if "fusion" in wanted:
        _print(*fusion_table())
    for folder in sorted(options.worlds.iterdir()) if options.worlds else []:
        if (folder / "events.json").exists():
            _print(*incident_rows([str(folder.resolve())], options.seeds))


def _print(*rows: Row) -> None:
    for row in rows:
        sys.stdout.write(
            f"{row.where:14} {row.what:44} {row.ours:>20} {row.naive:>18} {row.reference:>20}\n"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
