"""Checkpoints written beside the stream: copies in, bytes and a transaction elsewhere.

Packing and writing the states of 100,000 vehicles takes 0.1 to 0.3 s, in which no body could be
committed. So the pipeline's thread only copies (5 ms), and a thread and a connection of our own do
the rest, with pauses, or it would take a whole core from the bodies that come meanwhile. A writer
that has lost its ownership must not overwrite the next owner's checkpoint: its transaction holds
the number of the newest owner, and writes only if that is ours.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

import psycopg

from cloud.counts import CountsSinceCheckpoint, Sums, as_columns
from cloud.ports import CONNECT_TIMEOUT_S, Checkpoint, Connection, PostgresStateStore
from cloud.store.sql import statement

log = logging.getLogger(__name__)

REST_S = 0.1
"""After a large part was packed or written, while bodies are committed beside it."""
_LARGE_BYTES = 500_000


class Outcome(Enum):
    """What became of a checkpoint."""

    WRITTEN = "written"
    NOT_WRITTEN = "not written"
    UNKNOWN = "unknown"
    """The connection broke: perhaps during the commit."""


@dataclass(frozen=True)
class Frozen:
    """States as they were at a position of the log, and how to make bytes of them."""

    position: int
    parts: Mapping[str, Callable[[], bytes]]
    counts: Sums
    epoch: int


class CheckpointWriter:
    """One checkpoint at a time; `begin` and `take` are called by the pipeline's thread."""

    def __init__(self, database_url: str, counts: CountsSinceCheckpoint) -> None:
        self._url = database_url
        self._counts = counts
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[Outcome] | None = None
        self._position = 0
        self.took_s = 0.0
        """How long the last one took to pack and write."""

    @property
    def is_writing(self) -> bool:
        """Whether one was begun and not taken yet."""
        return self._writing is not None

    def begin(self, frozen: Frozen, *, rest_s: float = 0.0) -> None:
        """Write a checkpoint, resting between its parts; the one before must have been taken."""
        assert self._writing is None
        self._position = frozen.position
        self._writing = self._thread.submit(self._write, frozen, rest_s)

    def take(self, *, waits: bool) -> tuple[Outcome, int] | None:
        """The outcome and the position of a checkpoint that has ended; None: none or not yet."""
        if self._writing is None or not (waits or self._writing.done()):
            return None
        writing, self._writing = self._writing, None
        try:
            return writing.result(), self._position
        except Exception:
            log.exception("a checkpoint failed; the log keeps what it would have covered")
            self._counts.thaw()
            return Outcome.NOT_WRITTEN, self._position

    def close(self) -> None:
        """End the thread after what it is writing."""
        self._thread.shutdown()

    def _write(self, frozen: Frozen, rest_s: float) -> Outcome:
        began_s = time.monotonic()
        parts = {}
        for name, pack in frozen.parts.items():
            parts[name] = pack()
            _rest(parts[name], rest_s)
        outcome = Outcome.NOT_WRITTEN
        try:
            with psycopg.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
            ) as connection:
                outcome = Outcome.UNKNOWN
                outcome = self._commit(connection, frozen, parts, rest_s)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            log.warning("a checkpoint was cut off: %s", error)
        # Here and not in the pipeline's thread, which may be busy: readers compare positions.
        if outcome is Outcome.WRITTEN:
            self.took_s = time.monotonic() - began_s
            self._counts.settle(frozen.position)
        elif outcome is Outcome.NOT_WRITTEN:
            self._counts.thaw()
        return outcome

    def _commit(
        self, connection: Connection, frozen: Frozen, parts: dict[str, bytes], rest_s: float
    ) -> Outcome:
        with connection.transaction():
            if connection.execute(statement("hold_ownership")).fetchone() != (frozen.epoch,):
                log.warning("a checkpoint was not written: another process owns the database now")
                return Outcome.NOT_WRITTEN
            for name, state in parts.items():
                PostgresStateStore(connection).commit(Checkpoint(frozen.position, {name: state}))
                _rest(state, rest_s)
            connection.execute(statement("add_counts"), as_columns(frozen.counts))
            connection.execute(statement("forget_batches"))
        return Outcome.WRITTEN


def _rest(state: bytes, rest_s: float) -> None:
    if len(state) >= _LARGE_BYTES:
        time.sleep(rest_s)
