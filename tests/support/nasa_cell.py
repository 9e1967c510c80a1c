"""Charges of NASA's cell B0005 as frames of a pack of 60 cells side by side, and its capacities.

Its BMS knows empty and full, since every charge follows a discharge to the cut-off and ends full:
it shows the share of the charge that has flowed, in whole percents.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator

import numpy as np

from openvrc.contracts.batch import Batch, from_columns
from tests.support.shared_data import shared_data

RATED_AH, PARALLEL = 2.0, 60
_START_NS = 1_767_225_600_000_000_000
_DAY_NS = 86_400 * 10**9
_MARK = re.compile(r"dis_(\d+)_cap_([\d.]+)\.csv")


def _archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(shared_data("battery", "nasa", "B0005.zip"))


def soh_by_cycle() -> dict[int, float]:
    """Measured discharge capacity over the rated one."""
    with _archive() as archive:
        found = [_MARK.search(name) for name in archive.namelist()]
    return {int(m.group(1)): float(m.group(2)) / RATED_AH for m in found if m}


def charges(cycles: list[int]) -> Iterator[Batch]:
    """The charge before each of these discharges, a day apart."""
    with _archive() as archive:
        for cycle in cycles:
            yield _frames(archive.read(f"charge_data/charge_{cycle}.csv").decode(), cycle)


def _frames(text: str, cycle: int) -> Batch:
    rows = list(csv.DictReader(io.StringIO(text)))
    volts, amps, time_s = (
        np.array([float(row[name]) for row in rows])
        for name in ("voltage", "current", "charge_time")
    )
    amps = np.clip(amps, 0.0, None)
    charge = np.append(0.0, np.cumsum(np.diff(time_s) * (amps[1:] + amps[:-1]) / 2))
    n = len(rows)
    return from_columns(
        "battery_state",
        zone="z",
        run_id="r",
        origin="replay",
        n_rows=n,
        columns={
            "subject_id": "B0005",
            "source_id": "B0005",
            "id_kind": "permanent",
            "lateness": 0,
            "sampled_at_ns": _START_NS + cycle * _DAY_NS + np.rint(time_s * 1e9).astype(np.int64),
            "pack_voltage_v": volts.astype(np.float32),
            "pack_current_a": (-amps * PARALLEL).round(1).astype(np.float32),
            "soc_ratio": (np.floor(100 * charge / charge[-1]) / 100).astype(np.float32),
            "charging_state": "parked_charging",
            "cell_voltages_v": (volts.astype(np.float32), np.arange(n + 1, dtype=np.int32)),
        },
    )
