"""Names to integer keys: a row of 16 B of keys instead of four texts.

Keys are made in a transaction of their own before the rows', so that a failed one never leaves
keys in memory that the database does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa

from cloud.store.columns import sql_columns
from cloud.store.sql import statement
from openvrc.contracts.batch import Batch
from openvrc.contracts.messages import MESSAGES

Kind = Literal["zone", "source", "subject"]
Keys = npt.NDArray[np.int64]

NO_KEY = 0
"""Stands for "" (nobody); identity columns start at 1."""


class Identities:
    """A cache of the identity tables; a key never changes, so it never goes stale."""

    def __init__(self) -> None:
        self._keys: dict[Kind, dict[str, int]] = {
            "zone": {"": NO_KEY},
            "source": {"": NO_KEY},
            "subject": {"": NO_KEY},
        }
        self._runs: dict[tuple[str, str], int] = {}

    def learn(self, connection: psycopg.Connection[Any], batches: Sequence[Batch]) -> None:
        """Give every name of these batches a key. Commits what it adds."""
        self.learn_names(connection, "zone", (b.zone for b in batches))
        for batch in batches:
            self.learn_run(connection, batch.run_id, batch.origin)
        for kind in ("source", "subject"):
            words = [used_words(batch, name)[0] for batch, name in _keyed_columns(batches, kind)]
            self.learn_names(connection, kind, chain.from_iterable(words))

    def learn_names(
        self, connection: psycopg.Connection[Any], kind: Kind, names: Iterable[str]
    ) -> None:
        """Give names a key, in one round trip for the new ones."""
        known = self._keys[kind]
        new = sorted(name for name in set(names).difference(known) if "\0" not in name)
        if not new:
            return
        with connection.transaction():
            connection.execute(statement(f"intern_{kind}"), {"names": new})
            found = connection.execute(statement(f"keys_of_{kind}"), {"names": new}).fetchall()
        known.update(found)

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
        """The key of a name that was learned."""
        return self._keys[kind][name]

    def run(self, batch: Batch) -> int:
        """The key of a batch's run."""
        return self._runs[batch.run_id, batch.origin]

    def column(self, kind: Kind, batch: Batch, name: str) -> Keys:
        """Keys (n_rows,) of a text column; `NO_KEY` for "" and for names nothing can store."""
        known = self._keys[kind]
        words, place = used_words(batch, name)
        keys = np.fromiter(map(known.get, words, repeat(NO_KEY)), np.int64, len(words))
        column: Keys = keys[place]
        return column


def used_words(batch: Batch, name: str) -> tuple[list[str], npt.NDArray[np.signedinteger[Any]]]:
    """Words of a text column that cover its rows, and each row's place in them.

    A slice of a large batch keeps the whole dictionary: then only the used words are looked at.
    """
    codes = batch.codes(name)
    array = batch.data.column(name)
    if len(array.dictionary) <= len(codes):
        return batch.dictionary(name), codes
    used, place = np.unique(codes, return_inverse=True)
    return array.dictionary.take(pa.array(used)).to_pylist(), place


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
