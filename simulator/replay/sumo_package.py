"""A folder of SUMO ground truth: fcd.parquet, net.xml.gz and what is recorded beside them.

Also the path of one parquet file such as control_fcd.parquet beside a net.xml.gz; what stands
before "fcd" then also names its loop counts and signals (control_e1.csv.gz). Column scales:
cm, cm/s, centidegrees, as the names end. Rows come sorted by vehicle and are replayed by time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openvrc.contracts.units import NS_PER_S
from openvrc.mapformats import read_map
from simulator.replay.net_projection import NetProjection, read_projection
from simulator.replay.options import RecordingError, ReplayOptions
from simulator.replay.overlays import misbehaviour_rows, wrongway_rows
from simulator.replay.side_feeds import LoopFeed, SignalFeed
from simulator.replay.traffic_world import Feed, TrafficWorld
from simulator.replay.vehicles import TrafficRows, Vehicles, joined
from simulator.rsus import place_rsus
from simulator.world import TruthEvent

FCD, NET = "fcd.parquet", "net.xml.gz"
COLUMNS = (
    "time_s", "vehicle", "type", "x_cm", "y_cm", "speed_cms", "heading_cdeg", "accel_cms2",
    "signals",
)  # fmt: skip

RULE_OF_EVENT = {
    "stopped_vehicle": "traffic.stopped_vehicle",
    "slow_vehicle": "traffic.slow_vehicle",
    "lane_closure": "traffic.lane_closed",
    "lane_block2": "traffic.lane_blocked",
    "hard_brake": "traffic.hard_braking",
}


class SumoPackage:
    """The reader of such folders."""

    name = "sumo-package"
    description = f"folder with {FCD} and {NET}, or such a parquet file beside its {NET}"

    def matches(self, path: Path, options: ReplayOptions) -> bool:
        """See Reader."""
        file = path / FCD if path.is_dir() else path
        is_there = file.name.endswith(FCD) and file.is_file()
        return is_there and (options.map_path or file.parent / NET).is_file()

    def open(self, path: Path, options: ReplayOptions) -> TrafficWorld:
        """See Reader."""
        file = path / FCD if path.is_dir() else path
        folder, prefix = file.parent, file.name.removesuffix(FCD)
        net = folder / NET if (folder / NET).is_file() else options.map_path
        assert net is not None
        road_map = read_map(options.map_path or net)
        vehicles, projection = Vehicles(options), read_projection(net)
        rows = _rows(file, vehicles, projection, options.epoch_ns)
        rows, truth = _overlaid(rows, folder, vehicles, options)
        rows = _turned_to_true_north(rows, projection)
        if not prefix and (folder / "events.json").is_file():
            truth += _events(folder / "events.json", options.epoch_ns)
        rsus = place_rsus(road_map)
        feeds: list[Feed] = []
        if (signals := folder / f"{prefix}spat.csv.gz").is_file():
            feeds.append(SignalFeed(signals, options.epoch_ns))
        counts, detectors = folder / f"{prefix}e1.csv.gz", folder / "detectors.csv"
        if counts.is_file() and detectors.is_file():
            feeds.append(LoopFeed(counts, detectors, options.epoch_ns, road_map, rsus))
        return TrafficWorld(
            options=options,
            title=f"{folder.name}/{file.name}" if prefix else folder.name,
            road_map=road_map,
            rsus=rsus,
            vehicles=vehicles,
            start_ns=int(rows.time_ns.min()),
            steps=lambda: _steps(rows, vehicles.is_connected()),
            feeds=feeds,
            truth=truth,
        )


def _rows(file: Path, vehicles: Vehicles, projection: NetProjection, epoch_ns: int) -> TrafficRows:
    try:
        table = pq.read_table(file, columns=list(COLUMNS))
    except (pa.ArrowException, KeyError, OSError) as error:
        raise RecordingError(f"{file.name}: {error}, expected {', '.join(COLUMNS)}") from error

    def numbers(name: str) -> NDArray[np.float64]:
        return np.asarray(table[name].to_numpy(), np.float64)

    names = table["vehicle"].combine_chunks().dictionary_encode()
    words, codes = names.dictionary.to_pylist(), names.indices.to_numpy()
    first = np.unique(codes, return_index=True)[1]
    types = table["type"].combine_chunks().cast(pa.utf8()).take(pa.array(first)).to_pylist()
    interned = np.array(
        [vehicles.number_of(word, kind or "") for word, kind in zip(words, types, strict=True)],
        np.int32,
    )
    lat_deg, lon_deg = projection.lat_lon_deg(numbers("x_cm") / 100, numbers("y_cm") / 100)
    return TrafficRows(
        time_ns=epoch_ns + np.round(numbers("time_s") * NS_PER_S).astype(np.int64),
        vehicle=interned[codes],
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        speed_mps=numbers("speed_cms") / 100,
        heading_deg=numbers("heading_cdeg") / 100,
        accel_long_mps2=numbers("accel_cms2") / 100,
        lights=table["signals"].to_numpy().astype(np.int32),
    )


def _turned_to_true_north(rows: TrafficRows, projection: NetProjection) -> TrafficRows:
    """Overlays are in the net's grid as well, so that all rows are turned alike."""
    heading_deg = projection.true_heading_deg(rows.heading_deg, rows.lat_deg, rows.lon_deg)
    return replace(rows, heading_deg=heading_deg)


def _overlaid(
    rows: TrafficRows, folder: Path, vehicles: Vehicles, options: ReplayOptions
) -> tuple[TrafficRows, list[TruthEvent]]:
    """The rows with the asked overlays in them, and what is true about those."""
    truth: list[TruthEvent] = []
    if "misbehaviour" in options.overlay:
        reported, events = misbehaviour_rows(
            folder / "misbehaviour.parquet", vehicles, options.epoch_ns
        )
        rows, truth = joined([_without(rows, reported), reported]), truth + events
    if "wrongway" in options.overlay:
        ghosts, events = wrongway_rows(folder / "wrongway.csv.gz", vehicles, options.epoch_ns)
        rows, truth = joined([rows, ghosts]), truth + events
    return rows, truth


def _without(rows: TrafficRows, replaced: TrafficRows) -> TrafficRows:
    """Rows whose vehicle and time do not occur in `replaced`."""

    def keys(part: TrafficRows) -> NDArray[np.int64]:
        # Milliseconds keep the key of 2**20 vehicles within 64 bits until the year 2200.
        return (part.time_ns // 1_000_000) << 20 | part.vehicle

    return rows.take(~np.isin(keys(rows), keys(replaced)))


def _steps(rows: TrafficRows, is_connected: NDArray[np.bool_]) -> Iterator[TrafficRows]:
    times = np.unique(rows.time_ns)  # a step without connected vehicles is a step all the same
    rows = rows.take(is_connected[rows.vehicle])
    rows = rows.take(np.argsort(rows.time_ns, kind="stable"))
    ends = np.searchsorted(rows.time_ns, times, side="right")
    start = 0
    for end in ends.tolist():
        if end > start:
            yield rows.take(slice(start, end))
        start = end


def _events(path: Path, epoch_ns: int) -> list[TruthEvent]:
    try:
        return [
            TruthEvent(
                rule=RULE_OF_EVENT[event["type"]],
                subject_id=(event.get("vehicles") or [event["edge"]])[0],
                from_ns=epoch_ns + round(event["start_t"] * NS_PER_S),
                to_ns=epoch_ns + round(event["end_t"] * NS_PER_S),
                segment_id=event["edge"],
                component=",".join(str(lane).rsplit("_", 1)[-1] for lane in event["lanes"]),
                lat_deg=event.get("lat"),
                lon_deg=event.get("lon"),
                detail={"id": event["id"], "vehicles": event.get("vehicles", [])},
            )
            for event in json.loads(path.read_text(encoding="utf-8"))["events"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordingError(f"{path.name}: {error!r}, expected events with type, edge") from error


PLUGIN = SumoPackage()
