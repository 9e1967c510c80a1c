"""Texts to small numbers that stay and are used again: `WordTable` with removal.

Numbers go to new texts in order of their first appearance, so the same inputs lead to the same
numbers however often a state was saved and restored in between. See words.py for the table's kind
and cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openvrc.contracts.words import Cells, Numbers, Words, are_equal, hashes_of, texts_of, words_of

_FIRST_CAPACITY = 64
_EMPTY, _REMOVED = -1, -2
Texts: TypeAlias = "Sequence[str] | pa.Array"


class TextIndex:
    """Distinct texts and their numbers, from 0. Texts hold no NUL.

    >>> index = TextIndex()
    >>> index.add(["b", "a", "b"]).tolist(), index.find(["a", "c"]).tolist()
    ([0, 1, 0], [1, -1])
    >>> index.remove(np.array([0])); index.add(["c"]).tolist(), index.texts()
    ([0], ['c', 'a'])
    """

    def __init__(self) -> None:
        self._cells: Cells = np.zeros((_FIRST_CAPACITY, 1), np.uint64)
        self._table = np.full(4 * _FIRST_CAPACITY, _EMPTY, np.int32)
        self._free: list[int] = []
        self._n_removed = 0  # places in the table that only lengthen the probing
        self.end = 0
        """One more than the highest number ever given."""

    def __len__(self) -> int:
        """Texts held now."""
        return self.end - len(self._free)

    def find(self, texts: Texts) -> Numbers:
        """Number of each text (n,), -1 for an unknown one."""
        return self._find(self._fitted(texts))

    def add(self, texts: Texts) -> Numbers:
        """Number of each text (n,); a new one gets a number."""
        words = self._fitted(texts)
        numbers = self._find(words)
        new = np.flatnonzero(numbers < 0)
        if new.size:
            first, which = _distinct(words.take(new))
            given = self._give(len(first))
            rows = new[first]
            self._cells[given] = words.cells[rows]
            self._insert(given, words.hashes[rows])
            numbers[new] = given[which]
        return numbers

    def remove(self, numbers: Numbers) -> None:
        """Forget these texts, all of them held; their numbers go to the next new ones."""
        cells = self._cells[numbers]
        self._table[self._places(Words(cells, hashes_of(cells)))] = _REMOVED
        self._cells[numbers] = 0
        self._free.extend(numbers.tolist())
        self._n_removed += len(numbers)

    def is_held(self) -> npt.NDArray[np.bool_]:
        """Which numbers (end,) have a text now."""
        held = np.ones(self.end, np.bool_)
        held[self._free] = False
        return held

    def text(self, number: int) -> str:
        """The text of a number, "" if it has none."""
        return texts_of(self._cells[number : number + 1])[0]

    def texts(self) -> list[str]:
        """The text of each number (end,), "" where it has none."""
        return texts_of(self._cells[: self.end])

    def snapshot(self) -> dict[str, Any]:
        """Arrays for a checkpoint."""
        return {"cells": self._cells[: self.end].copy(), "free": np.array(self._free, np.int64)}

    @classmethod
    def restore(cls, tree: Any) -> TextIndex:
        """What `snapshot` wrote."""
        index = cls()
        index.end = len(tree["cells"])
        index._free = tree["free"].tolist()
        index._cells = np.zeros(
            (max(index.end, _FIRST_CAPACITY), tree["cells"].shape[1]), np.uint64
        )
        index._cells[: index.end] = tree["cells"]
        index._rebuild()
        return index

    # --- keys

    def _fitted(self, texts: Texts) -> Words:
        """Texts in as many columns as the table's, which is widened for longer ones."""
        words = words_of(texts)
        missing = self._cells.shape[1] - words.cells.shape[1]
        if missing < 0:
            self._cells = np.pad(self._cells, ((0, 0), (0, -missing)))
        if missing <= 0:
            return words
        return Words(np.pad(words.cells, ((0, 0), (0, missing))), words.hashes)

    def _give(self, n_new: int) -> Numbers:
        """Numbers for new texts: free ones first; the table has room for them afterwards."""
        reused = self._free[len(self._free) - min(n_new, len(self._free)) :][::-1]
        del self._free[len(self._free) - len(reused) :]
        begin, self.end = self.end, self.end + n_new - len(reused)
        if self.end > len(self._cells):
            more = max(self.end, 2 * len(self._cells)) - len(self._cells)
            self._cells = np.pad(self._cells, ((0, more), (0, 0)))
        given = np.concatenate([np.array(reused, np.int64), np.arange(begin, self.end)])
        if 2 * (self.end + self._n_removed) > len(self._table):
            self._rebuild(without=given)
        return given

    def _rebuild(self, without: Numbers | None = None) -> None:
        size = 4 * _FIRST_CAPACITY
        while size < 4 * self.end:
            size *= 2
        self._table, self._n_removed = np.full(size, _EMPTY, np.int32), 0
        held = self.is_held()
        if without is not None:
            held[without] = False
        numbers = np.flatnonzero(held)
        self._insert(numbers, hashes_of(self._cells[numbers]))

    # --- the table

    def _find(self, words: Words) -> Numbers:
        numbers = np.full(len(words), -1, np.int64)
        rows, places = np.arange(len(words)), self._first_places(words.hashes)
        while rows.size:
            found = self._table[places]
            is_hit = self._is_hit(found, words, rows)
            numbers[rows[is_hit]] = found[is_hit]
            goes_on = ~is_hit & (found != _EMPTY)
            rows, places = rows[goes_on], self._next(places[goes_on])
        return numbers

    def _places(self, words: Words) -> Numbers:
        """Where held texts stand in the table."""
        at = np.empty(len(words), np.int64)
        rows, places = np.arange(len(words)), self._first_places(words.hashes)
        while rows.size:
            is_hit = self._is_hit(self._table[places], words, rows)
            at[rows[is_hit]] = places[is_hit]
            rows, places = rows[~is_hit], self._next(places[~is_hit])
        return at

    def _is_hit(self, found: npt.NDArray[np.int32], words: Words, rows: Numbers) -> Any:
        same = are_equal(self._cells.take(found, axis=0), words.cells.take(rows, axis=0))
        return same & (found >= 0)

    def _insert(self, numbers: Numbers, hashes: npt.NDArray[np.uint64]) -> None:
        """Put distinct new texts into the table; of several at one place one wins, others go on."""
        places = self._first_places(hashes)
        while numbers.size:
            is_empty = self._table[places] < 0
            self._table[places[is_empty]] = numbers[is_empty]
            loses = self._table[places] != numbers
            numbers, places = numbers[loses], self._next(places[loses])

    def _first_places(self, hashes: npt.NDArray[np.uint64]) -> Numbers:
        return (hashes & np.uint64(len(self._table) - 1)).astype(np.int64)

    def _next(self, places: Numbers) -> Numbers:
        return (places + 1) & (len(self._table) - 1)


def _distinct(words: Words) -> tuple[Numbers, Numbers]:
    """First row of each distinct text in order of appearance, and which of them each row is."""
    rows = np.arange(len(words))
    if len(np.unique(words.hashes)) == len(words):  # of different hashes no two can be equal
        return rows, rows
    _, first, which = np.unique(words.cells, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.sort(first), rank[which.reshape(-1)]
