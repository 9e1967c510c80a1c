"""Map matching against the truth of the two SUMO packages: accuracy and points per CPU-second.

    python tests/bench/bench_matching.py [--batch-s 1] [--noise-m 1.5] [--memory-s 0]
                                           [--seed 1]

Positions get noise per axis, white or AR(1) (`--memory-s 60`), headings white noise; speed is as
reported. Only rows whose true edge is outside junctions count for edges and lanes. "adjacent" also
accepts a segment that precedes or follows the true one when the vehicle is within 5 m of the true
one's ends.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from edge.aggregate.matching import Matcher, MatchResult
from openvrc.contracts.maps import RoadMap
from openvrc.mapformats import read_map
from openvrc.mapformats.sumo_net import grid_convergence_deg

PACKAGES = ("a39_freeway", "hamburg_urban")
HEADING_NOISE_DEG = 2.0
POSITION_NOISE_M = 1.5
BOUNDARY_M = 5.0
METRES_PER_DEGREE = 111_195.0  # of latitude, on the mean sphere


@dataclass(frozen=True)
class Trace:
    """A noisy trace in time order, with its truth; all arrays (n,)."""

    slot: NDArray[np.int32]
    time_s: NDArray[np.int64]
    lat_deg: NDArray[np.float64]
    lon_deg: NDArray[np.float64]
    heading_deg: NDArray[np.float64]
    speed_mps: NDArray[np.float64]
    true_segment: NDArray[np.int32]
    true_lane: NDArray[np.int32]
    true_offset_m: NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Shares of the rows outside junctions, and the speed."""

    rows: int
    edges: float
    edges_adjacent: float
    lanes: float
    points_per_cpu_s: float


def data_root() -> Path:
    """Where the shared test data is: VRC_SHARED_DATA, or beside the repository."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("VRC_SHARED_DATA", beside))


def load(
    folder: Path,
    road_map: RoadMap,
    seed: int,
    noise_m: float,
    until_s: float = np.inf,
    memory_s: float = 0.0,
) -> Trace:
    """The package's floating-car data with seeded noise, sorted by time.

    Errors of one vehicle fade with `memory_s`; 0 is white noise.
    """
    table = pq.read_table(folder / "fcd.parquet")
    times = table["time_s"].to_numpy().astype(np.int64)
    order = np.argsort(times, kind="stable")
    order = order[times[order] < until_s]
    column = {
        name: table[name].to_numpy()[order].astype(np.float64)
        for name in ("lat_e6", "lon_e6", "heading_cdeg", "speed_cms", "pos_cm")
    }
    vehicles = table["vehicle"].combine_chunks().dictionary_encode().indices.to_numpy()
    lanes = table["lane"].combine_chunks().dictionary_encode()
    edge_lane = [name.rsplit("_", 1) for name in lanes.dictionary.to_pylist()]
    segment = np.array([road_map.index_of(edge) for edge, _ in edge_lane])
    lane = np.array([int(number) for _, number in edge_lane])
    codes = lanes.indices.to_numpy()[order]
    random = np.random.default_rng(seed)
    north_m, east_m = random.normal(0.0, noise_m, (2, len(order)))
    if memory_s > 0.0:
        slot = vehicles[order]
        north_m, east_m = (_faded(axis, slot, times[order], memory_s) for axis in (north_m, east_m))
    lat_deg = column["lat_e6"] * 1e-6
    shrink = np.cos(np.radians(lat_deg))
    lon_deg = column["lon_e6"] * 1e-6
    # SUMO counts headings from the grid's north; a vehicle reports them from true north.
    turn_deg = random.normal(0.0, HEADING_NOISE_DEG, len(order))
    turn_deg += grid_convergence_deg(folder / "net.xml.gz", lat_deg, lon_deg)
    return Trace(
        slot=vehicles[order].astype(np.int32),
        time_s=times[order],
        lat_deg=lat_deg + north_m / METRES_PER_DEGREE,
        lon_deg=lon_deg + east_m / METRES_PER_DEGREE / shrink,
        heading_deg=(column["heading_cdeg"] / 100.0 + turn_deg) % 360.0,
        speed_mps=column["speed_cms"] / 100.0,
        true_segment=segment[codes].astype(np.int32),
        true_lane=lane[codes].astype(np.int32),
        true_offset_m=column["pos_cm"] / 100.0,
    )


def _faded(
    fresh_m: NDArray[np.float64],
    slot: NDArray[np.int32],
    time_s: NDArray[np.int64],
    memory_s: float,
) -> NDArray[np.float64]:
    """AR(1) errors of the same spread as `fresh_m` (n,), one row a vehicle and second, in order."""
    keep = float(np.exp(-1.0 / memory_s))
    errors_m, last_m = fresh_m.copy(), np.full(int(slot.max()) + 1, np.nan)
    cuts = np.flatnonzero(np.diff(time_s)) + 1
    for first, last in pairwise([0, *cuts.tolist(), len(slot)]):
        now, before_m = slot[first:last], last_m[slot[first:last]]
        innovation_m = np.sqrt(1.0 - keep * keep) * fresh_m[first:last]
        goes_on = np.isfinite(before_m)
        errors_m[first:last] = np.where(
            goes_on, keep * before_m + innovation_m, errors_m[first:last]
        )
        last_m[now] = errors_m[first:last]
    return errors_m


def match(matcher: Matcher, trace: Trace, batch_s: int) -> tuple[MatchResult, float]:
    """All matches, in the trace's order, and the CPU seconds they took."""
    cuts = np.flatnonzero(np.diff(trace.time_s // batch_s)) + 1
    bounds = [0, *cuts.tolist(), len(trace.slot)]
    state = matcher.initial()
    sampled_at_ns = trace.time_s * 1_000_000_000
    parts = []
    started = time.process_time()
    for first, last in pairwise(bounds):
        part = slice(first, last)
        parts.append(
            matcher.update(
                state,
                trace.slot[part],
                sampled_at_ns[part],
                trace.lat_deg[part],
                trace.lon_deg[part],
                trace.heading_deg[part],
                trace.speed_mps[part],
            )
        )
    cpu_s = time.process_time() - started
    return MatchResult(*(np.concatenate(column) for column in zip(*parts, strict=True))), cpu_s


def score(road_map: RoadMap, trace: Trace, found: MatchResult, cpu_s: float) -> Score:
    """How often the matches hit the truth."""
    normal = ~road_map.segment_is_internal[trace.true_segment]
    truth, guess = trace.true_segment[normal], found.segment_index[normal]
    right = truth == guess
    offset_m = trace.true_offset_m[normal]
    left_m = road_map.segment_length_m[truth] - offset_m
    size = road_map.n_segments
    ahead = np.repeat(np.arange(size), np.diff(road_map.successor_offsets))
    pairs = ahead * size + road_map.successor_segments
    follows = np.isin(truth.astype(np.int64) * size + guess, pairs) & (left_m < BOUNDARY_M)
    precedes = np.isin(guess.astype(np.int64) * size + truth, pairs) & (offset_m < BOUNDARY_M)
    lanes = right & (found.lane_index[normal] == trace.true_lane[normal])
    return Score(
        rows=int(normal.sum()),
        edges=float(right.mean()),
        edges_adjacent=float((right | follows | precedes).mean()),
        lanes=float(lanes.mean()),
        points_per_cpu_s=len(trace.slot) / max(cpu_s, 1e-9),
    )


def main() -> int:
    """Print the table; 1 if there is no data."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch-s", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--noise-m", type=float, default=POSITION_NOISE_M)
    parser.add_argument("--memory-s", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write = sys.stdout.write
    write("package        batch_s    rows   edges adjacent  lanes points/CPU-s\n")
    for package in PACKAGES:
        folder = data_root() / "traffic" / package
        if not folder.is_dir():
            write(f"{package}: no data at {folder}\n")
            return 1
        road_map = read_map(folder / "net.xml.gz")
        trace = load(folder, road_map, options.seed, options.noise_m, memory_s=options.memory_s)
        for batch_s in options.batch_s:
            got = score(road_map, trace, *match(Matcher(road_map), trace, batch_s))
            write(
                f"{package:14} {batch_s:7} {got.rows:7} {got.edges:7.4f} {got.edges_adjacent:8.4f}"
                f" {got.lanes:6.3f} {got.points_per_cpu_s:12,.0f}\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
