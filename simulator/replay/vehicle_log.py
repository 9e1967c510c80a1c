"""Trajectories of vehicles in a table by a mapping: drone recordings, probe fleets, telephones.

A file holds one vehicle, named as the file, or many with `[subject]`; rows may come in any order.
Speed and course are taken where the mapping names them, else they are those of the way between a
vehicle's rows, as in GPX. What else of `vehicle_state` the mapping names is said as it stands. A
row that names no vehicle is left out and counted in a warning.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.units import ABSENT_I64
from openvrc.mapformats import read_map
from simulator.replay import log_table
from simulator.replay.mapped import (
    in_order,
    is_log,
    mapped_columns,
    name_of,
    names,
    needed,
    place_of,
)
from simulator.replay.mapping import Mapping, message_of, read_mapping
from simulator.replay.motion import motion
from simulator.replay.options import RecordingError, ReplayOptions
from simulator.replay.traffic_world import TrafficWorld
from simulator.replay.vehicles import TrafficRows, Vehicles, steps_of
from simulator.rsus import place_rsus

log = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]
OF_ROWS = ("lat_deg", "lon_deg", "speed_mps", "heading_deg", "accel_long_mps2")
"""Columns that rows of traffic hold themselves; the others go beside them."""


@dataclass(frozen=True)
class MappedRows(TrafficRows):
    """Rows of traffic that know their place in the table, for its further columns."""

    place: NDArray[np.int64]  # (n,)


class VehicleLog:
    """The reader of such files."""

    name = "vehicle-log"
    description = (
        'trajectories .csv or .zip of one, with --mapping TOML of message = "vehicle_state"'
    )

    def matches(self, path: Path, options: ReplayOptions) -> bool:
        """See Reader."""
        return message_of(options.mapping) == "vehicle_state" and is_log(path)

    def open(self, path: Path, options: ReplayOptions) -> TrafficWorld:
        """See Reader."""
        assert options.mapping is not None
        mapping = read_mapping(options.mapping)
        table = log_table.read_log(path)
        vehicles = Vehicles(options)
        rows, more = _rows(table, mapping, vehicles, path, options)
        road_map = read_map(options.map_path) if options.map_path else None
        return TrafficWorld(
            options=options,
            title=path.name,
            road_map=road_map,
            rsus=place_rsus(road_map),
            vehicles=vehicles,
            start_ns=int(rows.time_ns[0]),
            steps=lambda: steps_of(rows),
            more=lambda some: (
                {name: values[some.place] for name, values in more.items()}
                if isinstance(some, MappedRows)
                else {}
            ),
        )


def _rows(
    table: Any, mapping: Mapping, vehicles: Vehicles, path: Path, options: ReplayOptions
) -> tuple[MappedRows, dict[str, Any]]:
    """Rows in order of time, and the further columns (n_table_rows,) in the table's order."""
    columns, _ = mapped_columns(table, mapping)
    lat_deg, lon_deg = (
        place_of(table, mapping.plane, path.name)
        if mapping.plane
        else tuple(needed(columns, name, mapping, path.name) for name in ("lat_deg", "lon_deg"))
    )
    times_ns = log_table.times_ns(table, mapping.time, path.name, options.epoch_ns)
    n_rows = table.num_rows
    who = (
        names(table, mapping.subject.column, path.name)
        if mapping.subject
        else [name_of(path)] * n_rows
    )
    vehicle = np.array([vehicles.number_of(name) if name else -1 for name in who], np.int32)
    order, zone_ns = in_order(times_ns)
    is_named = vehicle[order] >= 0
    if not is_named.all():
        log.warning("%s: %d rows name no vehicle and are left out", path.name, (~is_named).sum())
    order, zone_ns = order[is_named], zone_ns[is_named]
    if not len(order):
        raise RecordingError(f"{path.name}: no row names a vehicle, expected at least one")
    speed_mps, heading_deg = _driven(times_ns, vehicle, lat_deg, lon_deg)
    nothing = np.full(n_rows, np.nan)
    rows = MappedRows(
        time_ns=zone_ns,
        vehicle=vehicle[order],
        lat_deg=lat_deg[order],
        lon_deg=lon_deg[order],
        speed_mps=columns.get("speed_mps", speed_mps)[order],
        heading_deg=_course(columns.get("heading_deg", heading_deg))[order],
        accel_long_mps2=columns.get("accel_long_mps2", nothing)[order],
        lights=np.full(len(order), -1, np.int32),
        place=order,
    )
    more = {name: values for name, values in columns.items() if name not in OF_ROWS}
    if (times_ns == ABSENT_I64).any():
        more["sampled_at_ns"] = times_ns  # a row without a time is said without one
    return rows, more


def _driven(
    times_ns: NDArray[np.int64],
    vehicle: NDArray[np.int32],
    lat_deg: FloatArray,
    lon_deg: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Speed and course (n_rows,) of each vehicle's way, in the table's order."""
    order = np.lexsort((times_ns, vehicle))
    speed_mps, heading_deg = np.empty(len(order)), np.empty(len(order))
    speed_mps[order], heading_deg[order] = motion(
        times_ns[order], lat_deg[order], lon_deg[order], vehicle[order].astype(np.int64)
    )
    return speed_mps, heading_deg


def _course(heading_deg: FloatArray) -> FloatArray:
    """Into 0 to 360: many recordings count from -180, or on beyond 360."""
    return np.asarray(np.mod(heading_deg, 360.0), np.float64)


PLUGIN = VehicleLog()
