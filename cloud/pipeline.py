"""Ingest to commit to subscribers, strictly in order (signatures; the body follows)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cloud.alerting import AlertTransition
from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Reject
from openvrc.contracts.detection import Detector
from openvrc.contracts.errors import VrcError
from openvrc.settings import Settings


class PipelineFullError(VrcError):
    """The queue is full or the database is away: 503, retry later."""

    retryable = True


class EdgeConflictError(VrcError):
    """Another edge with this id was active a moment ago: 409."""


class StoreRefusedError(VrcError):
    """The store refuses this body for what it holds: 422, halve it."""


@dataclass(frozen=True)
class IngestResult:
    """Answer to one body. `rejects` is only used by `submit_records`."""

    stored: int
    is_duplicate: bool = False
    rejected: int = 0
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True)
class LatencyFigures:
    """Percentiles in ms; None before the first value."""

    p50_ms: float | None
    p99_ms: float | None
    count: int


@dataclass(frozen=True)
class Latency:
    """`stored`: commit less published_at of every record. `alert`: commit less the wall time at
    which the zone's clock read the finding's event time."""

    stored: LatencyFigures
    alert: LatencyFigures


class Fold(Protocol):
    """State beside the engine's that follows the log, e.g. latest values.

    `apply` is called after each commit and again for logged batches after a restart, always in
    the pipeline's worker thread and in order; it must not block.
    """

    name: str

    def apply(self, batches: Sequence[Batch], transitions: Sequence[AlertTransition]) -> None: ...
    def snapshot(self) -> bytes: ...
    def restore(self, data: bytes) -> None: ...


Subscriber = Callable[[Sequence[Batch], Sequence[AlertTransition]], None]
"""Called after each commit in the worker thread, never for re-folded batches; must not block."""


class Pipeline:
    """The one writer of a database."""

    def __init__(
        self, settings: Settings, detectors: Mapping[str, Detector], *, database_url: str = ""
    ) -> None: ...

    def register(self, fold: Fold) -> None:
        """Before `start`."""

    def subscribe(self, subscriber: Subscriber) -> None:
        """At any time; from any thread."""

    async def start(self) -> None:
        """Migrate, own the database, load the checkpoint, fold the log again."""

    async def stop(self) -> None:
        """Finish the queue, write a last checkpoint, let go of the database."""

    async def submit(self, body: bytes, edge_id: str, batch_id: str) -> IngestResult:
        """One edge request. Raises WireError (400), StoreRefusedError (422), EdgeConflictError
        (409), PipelineFullError (503)."""
        raise NotImplementedError

    async def submit_records(self, zone: str, message: str, payload: bytes) -> IngestResult:
        """JSON, one object or an array, from a client without an edge."""
        raise NotImplementedError

    async def clear_alert(self, alert_id: str, who: str, note: str = "") -> AlertTransition | None:
        """Clear an open alert by hand; None when there is no such open alert."""
        raise NotImplementedError

    def latency(self) -> Latency:
        """Since start."""
        raise NotImplementedError
