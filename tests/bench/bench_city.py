"""The traffic engine beside SUMO: the same demand and routes, edge by edge; and speed.

    python -m tests.bench.bench_city validate [--data DIR]
    python -m tests.bench.bench_city speed [--vehicles 100000] [--grid 45] [--steps 60]

`validate` drives the control runs of the two packages with demand, routes and (in Hamburg) shown
signals taken from their traces, and compares flow and speed of each edge with SUMO's own edge data.
`speed` makes a grid by SUMO's netgenerate, fills it, and steps it by ours and by SUMO's program
(pip install eclipse-sumo), each in CPU time of its own process, in one run.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openvrc.mapformats import read_map
from simulator.replay.files import csv_rows
from simulator.traffic.demand import KINDS, demand_of
from simulator.traffic.engine import Traffic
from simulator.traffic.from_sumo import read_sumo
from simulator.traffic.plans import Plans
from tests.bench.city_replays import Replay, read_replay

FloatArray = NDArray[np.float64]

LEAST_SHARE = 0.5
"""Of the shorter run that the longer one must add, or their difference is noise."""
PACKAGES = ("a39_freeway", "hamburg_urban")
LEAST_LENGTH_M, LEAST_SAMPLED_S = 100.0, 300.0
WARM_UP_S = 60.0
"""Left out at the start: both begin with the same vehicles, not with the same gaps."""
UTM = "+proj=utm +zone=32 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["validate", "speed", "speed-of-ours"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/traffic"))
    parser.add_argument("--vehicles", type=int, default=100_000)
    parser.add_argument("--grid", type=int, default=45)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--net", type=Path)
    given = parser.parse_args()
    if given.what == "validate":
        for name in PACKAGES:
            validate(given.data / name)
    elif given.what == "speed":
        speed(given.grid, given.vehicles, given.steps, given.net)
    else:
        speed_of_ours(given.net, given.vehicles, given.steps)


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


def speed(grid: int, vehicles: int, steps: int, net: Path | None) -> None:
    """Ours and SUMO's program on the same network with as many vehicles, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        path = net or make_grid(grid, Path(folder))
        subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.bench.bench_city",
                "speed-of-ours",
                "--net",
                str(path),
                "--vehicles",
                str(vehicles),
                "--steps",
                str(steps),
            ],
            check=True,
        )
        speed_of_sumo(path, vehicles, steps, Path(folder))


def make_grid(n: int, folder: Path) -> Path:
    """A grid of n x n signalled junctions 300 m apart, two lanes each way."""
    path = folder / "grid.net.xml"
    subprocess.run(
        [
            _sumo("netgenerate"),
            "--grid",
            "--grid.number",
            str(n),
            "--grid.length",
            "300",
            "--default.lanenumber",
            "2",
            "--default-junction-type",
            "traffic_light",
            "--tls.guess",
            "--no-turnarounds",
            "-o",
            str(path),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    text = path.read_text()
    start = text.index("<location ")
    end = text.index("/>", start)
    location = (
        f'<location netOffset="-500000.00,-5800000.00" convBoundary="0,0,1,1" '
        f'origBoundary="0,0,1,1" projParameter="{UTM}"'
    )
    path.write_text(text[:start] + location + text[end:])
    return path


def speed_of_ours(net: Path, vehicles: int, steps: int) -> None:
    """Updates per CPU-second with every vehicle's x, y and course at each step."""
    network = read_sumo(net)
    plans = Plans(network)
    random = np.random.default_rng(1)
    rows = plans.to_edges(random.choice(network.n_edges, min(100, network.n_edges), replace=False))
    n = vehicles
    demand = demand_of(
        np.zeros(n),
        np.zeros(n, np.int64),
        rows[random.integers(0, len(rows), n)],
        random.choice(4, n, p=[0.9, 0.05, 0.01, 0.04]),
        1,
        tuple(KINDS.values()),
    )
    traffic = Traffic(network, plans, demand)
    traffic.fill(np.arange(n), 1)
    for _ in range(steps):
        traffic.step()
    before, cpu_s = traffic.n_updates, time.process_time()
    for _ in range(steps):
        traffic.step()
        traffic.places()
    cpu_s, done = time.process_time() - cpu_s, traffic.n_updates - before
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _say(
        f"ours: {done / cpu_s:,.0f} updates per CPU-second, {traffic.rows.n} vehicles at "
        f"{traffic.rows.speed_mps.mean():.1f} m/s, {network.n_lanes} lanes,"
        f" {memory_mb:.0f} MB"
    )


def speed_of_sumo(net: Path, vehicles: int, steps: int, folder: Path) -> None:
    """The same for SUMO's program, less what a run of one step costs (loading)."""
    edges = _edge_ids(net)
    random = np.random.default_rng(1)
    goals = random.choice(len(edges), 100, replace=False)
    trips = folder / "trips.rou.xml"
    lines = ["<routes>"]
    for number in range(vehicles):
        start, goal = edges[number % len(edges)], edges[int(goals[random.integers(100)])]
        lines.append(
            f'<trip id="{number}" depart="0" departPos="random_free" departLane="best" '
            f'from="{start}" to="{goal}"/>'
        )
    trips.write_text("\n".join([*lines, "</routes>"]))
    costs = []
    for n_steps in (steps, 2 * steps):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        output = subprocess.run(
            [
                _sumo("sumo"),
                "-n",
                str(net),
                "-r",
                str(trips),
                "--end",
                str(n_steps),
                "--no-step-log",
                "--no-warnings",
                "--duration-log.statistics",
                "--step-length",
                "1",
                "--time-to-teleport",
                "-1",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        running = next(
            int(line.split()[1])
            for line in output.splitlines()
            if line.strip().startswith("Running:")
        )
        costs.append((cpu_s, running))
    cpu_s = costs[1][0] - costs[0][0]
    mean = (costs[0][1] + costs[1][1]) / 2
    if cpu_s < LEAST_SHARE * costs[0][0]:
        _say(
            f"SUMO: not told, loading dominates ({costs[0][0]:.1f} and {costs[1][0]:.1f} s); longer"
        )
        return
    _say(f"SUMO: {steps * mean / cpu_s:,.0f} updates per CPU-second, {mean:.0f} vehicles")


def _edge_ids(net: Path) -> list[str]:
    road_map = read_map(net)
    return [
        name
        for name, inner in zip(road_map.segment_ids, road_map.segment_is_internal, strict=True)
        if not inner
    ]


def _sumo(program: str) -> str:
    import sumo

    return str(Path(os.environ.get("SUMO_HOME", Path(sumo.__file__).parent)) / "bin" / program)


if __name__ == "__main__":
    main()
