"""The fleet platform's zipped csv as battery_state batches: the tests' own small reader."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from openvrc.contracts.batch import Batch, from_columns

CHINA_OFFSET_S = 8 * 3600
RAW_PROBE_OFFSET_DEGC = 40.0
RAW_NO_PROBE = 255.0
OHM_PER_KOHM = 1000.0


def shared_file(*parts: str) -> Path:
    """A file of the shared test data; skips the test when it is absent."""
    root = Path(os.environ.get("VRC_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"test data {path} is absent; set VRC_SHARED_DATA")
    return path


@cache
def _columns(name: str) -> dict[str, Any]:
    path = shared_file("battery", "faults", f"{name}_processed.zip")
    with zipfile.ZipFile(path) as archive:
        table = pa.csv.read_csv(pa.py_buffer(archive.read(archive.namelist()[0])))
    columns = {}
    for header in table.column_names:
        kind = pa.timestamp("s") if header == "tboxTime" else pa.float64()
        array = table[header].combine_chunks().cast(kind)
        if header == "tboxTime":
            array = array.cast(pa.int64())
        columns[header] = array.to_numpy(zero_copy_only=False)
    return columns


def _lists(columns: dict[str, Any], prefix: str) -> np.ndarray[Any, Any]:
    return np.stack([columns[name] for name in columns if name.startswith(prefix)], axis=1)


def _as_list_column(matrix: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    n_rows, width = matrix.shape
    offsets = np.arange(n_rows + 1, dtype=np.int32) * width
    return matrix.astype(np.float32).ravel(), offsets.astype(np.int32)


CHARGING_STATES = {1: "parked_charging", 3: "not_charging", 4: "charge_complete"}


def _bms_columns(columns: dict[str, Any], part: slice) -> dict[str, Any]:
    if "BMSWarningInformation" not in columns:
        return {}
    states = columns["BMSChargeStatus"][part].tolist()
    return {
        "bms_alarm_level": columns["BMSWarningInformation"][part].astype(np.int64),
        "charging_state": [CHARGING_STATES.get(int(s) if s == s else 0) for s in states],
    }


def recording(name: str, batch_rows: int = 5000) -> Iterator[Batch]:
    """Batches of `car1` or `car3`; the vehicle's id is the name."""
    columns = _columns(name)
    probes = _lists(columns, "T_")
    if name == "car3":  # raw codes: 66 is 26 degC, 255 no probe
        probes = np.where(probes >= RAW_NO_PROBE, np.nan, probes - RAW_PROBE_OFFSET_DEGC)
    cells = _lists(columns, "V_")
    for start in range(0, len(cells), batch_rows):
        part = slice(start, start + batch_rows)
        n_rows = len(cells[part])
        yield from_columns(
            "battery_state",
            zone="fleet",
            run_id="test",
            origin="replay",
            n_rows=n_rows,
            columns={
                "source_id": name,
                "subject_id": name,
                "id_kind": "permanent",
                "sampled_at_ns": (columns["tboxTime"][part] - CHINA_OFFSET_S) * 1_000_000_000,
                "lateness": 0,
                "pack_voltage_v": columns["BMSBatteryVoltage"][part],
                "pack_current_a": columns["BMSBatteryCurrent"][part],
                "soc_ratio": columns["vehBMSPackSOC"][part] / 100,
                "cell_voltages_v": _as_list_column(cells[part]),
                "probe_temperatures_degc": _as_list_column(probes[part]),
                "odometer_m": columns["vehOdo"][part] * 1000,
                "vehicle_speed_mps": columns["vehSpeed"][part] / 3.6,
                **(
                    {"insulation_ohm": columns["insulationResistance"][part] * OHM_PER_KOHM}
                    if "insulationResistance" in columns
                    else {}
                ),
                **_bms_columns(columns, part),
            },
        )
