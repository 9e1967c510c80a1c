"""Write a fleet's days to a folder, one shard after the other, with its ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa

from openvrc.contracts.units import NS_PER_S
from simulator.energy.dirt import Dirt
from simulator.energy.drivers import DAY_S, DAY_STARTS_HOUR
from simulator.energy.driving import FRAME_S
from simulator.energy.faults import Fault
from simulator.energy.fleet import Fleet, FleetDay, FleetParameters
from simulator.energy.telling import Vehicle
from simulator.fleet.shards import (
    COMPLETE,
    PRODUCING,
    STOPPED,
    VEHICLES,
    VehicleReports,
    shard_path,
    write_manifest,
    write_shard,
    write_table,
    write_whole,
)
from simulator.world import TruthEvent

TIME_ZONE = "Asia/Shanghai"
_LOCAL = timezone(timedelta(hours=8))
TRUTH_FILE = "ground_truth.json"

NS_PER_DAY = DAY_S * NS_PER_S


@dataclass(frozen=True)
class Progress:
    """After each day."""

    day: int
    days: int
    records: int
    bytes_written: int


def first_day_ns(date: str) -> int:
    """When the fleet's day of this local date (YYYY-MM-DD) begins. Raises ValueError."""
    start = datetime.fromisoformat(date).replace(hour=DAY_STARTS_HOUR, tzinfo=_LOCAL)
    return int(start.timestamp()) * NS_PER_S


def date_of(start_ns: int, day: int) -> str:
    """The local date of a day."""
    moment = datetime.fromtimestamp((start_ns + day * NS_PER_DAY) // NS_PER_S, _LOCAL)
    return moment.date().isoformat()


def make(
    folder: Path,
    parameters: FleetParameters,
    on_day: Callable[[Progress], bool] = lambda _progress: True,
) -> Progress:
    """Write the fleet into `folder`, all days or until `on_day` says False; the last progress.

    The same parameters give the same bytes. Nothing is removed: a folder that holds another
    fleet is refused with FileExistsError.
    """
    if (folder / "battery").exists():
        raise FileExistsError(f"{folder} holds a fleet already, expected a new folder")
    fleet = Fleet(parameters)
    write_table(folder / VEHICLES, profiles(fleet.vehicles))
    write_whole(folder / TRUTH_FILE, truth_json(fleet, parameters.start_ns))
    progress = Progress(0, parameters.days, 0, 0)
    _announce(folder, parameters, PRODUCING, 0)
    try:
        while progress.day < parameters.days:
            progress = _write_day(folder, fleet, fleet.run_day(), progress)
            _announce(folder, parameters, PRODUCING, progress.day)
            if not on_day(progress):
                break
    finally:  # also when it is interrupted: a reader must not wait for what will never come
        is_whole = progress.day == parameters.days
        _announce(folder, parameters, COMPLETE if is_whole else STOPPED, progress.day)
    return progress


def _announce(folder: Path, parameters: FleetParameters, state: str, n_days: int) -> None:
    shards = [date_of(parameters.start_ns, day) for day in range(n_days)]
    facts = {"state": state, "time_zone": TIME_ZONE, "period_s": FRAME_S}
    write_manifest(folder, facts | {"parameters": asdict(parameters), "shards": shards})


def _write_day(folder: Path, fleet: Fleet, day: FleetDay, progress: Progress) -> Progress:
    date = date_of(fleet.parameters.start_ns, day.number)
    found: list[Dirt] = []

    def records() -> Iterator[VehicleReports]:
        for vehicle, reports, dirt in day.reports:
            found.extend(dirt)
            yield VehicleReports(vehicle.vehicle_id, reports)

    path = shard_path(folder, date)
    n_rows = write_shard(path, records(), fleet.parameters.start_ns)
    write_table(folder / "truth" / "health" / f"{date}.parquet", health_table(fleet, day))
    write_table(folder / "truth" / "dirt" / f"{date}.parquet", dirt_table(fleet, found))
    return Progress(
        day.number + 1,
        fleet.parameters.days,
        progress.records + n_rows,
        progress.bytes_written + path.stat().st_size,
    )


def profiles(vehicles: list[Vehicle]) -> pa.Table:
    """The vehicles as rows of `vehicle_profile`."""
    return pa.table(
        {
            "vehicle_id": [v.vehicle_id for v in vehicles],
            "model": [v.model.name for v in vehicles],
            "chemistry": [v.model.chemistry for v in vehicles],
            "rated_capacity_ah": [v.model.rated_capacity_ah for v in vehicles],
            "cells_in_series": [v.model.series for v in vehicles],
            "probe_count": [v.model.probes for v in vehicles],
            "mass_kg": [v.model.mass_kg for v in vehicles],
            "report_period_s": [FRAME_S for _ in vehicles],
        }
    )


def truth_events(fleet: Fleet, start_ns: int) -> list[TruthEvent]:
    """The fleet's faults, by start."""
    events = [_event(v, v.fault, start_ns) for v in fleet.vehicles if v.fault is not None]
    return sorted(events, key=lambda event: (event.from_ns, event.subject_id))


def _event(vehicle: Vehicle, fault: Fault, start_ns: int) -> TruthEvent:
    def at(time_s: float) -> int:
        return start_ns + round(time_s) * NS_PER_S

    facts = {"mode": fault.mode, "severity": fault.severity, "unit": fault.unit}
    return TruthEvent(
        rule=fault.rule,
        subject_id=vehicle.vehicle_id,
        from_ns=at(fault.from_s),
        to_ns=None if fault.to_s is None else at(fault.to_s),
        component=fault.component,
        detail=facts | {"cells": list(fault.cells), "probe": fault.probe} | fault.detail,
    )


def truth_json(fleet: Fleet, start_ns: int) -> bytes:
    """ground_truth.json."""
    events = [event.to_json() for event in truth_events(fleet, start_ns)]
    return (json.dumps(events, indent=1) + "\n").encode()


def health_table(fleet: Fleet, day: FleetDay) -> pa.Table:
    """The truth about every pack at a day's end."""
    ids = pa.array([v.vehicle_id for v in fleet.vehicles])
    columns = {name: pa.array(values) for name, values in vars(day.health).items()}
    return pa.table({"vehicle_id": ids} | columns)


def dirt_table(fleet: Fleet, found: list[Dirt]) -> pa.Table:
    """Where a day's records are dirty."""
    start_ns = fleet.parameters.start_ns
    kinds = pa.dictionary(pa.int8(), pa.utf8())
    return pa.table(
        {
            "kind": pa.array([d.kind for d in found], pa.utf8()).cast(kinds),
            "vehicle_id": pa.array(
                [fleet.vehicles[d.vehicle].vehicle_id for d in found], pa.utf8()
            ),
            "from_ns": pa.array([start_ns + d.from_s * NS_PER_S for d in found], pa.int64()),
            "to_ns": pa.array([start_ns + d.to_s * NS_PER_S for d in found], pa.int64()),
            "records": pa.array([d.records for d in found], pa.int32()),
        }
    )
