"""Names to integer keys: a row of 16 B of keys instead of four texts.

Keys are made in a transaction of their own before the rows', so that a failed one never leaves
keys in memory that the database does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from cloud.store.columns import sql_columns
from cloud.store.copy_binary import HEADER, TRAILER, encode_rows, key_field, text_field
from cloud.store.sql import statement
from openvrc.contracts.batch import Batch
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.words import Words, WordTable, words_of

Kind = Literal["zone", "source", "subject"]
Keys = npt.NDArray[np.int64]

NO_KEY = 0
"""Stands for "" (nobody); identity columns start at 1."""
COPIED: tuple[Kind, ...] = ("source", "subject")
COPIED_FROM = 100
"""So many new names at once are copied in, with keys set aside for them: a fifth of the cost of an
INSERT that asks for conflicts and says what it did."""
MAX_ASKED = 1000
"""Names asked for one by one (zones, above all) that are kept in a dict: 0.1 us and not 50."""
RECALLED_NAMES = 500_000
"""At start; 0.2 s and 40 MB for that many."""
_COPY_NAMES = sql.SQL("COPY {} (id, name) FROM STDIN (FORMAT BINARY)")
_caches = count()


class _Names:
    """Names of one kind with the keys that the database gave them."""

    def __init__(self) -> None:
        self._table = WordTable([""])
        self._keys = np.full(2, NO_KEY, np.int64)  # (n_names + 1,), the last for an unknown name
        self.is_whole = False
        """Whether the database had no others when it was asked for all."""

    def find(self, words: Words) -> npt.NDArray[np.int64]:
        """Number (n,) of each word here; negative without a key."""
        return self._table.find(words)

    def keys(self, numbers: npt.NDArray[np.int64]) -> Keys:
        """Key (n,) of each number, `NO_KEY` for what was not learned."""
        keys: Keys = self._keys[numbers]
        return keys

    def add(self, names: list[str], keys: list[int]) -> None:
        """Note what the database said."""
        numbers = self._table.add(words_of(names))
        grown = np.full(len(self._table) + 1, NO_KEY, np.int64)
        grown[: len(self._keys) - 1] = self._keys[:-1]
        grown[numbers] = keys
        self._keys = grown


class Identities:
    """A cache of the identity tables; a key never changes, so it never goes stale."""

    def __init__(self) -> None:
        self._names: dict[Kind, _Names] = {
            "zone": _Names(),
            "source": _Names(),
            "subject": _Names(),
        }
        self._asked: dict[Kind, dict[str, int]] = {kind: {} for kind in self._names}
        self._runs: dict[tuple[str, str], int] = {}
        self._of_whom = next(_caches)

    def recall(self, connection: psycopg.Connection[Any]) -> None:
        """Learn the newest names of a database, so that what is unknown then is most likely new."""
        for kind in COPIED:
            with connection.cursor(binary=True) as cursor:
                cursor.execute(statement(f"newest_{kind}"), {"limit": RECALLED_NAMES})
                found = cursor.fetchall()
            self._names[kind].add([name for name, _ in found], [key for _, key in found])
            self._names[kind].is_whole = len(found) < RECALLED_NAMES

    def learn(self, connection: psycopg.Connection[Any], batches: Sequence[Batch]) -> None:
        """Give every name of these batches a key. Commits what it adds."""
        zones = {batch.zone for batch in batches}.difference(self._asked["zone"])
        if zones:
            self.learn_names(connection, "zone", zones)
        for batch in batches:
            self.learn_run(connection, batch.run_id, batch.origin)
        for kind in COPIED:
            new: set[str] = set()
            for batch, name in _keyed_columns(batches, kind):
                new.update(self._new_names(kind, batch, name))
            self._learn(connection, kind, new)

    def _new_names(self, kind: Kind, batch: Batch, name: str) -> list[str]:
        words, place = batch.used_words(name)
        numbers = self._names[kind].find(words)
        if (numbers >= 0).all():
            batch.once(self._remembered(name), lambda: self._names[kind].keys(numbers)[place])
            return []
        return words.take(numbers < 0).to_list()

    def _remembered(self, name: str) -> str:
        """The keys of a batch's column, once they are all known; another database has others."""
        return f"keys of {name} by {self._of_whom}"

    def learn_names(
        self, connection: psycopg.Connection[Any], kind: Kind, names: Iterable[str]
    ) -> None:
        """Give names a key."""
        asked = list(names)
        is_new = (self._names[kind].find(words_of(asked)) < 0).tolist()
        self._learn(connection, kind, {n for n, new in zip(asked, is_new, strict=True) if new})

    def _learn(self, connection: psycopg.Connection[Any], kind: Kind, names: Iterable[str]) -> None:
        new = sorted(name for name in names if "\0" not in name)
        if not new:
            return
        with connection.transaction():
            found = {}
            if len(new) < COPIED_FROM or not self._names[kind].is_whole:
                found = _fetched(connection, f"keys_of_{kind}", new)
            rest = [name for name in new if name not in found]
            if len(rest) >= COPIED_FROM:
                found |= _copied(connection, kind, rest)
                rest = [name for name in rest if name not in found]
            if rest:
                found |= _fetched(connection, f"intern_{kind}", rest)
                rest = [name for name in rest if name not in found]
            if rest:  # of which another process was quicker
                found |= _fetched(connection, f"keys_of_{kind}", rest)
        self._names[kind].add(list(found), list(found.values()))

    def learn_run(self, connection: psycopg.Connection[Any], run_id: str, origin: str) -> None:
        """Give a run a key."""
        if (run_id, origin) in self._runs:
            return
        with connection.transaction():
            facts = {"run_id": run_id, "origin": origin}
            row = connection.execute(statement("intern_run"), facts).fetchone()
        assert row is not None
        self._runs[run_id, origin] = row[0]

    def run_key(self, run_id: str, origin: str) -> int:
        """The key of a run that was learned."""
        return self._runs[run_id, origin]

    def learn_sender(
        self, connection: psycopg.Connection[Any], zone: str, run: tuple[str, str], source: str
    ) -> None:
        """Give the names of one sender's account a key."""
        self.learn_names(connection, "zone", [zone])
        self.learn_names(connection, "source", [source])
        self.learn_run(connection, *run)

    def key(self, kind: Kind, name: str) -> int:
        """The key of a name that was learned. Raises KeyError for any other."""
        known = self._asked[kind].get(name)
        if known is not None:
            return known
        names = self._names[kind]
        key = int(names.keys(names.find(words_of([name])))[0])
        if key == NO_KEY and name:
            raise KeyError(name)
        if len(self._asked[kind]) < MAX_ASKED:
            self._asked[kind][name] = key
        return key

    def run(self, batch: Batch) -> int:
        """The key of a batch's run."""
        return self._runs[batch.run_id, batch.origin]

    def column(self, kind: Kind, batch: Batch, name: str) -> Keys:
        """Keys (n_rows,) of a text column; `NO_KEY` for "" and for names nothing can store."""

        def look_up() -> Keys:
            words, place = batch.used_words(name)
            keys: Keys = self._names[kind].keys(self._names[kind].find(words))[place]
            return keys

        return batch.once(self._remembered(name), look_up)


def _fetched(
    connection: psycopg.Connection[Any], name: str, names: Sequence[str]
) -> dict[str, int]:
    """Names and keys that a statement gives for some names."""
    with connection.cursor(binary=True) as cursor:
        cursor.execute(statement(name), {"names": names})
        return dict(cursor.fetchall())


def _copied(
    connection: psycopg.Connection[Any], kind: Kind, names: Sequence[str]
) -> dict[str, int]:
    """Names with keys of our choosing; nothing when the database had one of them after all."""
    table = sql.Identifier(kind)
    facts = {"table": kind, "n": len(names)}
    row = connection.execute(statement("reserve_keys"), facts).fetchone()
    assert row is not None
    keys = np.arange(row[0] - len(names) + 1, row[0] + 1)
    fields = [key_field(keys), text_field(words_of(names))]
    try:
        with (
            connection.transaction(),
            connection.cursor() as cursor,
            cursor.copy(_COPY_NAMES.format(table)) as copy,
        ):
            copy.write(HEADER + encode_rows(fields, len(names)) + TRAILER)
    except psycopg.errors.UniqueViolation:
        return {}
    return dict(zip(names, keys.tolist(), strict=True))


def key_kind(column: str) -> Kind:
    """Which identity table an SQL key column refers to."""
    return "source" if column == "source" else "subject"


def _keyed_columns(batches: Sequence[Batch], kind: Kind) -> Iterable[tuple[Batch, str]]:
    for batch in batches:
        if MESSAGES[batch.message].is_stored:
            for column in sql_columns(batch.message):
                if column.kind == "key" and key_kind(column.name) == kind:
                    yield batch, column.contract.name
        elif batch.message == "source_ledger" and kind == "source":
            yield batch, "subject_id"
