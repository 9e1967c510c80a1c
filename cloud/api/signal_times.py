"""/v1/traffic/signals: how signals run and how long vehicles wait for them, by approach."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends

from cloud.api import present
from cloud.api.params import Run, Zone, only_known_parameters
from cloud.api.parts import CloudParts, Parts, Viewer, selected_runs
from cloud.latest import RunLatest
from cloud.traffic_states import Approaches
from openvrc.contracts.maps import RoadMap
from openvrc.traffic.service_level import LEVELS, SIGNAL_DELAY_S
from openvrc.traffic.signals import GroupShares

router = APIRouter(tags=["traffic"], dependencies=[Depends(only_known_parameters)])


@router.get("/v1/traffic/signals", summary="Green shares, delays and queues by approach")
def signals(parts: Parts, _caller: Viewer, zone: Zone = None, run: Run = None) -> dict[str, Any]:
    """One item a segment that ends at a signal, of the last minutes.

    `groups` are the signal groups that its lanes have: shares of green, amber and red, mean cycle
    and green of a cycle, and on how many cycles that rests (faded with 900 s); null where a group
    has said too little. `delay_s` is a pass's time less that at the limit, faded with 450 s, of
    `seen_vehicles`; level of service by that delay. Queues as in completed states.
    """
    items: list[dict[str, Any]] = []
    for chosen in selected_runs(parts, zone, run):
        items += _of_run(parts, chosen)
    return {"items": [present.public(item) for item in items], "next_cursor": None}


def groups_of(road_map: RoadMap) -> dict[tuple[str, str], list[str]]:
    """Group names of each (segment, intersection), in order."""
    found: dict[tuple[str, str], set[tuple[int, str]]] = defaultdict(set)
    for head in road_map.signal_heads:
        name = f"{head.intersection_id}:{head.signal_group}"
        found[head.segment_id, head.intersection_id].add((head.signal_group, name))
    return {key: [name for _, name in sorted(found[key])] for key in sorted(found)}


def _of_run(parts: CloudParts, run: RunLatest) -> list[dict[str, Any]]:
    known = parts.traffic.approaches(run.zone, run.run_id)
    if known is None:
        return []
    about = present.run_facts(run) | {"sampled_at_ns": known.at_ns}
    return [
        about | _item(known, segment_id, intersection, names)
        for (segment_id, intersection), names in groups_of(known.road_map).items()
    ]


def _item(
    known: Approaches, segment_id: str, intersection: str, names: list[str]
) -> dict[str, Any]:
    segment = known.road_map.index_of(segment_id)
    delay_s = float(known.delays.delay_s[segment])
    level = int(np.searchsorted(SIGNAL_DELAY_S, delay_s, side="left"))
    return {
        "segment_id": segment_id,
        "intersection_id": intersection,
        "delay_s": round(delay_s, 1),
        "level_of_service": LEVELS[level] if np.isfinite(delay_s) else None,
        "seen_vehicles": round(float(known.delays.passes[segment]), 1),
        "queue_m": round(float(known.queues.middle_m[segment]), 1),
        "queue_low_m": round(float(known.queues.low_m[segment]), 1),
        "queue_high_m": round(float(known.queues.high_m[segment]), 1),
        "groups": [{"group_id": name} | _shares(known.shares.get(name)) for name in names],
    }


def _shares(shares: GroupShares | None) -> dict[str, Any]:
    if shares is None:
        return dict.fromkeys(GroupShares._fields)
    digits = {"cycle_s": 1, "green_s": 1, "cycles": 1}
    return {name: round(v, digits.get(name, 3)) for name, v in shares._asdict().items()}
