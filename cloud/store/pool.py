"""A small pool of connections for reading: requests come in threads, connections are few."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

CONNECT_TIMEOUT_S = 5
DEFAULT_SIZE = 8
"""The embedded server takes 50 connections; a dozen readers saturate its two cores."""
WAIT_S = 10.0
STATEMENT_TIMEOUT_MS = 60_000
"""An export of a day takes seconds; what runs longer would only hold the pool."""


class Pool:
    """At most `size` connections, opened when needed, dropped when broken."""

    def __init__(self, database_url: str, *, size: int = DEFAULT_SIZE) -> None:
        self._url = database_url
        self._slots: queue.LifoQueue[psycopg.Connection[Any] | None] = queue.LifoQueue(size)
        for _ in range(size):
            self._slots.put(None)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """One connection in autocommit.

        Raises TimeoutError when all are busy for long, psycopg.OperationalError when the
        database does not answer.
        """
        try:
            connection = self._slots.get(timeout=WAIT_S)
        except queue.Empty:
            raise TimeoutError(f"no database connection became free in {WAIT_S} s") from None
        try:
            if connection is None or connection.closed:
                connection = self._connect()
            yield connection
        finally:
            if connection is not None and not self._is_clean(connection):
                connection.close()
                connection = None
            self._slots.put(connection)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(queue.Empty):
            while True:
                connection = self._slots.get_nowait()
                if connection is not None:
                    connection.close()

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
        )

    @staticmethod
    def _is_clean(connection: psycopg.Connection[Any]) -> bool:
        idle = psycopg.pq.TransactionStatus.IDLE
        return not connection.closed and connection.info.transaction_status == idle
