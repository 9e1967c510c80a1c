"""/healthz, /readyz, /metrics: for machines that look after this service."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from cloud import metrics
from cloud.api.params import only_known_parameters
from cloud.api.parts import Parts
from cloud.api.problems import ProblemError

router = APIRouter(tags=["operation"], dependencies=[Depends(only_known_parameters)])


@router.get("/healthz", summary="Whether the process answers")
async def healthz() -> dict[str, str]:
    """Always 200 while it runs."""
    return {"status": "ok"}


@router.get("/readyz", summary="Whether it can take data")
def readyz(parts: Parts) -> dict[str, str]:
    """503 while the pipeline does not run or the database does not answer."""
    if not parts.pipeline.stats().is_running:
        raise ProblemError(503, "the pipeline does not run", headers={"Retry-After": "2"})
    with parts.database() as connection:
        connection.execute("SELECT 1")
    return {"status": "ready"}


@router.get(
    "/metrics",
    summary="Prometheus figures",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def prometheus(request: Request) -> Response:
    """Counts by zone, message, reason and rule; latency histogram; clients and queues."""
    text = await run_in_threadpool(metrics.exposition, request.app.state.collector)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
