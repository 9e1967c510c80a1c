"""Rows of one body into their tables: sorted, copied in binary, repeats found and counted.

Rows are sorted by subject before COPY, as the unique index is: for 100,000 vehicles in random order
that halves the index's cost. The common case is one COPY per message; only when it meets a
repeated row is the same data staged and inserted with ON CONFLICT DO NOTHING (3 times the cost).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from cloud.store.columns import (
    SqlColumn,
    sql_columns,
    time_column,
    unique_columns,
)
from cloud.store.copy_binary import (
    HEADER,
    TRAILER,
    encode_rows,
    field_of,
    key_field,
)
from cloud.store.identities import Identities, key_kind
from cloud.store.migrate import StoreLayout, make_partition
from cloud.store.refused import refused_letters, unstorable_rows
from cloud.store.sql import statements
from openvrc.contracts.batch import Batch
from openvrc.contracts.errors import VrcError
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.units import ABSENT_I64

NO_SESSION = -1
MAX_NEW_PARTITIONS = 400
"""Of one body: a year of history in one request is odd, ten thousand days are an attack."""

CountKey = tuple[int, int, int, int, str]
"""(run, zone, source, session, message)"""
Counts = dict[CountKey, list[int]]
"""[stored, repeated, refused] by key."""


class TooManyPartitionsError(VrcError):
    """A body whose records are scattered over more days than anybody lives through at once."""


@dataclass(frozen=True)
class Written:
    """What became of a body's rows; `counts` speaks of numbered messages only."""

    stored: int
    rejected: int
    counts: Counts


class Writer:
    """Writes bodies through one connection; the caller owns the transactions."""

    def __init__(self, layout: StoreLayout, identities: Identities) -> None:
        self._layout = layout
        self._identities = identities
        self._partitions: set[tuple[str, int]] = set()

    def prepare(self, connection: psycopg.Connection[Any], batches: Sequence[Batch]) -> None:
        """Keys and partitions that these batches need; commits them before the rows' transaction.

        Raises TooManyPartitionsError.
        """
        self._identities.learn(connection, batches)
        missing = sorted(self._chunks(_stored(batches)) - self._partitions)
        if len(missing) > MAX_NEW_PARTITIONS:
            raise TooManyPartitionsError(
                f"records lie in {len(missing)} time partitions, expected at most "
                f"{MAX_NEW_PARTITIONS} in one request"
            )
        if self._layout.partitioning == "native":
            for message, chunk in missing:
                make_partition(connection, message, chunk, self._layout)
        self._partitions.update(missing)

    def _chunks(self, batches: Iterable[Batch]) -> set[tuple[str, int]]:
        """Message and number of each partition that rows of these batches lie in."""
        found: set[tuple[str, int]] = set()
        for batch in batches:
            at_us = batch.column(f"{time_column(batch.message)}_ns") // 1000
            chunks = np.unique(at_us // self._layout.chunk_us).tolist()
            found |= {(batch.message, chunk) for chunk in chunks}
        return found

    def write(self, connection: psycopg.Connection[Any], batches: Sequence[Batch]) -> Written:
        """All rows of a body, within the caller's transaction."""
        by_message: dict[str, list[Batch]] = {}
        for batch in _stored(batches):
            by_message.setdefault(batch.message, []).append(batch)
        counts: Counts = {}
        for message, members in by_message.items():
            self._write_message(connection, message, members, counts)
        stored, repeated, refused = (sum(entry[i] for entry in counts.values()) for i in range(3))
        numbered = {key: n for key, n in counts.items() if MESSAGES[key[4]].is_numbered}
        return Written(stored, repeated + refused, numbered)

    def _write_message(
        self,
        connection: psycopg.Connection[Any],
        message: str,
        batches: list[Batch],
        counts: Counts,
    ) -> None:
        columns = sql_columns(message)
        encoded = []
        for whole in batches:
            batch = whole
            bad = unstorable_rows(columns, whole)
            if bad.any():
                self._refuse(connection, columns, whole.filter(bad), counts)
                batch = whole.filter(~bad)
            if batch.n_rows:
                encoded.append(self._encode(columns, batch))
                self._count(counts, batch, 0)
        if not encoded:
            return
        if message == "segment_state":
            _stage(connection, message, encoded, "revise_rows")
            return
        try:
            with connection.transaction():
                _copy(connection, sql.Identifier(message), columns, encoded)
        except psycopg.errors.UniqueViolation:
            self._write_what_is_new(connection, message, encoded, counts)

    def _refuse(
        self,
        connection: psycopg.Connection[Any],
        columns: Sequence[SqlColumn],
        refused: Batch,
        counts: Counts,
    ) -> None:
        """Count rows that the table cannot hold, and keep them as dead letters.

        A letter is a stored row but not a stored record: it is in no count.
        """
        self._count(counts, refused, 2)
        letters = refused_letters(columns, refused)
        if self._layout.partitioning == "native":
            # Not noted in `_partitions`: it goes again if the transaction does.
            for message, chunk in self._chunks([letters]):
                make_partition(connection, message, chunk, self._layout)
        names = sql_columns("dead_letter")
        _copy(connection, sql.Identifier("dead_letter"), names, [self._encode(names, letters)])

    def _write_what_is_new(
        self,
        connection: psycopg.Connection[Any],
        message: str,
        encoded: list[bytes],
        counts: Counts,
    ) -> None:
        """The same rows, some of which are stored already or twice in this body."""
        kept: dict[CountKey, int] = {}
        for run, zone, source, session, stored in _stage(
            connection, message, encoded, "add_new_rows"
        ):
            kept[run, zone, source, session, message] = stored
        for key, entry in counts.items():
            if key[4] == message:
                entry[1] += entry[0] - kept.get(key, 0)
                entry[0] = kept.get(key, 0)

    def _encode(self, columns: Sequence[SqlColumn], batch: Batch) -> bytes:
        run, zone = self._identities.run(batch), self._identities.key("zone", batch.zone)
        keys = {
            column.name: self._identities.column(key_kind(column.name), batch, column.contract.name)
            for column in columns
            if column.kind == "key"
        }
        # One subject's rows stay as they came, which is in order of time but for late ones.
        order = np.argsort(keys["subject"], kind="stable")
        if (np.diff(order) != 1).any():
            batch = batch.take(order)
            keys = {name: values[order] for name, values in keys.items()}
        n_rows = batch.n_rows
        fields = [key_field(np.full(n_rows, key)) for key in (run, zone)]
        for column in columns:
            is_key = column.kind == "key"
            fields.append(key_field(keys[column.name]) if is_key else field_of(column, batch))
        return encode_rows(fields, n_rows)

    def _count(self, counts: Counts, batch: Batch, place: int) -> None:
        """Add a batch's rows by source and session to column `place` of `counts`."""
        sources = self._identities.column("source", batch, "source_id")
        count_by_sender(
            counts,
            (self._identities.run(batch), self._identities.key("zone", batch.zone)),
            batch.message,
            sources,
            batch.column("session"),
            place,
        )


def count_by_sender(
    counts: Counts,
    where: tuple[int, int],
    message: str,
    sources: npt.NDArray[np.int64],
    sessions: npt.NDArray[np.int64],
    place: int,
) -> None:
    """Add rows (n_rows,) by (source, session) to column `place` of `counts`."""
    named, of_row = np.unique(sessions, return_inverse=True)
    pairs, n_each = np.unique(sources * len(named) + of_row, return_counts=True)
    who, which = np.divmod(pairs, len(named))
    plain = np.where(named == ABSENT_I64, NO_SESSION, named)[which]
    for source, session, n in zip(who.tolist(), plain.tolist(), n_each.tolist(), strict=True):
        counts.setdefault((*where, source, session, message), [0, 0, 0])[place] += n


def _stored(batches: Iterable[Batch]) -> list[Batch]:
    return [b for b in batches if b.n_rows and MESSAGES[b.message].is_stored]


def _column_list(columns: Sequence[SqlColumn]) -> sql.Composable:
    names = ["run", "zone", *(column.name for column in columns)]
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _copy(
    connection: psycopg.Connection[Any],
    table: sql.Identifier,
    columns: Sequence[SqlColumn],
    encoded: Sequence[bytes],
) -> None:
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)")
    with (
        connection.cursor() as cursor,
        cursor.copy(command.format(table, _column_list(columns))) as copy,
    ):
        copy.write(HEADER)
        for rows in encoded:
            copy.write(rows)
        copy.write(TRAILER)


def _stage(
    connection: psycopg.Connection[Any], message: str, encoded: Sequence[bytes], move: str
) -> list[tuple[int, int, int, int, int]]:
    """Copy into a temporary table, then move from there with a named statement."""
    columns = sql_columns(message)
    staged = sql.Identifier(f"staged_{message}")
    make = "CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
    connection.execute(sql.SQL(make).format(staged, sql.Identifier(message)))
    connection.execute(sql.SQL("TRUNCATE {}").format(staged))
    _copy(connection, staged, columns, encoded)
    names = ["stored_at", *(column.name for column in columns)]
    parts = {
        "table": sql.Identifier(message),
        "columns": _column_list(columns),
        "staged": staged,
        "key": sql.SQL(", ").join(map(sql.Identifier, unique_columns(message))),
        "assignments": sql.SQL(", ").join(
            sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name))
            for name in names
            if name not in unique_columns(message)
        ),
    }
    return connection.execute(sql.SQL(statements()[move]).format(**parts)).fetchall()
