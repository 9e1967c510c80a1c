"""/v1/objects: everybody whom roadside units perceive, each once, with who sees them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from cloud.api import present
from cloud.api.params import (
    Cursor,
    Limit,
    Run,
    Zone,
    bad_cursor,
    decode_cursor,
    encode_cursor,
    only_known_parameters,
)
from cloud.api.parts import Parts, Viewer, selected_runs
from cloud.latest import RunLatest
from cloud.latest_objects import Page

router = APIRouter(tags=["zones"], dependencies=[Depends(only_known_parameters)])

Place = tuple[str, str, int]
"""(zone, run_id, number): the order of the list."""


@router.get("/v1/objects", summary="Road users that roadside units perceive, fused")
def list_objects(
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: Run = None,
    cursor: Cursor = None,
    limit: Limit = 1000,
) -> dict[str, Any]:
    """As they are now, `sources` being the units that see one, with their own ids for it.

    `vehicle_id` is who it says to be, null for who is not connected. Vehicles that nothing was
    perceived near to are under /v1/vehicles only. `count` is of all pages; each page is of its own
    moment.
    """
    after = _place(cursor)
    runs = sorted(selected_runs(parts, zone, run), key=lambda r: (r.zone, r.run_id))
    with parts.latest.lock:
        pages = _pages(runs, after, limit + 1)
    found = [
        ((about["zone"], about["run_id"], facts["slot"]), about | present.fused(facts))
        for about, page in pages
        for facts in page.facts()
    ]
    end = found[limit - 1][0] if len(found) > limit else None
    return {
        "items": [item for _, item in found[:limit]],
        "count": sum(page.n_all for _, page in pages),
        "next_cursor": encode_cursor([str(part) for part in end]) if end else None,
    }


def _pages(runs: list[RunLatest], after: Place, limit: int) -> list[tuple[dict[str, Any], Page]]:
    """So many road users behind a place, by run; runs without any of these for their count."""
    pages: list[tuple[dict[str, Any], Page]] = []
    for run in runs:
        is_past = (run.zone, run.run_id) < after[:2]
        number = after[2] if (run.zone, run.run_id) == after[:2] else 0
        page = run.objects.page(run.zone_time_ns, after=number, limit=0 if is_past else limit)
        if page is not None:
            limit -= len(page.picture.number)
            pages.append((present.run_facts(run), page))
    return pages


def _place(cursor: str | None) -> Place:
    if cursor is None:
        return ("", "", 0)
    zone, run_id, number = decode_cursor(cursor, 3)
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise bad_cursor(ValueError("number"))
    return (zone, run_id, int(number))
