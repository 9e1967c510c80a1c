"""/v1/batteries/cohorts: battery alerts by kind of pack, and what stands out in one kind."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends

from cloud.api.batteries import newest_packs
from cloud.api.params import Run, Zone, only_known_parameters
from cloud.api.parts import Parts, Viewer
from cloud.store import reads
from openvrc.contracts.detection import Severity
from openvrc.detectors.battery_health.alert_cohorts import PackAlerts, StandingOut, cohorts_of

router = APIRouter(tags=["batteries"], dependencies=[Depends(only_known_parameters)])

_DIGITS = 4
MOST_LISTED = 100
"""Vehicles named where a rule stands out; `told` has how many there are."""


@router.get("/v1/batteries/cohorts", summary="Open battery alerts by model and chemistry")
def battery_cohorts(
    parts: Parts, _caller: Viewer, zone: Zone = None, run: Run = None
) -> dict[str, Any]:
    """Packs with an open alert by kind, and rules that one kind of pack has as no other has.

    A vehicle counts once per rule, with alerts of at least a warning. Where a rule stands out the
    first 100 vehicles are named; `is_complete` says whether these are all.
    """
    with parts.database() as connection:
        rules = reads.worst_by_rule(
            connection, "battery", zone=zone, run_id=run, least=Severity.WARNING
        )
    packs = [
        PackAlerts(
            item["vehicle_id"],
            item["model"],
            item["chemistry"],
            frozenset(rules.get((item["run_id"], item["vehicle_id"]), ())),
            _spread_v(item),
        )
        for item in newest_packs(parts, zone, run)
    ]
    cohorts, standing_out = cohorts_of(packs)
    return {
        "items": [_rounded(asdict(cohort)) for cohort in cohorts],
        "standing_out": [standing_row(one) for one in standing_out],
        "next_cursor": None,
    }


def standing_row(one: StandingOut) -> dict[str, Any]:
    """As the API tells it, with no more vehicles than can be read."""
    listed = list(one.vehicle_ids[:MOST_LISTED])
    is_complete = len(listed) == len(one.vehicle_ids)
    return asdict(one) | {"vehicle_ids": listed, "is_complete": is_complete}


def _spread_v(item: dict[str, Any]) -> float | None:
    low, high = item["cell_voltage_min_v"], item["cell_voltage_max_v"]
    return None if low is None or high is None else high - low


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, _DIGITS) if isinstance(v, float) else v for k, v in row.items()}
