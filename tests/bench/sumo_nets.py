"""The networks and the demand of `tests.bench.sumo_worlds`; each one is made, none is a real place.

grid: 6 x 6 signals with turn lanes. blocks: 7 x 7 actuated signals, one lane, 120 m apart. random:
priority junctions, one to three lanes. spider: rings and arms, right before left, one lane.
boulevard: five signals on three lanes, side streets, buses that stop on the right lane.
roundabouts: three of them on a road of two lanes. motorway: three lanes, ramps and weaving lanes.
bottleneck: three lanes become two behind a ramp. A tenth of the vehicles are trucks.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

END_S = 900
Run = Callable[..., None]
Flow = tuple[str, str, float]
"""First edge, last edge, vehicles an hour."""


@dataclass(frozen=True)
class Tools:
    """SUMO's programs."""

    run: Run
    scripts: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Network:
    """How a world's net and its trips are made."""

    make_net: Callable[[Path, Run], None]
    make_trips: Callable[[Path, Tools, int], str]
    """Folder with `net.xml`, tools, seed: the text of a route file."""


def generated(*options: str) -> Callable[[Path, Run], None]:
    """A net by netgenerate."""

    def make(net: Path, run: Run) -> None:
        run("netgenerate", *options, "-o", str(net))

    return make


def drawn(nodes: str, edges: str, *options: str) -> Callable[[Path, Run], None]:
    """A net from nodes and edges."""

    def make(net: Path, run: Run) -> None:
        names = net.parent / "nodes.xml", net.parent / "edges.xml"
        for path, tag, text in zip(names, ("nodes", "edges"), (nodes, edges), strict=True):
            path.write_text(f"<{tag}>{text}</{tag}>")
        run("netconvert", "-n", str(names[0]), "-e", str(names[1]), *options, "-o", str(net))
        for path in names:
            path.unlink()

    return make


def random_trips(period_s: float) -> Callable[[Path, Tools, int], str]:
    """Anywhere to anywhere, mostly across the net's edge; one trip each `period_s`."""

    def make(folder: Path, tools: Tools, seed: int) -> str:
        out = folder / "random.xml"
        command = [sys.executable, str(tools.scripts / "randomTrips.py")]
        command += [
            "-n",
            str((folder / "net.xml").resolve()),
            "-o",
            str(out.resolve()),
            "-p",
            str(period_s),
        ]
        command += ["-e", str(END_S), "--fringe-factor", "4", "--seed", str(seed)]
        command += ["--min-distance", "500", "--trip-attributes", 'type="car" departLane="best"']
        environment = dict(tools.environment)
        subprocess.run(command, check=True, env=environment, capture_output=True, cwd=folder)
        (folder / "routes.rou.xml").unlink(missing_ok=True)  # the script's own by-product
        first, *others = out.read_text().split('type="car"')
        out.unlink()
        kinds = ("truck" if n % 10 == 0 else "car" for n in range(len(others)))
        return first + "".join(
            f'type="{kind}"{line}' for kind, line in zip(kinds, others, strict=True)
        )

    return make


def flows(rows: Sequence[Flow], buses: str = "") -> Callable[[Path, Tools, int], str]:
    """Steady streams, and the text of bus lines."""

    def make(_folder: Path, _tools: Tools, _seed: int) -> str:
        text = "".join(
            f'<flow id="f{n}{kind}" type="{kind}" begin="0" end="{END_S}" from="{start}" '
            f'to="{end}" probability="{per_hour * share / 3600.0:.5f}" departSpeed="max" '
            'departLane="best"/>'
            for n, (start, end, per_hour) in enumerate(rows)
            for kind, share in (("car", 0.9), ("truck", 0.1))
        )
        return f"<routes>{buses}{text}</routes>"

    return make


def _node(name: str, x_m: float, y_m: float, kind: str = "priority") -> str:
    return f'<node id="{name}" x="{x_m:.1f}" y="{y_m:.1f}" type="{kind}"/>'


def _edge(
    start: str, end: str, lanes: int, speed_mps: float, name: str = "", more: str = ""
) -> str:
    name = name or f"{start}_{end}"
    return (
        f'<edge id="{name}" from="{start}" to="{end}" priority="{lanes}" numLanes="{lanes}" '
        f'speed="{speed_mps}" {more}/>'
    )


def _motorway() -> Network:
    """One carriageway of 8 km."""
    nodes = "".join(_node(f"m{n}", n * 900, 0) for n in range(10))
    edges, rows = "", [("main0", "main8", 3300.0)]
    for n in range(9):
        weaves = n % 3 == 1
        edges += _edge(
            f"m{n}", f"m{n + 1}", 4 if weaves else 3, 36.1 if n % 2 else 27.8, f"main{n}"
        )
        if weaves:
            nodes += _node(f"on{n}", n * 900 - 400, -90) + _node(f"off{n}", n * 900 + 1300, -90)
            edges += _edge(f"on{n}", f"m{n}", 1, 22.2, f"ramp{n}")
            edges += _edge(f"m{n + 1}", f"off{n}", 1, 22.2, f"exit{n}")
            rows += [(f"ramp{n}", "main8", 450.0), ("main0", f"exit{n}", 400.0)]
    return Network(drawn(nodes, edges, "--no-turnarounds"), flows(rows))


def _bottleneck() -> Network:
    """Five kilometres; a ramp joins, then a lane ends: both jam every day."""
    nodes = "".join(
        _node(f"b{n}", n * 1000, 0, "zipper" if n == 3 else "priority") for n in range(6)
    )
    nodes += _node("ramp", 1600, -120)
    lanes = (3, 3, 3, 2, 2)
    edges = "".join(_edge(f"b{n}", f"b{n + 1}", lanes[n], 27.8, f"main{n}") for n in range(5))
    edges += _edge("ramp", "b2", 1, 19.4, "join")
    rows = [("main0", "main4", 2700.0), ("join", "main4", 550.0)]
    return Network(drawn(nodes, edges, "--no-turnarounds"), flows(rows))


def _boulevard() -> Network:
    """Two kilometres of three lanes each way, a signal each 350 m."""
    nodes = edges = stops = ""
    rows: list[Flow] = []
    for n in range(7):
        nodes += _node(f"a{n}", n * 350, 0, "traffic_light" if 0 < n < 6 else "priority")
    for n in range(6):
        edges += _edge(f"a{n}", f"a{n + 1}", 3, 16.7) + _edge(f"a{n + 1}", f"a{n}", 3, 16.7)
    for n in range(1, 6):
        for side, y_m in (("n", 220), ("s", -220)):
            nodes += _node(f"{side}{n}", n * 350, y_m)
            edges += _edge(f"{side}{n}", f"a{n}", 1, 13.9) + _edge(f"a{n}", f"{side}{n}", 1, 13.9)
            rows += [(f"{side}{n}_a{n}", "a5_a6", 60.0), (f"{side}{n}_a{n}", "a1_a0", 60.0)]
            rows += [("a0_a1", f"a{n}_{side}{n}", 50.0), ("a6_a5", f"a{n}_{side}{n}", 50.0)]
        rows += [(f"n{n}_a{n}", f"a{n}_s{n}", 120.0), (f"s{n}_a{n}", f"a{n}_n{n}", 120.0)]
    rows += [("a0_a1", "a5_a6", 1100.0), ("a6_a5", "a1_a0", 1000.0)]
    for n in range(1, 5):
        stops += f'<stop lane="a{n}_a{n + 1}_0" endPos="140" duration="{20 + 10 * n}"/>'
    there = " ".join(f"a{n}_a{n + 1}" for n in range(6))
    line = f'<route id="line" edges="{there}">{stops}</route>'
    line += f'<flow id="bus" type="bus" route="line" begin="0" end="{END_S}" period="75"/>'
    turns = "--no-turnarounds"
    return Network(drawn(nodes, edges, turns, "--tls.guess-signals"), flows(rows, line))


def _roundabouts() -> Network:
    """Three roundabouts of two lanes and 25 m, 400 m apart, each with two side roads."""
    nodes = edges = ""
    rows: list[Flow] = []
    for n in range(3):
        for k, (word, angle) in enumerate((("e", 0), ("n", 90), ("w", 180), ("s", 270))):
            x_m, y_m = math.cos(math.radians(angle)) * 25, math.sin(math.radians(angle)) * 25
            nodes += _node(f"r{n}{word}", n * 450 + x_m, y_m)
            following = "enws"["enws".index(word) + 1 - 4 if k == 3 else k + 1]
            edges += _edge(
                f"r{n}{word}", f"r{n}{following}", 2, 8.3, f"ring{n}{word}", 'type="ring"'
            )
        for word, y_m in (("n", 250.0), ("s", -250.0)):
            nodes += _node(f"x{n}{word}", n * 450, y_m)
            edges += _edge(f"x{n}{word}", f"r{n}{word}", 1, 13.9) + _edge(
                f"r{n}{word}", f"x{n}{word}", 1, 13.9
            )
            rows += [
                (f"x{n}{word}_r{n}{word}", "r2e_east", 70.0),
                ("west_r0w", f"r{n}{word}_x{n}{word}", 60.0),
            ]
            rows += [
                (f"x{n}{word}_r{n}{word}", "r0w_west", 70.0),
                ("east_r2e", f"r{n}{word}_x{n}{word}", 60.0),
            ]
    nodes += _node("west", -450, 0) + _node("east", 1350, 0)
    for one, two in (("west", "r0w"), ("r0e", "r1w"), ("r1e", "r2w"), ("r2e", "east")):
        edges += _edge(one, two, 2, 13.9) + _edge(two, one, 2, 13.9)
    rows += [("west_r0w", "r2e_east", 500.0), ("east_r2e", "r0w_west", 450.0)]
    return Network(drawn(nodes, edges, "--no-turnarounds", "--roundabouts.guess"), flows(rows))


NETWORKS: dict[str, Network] = {
    "grid": Network(
        generated("--grid", "--grid.number", "6", "--grid.length", "260",
                  "--default.lanenumber", "2", "--turn-lanes", "1", "--turn-lanes.length", "50",
                  "--default-junction-type", "traffic_light"),
        random_trips(0.8),
    ),
    "blocks": Network(
        generated("--grid", "--grid.number", "7", "--grid.length", "120", "--tls.default-type",
                  "actuated", "--default-junction-type", "traffic_light"),
        random_trips(1.3),
    ),
    "random": Network(
        generated("--rand", "--rand.iterations", "70", "--seed", "11", "--rand.min-distance", "180",
                  "--rand.max-distance", "420", "--default.lanenumber", "3",
                  "--rand.random-lanenumber", "--rand.random-priority"),
        random_trips(0.9),
    ),
    "spider": Network(
        generated("--spider", "--spider.arm-number", "7", "--spider.circle-number", "3",
                  "--spider.space-radius", "230", "--spider.attach-length", "300",
                  "--default-junction-type", "right_before_left"),
        random_trips(1.6),
    ),
    "boulevard": _boulevard(),
    "roundabouts": _roundabouts(),
    "motorway": _motorway(),
    "bottleneck": _bottleneck(),
}  # fmt: skip
