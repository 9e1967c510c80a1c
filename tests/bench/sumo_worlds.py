"""Traffic worlds nobody tuned a rule to: made with SUMO, each with events and a control run.

    python -m tests.bench.sumo_worlds OUT [--sumo BIN] [--only grid motorway] [--seed 7]

Needs Eclipse SUMO (its wheel's `bin` on the PATH or given), which is not a dependency of the
project. A world is a folder like a package of the shared data: `net.xml.gz`, `fcd.parquet`,
`control_fcd.parquet` (same seed, no events) and `events.json`. `bench_traffic --worlds OUT`
judges the rules on them.

grid: 6 x 6 signals, turn lanes. random: priority junctions, one to three lanes. motorway: three
lanes, ramps every 1.5 km with weaving lanes. Demand is synthetic, a tenth are trucks.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyproj import Transformer

BEGIN_S, END_S = 200, 1100
EVENT_S = (350, 430, 510, 590)  # begins; all last 240 s
LASTS_S = 240
PROJECTION = "+proj=utm +zone=32 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"
OFFSET_M = (-565000.0, -5930000.0)  # somewhere in the zone's middle latitudes
TYPES = """<vType id="car" vClass="passenger" speedDev="0.1"/>
<vType id="truck" vClass="truck" speedDev="0.05"/>
<vType id="slow" vClass="passenger" maxSpeed="4"/>"""


@dataclass(frozen=True)
class Edge:
    """A drivable edge of a net."""

    id: str
    lanes: int
    length_m: float
    speed_mps: float
    next: str


def generate_grid(out: Path, run: Callable[..., None]) -> None:
    """A town of signals."""
    run("netgenerate", "--grid", "--grid.number", "6", "--grid.length", "260",
        "--default.lanenumber", "2", "--turn-lanes", "1", "--turn-lanes.length", "50",
        "--default-junction-type", "traffic_light", "-o", str(out))  # fmt: skip


def generate_random(out: Path, run: Callable[..., None]) -> None:
    """A suburb of priority junctions."""
    run("netgenerate", "--rand", "--rand.iterations", "70", "--seed", "11",
        "--rand.min-distance", "180", "--rand.max-distance", "420",
        "--default.lanenumber", "3", "--rand.random-lanenumber", "--rand.random-priority",
        "-o", str(out))  # fmt: skip


def generate_motorway(out: Path, run: Callable[..., None]) -> None:
    """One carriageway of 9 km with ramps and weaving lanes."""
    nodes, edges = [], []
    for number in range(10):
        kind = "priority"
        nodes.append(f'<node id="m{number}" x="{number * 900}" y="0" type="{kind}"/>')
    for number in range(9):
        weaving = number % 3 == 1
        edges.append(
            f'<edge id="main{number}" from="m{number}" to="m{number + 1}" priority="9" '
            f'numLanes="{4 if weaving else 3}" speed="{36.1 if number % 2 else 27.8}"/>'
        )
        if weaving:
            nodes.append(f'<node id="on{number}" x="{number * 900 - 400}" y="-90"/>')
            nodes.append(f'<node id="off{number}" x="{number * 900 + 1300}" y="-90"/>')
            edges.append(
                f'<edge id="ramp{number}" from="on{number}" to="m{number}" priority="5" '
                f'numLanes="1" speed="22.2"/><edge id="exit{number}" from="m{number + 1}" '
                f'to="off{number}" priority="5" numLanes="1" speed="22.2"/>'
            )
    folder = out.parent
    (folder / "nodes.xml").write_text(f"<nodes>{''.join(nodes)}</nodes>")
    (folder / "edges.xml").write_text(f"<edges>{''.join(edges)}</edges>")
    run("netconvert", "-n", str(folder / "nodes.xml"), "-e", str(folder / "edges.xml"),
        "--no-turnarounds", "-o", str(out))  # fmt: skip


GENERATORS = {"grid": generate_grid, "random": generate_random, "motorway": generate_motorway}
PERIOD_S = {"grid": 0.75, "random": 0.9, "motorway": 0.0}


def edges_of(net: Path) -> list[Edge]:
    """Drivable edges with the edge most likely driven next, in order of id."""
    text = net.read_text()
    follows: dict[str, str] = {}
    for source, target in re.findall(r'<connection from="([^":][^"]*)" to="([^"]+)"', text):
        follows.setdefault(source, target)
    found = []
    for edge_id, body in re.findall(r'<edge id="([^":][^"]*)"[^>]*>(.*?)</edge>', text, re.DOTALL):
        lanes = re.findall(r'<lane [^>]*speed="([\d.]+)" length="([\d.]+)"', body)
        if lanes and edge_id in follows:
            speed, length = lanes[0]
            found.append(Edge(edge_id, len(lanes), float(length), float(speed), follows[edge_id]))
    return sorted(found, key=lambda e: e.id)


def events_of(edges: list[Edge]) -> list[dict[str, Any]]:
    """Two vehicles that stop, one that is slow and a closed lane, spread over the net."""
    usable = [e for e in edges if e.lanes >= 2 and e.length_m > 150.0]
    chosen = usable[:: max(len(usable) // len(EVENT_S), 1)][: len(EVENT_S)]
    kinds = ("stopped_vehicle", "slow_vehicle", "stopped_vehicle", "lane_closure")
    return [
        {"id": f"W{number}", "type": kind, "start_t": start_s, "end_t": start_s + LASTS_S,
         "edge": edge.id, "next": edge.next, "lanes": [number % 2], "pos_m": edge.length_m * 0.5,
         "vehicles": [] if kind == "lane_closure" else [f"event{number}"]}
        for number, (kind, start_s, edge) in enumerate(zip(kinds, EVENT_S, chosen, strict=False))
    ]  # fmt: skip


def demand(name: str, folder: Path, tools: Path, seed: int, environment: dict[str, str]) -> Path:
    """Trips of everybody but the events."""
    out = folder / "trips.xml"
    if name == "motorway":
        flows = []
        for number, (start, end, per_hour) in enumerate(
            [("main0", "main8", 3300)]
            + [(f"ramp{n}", "main8", 450) for n in (1, 4, 7)]
            + [("main0", f"exit{n}", 400) for n in (1, 4, 7)]
        ):
            flows += [
                f'<flow id="f{number}{kind}" type="{kind}" begin="0" end="{END_S}" from="{start}" '
                f'to="{end}" vehsPerHour="{per_hour * share:.0f}" departSpeed="max" '
                'departLane="best"/>'
                for kind, share in (("car", 0.9), ("truck", 0.1))
            ]
        out.write_text(f"<routes>{''.join(flows)}</routes>")
        return out
    subprocess.run(
        [sys.executable, str(tools / "randomTrips.py"), "-n", str(folder / "net.xml"), "-o",
         str(out), "-p", str(PERIOD_S[name]), "-e", str(END_S), "--fringe-factor", "4", "--seed",
         str(seed), "--min-distance", "600", "--trip-attributes", 'type="car" departLane="best"'],
        check=True, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)  # fmt: skip
    lines = out.read_text().split('type="car"')  # every tenth a truck
    text = lines[0] + "".join(
        ('type="truck"' if n % 10 == 0 else 'type="car"') + line for n, line in enumerate(lines[1:])
    )
    out.write_text(text)
    return out


def event_trips(folder: Path, events: list[dict[str, Any]]) -> tuple[Path, Path]:
    """Trips of the vehicles in events, and the closures."""
    trips, closures = [], []
    for event in events:
        lane = f"{event['edge']}_{event['lanes'][0]}"
        if event["type"] == "lane_closure":
            closures.append(
                f'<rerouter id="{event["id"]}" edges="{event["edge"]}"><interval '
                f'begin="{event["start_t"]}" end="{event["end_t"]}"><closingLaneReroute '
                f'id="{lane}" disallow="all"/></interval></rerouter>'
            )
            continue
        stops = event["type"] == "stopped_vehicle"
        stop = f'<stop lane="{lane}" endPos="{event["pos_m"]:.1f}" duration="{LASTS_S}"/>'
        trips.append(
            f'<trip id="{event["vehicles"][0]}" type="{"car" if stops else "slow"}" '
            f'depart="{event["start_t"]}" from="{event["edge"]}" to="{event["next"]}" '
            f'departLane="{event["lanes"][0]}" departPos="{20 if stops else 0}" '
            f'departSpeed="{"desired" if stops else 0}">{stop if stops else ""}</trip>'
        )
    paths = folder / "events.rou.xml", folder / "events.add.xml"
    paths[0].write_text(f"<routes>{''.join(trips)}</routes>")
    paths[1].write_text(f"<additional>{''.join(closures)}</additional>")
    return paths


ROW = re.compile(
    r'<vehicle id="([^"]+)" x="([-\d.]+)" y="([-\d.]+)" angle="([-\d.]+)" type="([^"]+)" '
    r'speed="([-\d.]+)" pos="([-\d.]+)" lane="([^"]+)"[^>]*?signals="(\d+)" '
    r'acceleration="([-\d.]+)"'
)


def rows_of(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Time and fields of each row of SUMO's FCD output."""
    time_s = 0
    with path.open() as lines:
        for line in lines:
            if "<timestep" in line:
                time_s = round(float(line.split('"')[1]))
            elif (match := ROW.search(line)) is not None:
                yield time_s, match.groups()


def write_parquet(fcd: Path, out: Path) -> None:
    """FCD in the shared data's columns."""
    columns: dict[str, list[Any]] = defaultdict(list)
    to_lon_lat = Transformer.from_crs(PROJECTION, "EPSG:4326", always_xy=True)
    for time_s, row in rows_of(fcd):
        vehicle, x_m, y_m, angle, kind, speed, along, lane, signals, accel = row
        columns["time_s"].append(time_s)
        columns["vehicle"].append(vehicle)
        columns["type"].append("car" if kind == "slow" else kind)
        columns["lane"].append(lane)
        columns["x"].append(float(x_m))
        columns["y"].append(float(y_m))
        columns["pos_cm"].append(round(float(along) * 100))
        columns["speed_cms"].append(round(float(speed) * 100))
        columns["heading_cdeg"].append(round(float(angle) * 100))
        columns["accel_cms2"].append(round(float(accel) * 100))
        columns["signals"].append(int(signals))
    x, y = columns.pop("x"), columns.pop("y")
    lon, lat = to_lon_lat.transform([v - OFFSET_M[0] for v in x], [v - OFFSET_M[1] for v in y])
    columns["lon_e6"] = [round(v * 1e6) for v in lon]
    columns["lat_e6"] = [round(v * 1e6) for v in lat]
    pq.write_table(pa.table(dict(columns)), out, compression="zstd")


def settle(events: list[dict[str, Any]], fcd: Path) -> list[dict[str, Any]]:
    """Where and from when to when each event was, by what its vehicle really did."""
    rows: dict[str, list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    for time_s, row in rows_of(fcd):
        if row[0].startswith("event"):
            rows[row[0]].append((time_s, row))
    for event in events:
        if not event["vehicles"]:
            continue
        mine = [(t, r) for t, r in rows[event["vehicles"][0]] if r[7].startswith(event["edge"])]
        if event["type"] == "stopped_vehicle":
            mine = [(t, r) for t, r in mine if float(r[5]) < 0.1]
        if mine:
            event["start_t"], event["end_t"] = mine[0][0], mine[-1][0]
            event["x"], event["y"] = float(mine[0][1][1]), float(mine[0][1][2])
    return events


def make(name: str, out: Path, bin_folder: Path, seed: int) -> None:
    """One world into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    home = bin_folder.parent
    for place in home.glob("lib/python*/site-packages/sumo"):
        home = place
    environment = os.environ | {"SUMO_HOME": str(home)}

    def run(tool: str, *arguments: str) -> None:
        command = [str(bin_folder / tool), *arguments]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)

    net = out / "net.xml"
    GENERATORS[name](net, run)
    located = re.sub(r'projParameter="[^"]*"', f'projParameter="{PROJECTION}"', net.read_text())
    offset = f'netOffset="{OFFSET_M[0]},{OFFSET_M[1]}"'
    net.write_text(re.sub(r'netOffset="[^"]*"', offset, located, count=1))
    events = events_of(edges_of(net))
    trips = demand(name, out, home / "tools", seed, environment)
    (out / "types.xml").write_text(f"<routes>{TYPES}</routes>")
    event_routes, closures = event_trips(out, events)
    for file, routes, more in (
        ("control_fcd", [trips], []),
        ("fcd", [trips, event_routes], ["-a", f"{out / 'types.xml'},{closures}"]),
    ):
        fcd = out / f"{file}.xml"
        files = ",".join(str(p) for p in routes)
        run("sumo", "-n", str(net), "-r", files, *(more or ["-a", str(out / "types.xml")]),
            "--end", str(END_S), "--seed", str(seed), "--step-length", "1", "--no-step-log",
            "--no-warnings", "--time-to-teleport", "600", "--fcd-output", str(fcd),
            "--device.fcd.begin", str(BEGIN_S), "--fcd-output.attributes",
            "x,y,angle,type,speed,pos,lane,signals,acceleration",
            "--precision", "2")  # fmt: skip
        if file == "fcd":
            write_events(out, settle(events, fcd))
        write_parquet(fcd, out / f"{file}.parquet")
        fcd.unlink()
    with net.open("rb") as plain, gzip.open(out / "net.xml.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    net.unlink()


def write_events(out: Path, events: list[dict[str, Any]]) -> None:
    """events.json in the shared data's shape; a closure's place is the middle of its lane."""
    to_lon_lat = Transformer.from_crs(PROJECTION, "EPSG:4326", always_xy=True)
    for event in events:
        if "x" not in event:
            event["lon"] = event["lat"] = math.nan
            continue
        lon, lat = to_lon_lat.transform(event["x"] - OFFSET_M[0], event["y"] - OFFSET_M[1])
        event["lon"], event["lat"] = lon, lat
    (out / "events.json").write_text(json.dumps({"events": events}, indent=1))


def main() -> None:
    """Make the worlds asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--sumo", type=Path, help="folder of SUMO's programs")
    parser.add_argument("--only", nargs="+", choices=GENERATORS, default=list(GENERATORS))
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    program = shutil.which("sumo")
    bin_folder = options.sumo or (Path(program).parent if program else None)
    if bin_folder is None:
        parser.error("no SUMO on the PATH: give --sumo BIN, the folder that holds `sumo`")
    for name in options.only:
        make(name, options.out / f"{name}-{options.seed}", bin_folder, options.seed)


if __name__ == "__main__":
    main()
