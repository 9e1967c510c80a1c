"""State of health on a simulated fleet's folder, held against its truth.

python -m tests.bench.battery_soh FOLDER [--days N]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from openvrc.contracts.batch import Batch
from openvrc.detectors.battery_health.health import BatteryHealth, Health
from simulator.fleet.shards import read_manifest
from tests.bench.battery_fleet import batches, profiles

MEASURED = ("charge_windows", "windows_and_anchors")


@dataclass(frozen=True)
class SohScore:
    """Errors in points of SoH, against the truth at the end of the last day."""

    vehicles: int
    measured: int
    rmse: float
    mae: float
    worst: float
    bias: float
    covered: float
    """Share of 90 % intervals that hold the truth."""
    half_width: float
    """Mean of them."""
    by_method: dict[str, tuple[int, float]]
    """Vehicles and RMSE."""
    resistance_r: float
    """Correlation of resistance over its model's median with the true ratio, over the fleet."""


def fold(folder: Path, days: int | None = None) -> list[Health]:
    """Health of the folder's vehicles after its days."""
    health = BatteryHealth()
    for batch in _all(folder, days):
        health.fold(batch)
    return health.rows()


def _all(folder: Path, days: int | None) -> Iterator[Batch]:
    yield profiles(folder)
    yield from batches(folder, days)


def truth(folder: Path, days: int | None = None) -> dict[str, dict[str, Any]]:
    """The true figures of each vehicle at the end of the last day."""
    date = read_manifest(folder)["shards"][:days][-1]
    table = pq.read_table(folder / "truth" / "health" / f"{date}.parquet")
    return {row["vehicle_id"]: row for row in table.to_pylist()}


def score(rows: list[Health], true: dict[str, dict[str, Any]], models: dict[str, str]) -> SohScore:
    """Of the vehicles with a measured SoH."""
    kept = [row for row in rows if row.soh_method in MEASURED and row.soh_ratio is not None]
    error = np.array([100 * (row.soh_ratio or 0) for row in kept])
    error -= [100 * true[row.vehicle_id]["soh_ratio"] for row in kept]
    half = np.array([50 * ((r.soh_high_ratio or 0) - (r.soh_low_ratio or 0)) for r in kept])
    by_method = {}
    for method in MEASURED:
        of = np.array([row.soh_method == method for row in kept])
        if of.any():
            by_method[method] = (int(of.sum()), float(np.sqrt(np.mean(error[of] ** 2))))
    return SohScore(
        len(rows),
        len(kept),
        float(np.sqrt(np.mean(error**2))),
        float(np.mean(np.abs(error))),
        float(np.abs(error).max()),
        float(error.mean()),
        float(np.mean(np.abs(error) <= half)),
        float(half.mean()),
        by_method,
        _resistance_r(rows, true, models),
    )


def _resistance_r(
    rows: list[Health], true: dict[str, dict[str, Any]], models: dict[str, str]
) -> float:
    told = {row.vehicle_id: row.resistance_ohm for row in rows if row.resistance_ohm}
    pairs = []
    for model in sorted(set(models.values())):
        ids = [vehicle for vehicle in told if models[vehicle] == model]
        if ids:
            middle = np.median([told[vehicle] or 0.0 for vehicle in ids])
            true_middle = np.median([true[vehicle]["resistance_ratio"] for vehicle in ids])
            pairs += [
                ((told[v] or 0.0) / middle, true[v]["resistance_ratio"] / true_middle) for v in ids
            ]
    return float(np.corrcoef(np.array(pairs).T)[0, 1])


def models_of(folder: Path) -> dict[str, str]:
    """Model by vehicle."""
    table = pq.read_table(folder / "vehicles.parquet").to_pydict()
    return dict(zip(table["vehicle_id"], table["model"], strict=True))


def main() -> None:
    """Print the score."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int)
    chosen = parser.parse_args()
    rows = fold(chosen.folder, chosen.days)
    print(score(rows, truth(chosen.folder, chosen.days), models_of(chosen.folder)))  # noqa: T201


if __name__ == "__main__":
    main()
