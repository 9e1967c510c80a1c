"""The three ports between the pipeline and its surroundings (DESIGN rule 7).

Their embedded implementations stand on PostgreSQL: one process owns every partition of a database.

The lock of the owner is held by the connection that writes, not by one beside it: a process that
has lost its lock has by that lost its means of writing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from psycopg.types.json import Jsonb

from cloud.store.sql import statement
from openvrc.contracts.errors import VrcError

OWNER_LOCK = 0x56524302
OWNER_WAIT_S = 5.0
"""PostgreSQL notices within milliseconds that a killed owner is gone, but finishes its command."""
CONNECT_TIMEOUT_S = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0

Connection = psycopg.Connection[Any]


class OwnedElsewhereError(VrcError):
    """Another process runs the pipeline of this database."""


@dataclass(frozen=True)
class LogEntry:
    """One folded body or command."""

    position: int
    kind: str
    payload: bytes
    outcome: Any


@dataclass(frozen=True)
class Checkpoint:
    """States by name, and the position in the log up to which they were folded."""

    position: int
    parts: dict[str, bytes]


@dataclass(frozen=True)
class OwnershipChange:
    """What this process may do from now on."""

    partitions: tuple[str, ...]
    connection: Connection
    is_continuation: bool
    """Nobody else has owned them since we did: our states are still right."""
    epoch: int = 0
    """Our number as an owner; whoever owns them after us has a higher one."""


class Log(Protocol):
    """Bodies in the order in which they were folded."""

    def append(self, kind: str, payload: bytes, outcome: Any) -> int:
        """Within the transaction of the rows; the entry's position."""
        ...

    def read(self, after: int) -> Iterator[LogEntry]:
        """Entries behind a position, in order."""
        ...


class Ownership(Protocol):
    """Which partitions are ours."""

    def changes(self, is_stopping: Callable[[], bool]) -> Iterator[OwnershipChange]:
        """One change each time ownership was (re)gained; blocks until then."""
        ...


class StateStore(Protocol):
    """Checkpoints."""

    def load(self) -> Checkpoint:
        """The newest; position 0 and no parts for a new database."""
        ...

    def commit(self, checkpoint: Checkpoint) -> None:
        """Within the caller's transaction; also trims the log."""
        ...


class PostgresLog:
    """The table `ingest_log`, through the owner's connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, kind: str, payload: bytes, outcome: Any) -> int:
        """See `Log.append`."""
        facts = {"kind": kind, "payload": payload, "outcome": Jsonb(outcome)}
        row = self._connection.execute(statement("append_log"), facts).fetchone()
        assert row is not None
        return int(row[0])

    def read(self, after: int) -> Iterator[LogEntry]:
        """See `Log.read`; in pages, so that memory stays bounded."""
        while True:
            found = self._connection.execute(statement("read_log"), {"after": after}).fetchall()
            for position, kind, payload, outcome in found:
                after = position
                yield LogEntry(position, kind, bytes(payload), outcome)
            if not found:
                return


class PostgresStateStore:
    """The table `checkpoint`, through the owner's connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> Checkpoint:
        """See `StateStore.load`."""
        rows = self._connection.execute(statement("load_checkpoint")).fetchall()
        position = max((row[1] for row in rows), default=0)
        return Checkpoint(position, {name: bytes(state) for name, _, state in rows})

    def commit(self, checkpoint: Checkpoint) -> None:
        """See `StateStore.commit`."""
        for name, state in checkpoint.parts.items():
            facts = {"name": name, "position": checkpoint.position, "state": state}
            self._connection.execute(statement("save_checkpoint"), facts)
        self._connection.execute(statement("trim_log"), {"position": checkpoint.position})


class PostgresOwnership:
    """An advisory lock on a connection of our own, and a number that grows with every owner."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._epoch: int | None = None

    def changes(self, is_stopping: Callable[[], bool]) -> Iterator[OwnershipChange]:
        """Connect, lock, tell; once more each time the caller lost its connection.

        Raises OwnedElsewhereError when another process has the lock, and psycopg.OperationalError
        when the first connection fails (a wrong URL should be told, not retried for ever).
        """
        while True:
            connection = self._connect(is_stopping)
            if connection is None:
                return
            try:
                self._lock(connection)
                is_continuation = self._begin(connection)
            except psycopg.OperationalError:
                connection.close()
                continue
            except OwnedElsewhereError:
                connection.close()
                raise
            assert self._epoch is not None
            yield OwnershipChange(("*",), connection, is_continuation, self._epoch)

    def _connect(self, is_stopping: Callable[[], bool]) -> Connection | None:
        pause_s = FIRST_PAUSE_S
        while not is_stopping():
            try:
                return psycopg.connect(
                    self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
                )
            except psycopg.OperationalError:
                if self._epoch is None:
                    raise
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        return None

    def _lock(self, connection: Connection) -> None:
        deadline_s = time.monotonic() + OWNER_WAIT_S
        while True:
            row = connection.execute(statement("try_own"), {"lock": OWNER_LOCK}).fetchone()
            if row is not None and row[0]:
                return
            if time.monotonic() > deadline_s:
                raise OwnedElsewhereError(
                    "another cloud process already writes to this database; "
                    "stop it, or give this one a database of its own (VRC_DATABASE_URL)"
                )
            time.sleep(FIRST_PAUSE_S)

    def _begin(self, connection: Connection) -> bool:
        """Whether our own number is still the newest; takes a new one if not."""
        if self._epoch is not None:
            row = connection.execute(statement("ownership_epoch")).fetchone()
            if row is not None and row[0] == self._epoch:
                return True
        row = connection.execute(statement("begin_ownership")).fetchone()
        assert row is not None
        self._epoch = int(row[0])
        return False
