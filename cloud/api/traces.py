"""/v1/trace: where one record went, stage by stage with times."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from cloud.api import present
from cloud.api.params import AnyRun, NumberPath, SourcePath, only_known_parameters
from cloud.api.parts import Parts, Viewer
from cloud.api.problems import ProblemError
from cloud.store import reads
from cloud.store.reads import Connection, Row, SessionAccount

router = APIRouter(tags=["accounting"], dependencies=[Depends(only_known_parameters)])

_TIMES = {
    "sampled": "sampled_at_ns",
    "published": "published_at_ns",
    "edge_received": "edge_received_at_ns",
    "stored": "stored_at_ns",
}
"""A record's stages and the times that tell of them."""
MOST_ALERTS = 20


@router.get("/v1/trace/{source_id}/{session}/{seq}", summary="Where one record went")
def trace(
    source_id: SourcePath,
    session: NumberPath,
    seq: NumberPath,
    parts: Parts,
    _caller: Viewer,
    run: AnyRun = None,
) -> dict[str, Any]:
    """What became of a sender's record `seq` of `session`.

    `outcome` is stored, rejected (with its reason), missing (it never came to an edge), or pending
    (an edge has it, or has given it up: `accounts` count those). `items` are the rows and dead
    letters it became, each with its stages; of a stored one also the alerts on its subject that
    were open at its time.
    """
    with parts.database() as connection:
        rows = reads.trace(connection, source_id, session, seq, run_id=run)
        told = reads.session_accounts(connection, source_id, session, run)
        items = [_item(connection, row) for row in rows]
    outcome = _outcome(rows, told, seq)
    if outcome is None:
        raise ProblemError(
            404, f"record {seq} of session {session} of {source_id!r} is neither stored nor refused"
        )
    return {
        "source_id": source_id,
        "session": session,
        "seq": seq,
        "outcome": outcome,
        "items": items,
        "accounts": [present.session_account(account) for account in told],
    }


def _outcome(rows: list[Row], told: list[SessionAccount], seq: int) -> str | None:
    """None for a record that nobody has heard of."""
    if rows:
        is_stored = any(row["message"] != "dead_letter" for row in rows)
        return "stored" if is_stored else "rejected"
    told = [account for account in told if seq < account.sent]
    if not told:
        return None
    return "missing" if all(account.lacks(seq) for account in told) else "pending"


def _item(connection: Connection, row: Row) -> dict[str, Any]:
    is_refused = row["message"] == "dead_letter"
    stages = [
        {"stage": "refused" if is_refused and stage == "stored" else stage, "at": present.at(at_ns)}
        for stage, name in _TIMES.items()
        if (at_ns := row.get(name)) is not None
    ]
    alerts = [] if is_refused else _alerts(connection, row)
    shown: dict[str, Any] = present.public(row)
    return shown | {"stages": stages, "alerts": alerts}


def _alerts(connection: Connection, row: Row) -> list[dict[str, Any]]:
    at_ns = row["sampled_at_ns"]
    where = reads.AlertFilter(
        run_id=row["run_id"], zone=row["zone"], subject=row["subject_id"], to_ns=at_ns
    )
    page = reads.alerts(connection, where, limit=MOST_ALERTS)
    names = ("id", "rule", "severity", "state", "started_at", "detected_at", "cleared_at")
    return [
        {name: value for name, value in present.alert(view.alert).items() if name in names}
        for view in page.items
        if view.alert.cleared_at_ns is None or view.alert.cleared_at_ns >= at_ns
    ]
