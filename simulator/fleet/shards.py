"""A fleet's folder and its daily shards.

    fleet.json                    parameters, state ("producing", "complete", "stopped"), shards
    vehicles.parquet              a row of `vehicle_profile` for every vehicle
    battery/2026-01-01.parquet    a day's records from 04:00 to 04:00, by vehicle and time
    ground_truth.json             faults: what, who, cell, from, to, severity
    truth/health/2026-01-01.parquet, truth/dirt/2026-01-01.parquet

Columns are those of `battery_state`, but for what would waste space: the sender is the vehicle and
stands once, cell voltages are whole millivolts (`cell_voltages_mv`, uint16, delta-packed: 0.7 bytes
a cell) and probes whole degrees. A file appears by renaming, so it is there whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openvrc.contracts.columns import column_of
from openvrc.contracts.errors import VrcError
from openvrc.contracts.units import NS_PER_S
from simulator.energy.reports import Reports

MANIFEST = "fleet.json"
VEHICLES = "vehicles.parquet"
FORMAT, VERSION = "openvrc-fleet", 1
PRODUCING, COMPLETE, STOPPED = "producing", "complete", "stopped"
ROWS_PER_GROUP = 40_000
_WORDS = list(column_of("battery_state", "charging_state").values)

SCHEMA = pa.schema(
    [
        ("vehicle_id", pa.dictionary(pa.int32(), pa.utf8())),
        ("sampled_at_ns", pa.int64()),
        ("pack_voltage_v", pa.float32()),
        ("pack_current_a", pa.float32()),
        ("soc_ratio", pa.float32()),
        ("soh_ratio", pa.float32()),
        ("cell_voltages_mv", pa.list_(pa.uint16())),
        ("probe_temperatures_degc", pa.list_(pa.int16())),
        ("insulation_ohm", pa.float32()),
        ("charging_state", pa.dictionary(pa.int8(), pa.utf8())),
        ("odometer_m", pa.float64()),
        ("vehicle_speed_mps", pa.float32()),
        ("bms_alarm_level", pa.int8()),
        ("bms_alarm_bits", pa.int32()),
    ]
)
_DELTA = ("sampled_at_ns", "cell_voltages_mv.list.element", "probe_temperatures_degc.list.element")
_SPLIT = ("odometer_m",)
_DICTIONARY = [
    "vehicle_id", "pack_voltage_v", "pack_current_a", "soc_ratio", "soh_ratio", "insulation_ohm",
    "charging_state", "vehicle_speed_mps", "bms_alarm_level", "bms_alarm_bits",
]  # fmt: skip


class FleetFolderError(VrcError):
    """A fleet's folder that cannot be read: says which file and what was expected."""


def write_whole(path: Path, payload: bytes) -> None:
    """The file with these bytes, there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f".{path.name}.part")
    waiting.write_bytes(payload)
    waiting.replace(path)


def write_table(path: Path, table: pa.Table) -> None:
    """A small table as Parquet, there whole or not at all."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_whole(path, sink.getvalue().to_pybytes())


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """fleet.json with these facts."""
    text = json.dumps({"format": FORMAT, "version": VERSION} | facts, indent=1) + "\n"
    write_whole(folder / MANIFEST, text.encode())


def read_manifest(folder: Path) -> dict[str, Any]:
    """The facts of fleet.json. Raises FleetFolderError for another format or version."""
    path = folder / MANIFEST
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FleetFolderError(f"{path}: {error}") from error
    if (facts.get("format"), facts.get("version")) != (FORMAT, VERSION):
        raise FleetFolderError(
            f"{path}: format {facts.get('format')!r} version {facts.get('version')!r}, "
            f"expected {FORMAT!r} version {VERSION}"
        )
    return facts


def shard_path(folder: Path, date: str) -> Path:
    """Where a day's records are."""
    return folder / "battery" / f"{date}.parquet"


@dataclass(frozen=True)
class VehicleReports:
    """A vehicle's records of a day."""

    vehicle_id: str
    reports: Reports


def write_shard(path: Path, days: Iterable[VehicleReports], start_ns: int) -> int:
    """Write a day's records; how many. Times in the reports count from `start_ns`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f".{path.name}.part")
    n_rows = 0
    with pq.ParquetWriter(
        waiting,
        SCHEMA,
        compression="zstd",
        compression_level=1,
        use_dictionary=_DICTIONARY,
        column_encoding=dict.fromkeys(_DELTA, "DELTA_BINARY_PACKED")
        | dict.fromkeys(_SPLIT, "BYTE_STREAM_SPLIT"),
        write_statistics=["vehicle_id", "sampled_at_ns"],
        store_schema=True,
    ) as writer:
        for group in _groups(days):
            table = _table(group, start_ns)
            n_rows += table.num_rows
            writer.write_table(table, row_group_size=table.num_rows)
    waiting.replace(path)
    return n_rows


def _groups(days: Iterable[VehicleReports]) -> Iterator[list[VehicleReports]]:
    """Whole vehicles together, up to about `ROWS_PER_GROUP` rows."""
    held: list[VehicleReports] = []
    rows = 0
    for day in days:
        held.append(day)
        rows += len(day.reports.time_s)
        if rows >= ROWS_PER_GROUP:
            yield held
            held, rows = [], 0
    if held:
        yield held


def _table(group: list[VehicleReports], start_ns: int) -> pa.Table:
    counts = [len(day.reports.time_s) for day in group]
    codes = np.repeat(np.arange(len(group), dtype=np.int32), counts)

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(day.reports, name) for day in group])

    def lists(name: str) -> pa.ListArray:
        parts = [getattr(day.reports, name) for day in group]
        lengths = np.repeat([part.shape[1] for part in parts], counts)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        flat = np.concatenate([part.ravel() for part in parts])
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))

    columns = [
        pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([d.vehicle_id for d in group])),
        pa.array(start_ns + joined("time_s") * NS_PER_S),
        pa.array(joined("pack_voltage_v")),
        pa.array(joined("pack_current_a")),
        pa.array(joined("soc_ratio")),
        pa.array(joined("soh_ratio"), from_pandas=True),
        lists("cells_mv"),
        lists("probes_degc"),
        pa.array(joined("insulation_ohm")),
        pa.DictionaryArray.from_arrays(pa.array(joined("charging_state")), pa.array(_WORDS)),
        pa.array(joined("odometer_m")),
        pa.array(joined("speed_mps")),
        pa.array(joined("alarm_level")),
        pa.array(joined("alarm_bits")),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def read_shard(path: Path) -> pa.Table:
    """A day's records, as `SCHEMA`. Raises FleetFolderError for another schema."""
    table = pq.read_table(path)
    if table.schema.names != SCHEMA.names:
        raise FleetFolderError(f"{path}: columns {table.schema.names}, expected {SCHEMA.names}")
    return table.unify_dictionaries().combine_chunks()
