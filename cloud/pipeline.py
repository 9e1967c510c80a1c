"""Ingest to commit to subscribers, strictly in the order in which bodies arrive.

Requests put bodies into a bounded queue; one worker thread owns the database, the engine and the
folds. Unpacking happens in other threads meanwhile, but keeps its place in the queue.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cloud.alerting import AlertTransition
from cloud.committer import (
    Body,
    Committed,
    Committer,
    Fold,
    StoppedError,
    StoreFaultError,
    StoreRefusedError,
    Subscriber,
)
from cloud.counts import CountsSinceCheckpoint
from cloud.direct import decode_records
from cloud.latency import Latency, LatencyFigures
from cloud.store.upkeep import StorePolicy
from openvrc.contracts.codecs.base import Reject
from openvrc.contracts.detection import Detector
from openvrc.contracts.errors import ContractError, VrcError
from openvrc.contracts.messages import message_type
from openvrc.contracts.ranges import require_in_range
from openvrc.contracts.wire import WireError, pack, unpack
from openvrc.contracts.zone import Zone
from openvrc.settings import Settings

__all__ = [
    "EdgeConflictError",
    "Fold",
    "IngestResult",
    "Latency",
    "LatencyFigures",
    "Pipeline",
    "PipelineFullError",
    "PipelineStats",
    "StoreFaultError",
    "StoreRefusedError",
    "Subscriber",
    "WireError",
]

log = logging.getLogger(__name__)

QUEUE_BODIES = 64
"""25 batches in flight per connection suffice; more is only backlog (measured)."""
QUEUE_BYTES = 256 * 1024 * 1024
CHECKPOINT_SHARE = 10.0
"""Checkpoints begin no closer together than the last one took to write, times this: they have 10 %
of the time, however large the state; a restart folds a little more of the log instead."""
LONGEST_CHECKPOINT_PAUSE_S = 60.0
"""A database that hung for minutes must not put the next one off for an hour."""
EDGE_ACTIVE_S = 15.0
"""An edge posts its ticks each second: one that was silent for so long is gone."""


class PipelineFullError(VrcError):
    """The queue is full, or the pipeline does not run: 503, retry later."""

    retryable = True


class EdgeConflictError(VrcError):
    """Another edge with this id was active a moment ago: 409.

    After `retry_after_s` it counts as gone, should it stay silent.
    """

    def __init__(self, text: str, retry_after_s: float) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class IngestResult:
    """Answer to one body. `rejects` is only used by `submit_records`."""

    stored: int
    is_duplicate: bool = False
    rejected: int = 0
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True)
class PipelineStats:
    """For /metrics and /readyz."""

    is_running: bool
    is_database_connected: bool
    queued_bodies: int
    queue_limit: int
    bodies: int
    stored_rows: int
    duplicate_bodies: int
    refused_bodies: int
    store_faults: int
    full_answers: int
    detector_failures: int
    findings_left_out: int
    checkpoints: int


@dataclass
class _Job:
    """One thing for the worker to do; `unpacked` is its body, soon."""

    unpacked: Future[Body] | None
    done: Future[Any]
    call: Callable[[], Any] | None = None
    n_bytes: int = 0


class Pipeline:
    """The one writer of a database: `start`, then `submit` from any number of requests."""

    def __init__(
        self,
        settings: Settings,
        detectors: Mapping[str, Detector],
        *,
        database_url: str = "",
        left_out: Collection[str] = frozenset(),
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._checkpoint_every_s = settings.cloud_checkpoint_every_s
        self._wall_clock_ns = wall_clock_ns
        self._stopping = threading.Event()
        self._committer = Committer(
            database_url or settings.database_url,
            detectors,
            chunk_days=settings.cloud_chunk_days,
            left_out=left_out,
            policy=StorePolicy.of(settings),
            is_stopping=self._stopping.is_set,
            wall_clock_ns=wall_clock_ns,
        )
        self._jobs: queue.Queue[_Job | None] = queue.Queue(QUEUE_BODIES)
        self._queued_bytes = 0
        self._unpackers = ThreadPoolExecutor(2, thread_name_prefix="unpack")
        self._worker: threading.Thread | None = None
        self._active_edges: dict[str, tuple[str, float]] = {}
        self._session = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()
        names = ("bodies", "stored_rows", "duplicate_bodies", "refused_bodies")
        self._tally = dict.fromkeys((*names, "store_faults", "full", "checkpoints"), 0)

    def register(self, fold: Fold) -> None:
        """A fold to keep with the engine's state; before `start`."""
        self._committer.register(fold)

    def subscribe(self, subscriber: Subscriber) -> None:
        """At any time; from any thread."""
        self._committer.subscribe(subscriber)

    @property
    def counts(self) -> CountsSinceCheckpoint:
        """What was stored since the checkpoint, for `reads.accounting`."""
        return self._committer.counts

    async def start(self) -> None:
        """Migrate, own the database, load the checkpoint, fold the log again.

        Raises OwnedElsewhereError, MigrationError, psycopg.OperationalError.
        """
        started: Future[None] = Future()
        self._worker = threading.Thread(target=self._work, args=[started], name="pipeline")
        self._worker.start()
        await asyncio.wrap_future(started)

    async def stop(self) -> None:
        """Finish the queue, write a last checkpoint, let go of the database."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        if not self._committer.is_connected:
            self._stopping.set()  # do not wait for a database that is away
        await asyncio.to_thread(self._jobs.put, None)
        await asyncio.to_thread(worker.join)
        self._unpackers.shutdown()

    async def submit(self, body: bytes, edge_id: str, batch_id: str) -> IngestResult:
        """One edge request; returns when it is durable.

        Raises WireError (400), StoreRefusedError (422), EdgeConflictError (409),
        PipelineFullError and StoreFaultError (503).
        """
        self._admit_edge(edge_id, batch_id)
        unpacked = self._unpackers.submit(_unpack_body, body, batch_id)
        done = await self._put(_Job(unpacked, Future(), n_bytes=len(body)))
        return IngestResult(done.stored, done.is_duplicate, done.rejected)

    async def submit_records(
        self, zone: str, message: str, payload: bytes, limits: Zone | None
    ) -> IngestResult:
        """JSON, one object or an array, from a client without an edge.

        Bad records are counted and returned as `rejects`; the others are stored. `limits` are the
        zone's, None for an unknown one. Raises ContractError for a zone or message that cannot be.
        """
        now_ns = self._wall_clock_ns()
        batches, counts, rejects = decode_records(zone, message, payload, now_ns, limits)
        batch_id = f"cloud/{self._session}/{next(self._numbers)}"
        body = Body(pack(batches), batches, batch_id, sender_counts=counts)
        unpacked: Future[Body] = Future()
        unpacked.set_result(body)
        done = await self._put(_Job(unpacked, Future(), n_bytes=len(payload)))
        # A dead letter of a bad record is a stored row, but not a stored record.
        stored = done.stored - sum(b.n_rows for b in batches if b.message == "dead_letter")
        return IngestResult(stored, done.is_duplicate, done.rejected + len(rejects), rejects)

    async def clear_alert(
        self, run_id: str, alert_id: str, who: str, note: str = ""
    ) -> AlertTransition | None:
        """Clear an open alert by hand; None when there is no such open alert."""
        call = _Clear(self._committer, run_id, alert_id, who, note)
        transitions = await self._put(_Job(None, Future(), call))
        return transitions[0] if transitions else None

    def latency(self) -> Latency:
        """Figures since start."""
        return self._committer.meter.latency()

    def stats(self) -> PipelineStats:
        """Counts since start."""
        tally = self._tally
        return PipelineStats(
            is_running=self._worker is not None and self._worker.is_alive(),
            is_database_connected=self._committer.is_connected,
            queued_bodies=self._jobs.qsize(),
            queue_limit=QUEUE_BODIES,
            bodies=tally["bodies"],
            stored_rows=tally["stored_rows"],
            duplicate_bodies=tally["duplicate_bodies"],
            refused_bodies=tally["refused_bodies"],
            store_faults=tally["store_faults"],
            full_answers=tally["full"],
            detector_failures=self._committer.n_detector_failures,
            findings_left_out=self._committer.n_findings_left_out,
            checkpoints=tally["checkpoints"],
        )

    def _admit_edge(self, edge_id: str, batch_id: str) -> None:
        """Refuse a second edge of the same name while the first one is active."""
        if not batch_id:
            return
        owner, _, rest = batch_id.partition("/")
        epoch, _, counter = rest.partition("/")
        if owner != edge_id or not epoch or not counter:
            raise ContractError("X-VRC-Batch", batch_id, f"{edge_id}/{{epoch}}/{{counter}}")
        now_s = time.monotonic()
        known, seen_at_s = self._active_edges.get(edge_id, (epoch, now_s))
        if known != epoch and now_s - seen_at_s < EDGE_ACTIVE_S:
            raise EdgeConflictError(
                f"edge {edge_id!r} with epoch {known} was active {now_s - seen_at_s:.0f} s ago; "
                "give this edge another id, or stop that one",
                retry_after_s=EDGE_ACTIVE_S - (now_s - seen_at_s),
            )
        self._active_edges[edge_id] = (epoch, now_s)

    async def _put(self, job: _Job) -> Any:
        is_full = self._queued_bytes + job.n_bytes > QUEUE_BYTES and self._jobs.qsize() > 0
        try:
            if is_full or self._worker is None or not self._worker.is_alive():
                raise queue.Full
            self._jobs.put_nowait(job)
        except queue.Full:
            self._tally["full"] += 1
            raise PipelineFullError("the cloud cannot take more now; try again") from None
        self._queued_bytes += job.n_bytes
        try:
            return await asyncio.wrap_future(job.done)
        finally:
            self._queued_bytes -= job.n_bytes

    # --- the worker thread

    def _work(self, started: Future[None]) -> None:
        try:
            self._committer.start()
        except BaseException as error:  # noqa: BLE001 - handed to whoever called start()
            self._committer.close()
            started.set_exception(error)
            return
        started.set_result(None)
        next_checkpoint_s = self._next_checkpoint_s()
        while True:
            try:
                job = self._jobs.get(timeout=max(next_checkpoint_s - time.monotonic(), 0.001))
            except queue.Empty:
                pass
            else:
                if job is None:
                    break
                self._run(job)
            self._checkpoint(self._committer.finish_checkpoint)
            if time.monotonic() >= next_checkpoint_s:
                self._checkpoint(self._committer.begin_checkpoint, n_written=0)
                next_checkpoint_s = self._next_checkpoint_s()
        self._checkpoint(self._committer.finish_checkpoint)
        self._checkpoint(self._committer.checkpoint)
        self._committer.close()

    def _next_checkpoint_s(self) -> float:
        rest_s = min(CHECKPOINT_SHARE * self._committer.checkpoint_s, LONGEST_CHECKPOINT_PAUSE_S)
        return time.monotonic() + max(self._checkpoint_every_s, rest_s)

    def _run(self, job: _Job) -> None:
        if not job.done.set_running_or_notify_cancel():
            return  # the client went away; it will send the same batch again
        try:
            if job.call is not None:
                job.done.set_result(job.call())
                return
            assert job.unpacked is not None
            done = self._committer.commit(job.unpacked.result())
            self._count(done)
            job.done.set_result(done)
        except StoppedError as error:
            job.done.set_exception(PipelineFullError(str(error)))
        except Exception as error:  # noqa: BLE001 - outermost loop: one body must not stop others
            self._tally["refused_bodies"] += isinstance(error, StoreRefusedError)
            self._tally["store_faults"] += isinstance(error, StoreFaultError)
            job.done.set_exception(error)

    def _count(self, done: Committed) -> None:
        self._tally["bodies"] += 1
        self._tally["duplicate_bodies"] += done.is_duplicate
        self._tally["stored_rows"] += 0 if done.is_duplicate else done.stored

    def _checkpoint(self, step: Callable[[], bool], *, n_written: int = 1) -> None:
        try:
            self._tally["checkpoints"] += n_written * step()
        except StoppedError:
            log.warning("stopped while the database was away; the log keeps what is not covered")
        except Exception:
            log.exception("checkpoint failed; the log keeps what it would have covered")


@dataclass(frozen=True)
class _Clear:
    committer: Committer
    run_id: str
    alert_id: str
    who: str
    note: str

    def __call__(self) -> tuple[AlertTransition, ...]:
        return self.committer.clear_alert(self.run_id, self.alert_id, self.who, self.note)


_STEERING = ("zone_announce", "tick", "finding")


def _unpack_body(payload: bytes, batch_id: str) -> Body:
    batches = unpack(payload)
    if all(batch.message == "source_ledger" for batch in batches):
        batch_id = ""
    elif not batch_id:
        raise WireError("X-VRC-Batch is missing: only source_ledger batches go without an id")
    for batch in batches:
        # Whoever holds a key may send: what is stored, or steers a run, is checked here. A control
        # record that nobody can read would else count as our own fault and be retried for ever.
        if message_type(batch.message).is_numbered or batch.message in _STEERING:
            require_in_range(batch)
    return Body(payload, batches, batch_id)
