"""/v1/vehicles/{id}/battery/health: what the stored frames of one pack say of its health.

Folded when it is asked for, by the fold of `vrc analyse`: a fleet's health is that command's work,
this is the page's look at one pack. It reads the newest MOST_FRAMES frames and says how many.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends

from cloud.api import present
from cloud.api.params import Run, SubjectPath, Zone, only_known_parameters
from cloud.api.parts import CloudParts, Parts, Viewer, selected_runs
from cloud.store import reads
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.columns import columns_of
from openvrc.detectors.battery_health.health import BatteryHealth

router = APIRouter(tags=["batteries"], dependencies=[Depends(only_known_parameters)])

MOST_FRAMES = 10_000
"""28 hours at 10 s; a second or two of one core, in a thread beside the pipeline."""
FRAMES_A_BATCH = 1_000
PAUSE_S = 0.02
"""Between two batches, so that the pipeline's thread gets its turn."""


@router.get("/v1/vehicles/{vehicle_id:path}/battery/health", summary="A pack's measured health")
def battery_health(
    vehicle_id: SubjectPath, parts: Parts, _caller: Viewer, zone: Zone = None, run: Run = None
) -> dict[str, Any]:
    """`soh_low_ratio` and `soh_high_ratio` hold 90 %; null is "not known", `soh_method` says why.

    `frames` were read, all of one run; `is_whole` tells whether that is all there is.
    """
    if run is None:
        zone, run = _newest_run(parts, vehicle_id, zone)
    where: dict[str, Any] = {"zone": zone, "run_id": run}
    with parts.database() as connection:
        page = reads.history(connection, "battery_state", vehicle_id, limit=MOST_FRAMES, **where)
        profiles = reads.history(connection, "vehicle_profile", vehicle_id, limit=1, **where)
    health = BatteryHealth()
    if profiles.items:
        health.fold(_batch("vehicle_profile", profiles.items))
    frames = page.items[::-1]
    for first in range(0, len(frames), FRAMES_A_BATCH):
        health.fold(_batch("battery_state", frames[first : first + FRAMES_A_BATCH]))
        time.sleep(PAUSE_S)
    found = next((row for row in health.rows() if row.vehicle_id == vehicle_id), None)
    return {
        "vehicle_id": vehicle_id,
        "zone": zone,
        "run_id": run,
        "frames": len(frames),
        "is_whole": page.next_cursor is None,
        "from_at": present.at(frames[0]["sampled_at_ns"]) if frames else None,
        "health": present.public(asdict(found)) if found else None,
    }


def _newest_run(
    parts: CloudParts, vehicle_id: str, zone: str | None
) -> tuple[str | None, str | None]:
    """The newest run that knows the vehicle: packs of two runs, such as replays, are two packs."""
    chosen = selected_runs(parts, zone, None)
    with parts.latest.lock:
        older = sorted(parts.latest.runs.values(), key=lambda one: -one.appeared)
        for one in [*chosen, *older]:
            is_in_zone = zone is None or one.zone == zone
            if is_in_zone and one.vehicles.slot(vehicle_id) is not None:
                return one.zone, one.run_id
    return (chosen[0].zone, chosen[0].run_id) if chosen else (zone, None)


def _batch(message: str, rows: list[reads.Row]) -> Batch:
    given = {name for row in rows for name in row}
    columns: dict[str, list[Any]] = {}
    for column in columns_of(message):
        if column.name in given:
            absent: list[float] | None = [] if column.kind == "f32_list" else None
            columns[column.name] = [row.get(column.name, absent) for row in rows]
    first = rows[0]
    return from_columns(
        message, zone=first["zone"], run_id=first["run_id"], origin=first["origin"],
        columns=columns, n_rows=len(rows),
    )  # fmt: skip
