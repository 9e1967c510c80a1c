"""Rows that an overlay adds to a SUMO package (wrong-way ghosts) or replaces (misbehaviour)."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openvrc.contracts.units import NS_PER_S
from simulator.replay.files import csv_rows
from simulator.replay.options import RecordingError
from simulator.replay.vehicles import TrafficRows, Vehicles
from simulator.world import TruthEvent

Overlay = tuple[TrafficRows, list[TruthEvent]]


def wrongway_rows(path: Path, vehicles: Vehicles, epoch_ns: int) -> Overlay:
    """Ghosts that drive a lane backwards: time_s, vehicle, lane, lon, lat, speed_ms, heading_deg.

    Raises RecordingError if the file is absent or lacks a column.
    """
    try:
        raw = list(csv_rows(path))
        columns = {
            name: np.array([float(row[name]) for row in raw])
            for name in ("time_s", "lat", "lon", "speed_ms", "heading_deg")
        }
        numbers = [vehicles.number_of(row["vehicle"], "car") for row in raw]
        lanes = [row["lane"] for row in raw]
    except (OSError, KeyError, ValueError) as error:
        raise RecordingError(f"overlay {path.name}: {error}") from error
    rows = _rows(columns, numbers, epoch_ns, np.full(len(raw), np.nan))
    events = [
        TruthEvent(
            rule="traffic.wrong_way",
            subject_id=vehicles.ids[number],
            from_ns=int(rows.time_ns[members[0]]),
            to_ns=int(rows.time_ns[members[-1]]),
            segment_id=lanes[members[0]].rsplit("_", 1)[0],
        )
        for number, members in _members(numbers)
    ]
    return rows, events


def misbehaviour_rows(path: Path, vehicles: Vehicles, epoch_ns: int) -> Overlay:
    """What attackers report instead of their true rows; true is the time they are active.

    Raises RecordingError if the file is absent or lacks a column.
    """
    names = ("time_s", "lat", "lon", "speed_ms", "heading_deg", "accel_ms2")
    try:
        table = pq.read_table(path)
        columns = {name: table[name].to_numpy().astype(np.float64) for name in names}
        numbers = [vehicles.number_of(word) for word in table["vehicle"].to_pylist()]
        attacks, active = table["attack"].to_pylist(), table["active"].to_numpy()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise RecordingError(f"overlay {path.name}: {error}") from error
    rows = _rows(columns, numbers, epoch_ns, columns["accel_ms2"])
    events = []
    for number, members in _members(numbers):
        lying = [row for row in members if active[row]]
        if lying:
            events.append(
                TruthEvent(
                    rule="security.misbehaviour",
                    subject_id=vehicles.ids[number],
                    from_ns=int(rows.time_ns[lying].min()),
                    to_ns=int(rows.time_ns[lying].max()),
                    component=attacks[lying[0]],
                )
            )
    return rows, events


def _members(numbers: list[int]) -> list[tuple[int, list[int]]]:
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    return [(number, list(rows)) for number, rows in groupby(order, key=numbers.__getitem__)]


def _rows(
    columns: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]],
    numbers: list[int],
    epoch_ns: int,
    accel_long_mps2: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> TrafficRows:
    return TrafficRows(
        time_ns=epoch_ns + np.round(columns["time_s"] * NS_PER_S).astype(np.int64),
        vehicle=np.array(numbers, np.int32),
        lat_deg=columns["lat"],
        lon_deg=columns["lon"],
        speed_mps=columns["speed_ms"],
        heading_deg=np.mod(columns["heading_deg"], 360.0),
        accel_long_mps2=accel_long_mps2,
        lights=np.full(len(numbers), -1, np.int32),
    )
