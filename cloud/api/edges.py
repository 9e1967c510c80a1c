"""/v1/edges: how the edges are, as they say themselves."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from cloud.api import present
from cloud.api.params import only_known_parameters
from cloud.api.parts import Operator, Parts, Viewer
from openvrc.contracts.edge_status import EdgeStatus
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN

router = APIRouter(tags=["accounting"], dependencies=[Depends(only_known_parameters)])

EdgePath = Annotated[str, Path(pattern=TOPIC_ID_PATTERN, description="Edge")]


@router.post("/v1/edges/{edge_id}", summary="An edge says how it is")
async def report(
    edge_id: EdgePath, status: EdgeStatus, parts: Parts, _caller: Operator
) -> dict[str, Any]:
    """Kept in memory until the next one; answered also while the database is away.

    `down` is what the edge is to publish to senders, such as commands for a run's driver. Keys are
    not bound to edges: any operator key may report as any edge, and then gets what waits for it.
    """
    now_ns = time.time_ns()
    parts.edges.hear(edge_id, status, now_ns)
    waiting = parts.mailbox.take(edge_id, now_ns)
    return {"ok": True, "down": [{"topic": d.topic, "payload": d.payload} for d in waiting]}


@router.get("/v1/edges", summary="How full the edges are, and what holds them up")
async def edges(parts: Parts, _caller: Viewer) -> dict[str, Any]:
    """Each edge that was heard within a day, with its newest report."""
    return {"items": [present.edge(edge, time.time_ns()) for edge in parts.edges.all()]}
