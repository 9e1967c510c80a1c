"""The traffic engine beside SUMO: the same demand and routes, edge by edge; and speed.

    python -m tests.bench.bench_city validate [--data DIR]
    python -m tests.bench.bench_city speed [--vehicles 100000] [--grid 45]

`validate` drives the control runs of the two packages with demand, routes and (in Hamburg) shown
signals taken from their traces, and compares flow and speed of each edge with SUMO's own edge data.
`speed` is `tests.bench.city_speed`: the engine and SUMO's own program on one network in one run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.replay.files import csv_rows
from simulator.traffic.engine import Traffic
from tests.bench import city_speed
from tests.bench.city_replays import Replay, read_replay

FloatArray = NDArray[np.float64]

PACKAGES = ("a39_freeway", "hamburg_urban")
LEAST_LENGTH_M, LEAST_SAMPLED_S = 100.0, 300.0
WARM_UP_S = 60.0
"""Left out at the start: both begin with the same vehicles, not with the same gaps."""


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["validate", "speed", "ours"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/traffic"))
    parser.add_argument("--vehicles", type=int, default=100_000)
    parser.add_argument("--grid", type=int, default=45)
    parser.add_argument("--net", type=Path)
    given = parser.parse_args()
    if given.what == "validate":
        for name in PACKAGES:
            validate(given.data / name)
    elif given.what == "speed":
        city_speed.speed(given.grid, given.vehicles, given.net)
    else:
        city_speed.ours(given.net, given.vehicles)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def validate(package: Path) -> None:
    """Print the table of one package."""
    replay = read_replay(package)
    traffic = replay.traffic()
    sampled_s, driven_m, hits = drive(replay, traffic)
    theirs_s, theirs_m = _edge_data(package / "control_edgedata_60s.csv.gz", replay)
    length_m = replay.network.edge_length_m
    use = (length_m > LEAST_LENGTH_M) & (theirs_s > LEAST_SAMPLED_S) & (sampled_s > 0)
    flow = driven_m[use] / theirs_m[use]
    own, sumo = driven_m[use] / sampled_s[use], theirs_m[use] / theirs_s[use]
    weight = theirs_m[use] / theirs_m[use].sum()
    _say(f"{package.name}: {replay.demand.n} vehicles, {int(use.sum())} edges")
    _say(f"  distance driven, ours / SUMO      {driven_m.sum() / theirs_m.sum():.3f}")
    _say(
        f"  mean speed, ours / SUMO (m/s)     {driven_m.sum() / sampled_s.sum():.2f}"
        f" / {theirs_m.sum() / theirs_s.sum():.2f}"
    )
    _say(
        f"  flow of edges, mean error         {float((np.abs(flow - 1) * weight).sum()):.1%}"
        f" (median {float(np.median(np.abs(flow - 1))):.1%})"
    )
    error = np.abs(own - sumo) / sumo
    _say(
        f"  speed of edges, mean error        {float((error * weight).sum()):.1%}"
        f" (median {float(np.median(error)):.1%})"
    )
    _say(
        f"  arrived {len(traffic.arrived)}, still waiting to enter {traffic.n_waiting},"
        f" overlaps {hits}, standing for 2 min {int((traffic.rows.waited_s > 120).sum())}"
    )


def drive(replay: Replay, traffic: Traffic) -> tuple[FloatArray, FloatArray, int]:
    """Vehicle seconds and metres on each edge after the warm-up, and overlapping pairs seen."""
    network = replay.network
    sampled_s, driven_m = np.zeros(network.n_edges), np.zeros(network.n_edges)
    hits = 0
    while traffic.now_s < replay.last_s:
        traffic.step()
        rows = traffic.rows
        same = rows.lane[1:] == rows.lane[:-1]
        hits += int(((rows.offset_m[1:] - rows.length_m[1:] < rows.offset_m[:-1]) & same).sum())
        if traffic.now_s <= replay.first_s + WARM_UP_S:
            continue
        edge = network.lane_edge[rows.lane]
        on = edge >= 0
        sampled_s += traffic.dt_s * np.bincount(edge[on], minlength=network.n_edges)
        driven_m += traffic.dt_s * np.bincount(
            edge[on], weights=rows.speed_mps[on], minlength=network.n_edges
        )
    return sampled_s, driven_m, hits


def _edge_data(path: Path, replay: Replay) -> tuple[FloatArray, FloatArray]:
    network = replay.network
    sampled_s, driven_m = np.zeros(network.n_edges), np.zeros(network.n_edges)
    number = {name: edge for edge, name in enumerate(network.edge_ids)}
    for row in csv_rows(path):
        begin_s, end_s = float(row["begin_s"]), float(row["end_s"])
        in_time = begin_s >= replay.first_s + WARM_UP_S and end_s <= replay.last_s + 1.0
        if row["edge"] in number and in_time:
            sampled_s[number[row["edge"]]] += float(row["sampled_s"])
            driven_m[number[row["edge"]]] += float(row["distance_m"])
    return sampled_s, driven_m


if __name__ == "__main__":
    main()
