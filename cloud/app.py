"""The cloud's web application: routers around a pipeline, a stream and the latest values."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI

from cloud.api import (
    accounts,
    alerts,
    batteries,
    battery_cohorts,
    battery_health,
    cases,
    edges,
    export,
    guards,
    ingest,
    notices,
    objects,
    ops,
    page,
    past,
    problems,
    runs,
    signal_times,
    streams,
    traces,
    traffic,
    travel_times,
    typical_days,
    vehicles,
    zones,
)
from cloud.api.auth import Keys
from cloud.api.parts import CloudParts, ConnectionPool
from cloud.api.problems import ProblemError
from cloud.broadcast import Broadcaster
from cloud.latest import Latest
from cloud.live import PositionsCache
from cloud.maps import ZoneMaps
from cloud.metrics import MAX_SOURCES, CloudCollector, CommitCounter
from cloud.notify.notifier import notifier_of
from cloud.pipeline import Pipeline
from cloud.store import reads
from cloud.store.minute_keeper import MinuteKeeper
from cloud.stream import StreamHub
from openvrc.settings import Settings

_PROBLEM = {
    "description": "What was wrong and what was expected (RFC 9457)",
    "content": {
        problems.CONTENT_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            }
        }
    },
}
_ROUTERS = (
    ingest, alerts, cases, battery_cohorts, battery_health, vehicles, batteries, past, travel_times,
    typical_days, signal_times, traffic,
    zones, objects, runs, accounts, traces, edges, export, notices, streams, ops, page,
)  # fmt: skip


def create_app(settings: Settings, keys: Keys, pipeline: Pipeline, pool: ConnectionPool) -> FastAPI:
    """The application; its lifespan starts and stops the pipeline.

    The pipeline must not have been started. `pool` is only read through.
    """
    parts = _parts(settings, keys, pipeline, pool)
    counter = CommitCounter()
    broadcaster = Broadcaster(parts)
    pipeline.register(parts.latest)
    pipeline.register(parts.traffic)
    pipeline.subscribe(counter.on_commit)
    pipeline.subscribe(broadcaster.on_commit)
    if parts.notifier is not None:
        pipeline.subscribe(parts.notifier.on_commit)
    app = FastAPI(
        title="OpenVRC cloud",
        version="1",
        summary="Vehicle-road-cloud telemetry: ingest, alerts, traffic, batteries, live streams",
        docs_url=None,
        redoc_url=None,
        responses={"default": _PROBLEM, 422: _PROBLEM},
        lifespan=_lifespan(parts, broadcaster),
    )
    app.state.parts = parts
    app.state.broadcaster = broadcaster
    app.state.collector = _collector(parts, counter)
    problems.install(app)
    for module in _ROUTERS:
        app.include_router(module.router)
    app.mount("/static", page.static_files())
    app.add_middleware(guards.Guards)
    return app


def _parts(settings: Settings, keys: Keys, pipeline: Pipeline, pool: ConnectionPool) -> CloudParts:
    latest = Latest()
    return CloudParts(
        settings=settings,
        keys=keys,
        pipeline=pipeline,
        pool=pool,
        latest=latest,
        hub=StreamHub(epoch=secrets.token_hex(4)),
        positions=PositionsCache(lambda: latest),
        maps=ZoneMaps(pool.connection, settings.zones_dir),
        notifier=notifier_of(settings, pool.connection),
    )


def _lifespan(
    parts: CloudParts, broadcaster: Broadcaster
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await parts.pipeline.start()
        settings = parts.settings
        minutes = MinuteKeeper(settings.database_url, every_s=settings.cloud_minutes_every_s)
        minutes.start()
        if parts.notifier is not None:
            parts.notifier.start()
        task = asyncio.create_task(broadcaster.run())
        try:
            yield
        finally:
            parts.hub.close()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await asyncio.to_thread(minutes.stop)
            if parts.notifier is not None:
                await asyncio.to_thread(parts.notifier.stop)
            await parts.pipeline.stop()

    return lifespan


def _collector(parts: CloudParts, counter: CommitCounter) -> CloudCollector:
    def accounting() -> reads.Accounting | None:
        try:
            with parts.database() as connection:
                counts = parts.pipeline.counts
                zones = reads.zone_sums(connection, counts)
                worst = reads.most_rejected(connection, counts, MAX_SOURCES)
                return reads.Accounting(reads.Account(), worst, zones=zones)
        except ProblemError:
            return None  # the other figures are still true while the database is away

    stats = parts.pipeline.stats
    gauges: dict[str, tuple[str, Callable[[], Any]]] = {
        "vrc_stream_clients": ("Connected SSE clients", lambda: len(parts.hub.clients)),
        "vrc_live_clients": ("Connected WebSocket clients", lambda: len(parts.live_clients)),
        "vrc_stream_dropped_events": ("Events dropped of slow clients", lambda: parts.hub.dropped),
        "vrc_pipeline_queued_bodies": ("Requests waiting", lambda: stats().queued_bodies),
        "vrc_pipeline_queue_limit": ("Requests that may wait", lambda: stats().queue_limit),
        "vrc_duplicate_bodies": ("Batches that came again", lambda: stats().duplicate_bodies),
        "vrc_refused_bodies": ("Batches the store refused", lambda: stats().refused_bodies),
        "vrc_store_faults": ("Batches to be sent again", lambda: stats().store_faults),
        "vrc_full_answers": (
            "Requests sent away because of a full queue",
            lambda: stats().full_answers,
        ),
        "vrc_detector_failures": (
            "Detectors that failed and were reset",
            lambda: stats().detector_failures,
        ),
        "vrc_findings_left_out": (
            "Findings of edges by rules that VRC_CLOUD_DETECTORS leaves out",
            lambda: stats().findings_left_out,
        ),
        "vrc_perceived_objects_left_out": (
            "Sightings of road users that the page's map had no room for",
            lambda: sum(run.objects.left_out for run in list(parts.latest.runs.values())),
        ),
    }
    others = [] if parts.notifier is None else [parts.notifier.figures.families]
    return CloudCollector(counter, accounting, gauges, others)
