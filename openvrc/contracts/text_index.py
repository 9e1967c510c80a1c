"""Texts to small numbers, many at once: what a dict does, without a Python object per look-up.

A dict of 100,000 ids costs 0.7 us a look-up (three cache misses and a new str each time) and 15 MB;
this costs a third of both. A text is its UTF-8 bytes, padded with zeros to 64-bit words; a hash of
the words leads into an open-addressing table (linear probing, at most half full), and the words
themselves are compared, so a result is exact. Numbers of removed texts go to the next new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_WORD_BYTES = 8
_FIRST_CAPACITY = 64
_EMPTY, _REMOVED = -1, -2
# Odd multipliers of splitmix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195).
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFT = np.uint64(32)

Numbers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
"""(n, width): texts as zero-padded 64-bit words."""
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
        self._words: Words = np.zeros((_FIRST_CAPACITY, 2), np.uint64)
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
        return self._find(*self._keys(texts))

    def add(self, texts: Texts) -> Numbers:
        """Number of each text (n,); a new one gets a number."""
        words, hashes = self._keys(texts)
        numbers = self._find(words, hashes)
        new = np.flatnonzero(numbers < 0)
        if new.size:
            first, which = _distinct(words[new], hashes[new])
            given = self._give(len(first))
            rows = new[first]
            self._words[given] = words[rows]
            self._insert(given, hashes[rows])
            numbers[new] = given[which]
        return numbers

    def remove(self, numbers: Numbers) -> None:
        """Forget these texts, all of them held; their numbers go to the next new ones."""
        words = self._words[numbers]
        self._table[self._places(words, _hashes(words))] = _REMOVED
        self._words[numbers] = 0
        self._free.extend(numbers.tolist())
        self._n_removed += len(numbers)

    def is_held(self) -> npt.NDArray[np.bool_]:
        """Which numbers (end,) have a text now."""
        held = np.ones(self.end, np.bool_)
        held[self._free] = False
        return held

    def text(self, number: int) -> str:
        """The text of a number, "" if it has none."""
        words: bytes = self._words[number].tobytes()
        return words.rstrip(b"\0").decode()

    def texts(self) -> list[str]:
        """The text of each number (end,), "" where it has none."""
        width = self._words.shape[1] * _WORD_BYTES
        rows = np.ascontiguousarray(self._words[: self.end]).view(f"S{width}").reshape(-1)
        return [text.decode() for text in rows.tolist()]

    def snapshot(self) -> dict[str, Any]:
        """Arrays for a checkpoint."""
        return {"words": self._words[: self.end].copy(), "free": np.array(self._free, np.int64)}

    @classmethod
    def restore(cls, tree: Any) -> TextIndex:
        """What `snapshot` wrote."""
        index = cls()
        index.end = len(tree["words"])
        index._free = tree["free"].tolist()
        index._words = np.zeros(
            (max(index.end, _FIRST_CAPACITY), tree["words"].shape[1]), np.uint64
        )
        index._words[: index.end] = tree["words"]
        index._rebuild()
        return index

    # --- keys

    def _keys(self, texts: Texts) -> tuple[Words, npt.NDArray[np.uint64]]:
        words = padded_words(texts, self._words.shape[1])
        if words.shape[1] > self._words.shape[1]:
            more = words.shape[1] - self._words.shape[1]
            self._words = np.pad(self._words, ((0, 0), (0, more)))
        return words, _hashes(words)

    def _give(self, n_new: int) -> Numbers:
        """Numbers for new texts: free ones first; the table has room for them afterwards."""
        reused = self._free[len(self._free) - min(n_new, len(self._free)) :][::-1]
        del self._free[len(self._free) - len(reused) :]
        begin, self.end = self.end, self.end + n_new - len(reused)
        if self.end > len(self._words):
            more = max(self.end, 2 * len(self._words)) - len(self._words)
            self._words = np.pad(self._words, ((0, more), (0, 0)))
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
        self._insert(numbers, _hashes(self._words[numbers]))

    # --- the table

    def _find(self, words: Words, hashes: npt.NDArray[np.uint64]) -> Numbers:
        numbers = np.full(len(words), -1, np.int64)
        rows, places = np.arange(len(words)), self._first_places(hashes)
        while rows.size:
            found = self._table[places]
            is_hit = (found >= 0) & (self._words[found] == words[rows]).all(axis=1)
            numbers[rows[is_hit]] = found[is_hit]
            goes_on = ~is_hit & (found != _EMPTY)
            rows, places = rows[goes_on], self._next(places[goes_on])
        return numbers

    def _places(self, words: Words, hashes: npt.NDArray[np.uint64]) -> Numbers:
        """Where held texts stand in the table."""
        at = np.empty(len(words), np.int64)
        rows, places = np.arange(len(words)), self._first_places(hashes)
        while rows.size:
            found = self._table[places]
            is_hit = (found >= 0) & (self._words[found] == words[rows]).all(axis=1)
            at[rows[is_hit]] = places[is_hit]
            rows, places = rows[~is_hit], self._next(places[~is_hit])
        return at

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


def _distinct(words: Words, hashes: npt.NDArray[np.uint64]) -> tuple[Numbers, Numbers]:
    """First row of each distinct text in order of appearance, and which of them each row is."""
    rows = np.arange(len(words))
    if len(np.unique(hashes)) == len(hashes):  # of different hashes no two can be equal
        return rows, rows
    _, first, which = np.unique(words, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.sort(first), rank[which.reshape(-1)]


def padded_words(texts: Texts, least_width: int = 2) -> Words:
    """Texts as rows of zero-padded 64-bit words (n, width), at least `least_width` wide."""
    array = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.utf8())
    n_rows = len(array)
    _, offsets_buffer, data_buffer = array.buffers()
    if not n_rows or data_buffer is None:
        return np.zeros((n_rows, least_width), np.uint64)
    offsets = np.frombuffer(offsets_buffer, np.int32)[array.offset : array.offset + n_rows + 1]
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    lengths = np.diff(offsets)
    longest = int(lengths.max())
    width = max(least_width, -(-longest // _WORD_BYTES))
    rows = np.zeros((n_rows, width * _WORD_BYTES), np.uint8)
    if longest * n_rows == len(data):  # ids of one length: the ordinary case
        rows[:, :longest] = data.reshape(n_rows, longest)
    else:
        rows[np.arange(width * _WORD_BYTES) < lengths[:, None]] = data
    return rows.view(np.uint64)


def _hashes(words: Words) -> npt.NDArray[np.uint64]:
    """A hash of each row; trailing zero words do not change it, so a wider row hashes the same."""
    hashes = np.zeros(len(words), np.uint64)
    with np.errstate(over="ignore"):
        for place in range(words.shape[1] - 1, -1, -1):
            hashes = (hashes ^ words[:, place]) * _MULTIPLIERS[0]
            hashes ^= hashes >> _SHIFT
        hashes *= _MULTIPLIERS[1]
    return hashes ^ (hashes >> _SHIFT)
