"""Keeps minutes and block ranges up to date in the background, apart from ingest."""

from __future__ import annotations

import logging
import threading

import psycopg

from cloud.store.migrate import layout_of
from cloud.store.minutes import BlockRanges, refresh

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
STOP_WITHIN_S = 5.0


class MinuteKeeper:
    """A thread with a connection of its own; `start` after the database was migrated."""

    def __init__(self, database_url: str, *, every_s: float) -> None:
        """`every_s` is the pause between two rounds; 0 keeps nothing up to date."""
        self._url = database_url
        self._every_s = every_s
        self._ranges = BlockRanges()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="minutes", daemon=True)
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def start(self) -> None:
        """Begin, a pause from now."""
        if self._every_s > 0:
            self._thread.start()

    def stop(self) -> None:
        """End; what is being summed up is given up and done again at the next start."""
        self._stopping.set()
        connection = self._connection
        if connection is not None:
            connection.cancel_safe(timeout=STOP_WITHIN_S)
        if self._thread.ident is not None:
            self._thread.join(STOP_WITHIN_S)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.keep_up()
            except psycopg.Error as error:
                if not self._stopping.is_set():
                    log.warning("minutes are not up to date, will retry: %s", error)

    def keep_up(self) -> None:
        """One round. Raises psycopg.Error; the rows stay to be summed up."""
        with psycopg.connect(
            self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        ) as connection:
            self._connection = connection
            try:
                self._ranges.summarize(connection)
                refresh(connection, layout_of(connection))
            finally:
                self._connection = None
