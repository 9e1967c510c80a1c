"""How many vehicles a CPU-second moves: our engine, and SUMO's own program beside it.

Both get one network (a grid of signalled junctions by SUMO's netgenerate), the same vehicles at
the same places, standing, with the same routes, and are driven for `UNTIL_S`; the first `FROM_S`
are not counted. Ours works out every vehicle's x, y and course at every step of 0.5 s; SUMO runs
its step of 1 s without any output, and what a run up to `FROM_S` costs (loading, insertion) is
taken off. CPU time, user and system, of a process for each.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from simulator.traffic.demand import KINDS, demand_of
from simulator.traffic.engine import Traffic
from simulator.traffic.from_sumo import read_sumo
from simulator.traffic.plans import Plans

FROM_S, UNTIL_S = 30, 90
GOALS = 100
LONGEST_ROUTE = 400
STANDING_MPS = 0.1
UTM = "+proj=utm +zone=32 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"


@dataclass(frozen=True)
class Cost:
    """What a run came to."""

    updates: float
    cpu_s: float

    @property
    def per_cpu_s(self) -> float:
        """Vehicle updates per CPU-second."""
        return self.updates / self.cpu_s


def speed(grid: int, vehicles: int, net: Path | None) -> None:
    """Ours and SUMO's program one after the other, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = net or make_grid(grid, folder)
        words = [sys.executable, "-m", "tests.bench.bench_city", "ours", "--net", str(path)]
        output = subprocess.run(
            [*words, "--vehicles", str(vehicles)], check=True, capture_output=True, text=True
        ).stdout
        _say(output.strip())
        own = float(output.split()[1].replace(",", ""))
        theirs = of_sumo(path, vehicles, folder)
        ratio = own / theirs.per_cpu_s
        _say(f"SUMO: {theirs.per_cpu_s:,.0f} updates per CPU-second; ratio {ratio:.1f}")


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


def filled(net: Path, vehicles: int) -> Traffic:
    """The vehicles at their first places, each to one of `GOALS` edges."""
    network = read_sumo(net)
    plans = Plans(network)
    random = np.random.default_rng(1)
    goals = random.choice(network.n_edges, min(GOALS, network.n_edges), replace=False)
    rows = plans.to_edges(goals)
    demand = demand_of(
        np.zeros(vehicles),
        np.zeros(vehicles, np.int64),
        rows[random.integers(0, len(rows), vehicles)],
        random.choice(4, vehicles, p=[0.9, 0.05, 0.01, 0.04]),
        1,
        tuple(KINDS.values()),
    )
    traffic = Traffic(network, plans, demand)
    traffic.fill(np.arange(vehicles), 1)
    return traffic


def ours(net: Path, vehicles: int) -> None:
    """Updates per CPU-second with every vehicle's x, y and course at each step."""
    traffic = filled(net, vehicles)
    read_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    while traffic.now_s < FROM_S:
        traffic.step()
    traffic.places()
    before, began_s = traffic.n_updates, time.process_time()
    while traffic.now_s < UNTIL_S:
        traffic.step()
        traffic.places()
    cost = Cost(traffic.n_updates - before, time.process_time() - began_s)
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    speed_mps = traffic.rows.speed_mps
    _say(
        f"ours: {cost.per_cpu_s:,.0f} updates per CPU-second, {traffic.rows.n} vehicles at "
        f"{speed_mps.mean():.1f} m/s, {(speed_mps < STANDING_MPS).mean():.0%} standing, "
        f"{traffic.network.n_lanes} lanes; at most {memory_mb:.0f} MB ({read_mb:.0f} once read)"
    )


def of_sumo(net: Path, vehicles: int, folder: Path) -> Cost:
    """The same by SUMO's program: a run to `UNTIL_S` less one to `FROM_S`."""
    routes = folder / "fill.rou.xml"
    write_routes(filled(net, vehicles), routes)
    short, long = (_run(net, routes, end_s) for end_s in (FROM_S, UNTIL_S))
    mean = (short.updates + long.updates) / 2
    return Cost((UNTIL_S - FROM_S) * mean, long.cpu_s - short.cpu_s)


def write_routes(traffic: Traffic, path: Path) -> None:
    """Everybody's place and route as SUMO's vehicles."""
    network, rows, plans = traffic.network, traffic.rows, traffic.plans
    lines = ["<routes>"]
    for row in range(rows.n):
        lane, plan = int(rows.lane[row]), int(rows.plan[row])
        route = [int(network.lane_edge[lane])]
        while len(route) < LONGEST_ROUTE and plans.next_edge[plan, route[-1]] >= 0:
            route.append(int(plans.next_edge[plan, route[-1]]))
        edges = quoteattr(" ".join(network.edge_ids[edge] for edge in route))
        lines.append(
            f'<vehicle id="{row}" depart="0" departLane="{network.lane_index[lane]}" '
            f'departPos="{rows.offset_m[row]:.2f}" departSpeed="0"><route edges={edges}/></vehicle>'
        )
    path.write_text("\n".join([*lines, "</routes>"]))


def _run(net: Path, routes: Path, end_s: int) -> Cost:
    """CPU time of a run, and in `updates` how many vehicles are on the road at its end."""
    words = ["--no-step-log", "--no-warnings", "--duration-log.statistics"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(
        [_sumo("sumo"), "-n", str(net), "-r", str(routes), "--end", str(end_s), *words,
         "--step-length", "1", "--time-to-teleport", "-1"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = next(
        int(line.split()[1]) for line in output.splitlines() if line.strip().startswith("Running:")
    )
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(running, cpu_s)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _sumo(program: str) -> str:
    import sumo

    return str(Path(os.environ.get("SUMO_HOME", Path(sumo.__file__).parent)) / "bin" / program)
