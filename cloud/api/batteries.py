"""/v1/batteries: the newest of every pack side by side, for the fleet's view."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends

from cloud.api import present
from cloud.api.params import Run, Zone, only_known_parameters
from cloud.api.parts import Parts, Viewer, selected_runs
from cloud.latest import RunLatest
from cloud.latest_tables import NEVER_NS
from cloud.store import reads

router = APIRouter(tags=["batteries"], dependencies=[Depends(only_known_parameters)])

_NUMBERS = {
    "soc_ratio": 4,
    "soh_ratio": 4,
    "pack_voltage_v": 1,
    "pack_current_a": 1,
    "cell_voltage_min_v": 4,
    "cell_voltage_max_v": 4,
    "probe_temperature_max_degc": 1,
    "insulation_ohm": 0,
}


@router.get("/v1/batteries", summary="Newest frame of every battery, in short")
def batteries(parts: Parts, _caller: Viewer, zone: Zone = None, run: Run = None) -> dict[str, Any]:
    """With the pack's model and its worst open battery alert; `soh_ratio` is what the BMS says."""
    items = newest_packs(parts, zone, run)
    with parts.database() as connection:
        told = reads.worst_by_rule(connection, "battery", zone=zone, run_id=run)
    for item in items:
        rules = told.get((item["run_id"], item["vehicle_id"]))
        item["severity"] = max(rules.values()).word if rules else None
    return {"items": items, "next_cursor": None}


def newest_packs(parts: Parts, zone: str | None, run: str | None) -> list[dict[str, Any]]:
    """Every pack's newest frame in short, of the zone and run or of all."""
    runs = selected_runs(parts, zone, run)
    with parts.latest.lock:
        return [item for chosen in runs for item in _of_run(chosen)]


def _of_run(run: RunLatest) -> list[dict[str, Any]]:
    table = run.vehicles
    profiles = run.tables["vehicle_profile"].records
    items = []
    for slot in np.flatnonzero(table.columns["battery_at_ns"] != NEVER_NS).tolist():
        vehicle_id = table.vehicle_id(slot)
        numbers = {name: _rounded(table.columns[name][slot], n) for name, n in _NUMBERS.items()}
        profile = profiles.get(vehicle_id, {})
        items.append(
            {
                "vehicle_id": vehicle_id,
                "zone": run.zone,
                "run_id": run.run_id,
                "battery_at": present.at(int(table.columns["battery_at_ns"][slot])),
                "model": profile.get("model"),
                "chemistry": profile.get("chemistry"),
                **numbers,
            }
        )
    return items


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
