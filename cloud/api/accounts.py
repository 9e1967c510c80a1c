"""/v1/accounting, /v1/dead-letters: where every record went."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends

from cloud.api import present
from cloud.api.params import (
    AnyRun,
    Cursor,
    Limit,
    Reason,
    Source,
    Zone,
    bad_cursor,
    decode_cursor,
    encode_cursor,
    only_known_parameters,
)
from cloud.api.parts import CloudParts, Parts, Viewer
from cloud.store import reads
from cloud.store.read_reporting import reporting_of, reporting_sums

router = APIRouter(tags=["accounting"], dependencies=[Depends(only_known_parameters)])


@router.get("/v1/accounting", summary="What became of every record, per sender")
def accounting(
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: AnyRun = None,
    source: Source = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Sent = stored + rejected + dropped + expired + thinned + pending + missing.

    `totals` are those of all senders that are asked for, `sources` one page of them. `rejected`
    counts by reason; `duplicates` stand beside the sum. `stages` says what waits where: in the
    edges that report, and in this service. `latency_ms` is measured by this process since it
    started. `national_reporting` counts what a regulator would ask about vehicles that speak
    GB/T 32960.3: findings in all and still open by component (`period`, `back_fill`,
    `alarm_window`); each is an alert of `data.national_reporting`. A source has it if it is such
    a vehicle and something was found.
    """
    after = _place(cursor)
    with parts.database() as connection:
        found = reads.accounting(
            connection, parts.pipeline.counts, zone=zone, run_id=run, source=source, after=after,
            limit=limit,
        )  # fmt: skip
        reported = reporting_sums(connection, zone=zone, run_id=run, subject=source)
        of_source = reporting_of(connection, found.sources)
    latency = parts.pipeline.latency()
    end = found.next_after
    return {
        "totals": present.account(found.totals),
        "national_reporting": present.reporting(reported),
        "sources": [
            present.source_account(account)
            | present.reporting_of(of_source, (account.zone, account.run_id, account.source_id))
            for account in found.sources
        ],
        "next_cursor": encode_cursor([str(key) for key in end]) if end else None,
        "stages": _stages(parts),
        "latency_ms": {"stored": asdict(latency.stored), "alert": asdict(latency.alert)},
    }


def _stages(parts: CloudParts) -> dict[str, Any]:
    """What waits where, in the order of a record's way."""
    stats = parts.pipeline.stats()
    now_ns = time.time_ns()
    return {
        "edges": [present.edge(edge, now_ns) for edge in parts.edges.all()],
        "cloud": {
            "queued_bodies": stats.queued_bodies,
            "queue_limit": stats.queue_limit,
            "full_answers": stats.full_answers,
            "is_database_connected": stats.is_database_connected,
        },
    }


def _place(cursor: str | None) -> tuple[int, int, int]:
    """Behind which sender a page begins. Raises ProblemError."""
    if cursor is None:
        return -1, -1, -1
    parts = decode_cursor(cursor, 3)
    if not all(part.isascii() and part.isdecimal() and len(part) <= 9 for part in parts):
        raise bad_cursor(ValueError("keys"))
    run, zone, source = map(int, parts)
    return run, zone, source


@router.get("/v1/dead-letters", summary="What was not taken, and why")
def dead_letters(
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: AnyRun = None,
    source: Source = None,
    reason: Reason = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Newest first, each with its reason and the first bytes of what came."""
    with parts.database() as connection:
        try:
            page = reads.dead_letters(
                connection, zone=zone, run_id=run, source=source, reason=reason, cursor=cursor,
                limit=limit,
            )  # fmt: skip
        except ValueError as error:
            raise bad_cursor(error) from error
    items = [present.public(row) for row in page.items]
    return {"items": items, "next_cursor": page.next_cursor}
