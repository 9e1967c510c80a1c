"""POST /v1/ingest: batches from edges, and plain JSON for a newcomer with curl."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import AfterValidator, WithJsonSchema

from cloud.api.params import only_known_parameters
from cloud.api.parts import CloudParts, Operator, Parts
from cloud.api.problems import ProblemError
from cloud.pipeline import (
    EdgeConflictError,
    IngestResult,
    PipelineFullError,
    StoreFaultError,
    StoreRefusedError,
)
from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN
from openvrc.contracts.wire import CONTENT_TYPE, WireError

router = APIRouter(tags=["ingest"], dependencies=[Depends(only_known_parameters)])

JSON_TYPE = "application/json"
RETRY_AFTER_S = 1
# Edge, spool epoch, counter; a refused batch's halves append /0 and /1, at most 30 times.
BATCH_ID_PATTERN = r"^[A-Za-z0-9_.:@\-]{1,96}/[A-Za-z0-9_.:\-]{1,64}/[0-9]{1,19}(/[01]){0,30}$"
MAX_SHOWN_REJECTS = 20


def _known_message(name: str) -> str:
    if name not in MESSAGES:
        raise ValueError("expected one of " + ", ".join(MESSAGES))
    return name


MessageName = Annotated[
    str,
    AfterValidator(_known_message),
    WithJsonSchema({"type": "string", "enum": list(MESSAGES)}),
]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}},
            JSON_TYPE: {
                "schema": {
                    "oneOf": [
                        {"type": "object"},
                        {"type": "array", "items": {"type": "object"}},
                    ]
                }
            },
        },
    }
}


@router.post("/v1/ingest", summary="Store batches or JSON records", openapi_extra=_BODY)
async def ingest(
    request: Request,
    parts: Parts,
    _caller: Operator,
    edge_id: Annotated[
        str | None,
        Header(alias="X-VRC-Edge", pattern=TOPIC_ID_PATTERN, description="The edge that sends"),
    ] = None,
    batch_id: Annotated[
        str | None,
        Header(
            alias="X-VRC-Batch",
            pattern=BATCH_ID_PATTERN,
            description="`{edge_id}/{epoch}/{counter}`: a repeated id is stored once",
        ),
    ] = None,
    zone: Annotated[
        str | None, Query(pattern=TOPIC_ID_PATTERN, description="Zone of JSON records")
    ] = None,
    message: Annotated[
        MessageName | None, Query(description="Message type of JSON records")
    ] = None,
) -> dict[str, Any]:
    """Batches of an edge, or JSON records of anybody; answered when they are durable.

    Batches are what `wire.pack` writes and need `X-VRC-Edge` and `X-VRC-Batch` (a body of accounts
    alone has no batch id); JSON is one record or an array and needs `?zone=` and `?message=`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (CONTENT_TYPE, JSON_TYPE):
        raise ProblemError(
            415, f"content-type is {kind[:100]!r}, expected {CONTENT_TYPE} or {JSON_TYPE}"
        )
    body = await _bounded_body(request, parts.settings.cloud_max_body_bytes)
    try:
        if kind == CONTENT_TYPE:
            result = await _submit(parts, body, edge_id, batch_id)
            return {"stored": result.stored, "is_duplicate": result.is_duplicate}
        return _records_answer(await _submit_records(parts, body, zone, message))
    except WireError as error:
        raise ProblemError(400, str(error)) from error
    except (StoreRefusedError, ContractError) as error:
        raise ProblemError(422, str(error)) from error
    except EdgeConflictError as error:
        retry_after = str(math.ceil(error.retry_after_s))
        raise ProblemError(409, str(error), headers={"Retry-After": retry_after}) from error
    except (PipelineFullError, StoreFaultError) as error:
        raise ProblemError(503, str(error), headers={"Retry-After": str(RETRY_AFTER_S)}) from error


async def _submit(
    parts: CloudParts, body: bytes, edge_id: str | None, batch_id: str | None
) -> IngestResult:
    if edge_id is None:
        raise ProblemError(400, "batches need the header X-VRC-Edge")
    # Without X-VRC-Batch the pipeline takes accounts only, which are idempotent by version.
    return await parts.pipeline.submit(body, edge_id, batch_id or "")


async def _submit_records(
    parts: CloudParts, body: bytes, zone: str | None, message: str | None
) -> IngestResult:
    if zone is None or message is None:
        raise ProblemError(422, "JSON records need ?zone= and ?message=")
    limits = await asyncio.to_thread(parts.zone_limits, zone)
    return await parts.pipeline.submit_records(zone, message, body, limits)


def _records_answer(result: IngestResult) -> dict[str, Any]:
    rejects = [
        {"reason": str(r.reason), "detail": r.detail, "source_id": r.source_id}
        for r in result.rejects[:MAX_SHOWN_REJECTS]
    ]
    if rejects and result.stored <= 0:
        first = rejects[0]
        raise ProblemError(422, f"{first['reason']}: {first['detail']}", rejects=rejects)
    return {
        "stored": result.stored,
        "is_duplicate": result.is_duplicate,
        "rejected": result.rejected,
        "rejects": rejects,
    }


async def _bounded_body(request: Request, limit_bytes: int) -> bytes:
    """The body; refused as soon as it is known to be too long, whatever its header claims."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise ProblemError(413, f"body is over {limit_bytes} bytes, expected less")
        chunks.append(chunk)
    return b"".join(chunks)
