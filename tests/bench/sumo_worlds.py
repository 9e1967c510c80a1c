"""Traffic worlds nobody tuned a rule to: made with SUMO, each with events and a control run.

    python -m tests.bench.sumo_worlds OUT [--sumo BIN] [--only grid motorway] [--seed 7]
                                      [--scale 1.0 1.6]

Needs Eclipse SUMO (its wheel's `bin` on the PATH or given), which is not a dependency of the
project. A world is a folder like a package of the shared data: `net.xml.gz`, `fcd.parquet`,
`control_fcd.parquet` (same seed, no events) and `events.json`. `tests.bench.unseen_incidents OUT`
and `bench_traffic --worlds OUT` judge the rules on them; `tests.bench.sumo_nets` has the networks.
`--scale` multiplies the demand: 1.6 is more than most of them carry.

Events are put where the control run has traffic: a vehicle that stops, one that is slow, two that
block two lanes, a closed lane, and again one that stops.
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from pyproj import Transformer

from tests.bench.sumo_nets import END_S, NETWORKS, Tools

BEGIN_S = 200
LASTS_S = 200
FIRST_EVENT_S, EVERY_S = 300, 70
KINDS = ("stopped_vehicle", "slow_vehicle", "lane_block2", "lane_closure", "stopped_vehicle")
MIN_LENGTH_M = 90.0
SLOW_MPS = 4.0
PROJECTION = "+proj=utm +zone=32 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"
OFFSET_M = (-565000.0, -5930000.0)  # somewhere in the zone's middle latitudes
TYPES = f"""<vType id="car" vClass="passenger" speedDev="0.1"/>
<vType id="truck" vClass="truck" speedDev="0.05"/><vType id="bus" vClass="bus"/>
<vType id="slow" vClass="passenger" maxSpeed="{SLOW_MPS}"/>"""
FCD_COLUMNS = ("x", "y", "angle", "type", "speed", "pos", "lane", "signals", "acceleration")
SCALED = {
    "pos_cm": ("pos", 100.0),
    "speed_cms": ("speed", 100.0),
    "heading_cdeg": ("angle", 100.0),
    "accel_cms2": ("acceleration", 100.0),
}


@dataclass(frozen=True)
class Edge:
    """A drivable edge of a net."""

    id: str
    lanes: int
    length_m: float
    speed_mps: float
    next: str


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


def events_of(edges: Sequence[Edge], vehicles_of: dict[str, int]) -> list[dict[str, Any]]:
    """One event after another, spread over the busier half of the longer edges."""
    usable = [e for e in edges if e.length_m > MIN_LENGTH_M and vehicles_of.get(e.id, 0) > 0]
    usable.sort(key=lambda e: (-vehicles_of[e.id], e.id))
    busy = sorted(usable[: max(len(usable) // 2, len(KINDS))], key=lambda e: e.id)
    events: list[dict[str, Any]] = []
    taken: set[str] = set()
    for number, kind in enumerate(KINDS):
        many = kind in ("lane_block2", "lane_closure")
        able = [e for e in busy if e.id not in taken and (e.lanes >= 2 or not many)]
        if not able:
            continue
        edge = able[(number * 7 + 3) % len(able)]
        taken.add(edge.id)
        lanes = [0, 1] if kind == "lane_block2" else [number % edge.lanes]
        n_vehicles = {"lane_block2": 2, "lane_closure": 0}.get(kind, 1)
        events.append({
            "id": f"W{number}", "type": kind, "start_t": FIRST_EVENT_S + number * EVERY_S,
            "end_t": FIRST_EVENT_S + number * EVERY_S + LASTS_S, "edge": edge.id,
            "next": edge.next, "lanes": lanes, "pos_m": edge.length_m * 0.5,
            "vehicles": [f"event{number}_{lanes[n]}" for n in range(n_vehicles)],
        })  # fmt: skip
    return events


def event_files(folder: Path, events: Sequence[dict[str, Any]]) -> tuple[Path, Path]:
    """Trips of the vehicles in events, and the closures."""
    trips, closures = "", ""
    for event in events:
        edge, at_s, end_m = event["edge"], event["start_t"], event["pos_m"]
        if event["type"] == "lane_closure":
            closures += (
                f'<rerouter id="{event["id"]}" edges="{edge}"><interval begin="{at_s}" '
                f'end="{event["end_t"]}"><closingLaneReroute id="{edge}_{event["lanes"][0]}" '
                'disallow="all"/></interval></rerouter>'
            )
        for vehicle, lane in zip(event["vehicles"], event["lanes"], strict=False):
            stop = f'<stop lane="{edge}_{lane}" endPos="{end_m:.1f}" duration="{LASTS_S}"/>'
            is_slow = event["type"] == "slow_vehicle"
            trips += (
                f'<trip id="{vehicle}" type="{"slow" if is_slow else "car"}" depart="{at_s}" '
                f'from="{edge}" to="{event["next"]}" departLane="{lane}" departPos="10" '
                f'departSpeed="avg">{"" if is_slow else stop}</trip>'
            )
    paths = folder / "events.rou.xml", folder / "events.add.xml"
    paths[0].write_text(f"<routes>{trips}</routes>")
    paths[1].write_text(f"<additional>{closures}</additional>")
    return paths


def read_fcd(path: Path) -> pa.Table:
    """SUMO's FCD output as CSV."""
    options = pa.csv.ParseOptions(delimiter=";")
    table = pa.csv.read_csv(path, parse_options=options)
    names = [name.removeprefix("vehicle_").removeprefix("timestep_") for name in table.column_names]
    table = table.rename_columns(names)
    table = table.set_column(names.index("id"), "id", table["id"].cast(pa.string()))
    return table.filter(pc.is_valid(table["id"]))


def packaged(table: pa.Table) -> pa.Table:
    """FCD in the shared data's columns."""

    def numbers(name: str, factor: float = 1.0) -> Any:
        values = table[name].cast(pa.float64(), safe=False).to_numpy()
        return np.round(np.nan_to_num(values) * factor).astype(np.int64)

    to_lon_lat = Transformer.from_crs(PROJECTION, "EPSG:4326", always_xy=True)
    x_m, y_m = (table[axis].cast(pa.float64()).to_numpy() for axis in ("x", "y"))
    lon_deg, lat_deg = to_lon_lat.transform(x_m - OFFSET_M[0], y_m - OFFSET_M[1])
    kind = pc.if_else(pc.equal(table["type"], "slow"), "car", table["type"])
    return pa.table({
        "time_s": numbers("time"),
        "vehicle": table["id"],
        "type": kind,
        "lane": table["lane"],
        **{name: numbers(of, factor) for name, (of, factor) in SCALED.items()},
        "signals": numbers("signals"),
        "lon_e6": np.round(lon_deg * 1e6).astype(np.int64),
        "lat_e6": np.round(lat_deg * 1e6).astype(np.int64),
    })  # fmt: skip


def vehicles_by_edge(table: pa.Table) -> dict[str, int]:
    """How many vehicles drove each edge."""
    edge = pc.replace_substring_regex(table["lane"], r"_\d+$", "")
    pairs = pa.table({"edge": edge, "id": table["id"]}).group_by("edge").aggregate(
        [("id", "count_distinct")]
    )  # fmt: skip
    return dict(zip(pairs["edge"].to_pylist(), pairs["id_count_distinct"].to_pylist(), strict=True))


def settle(events: Sequence[dict[str, Any]], table: pa.Table) -> list[dict[str, Any]]:
    """Events that came to be, with where and from when to when, by what their vehicles did."""
    settled = []
    for event in events:
        if not event["vehicles"]:
            settled.append(event | {"x": math.nan, "y": math.nan})
            continue
        chosen = pc.and_(
            pc.is_in(table["id"], pa.array(event["vehicles"])),
            pc.starts_with(table["lane"], event["edge"] + "_"),
        )
        if event["type"] != "slow_vehicle":
            chosen = pc.and_(chosen, pc.less(table["speed"].cast(pa.float64()), 0.1))
        rows = table.filter(chosen).sort_by("time").to_pylist()
        if rows:  # else no gap came for it
            times = {"start_t": float(rows[0]["time"]), "end_t": float(rows[-1]["time"])}
            settled.append(event | times | {"x": float(rows[0]["x"]), "y": float(rows[0]["y"])})
    return settled


def make(name: str, out: Path, bin_folder: Path, seed: int, scale: float) -> None:
    """One world into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    home = next(iter(bin_folder.parent.glob("lib/python*/site-packages/sumo")), bin_folder.parent)
    environment = os.environ | {"SUMO_HOME": str(home)}

    def run(tool: str, *arguments: str) -> None:
        command = [str(bin_folder / tool), *arguments]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)

    net, network = out / "net.xml", NETWORKS[name]
    network.make_net(net, run)
    located = re.sub(r'projParameter="[^"]*"', f'projParameter="{PROJECTION}"', net.read_text())
    offset = f'netOffset="{OFFSET_M[0]},{OFFSET_M[1]}"'
    net.write_text(re.sub(r'netOffset="[^"]*"', offset, located, count=1))
    trips = out / "trips.xml"
    trips.write_text(network.make_trips(out, Tools(run, home / "tools", environment), seed))
    types = out / "types.xml"
    types.write_text(f"<additional>{TYPES}</additional>")

    def simulate(routes: Sequence[Path], more: Sequence[Path]) -> pa.Table:
        fcd = out / "fcd.csv"
        run("sumo", "-n", str(net), "-r", ",".join(map(str, routes)), "-a",
            ",".join(map(str, (types, *more))), "--scale", str(scale),
            "--end", str(END_S), "--seed", str(seed), "--step-length", "1", "--no-step-log",
            "--no-warnings", "--ignore-route-errors", "--time-to-teleport", "600",
            "--fcd-output", str(fcd),
            "--device.fcd.begin", str(BEGIN_S), "--fcd-output.attributes",
            ",".join(FCD_COLUMNS), "--precision", "2")  # fmt: skip
        table = read_fcd(fcd)
        fcd.unlink()
        return table

    control = simulate([trips], [])
    pq.write_table(packaged(control), out / "control_fcd.parquet", compression="zstd")
    events = events_of(edges_of(net), vehicles_by_edge(control))
    event_trips, closures = event_files(out, events)
    table = simulate([trips, event_trips], [closures])
    pq.write_table(packaged(table), out / "fcd.parquet", compression="zstd")
    write_events(out, settle(events, table))
    with net.open("rb") as plain, gzip.open(out / "net.xml.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    for path in (net, trips, types, event_trips, closures):
        path.unlink()


def write_events(out: Path, events: Sequence[dict[str, Any]]) -> None:
    """events.json in the shared data's shape; a closure's place is its segment."""
    to_lon_lat = Transformer.from_crs(PROJECTION, "EPSG:4326", always_xy=True)
    for event in events:
        lon, lat = to_lon_lat.transform(event["x"] - OFFSET_M[0], event["y"] - OFFSET_M[1])
        event["lon"], event["lat"] = lon, lat
    (out / "events.json").write_text(json.dumps({"events": list(events)}, indent=1))


def main() -> None:
    """Make the worlds asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--sumo", type=Path, help="folder of SUMO's programs")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--scale", type=float, nargs="+", default=[1.0, 1.6])
    options = parser.parse_args()
    program = shutil.which("sumo")
    bin_folder = options.sumo or (Path(program).parent if program else None)
    if bin_folder is None:
        parser.error("no SUMO on the PATH: give --sumo BIN, the folder that holds `sumo`")
    bin_folder = bin_folder.resolve()  # SUMO's scripts run in the world's folder
    for name in options.only:
        for scale in options.scale:
            folder = options.out / f"{name}-{options.seed}-{scale:g}"
            make(name, folder, bin_folder, options.seed, scale)


if __name__ == "__main__":
    main()
