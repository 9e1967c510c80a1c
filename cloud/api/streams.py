"""GET /v1/stream (server-sent events) and /v1/live (WebSocket with binary positions)."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from cloud.api import present
from cloud.api.auth import is_same_origin
from cloud.api.params import Run, Zone, only_known_parameters
from cloud.api.parts import CloudParts, Parts, Viewer, caller_of, parts_of
from cloud.api.problems import ProblemError
from cloud.broadcast import Broadcaster
from cloud.live import FRAME_EVERY_S, LiveClient, LiveProtocolError
from cloud.live_frame import OBJECT_SLOTS
from cloud.stream import StreamFullError

log = logging.getLogger(__name__)
router = APIRouter(tags=["live"])

MS_PER_S = 1000.0
CLOSE_PROTOCOL = 1008
CLOSE_SILENT = 1013
CLOSE_GOING_AWAY = 1001


@router.get(
    "/v1/stream",
    summary="Alerts and states as they happen (SSE)",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
    dependencies=[Depends(only_known_parameters)],
)
async def stream(
    request: Request,
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: Run = None,
    last_event_id: Annotated[
        str | None, Header(max_length=100, description="Sent by browsers that reconnect")
    ] = None,
) -> StreamingResponse:
    """Events `snapshot`, `alert`, `kpi`, `runs`, and by kind of state: `segments`, `signals` etc.

    States are `segments`, `signals`, `rsus`, `chargers`, `road_events`. The first event is a
    `snapshot`, also after a reconnect with any `Last-Event-ID` and whenever this client was too
    slow: apply it in place of everything known. Comments are heartbeats.
    """
    del last_event_id  # whatever was missed, the snapshot holds it
    try:
        parts.hub.check_room()
    except StreamFullError as error:
        raise ProblemError(503, str(error), headers={"Retry-After": "10"}) from error
    caster: Broadcaster = request.app.state.broadcaster
    events = parts.hub.follow(
        lambda event: caster.accepts(event, zone, run), lambda: caster.snapshot(zone, run)
    )
    return StreamingResponse(
        events,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.websocket("/v1/live")
async def live(websocket: WebSocket) -> None:
    """Binary positions by viewport; the protocol is in cloud/live.py and live_frame.py."""
    parts = parts_of(websocket)
    caller, is_cookie = caller_of(websocket)
    # Browsers let any site open a WebSocket to us with the user's cookies.
    if caller is None or (is_cookie and not is_same_origin(websocket.headers)):
        problem = ProblemError(401, "no valid API key, or not from this service's own page")
        await websocket.send_denial_response(problem.response())
        return
    await websocket.accept()
    client = LiveClient(time.monotonic())
    sender = asyncio.create_task(_send_frames(websocket, parts, client))
    parts.live_clients.add(sender)
    try:
        await _receive(websocket, parts, client)
    except LiveProtocolError as error:
        await _close(websocket, CLOSE_PROTOCOL, str(error))
    except (WebSocketDisconnect, RuntimeError):
        pass  # it left; RuntimeError is Starlette's word for a socket that the sender closed
    finally:
        parts.live_clients.discard(sender)
        sender.cancel()
        with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
            await sender


async def _receive(websocket: WebSocket, parts: CloudParts, client: LiveClient) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is None:
            raise LiveProtocolError("expected JSON text")
        slot = client.receive(text, time.monotonic())
        if slot is not None:
            await websocket.send_text(json.dumps(_who(parts, client, slot)))


async def _send_frames(websocket: WebSocket, parts: CloudParts, client: LiveClient) -> None:
    while websocket.client_state is WebSocketState.CONNECTED:
        now_s = time.monotonic()
        if parts.hub.is_closed:
            await _close(websocket, CLOSE_GOING_AWAY, "the service stops")
            return
        if client.is_silent(now_s):
            await _close(websocket, CLOSE_SILENT, "no acknowledgement")
            return
        frame = client.next_frame(
            parts.positions, now_s=now_s, server_time_ms=time.time() * MS_PER_S
        )
        if frame is not None:
            await websocket.send_bytes(frame)
        await asyncio.sleep(FRAME_EVERY_S)


def _who(parts: CloudParts, client: LiveClient, slot: int) -> present.Json:
    with parts.latest.lock:
        run = parts.latest.runs.get((client.zone, client.run_id)) or parts.latest.newest_run(
            client.zone
        )
        if run is not None and slot >= OBJECT_SLOTS:
            seen = present.perceived(run, slot - OBJECT_SLOTS)
            return {"who": slot, "vehicle": None, "object": seen}
        if run is None or not run.vehicles.vehicle_id(slot):
            return {"who": slot, "vehicle": None}
        return {"who": slot, "vehicle": present.vehicle(run, slot, is_present=True)}


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    # The other side may be gone already, and a close reason holds at most 123 bytes.
    with suppress(RuntimeError, WebSocketDisconnect):
        await websocket.close(code, reason.encode()[:120].decode("utf-8", "ignore"))
