"""/v1/objects: everybody whom roadside units perceive, each once, with who sees them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from cloud.api import present
from cloud.api.params import Limit, Run, Zone, only_known_parameters
from cloud.api.parts import Parts, Viewer, selected_runs

router = APIRouter(tags=["zones"], dependencies=[Depends(only_known_parameters)])


@router.get("/v1/objects", summary="Road users that roadside units perceive, fused")
def list_objects(
    parts: Parts, _caller: Viewer, zone: Zone = None, run: Run = None, limit: Limit = 1000
) -> dict[str, Any]:
    """As they are now, `sources` being the units that see one, with their own ids for it.

    `vehicle_id` is who it says to be, null for who is not connected. Vehicles that nothing was
    perceived near to are under /v1/vehicles only.
    """
    runs = selected_runs(parts, zone, run)
    with parts.latest.lock:
        items = [
            present.run_facts(r) | present.fused(facts)
            for r in runs
            for facts in r.objects.facts(r.zone_time_ns)
        ]
    return {"items": items[:limit], "count": len(items)}
