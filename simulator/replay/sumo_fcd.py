"""Plain SUMO floating car data: XML or CSV, also packed, read as a stream.

Positions are in the net's metres (then `--map NET` is needed for its projection) or, recorded
with --fcd-output.geo, in degrees. CSV columns may carry SUMO's prefixes ("timestep_time",
"vehicle_id") and be separated by ";" or ",". SUMO's angles count from the net's grid north, also
with positions in degrees: with the net they are turned to true north, without it they stay up to
about a degree off.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path

import numpy as np

from openvrc.contracts.units import NS_PER_S
from openvrc.mapformats import read_map
from simulator.replay.files import opened_text
from simulator.replay.net_projection import NetProjection, elements, read_projection
from simulator.replay.options import RecordingError, ReplayOptions
from simulator.replay.traffic_world import TrafficWorld
from simulator.replay.vehicles import TrafficRows, Vehicles
from simulator.rsus import place_rsus

Attributes = dict[str, str]
Step = tuple[float, list[Attributes]]  # time in s, the road users at it

ROAD_USERS = ("vehicle", "person")
CSV_PREFIXES = ("timestep_", "vehicle_", "person_")
CSV_NAMES = {"time_s": "time", "vehicle": "id", "heading_deg": "angle", "speed_ms": "speed"}
NEEDED = ("time", "id", "x", "y", "speed")


class SumoFcd:
    """The reader of such files."""

    name = "sumo-fcd"
    description = "SUMO FCD output (.xml, .csv, also .gz), with --map NET unless in degrees"

    def matches(self, path: Path, options: ReplayOptions) -> bool:
        """See Reader."""
        name = path.name.lower().removesuffix(".gz")
        if options.mapping is not None or not path.is_file():
            return False
        if name.endswith(".xml"):
            try:
                return next(elements(path), ("", {}))[0] == "fcd-export"
            except RecordingError:
                return False
        return name.endswith(".csv") and set(NEEDED) <= set(_header(path)[0])

    def open(self, path: Path, options: ReplayOptions) -> TrafficWorld:
        """See Reader."""
        is_xml = path.name.lower().removesuffix(".gz").endswith(".xml")
        read = _xml_steps if is_xml else _csv_steps
        first = next((step for step in read(path) if step[1]), None)
        if first is None:
            raise RecordingError(f"{path.name}: holds no vehicle, expected at least one")
        projection = _projection_for(path, first[1], options)
        grid = projection or _grid_of(options)
        vehicles = Vehicles(options)
        road_map = read_map(options.map_path) if options.map_path else None

        def steps() -> Iterator[TrafficRows]:
            for time_s, users in read(path):
                if users:
                    rows = _rows(path, time_s, users, vehicles, options.epoch_ns, projection)
                    yield rows if grid is None else _turned_to_true_north(rows, grid)

        return TrafficWorld(
            options=options,
            title=path.name,
            road_map=road_map,
            rsus=place_rsus(road_map),
            vehicles=vehicles,
            start_ns=options.epoch_ns + round(first[0] * NS_PER_S),
            steps=steps,
        )


def _projection_for(
    path: Path, users: list[Attributes], options: ReplayOptions
) -> NetProjection | None:
    """The net's projection, None if positions are degrees.

    Metres may look like degrees; with a map, what is near it in degrees is taken as degrees.
    """
    try:
        x, y = float(users[0]["x"]), float(users[0]["y"])
    except (KeyError, ValueError) as error:
        raise RecordingError(f"{path.name}: {error!r}, expected x and y of {users[0]}") from error
    may_be_degrees = abs(x) <= 180 and abs(y) <= 90
    if options.map_path is None:
        if not may_be_degrees:
            raise RecordingError(
                f"{path.name}: positions are metres (x={x}, y={y}), expected --map NET with the "
                "SUMO net they belong to, or a recording made with --fcd-output.geo"
            )
        return None
    road_map = read_map(options.map_path)
    near = abs(y - road_map.origin_lat_deg) < 1 and abs(x - road_map.origin_lon_deg) < 2
    return None if may_be_degrees and near else read_projection(options.map_path)


def _grid_of(options: ReplayOptions) -> NetProjection | None:
    """The grid of the map if it is a SUMO net; other maps say nothing of it."""
    try:
        return read_projection(options.map_path) if options.map_path else None
    except RecordingError:
        return None


def _turned_to_true_north(rows: TrafficRows, grid: NetProjection) -> TrafficRows:
    heading_deg = grid.true_heading_deg(rows.heading_deg, rows.lat_deg, rows.lon_deg)
    return replace(rows, heading_deg=heading_deg)


def _rows(
    path: Path,
    time_s: float,
    users: list[Attributes],
    vehicles: Vehicles,
    epoch_ns: int,
    projection: NetProjection | None,
) -> TrafficRows:
    def numbers(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([float(user.get(name) or "nan") for user in users])

    try:
        x, y = numbers("x"), numbers("y")
        lights = numbers("signals")
        time_ns = epoch_ns + round(time_s * NS_PER_S)
        rows = TrafficRows(
            time_ns=np.full(len(users), time_ns, np.int64),
            vehicle=np.array(
                [vehicles.number_of(user["id"], user.get("type", "")) for user in users], np.int32
            ),
            lat_deg=y,
            lon_deg=x,
            speed_mps=numbers("speed"),
            heading_deg=np.mod(numbers("angle"), 360.0),
            accel_long_mps2=numbers("acceleration"),
            lights=np.where(np.isnan(lights), -1, np.nan_to_num(lights)).astype(np.int32),
        )
    except (KeyError, ValueError) as error:
        raise RecordingError(f"{path.name}: at time {time_s}: {error!r}") from error
    if projection is None:
        return rows
    lat_deg, lon_deg = projection.lat_lon_deg(x, y)
    return replace(rows, lat_deg=lat_deg, lon_deg=lon_deg)


def _xml_steps(path: Path) -> Iterator[Step]:
    time_s: float | None = None
    users: list[Attributes] = []
    for tag, attributes in chain(elements(path), [("timestep", {})]):
        if tag == "timestep":
            if time_s is not None:
                yield time_s, users
            time_s, users = _number(path, attributes.get("time", "nan")), []
        elif tag in ROAD_USERS:
            users.append(attributes)


def _csv_steps(path: Path) -> Iterator[Step]:
    names, delimiter = _header(path)
    with opened_text(path) as file:
        lines = csv.reader(file, delimiter=delimiter)
        next(lines)
        records = (dict(zip(names, line, strict=False)) for line in lines if line)
        for time_text, users in groupby(records, key=lambda record: record["time"]):
            yield _number(path, time_text), [user for user in users if user.get("id")]


def _header(path: Path) -> tuple[list[str], str]:
    """Names without SUMO's prefixes, and the delimiter; no names for a file without any."""
    try:
        with opened_text(path) as file:
            line = file.readline(10_000).strip()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return [], ","
    delimiter = ";" if ";" in line else ","
    names = []
    for word in line.split(delimiter):
        name = word.strip().strip('"')
        for prefix in CSV_PREFIXES:
            name = name.removeprefix(prefix)
        names.append(CSV_NAMES.get(name, name))
    return names, delimiter


def _number(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise RecordingError(f"{path.name}: time is {text!r}, expected seconds") from error


PLUGIN = SumoFcd()
