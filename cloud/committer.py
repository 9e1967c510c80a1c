"""The one writer: a body's rows, alerts, batch id and log entry in one transaction, in order.

Synchronous; owned by the pipeline's worker thread. Rules that keep state and rows together:

- Rows are copied before the engine folds the body, in the same transaction: a body whose rows the
  store refuses leaves engine and alerts untouched.
- The engine folds each body once. When the connection is lost afterwards, its output is kept and
  the transaction repeated; if the first commit did come through, the batch id says so.
- Counts, folds and subscribers see a body only after its commit.
- Should anything else go wrong behind the engine, all state is loaded anew: checkpoint, then log.
- Checkpoints are copies taken between two bodies and written by `checkpoints.py` beside the stream.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import psycopg

from cloud.alerting import AlertTransition, transition_from_json, transition_to_json
from cloud.checkpoints import REST_S, CheckpointWriter, Frozen, Outcome
from cloud.counts import CountsSinceCheckpoint, counts_of, outcome_of
from cloud.engine import Engine, EngineOutput
from cloud.latency import LatencyMeter
from cloud.ports import (
    Connection,
    LogEntry,
    OwnershipChange,
    PostgresLog,
    PostgresOwnership,
    PostgresStateStore,
)
from cloud.snapshot import UNREADABLE
from cloud.store.facts import (
    SenderCount,
    add_to_ledger,
    cleared_in_store,
    moment,
    write_alerts,
    write_ledgers,
    write_zone_facts,
)
from cloud.store.identities import Identities
from cloud.store.migrate import StoreLayout, migrate
from cloud.store.sql import statement
from cloud.store.upkeep import StorePolicy, apply_columnstore, drop_expired
from cloud.store.writer import TooManyPartitionsError, Writer, Written
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Detector
from openvrc.contracts.errors import ContractError, VrcError
from openvrc.contracts.messages import message_type
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.wire import unpack

log = logging.getLogger(__name__)

ENGINE = "engine"
RETRY_PAUSE_S = 0.1
UPKEEP_EVERY_NS = 3600 * NS_PER_S
"""Retention is counted in days."""
_CONNECTION_ERRORS = (psycopg.OperationalError, psycopg.InterfaceError)
_REFUSALS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    TooManyPartitionsError,
    ContractError,
    # What json, datetime and struct say of a value that is none of theirs.
    ValueError,
    OverflowError,
)
"""What a body's own content causes: the same body would meet it again."""
BATCHES, CLEAR = "batches", "clear"
"""Kinds of log entries."""

Subscriber = Callable[[Sequence[Batch], Sequence[AlertTransition]], None]
"""Called after each commit in the worker thread, never for re-folded batches; must not block.

Batches of ledgers come last, or alone: accounts move without a record, too."""


class StoreRefusedError(VrcError):
    """The store refuses this body for what it holds: 422, halve it."""


class StoreFaultError(VrcError):
    """Something of our own went wrong, whatever this body holds: 503, send it again.

    A refusal would have its records set aside, and they are as good as any.
    """

    retryable = True


class StoppedError(VrcError):
    """The pipeline was stopped while the database was away."""

    retryable = True


class Fold(Protocol):
    """State beside the engine's that follows the log, e.g. latest values.

    `apply` is called after each commit and again for logged batches after a restart, always in
    the pipeline's worker thread and in order; it must not block.
    """

    name: str

    def apply(self, batches: Sequence[Batch], transitions: Sequence[AlertTransition]) -> None:
        """Fold one committed body."""
        ...

    def snapshot(self) -> bytes:
        """Everything `restore` needs."""
        ...

    def restore(self, data: bytes) -> None:
        """Continue where the snapshot was taken."""
        ...


@runtime_checkable
class FreezableFold(Protocol):
    """A fold whose snapshot takes long, and can be made of copies in another thread."""

    def freeze(self) -> Callable[[], bytes]:
        """Copies of all state, and what makes the snapshot of them."""
        ...


@dataclass
class Body:
    """One body on its way, with what was already done for it."""

    payload: bytes
    batches: list[Batch]
    batch_id: str = ""
    """"" for bodies that hold only ledgers: idempotent by version, not logged."""
    sender_counts: list[SenderCount] = field(default_factory=list)
    """Rows of the cloud's own ledger, for records that came without an edge."""
    output: EngineOutput | None = None
    written: Written | None = None
    is_commit_unknown: bool = False
    is_folded: bool = False
    """The engine has begun on it."""
    generation: int = 0
    """Which loading of the states `output` belongs to."""


@dataclass(frozen=True)
class Committed:
    """What became of a body."""

    stored: int
    rejected: int = 0
    is_duplicate: bool = False


def _frozen(fold: Fold) -> Callable[[], bytes]:
    if isinstance(fold, FreezableFold):
        return fold.freeze()
    snapshot = fold.snapshot()
    return lambda: snapshot


class Committer:
    """See the module. Call every method from one thread only, except `counts` and `latency`."""

    def __init__(
        self,
        database_url: str,
        detectors: Mapping[str, Detector],
        *,
        chunk_days: float,
        left_out: Collection[str] = frozenset(),
        policy: StorePolicy | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._url = database_url
        self._detectors, self._left_out = dict(detectors), frozenset(left_out)
        self._chunk_days = chunk_days
        self._policy = policy or StorePolicy()
        self._kept_up_at_ns = 0
        self._is_stopping = is_stopping
        self._wall_clock_ns = wall_clock_ns
        self._engine = Engine(self._detectors, self._left_out)
        self._folds: dict[str, Fold] = {}
        self._empty_folds: dict[str, bytes] = {}
        self._subscribers: list[Subscriber] = []
        self._identities = Identities()
        self._changes: Iterator[OwnershipChange] | None = None
        self._connection: Connection | None = None
        self._layout = StoreLayout("native", 0)
        self._writer = Writer(self._layout, self._identities)
        self._position = 0
        self._checkpoint_position = 0
        self._generation = 0
        self._must_reload = True
        self._epoch = 0
        self.counts = CountsSinceCheckpoint()
        self._checkpoints = CheckpointWriter(database_url, self.counts)
        self.meter = LatencyMeter()
        self.n_detector_failures = 0
        self.n_findings_left_out = 0
        self.is_connected = False

    def register(self, fold: Fold) -> None:
        """A fold to checkpoint with the engine; before `start`."""
        self._folds[fold.name] = fold
        self._empty_folds[fold.name] = fold.snapshot()

    def subscribe(self, subscriber: Subscriber) -> None:
        """From any thread."""
        self._subscribers.append(subscriber)

    def start(self) -> None:
        """Migrate, own, load. Raises OwnedElsewhereError, MigrationError, OperationalError."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            self._layout = migrate(connection, chunk_days=self._chunk_days)
            apply_columnstore(connection, self._layout, self._policy)
        self._writer = Writer(self._layout, self._identities)
        self._changes = PostgresOwnership(self._url).changes(self._is_stopping)
        self._connected()

    def close(self) -> None:
        """Let go of the database."""
        self._checkpoints.close()
        if self._connection is not None:
            self._connection.close()
        self._connection, self.is_connected = None, False

    # --- one body

    def commit(self, body: Body) -> Committed:
        """Everything a body holds, once, whatever happens to the connection.

        Raises StoreRefusedError for what it holds, StoreFaultError for a fault of our own,
        StoppedError when stopped while waiting.
        """
        while True:
            connection = self._connected()
            if body.output is not None and body.generation != self._generation:
                body.output = body.written = None
            try:
                return self._try(connection, body)
            except _CONNECTION_ERRORS as error:
                self._lose(connection, error)
            except Exception as error:
                # Whatever the engine has folded of this body was not committed.
                self._must_reload |= body.is_folded
                if isinstance(error, _REFUSALS):
                    raise StoreRefusedError(f"the store refuses the batch: {error}") from error
                log.exception("a body could not be committed; its sender is to try again")
                raise StoreFaultError(
                    f"the cloud failed on its own ({type(error).__name__}); try again"
                ) from error

    def _try(self, connection: Connection, body: Body) -> Committed:
        ledgers = [b for b in body.batches if b.message == "source_ledger"]
        rest = [b for b in body.batches if b.message != "source_ledger"]
        self._writer.prepare(connection, body.batches)
        for row in body.sender_counts:
            run = (row.run_id, row.origin)
            self._identities.learn_sender(connection, row.zone, run, row.source_id)
        with connection.transaction():
            if body.batch_id and not self._claim(connection, body):
                if not body.is_commit_unknown:
                    return self._duplicate(connection, body)
            elif body.batch_id:
                self._write(connection, body, rest)
            write_ledgers(connection, ledgers, self._identities)
            body.is_commit_unknown = body.output is not None
        if body.output is None or body.written is None:
            self._tell_subscribers(ledgers, ())  # accounts moved, though no record came
            return Committed(0)
        self._tell(rest, body.output, body.written, ledgers)
        return Committed(body.written.stored, body.written.rejected)

    def _claim(self, connection: Connection, body: Body) -> bool:
        n_rows = sum(b.n_rows for b in body.batches if message_type(b.message).is_stored)
        facts = {"batch_id": body.batch_id, "rows": n_rows}
        return connection.execute(statement("add_batch"), facts).fetchone() is not None

    def _duplicate(self, connection: Connection, body: Body) -> Committed:
        facts = {"batch_id": body.batch_id}
        row = connection.execute(statement("batch_rows"), facts).fetchone()
        return Committed(row[0] if row else 0, is_duplicate=True)

    def _write(self, connection: Connection, body: Body, batches: list[Batch]) -> None:
        body.written = None
        written = self._writer.write(connection, batches)
        write_zone_facts(connection, batches, self._identities)
        for row in body.sender_counts:
            add_to_ledger(connection, row, self._identities)
        body.written = written
        if body.output is None:
            body.is_folded, body.generation = True, self._generation
            body.output = self._engine.process(batches)
        write_alerts(connection, body.output.transitions)
        outcome = outcome_of(written.counts)
        self._position = PostgresLog(connection).append(BATCHES, body.payload, outcome)
        if written.rejected:
            facts = {"batch_id": body.batch_id, "rows": written.stored}
            connection.execute(statement("set_batch_rows"), facts)

    def _tell(
        self,
        batches: Sequence[Batch],
        output: EngineOutput,
        written: Written,
        ledgers: Sequence[Batch] = (),
    ) -> None:
        self.counts.add(written.counts)
        self.n_detector_failures += output.n_failures
        self.n_findings_left_out += output.n_left_out
        self.meter.committed(batches, output.transitions, self._wall_clock_ns())
        self._fold(batches, output)
        self._tell_subscribers([*batches, *ledgers], output.transitions)

    def _tell_subscribers(
        self, batches: Sequence[Batch], transitions: Sequence[AlertTransition]
    ) -> None:
        for subscriber in list(self._subscribers):
            try:
                subscriber(batches, transitions)
            except Exception:
                log.exception("a subscriber failed; the pipeline goes on")

    def _fold(self, batches: Sequence[Batch], output: EngineOutput) -> None:
        for fold in self._folds.values():
            try:
                fold.apply(batches, output.transitions)
            except Exception:
                log.exception("fold %s failed on a committed body; the pipeline goes on", fold.name)

    def clear_alert(
        self, run_id: str, alert_id: str, who: str, note: str
    ) -> tuple[AlertTransition, ...]:
        """Clear an open alert by hand; nothing if none is open.

        An open alert of a run that has ended is known to the database only.
        """
        facts = {"alert_id": alert_id, "who": who, "note": note}
        payload = f"{run_id}\n{alert_id}".encode()
        told: tuple[AlertTransition, ...] = ()
        while True:
            connection = self._connected()
            try:
                with connection.transaction():
                    told = told or self._engine.clear_alert(run_id, alert_id).transitions
                    outcome = None
                    if not told:
                        told = cleared_in_store(connection, run_id, alert_id)
                        outcome = [transition_to_json(step) for step in told]
                    if not told:
                        return ()
                    write_alerts(connection, told)
                    connection.execute(statement("add_clear_action"), facts)
                    self._position = PostgresLog(connection).append(CLEAR, payload, outcome)
                self._tell([], EngineOutput(told), Written(0, 0, {}))
                return told
            except _CONNECTION_ERRORS as error:
                self._lose(connection, error)

    # --- checkpoint and start

    def checkpoint(self) -> bool:
        """Write a checkpoint and wait for it; False when nothing had changed or it failed."""
        self.finish_checkpoint(waits=True)
        return self.begin_checkpoint(rest_s=0.0) and self.finish_checkpoint(waits=True)

    def begin_checkpoint(self, rest_s: float = REST_S) -> bool:
        """Copy states, counts and position, to be written beside the stream; False: nothing to do.

        Nothing is lost with a checkpoint that fails: the log keeps what it would have covered.
        """
        if self._position == self._checkpoint_position or self._checkpoints.is_writing:
            return False
        connection = self._connected()
        self._keep_up(connection)
        parts = {name: _frozen(fold) for name, fold in self._folds.items()}
        parts[ENGINE] = self._engine.freeze()
        counts = self.counts.freeze()
        self._checkpoints.begin(Frozen(self._position, parts, counts, self._epoch), rest_s=rest_s)
        return True

    @property
    def checkpoint_s(self) -> float:
        """How long the last checkpoint took to write."""
        return self._checkpoints.took_s

    def finish_checkpoint(self, *, waits: bool = False) -> bool:
        """Take note of a checkpoint that was written since `begin_checkpoint`."""
        taken = self._checkpoints.take(waits=waits)
        if taken is None:
            return False
        outcome, position = taken
        if outcome is Outcome.WRITTEN:
            self._checkpoint_position = position
        # Whether its counts are in the table is only known from there.
        self._must_reload |= outcome is Outcome.UNKNOWN
        return outcome is Outcome.WRITTEN

    def _keep_up(self, connection: Connection) -> None:
        """Drop what is past its retention, once in a while; a failure is left to the next time."""
        now_ns = self._wall_clock_ns()
        if now_ns - self._kept_up_at_ns < UPKEEP_EVERY_NS:
            return
        self._kept_up_at_ns = now_ns
        try:
            dropped = drop_expired(connection, self._layout, self._policy, moment(now_ns))
        except _CONNECTION_ERRORS as error:
            log.warning("rows past their retention could not be dropped: %s", error)
            return
        if dropped:
            log.info("dropped %d parts past their retention", len(dropped))
            self._writer = Writer(self._layout, self._identities)  # it remembers the parts

    def _reload(self, connection: Connection) -> None:
        """All state from the checkpoint and the log."""
        self._checkpoints.take(waits=True)  # one that is being written would change both
        # Another owner may have dropped partitions that ours remembers.
        self._writer = Writer(self._layout, self._identities)
        self._identities.recall(connection)
        checkpoint = PostgresStateStore(connection).load()
        self._generation += 1
        self._engine = Engine(self._detectors, self._left_out)
        if ENGINE in checkpoint.parts:
            self._restore_engine(checkpoint.parts[ENGINE])
        for name, fold in self._folds.items():
            self._restore_fold(fold, checkpoint.parts.get(name, self._empty_folds[name]))
        self._position = self._checkpoint_position = checkpoint.position
        self.counts.restart(checkpoint.position)
        for entry in PostgresLog(connection).read(checkpoint.position):
            self._refold(connection, entry)
            self._position = entry.position

    def _restore_engine(self, data: bytes) -> None:
        try:
            self._engine.restore(data)
        except UNREADABLE:
            # Of another version or damaged. Rows and alerts are all there, what led to them is not.
            log.exception("the checkpoint cannot be read; detectors and alerting begin anew")
            self._engine = Engine(self._detectors, self._left_out)

    def _restore_fold(self, fold: Fold, data: bytes) -> None:
        try:
            fold.restore(data)
        except UNREADABLE:
            log.exception("the checkpoint of %s cannot be read; it begins anew", fold.name)
            fold.restore(self._empty_folds[fold.name])

    def _refold(self, connection: Connection, entry: LogEntry) -> None:
        if entry.kind == CLEAR:
            run_id, alert_id = entry.payload.decode().split("\n")
            told = self._engine.clear_alert(run_id, alert_id).transitions
            told = told or tuple(map(transition_from_json, entry.outcome or []))
            self._fold([], EngineOutput(told))
            return
        batches = [b for b in unpack(entry.payload) if b.message != "source_ledger"]
        self._identities.learn(connection, batches)
        self._fold(batches, self._engine.process(batches))
        self.counts.add(counts_of(batches, entry.outcome or [], self._identities))

    # --- the connection

    def _connected(self) -> Connection:
        """The owner's connection, with states that fit the database."""
        while True:
            if self._connection is None:
                self._own()
            connection = self._connection
            assert connection is not None
            if not self._must_reload:
                return connection
            try:
                self._reload(connection)
            except _CONNECTION_ERRORS as error:
                self._lose(connection, error)
            else:
                self._must_reload = False

    def _own(self) -> None:
        assert self._changes is not None
        change = next(self._changes, None)
        if change is None:
            raise StoppedError("stopped while the database was away")
        self._connection, self._epoch = change.connection, change.epoch
        self._must_reload |= not change.is_continuation
        self.is_connected = True

    def _lose(self, connection: Connection, error: Exception) -> None:
        log.warning("database connection lost, will retry: %s", error)
        connection.close()
        self._connection, self.is_connected = None, False
        # A server that refuses each attempt at once (a full disk) must not be hammered.
        time.sleep(RETRY_PAUSE_S)
