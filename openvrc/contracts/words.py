"""Words to small numbers, a column at a time: what a dictionary does one word after the other.

10,000 ids of a batch found among 100,000 known ones take 0.6 us an id in a dict of strings (each
is a cache miss of its own, and a Python object) and 0.06 us here: all are hashed together, looked
up together and compared together. `benchmarks.md` has the conditions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]
Cells = npt.NDArray[np.uint64]

UNKNOWN = -1
_WORD_BYTES = 8
_FIRST_PLACES = 128
_MAX_COLUMNS = 64
_APPENDED = itertools.count()
# Odd, with bits all over (the golden ratio's and its powers'): one for each cell of a word.
_FACTORS = np.cumprod(np.full(_MAX_COLUMNS, 0x9E3779B97F4A7C15, np.uint64)) | np.uint64(1)
_MIX = np.uint64(0xBF58476D1CE4E5B9)  # splitmix64's finaliser
_HALF, _SHIFT = np.uint64(32), np.uint64(29)


@dataclass(frozen=True)
class Growth:
    """What a table that had some words did with new ones, for others that have the same."""

    found: Numbers
    """Number of each word, the new ones' included."""
    new: Words
    """The new ones, distinct, in the order of their numbers."""
    lineage: int
    """The table's afterwards."""


@dataclass(frozen=True)
class Words:
    """Some words, ready to be looked up: cells (n, columns), hashes (n,).

    A word's cells are its length in bytes, then its UTF-8 bytes, zeros behind them.
    """

    cells: Cells
    hashes: Cells
    found: dict[int, Numbers] = field(default_factory=dict, repr=False, compare=False)
    """Numbers that tables have found for them, by the table's `lineage`."""
    sought: dict[int, Numbers] = field(default_factory=dict, repr=False, compare=False)
    """The same of tables that were asked without learning: some may be `UNKNOWN` to them."""
    grown: dict[int, Growth] = field(default_factory=dict, repr=False, compare=False)
    """How tables of a `lineage` grew by them."""

    def __len__(self) -> int:
        return len(self.hashes)

    def take(self, rows: npt.NDArray[Any]) -> Words:
        """The given rows: numbers, or a mask (n,)."""
        return Words(self.cells[rows], self.hashes[rows])

    def to_list(self) -> list[str]:
        """As strings."""
        return texts_of(self.cells)


def words_of(words: pa.Array | Iterable[str]) -> Words:
    """Words of an Arrow text array, or of any strings.

    Raises ValueError for one that is longer than an id ever is (500 bytes).
    """
    array = words if isinstance(words, pa.Array) else pa.array(list(words), pa.utf8())
    n = len(array)
    if n == 0:
        return Words(np.zeros((0, 1), np.uint64), np.zeros(0, np.uint64))
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + n + 1]
    lengths = np.diff(ends)
    longest = int(lengths.max())
    n_columns = 1 + -(-longest // _WORD_BYTES)
    if n_columns > _MAX_COLUMNS:
        raise ValueError(f"a word has {longest} bytes, expected at most 500")
    cells = np.zeros((n, n_columns), np.uint64)
    cells[:, 0] = lengths
    if longest:
        text = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
        width = (n_columns - 1) * _WORD_BYTES
        laid = np.zeros((n, width), np.uint8)
        if int(lengths.min()) == longest:
            laid[:, :longest] = text.reshape(n, longest)
        else:
            laid[np.arange(width) < lengths[:, None]] = text
        cells[:, 1:] = laid.view(np.uint64)
    return Words(cells, hashes_of(cells))


def hashes_of(cells: Cells) -> Cells:
    """Hashes (n,): the same for a word however many zero cells stand behind it."""
    summed = np.zeros(len(cells), np.uint64)
    for column, factor in zip(cells.T, _FACTORS, strict=False):  # ten times a sum over axis 1
        summed += column * factor
    mixed = (summed ^ (summed >> _HALF)) * _MIX
    hashes: Cells = mixed ^ (mixed >> _SHIFT)
    return hashes


def are_equal(some: Cells, others: Cells) -> npt.NDArray[np.bool_]:
    """Whether each word (n,) is the same; column by column, which is ten times all(axis=1)."""
    equal = np.ones(len(some), np.bool_)
    for column, other in zip(some.T, others.T, strict=True):
        equal &= column == other
    return equal


def texts_of(cells: Cells) -> list[str]:
    """The words that cells stand for."""
    ends = np.concatenate([[0], np.cumsum(cells[:, 0])]).astype(np.int32)
    width = (cells.shape[1] - 1) * _WORD_BYTES
    laid = np.ascontiguousarray(cells[:, 1:]).view(np.uint8).reshape(len(cells), width)
    text = laid[np.arange(width) < cells[:, :1]]
    array = pa.StringArray.from_buffers(len(cells), pa.py_buffer(ends), pa.py_buffer(text))
    return array.to_pylist()  # type: ignore[no-any-return]


class WordTable:
    """Words numbered 0, 1, ... as they come; open addressing, at most a quarter full.

    >>> table = WordTable(["a"])
    >>> table.add(words_of(["a", "b", "a"])).tolist()
    [0, 1, 0]
    >>> table.find(words_of(["c", "b"])).tolist()
    [-1, 1]
    >>> table[1], list(table), "c" in table
    ('b', ['a', 'b'], False)
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._n = 0
        self._cells = np.zeros((0, 1), np.uint64)
        self._places = np.full(_FIRST_PLACES, UNKNOWN, np.int32)
        self._n_placed = 0  # the words behind have been appended and not been asked for
        self.lineage = 0
        """Tables of the same lineage hold the same words under the same numbers."""
        self.add(words_of(words))

    def __len__(self) -> int:
        return self._n

    def __contains__(self, word: str) -> bool:
        return self.number(word) != UNKNOWN

    def __getitem__(self, number: int) -> str:
        if not -self._n <= number < self._n:
            raise IndexError(f"number is {number}, expected less than {self._n}")
        length, *cells = self._cells[: self._n][number].tolist()
        text = b"".join(cell.to_bytes(_WORD_BYTES, "little") for cell in cells)
        return text[:length].decode()

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_list())

    def number(self, word: str) -> int:
        """The number of one word, `UNKNOWN` if it has none."""
        return int(self.find(words_of([word]))[0])

    def find(self, words: Words) -> Numbers:
        """Number (n,) of each word, `UNKNOWN` where it has none; shared as in `add`. Read-only."""
        known = words.found.get(self.lineage)
        if known is None:
            known = words.sought.get(self.lineage)
        if known is None:
            known = self._probe(words, is_adding=False)
            known.flags.writeable = False
            words.sought[self.lineage] = known
        return known

    def add(self, words: Words) -> Numbers:
        """Number (n,) of each word; new words get the next ones, in any order among themselves.

        Many rules look the same words of a batch up, each in a table of its own, and most of these
        tables are alike: what one has found counts for all of its lineage. Read-only.
        """
        known = words.found.get(self.lineage)
        if known is not None:
            return known
        grown = words.grown.get(self.lineage)
        if grown is not None:
            self._adopt(grown)
            return grown.found
        n_before, before = self._n, self.lineage
        found = self._probe(words, is_adding=True)
        if self._n > n_before:
            new = self._cells[n_before : self._n].copy()
            self.lineage = hash((before, new.tobytes()))
            words.grown[before] = Growth(found, Words(new, hashes_of(new)), self.lineage)
        words.found[self.lineage] = found
        found.flags.writeable = False
        return found

    def append(self, words: Words) -> Numbers:
        """Number (n,) of words that are known to be new, and distinct: a tenth of `add`'s cost.

        They get their places once somebody asks for a word.
        """
        n_before, self._n = self._n, self._n + len(words)
        cells = self._fitted(words.cells)
        self._make_room(self._n, n_before)
        self._cells[n_before : self._n] = cells
        self.lineage = hash(("appended", next(_APPENDED)))
        return np.arange(n_before, self._n)

    def words(self, number: Numbers | None = None) -> Words:
        """The words of these numbers (n,), or all, ready to be looked up elsewhere."""
        cells = self._cells[: self._n] if number is None else self._cells[number]
        return Words(cells.copy(), hashes_of(cells))

    def _adopt(self, grown: Growth) -> None:
        """Grow as a table of the same words did."""
        self._place_all()
        n_before, self._n = self._n, self._n + len(grown.new)
        if 4 * self._n > len(self._places):
            self._widen_places(8 * self._n, n_before)
        cells = self._fitted(grown.new.cells)
        self._make_room(self._n, n_before)
        self._cells[n_before : self._n] = cells
        self._put(np.arange(n_before, self._n, dtype=np.int32), grown.new.hashes)
        self._n_placed = self._n
        self.lineage = grown.lineage

    def keep(self, is_kept: npt.NDArray[np.bool_]) -> None:
        """Forget the words where `is_kept` (n_words,) is false; the others are renumbered."""
        self._fill(self._cells[: self._n][is_kept])

    def to_list(self) -> list[str]:
        """All words by number."""
        return texts_of(self._cells[: self._n])

    def to_array(self) -> Cells:
        """All words as numbers (n_words, columns), for a checkpoint."""
        return self._cells[: self._n].copy()

    @classmethod
    def from_array(cls, array: npt.NDArray[np.generic]) -> WordTable:
        """What `to_array` gave, or an array (n_words,) of text, in which states were once kept."""
        table = cls()
        is_text = array.dtype.kind == "U"
        table._fill(words_of(array.tolist()).cells if is_text else array.astype(np.uint64))
        return table

    def _fill(self, cells: Cells) -> None:
        """Have exactly these words, which differ from one another."""
        self._cells, self._n = cells.copy(), len(cells)
        self.lineage = hash(self._cells.tobytes()) if self._n else 0
        self._widen_places(4 * self._n)

    def _probe(self, words: Words, *, is_adding: bool) -> Numbers:
        found = np.full(len(words), UNKNOWN, np.int64)
        self._place_all()
        if is_adding and 4 * (self._n + len(words)) > len(self._places):
            self._widen_places(8 * (self._n + len(words)))
        cells = self._fitted(words.cells)
        todo, at = np.arange(len(words)), self._first_places(words.hashes)
        while len(todo):
            is_empty = self._places[at] < 0
            if is_adding and is_empty.any():
                self._take(cells, todo[is_empty], at[is_empty])
            known = self._places[at]
            is_same = known >= 0
            if self._n:
                asked = cells if len(todo) == len(cells) else cells.take(todo, axis=0)
                is_same &= are_equal(self._cells.take(known, axis=0), asked)
            found[todo[is_same]] = known[is_same]
            goes_on = ~is_same & (known >= 0)
            todo, at = todo[goes_on], self._next_places(at[goes_on])
        self._n_placed = self._n
        return found

    def _place_all(self) -> None:
        """Give the words that were appended their places."""
        if self._n_placed == self._n:
            return
        if 4 * self._n > len(self._places):
            self._widen_places(8 * self._n)
        else:
            numbers = np.arange(self._n_placed, self._n, dtype=np.int32)
            self._put(numbers, hashes_of(self._cells[self._n_placed : self._n]))
        self._n_placed = self._n

    def _take(self, cells: Cells, rows: Numbers, at: Numbers) -> None:
        """Give rows that found an empty place a number; of several at one place only one."""
        trial = np.arange(len(rows), dtype=np.int32)
        self._places[at] = trial
        wins = self._places[at] == trial
        n_before, self._n = self._n, self._n + int(wins.sum())
        self._make_room(self._n, n_before)
        self._places[at[wins]] = np.arange(n_before, self._n)
        self._cells[n_before : self._n] = cells[rows[wins]]

    def _make_room(self, n: int, n_before: int) -> None:
        if n > len(self._cells):
            grown = np.zeros((max(n, 2 * len(self._cells)), self._cells.shape[1]), np.uint64)
            grown[:n_before] = self._cells[:n_before]
            self._cells = grown

    def _fitted(self, cells: Cells) -> Cells:
        """The cells in as many columns as the table's, which is widened for longer words."""
        missing = self._cells.shape[1] - cells.shape[1]
        if missing < 0:
            self._cells = np.pad(self._cells, ((0, 0), (0, -missing)))
        return np.pad(cells, ((0, 0), (0, missing))) if missing > 0 else cells

    def _widen_places(self, at_least: int, n_words: int | None = None) -> None:
        """A larger table of the first `n_words`, or of all."""
        n_words = self._n if n_words is None else n_words
        self._places = np.full(_FIRST_PLACES, UNKNOWN, np.int32)
        if at_least > _FIRST_PLACES:
            self._places = np.full(1 << (at_least - 1).bit_length(), UNKNOWN, np.int32)
        self._put(np.arange(n_words, dtype=np.int32), hashes_of(self._cells[:n_words]))
        self._n_placed = n_words

    def _put(self, todo: npt.NDArray[np.int32], hashes: Cells) -> None:
        """Give distinct words, by number, their places."""
        at = self._first_places(hashes)
        while len(todo):
            is_empty = self._places[at] < 0
            self._places[at[is_empty]] = todo[is_empty]
            goes_on = self._places[at] != todo
            todo, at = todo[goes_on], self._next_places(at[goes_on])

    def _first_places(self, hashes: Cells) -> Numbers:
        return (hashes & np.uint64(len(self._places) - 1)).astype(np.int64)

    def _next_places(self, at: Numbers) -> Numbers:
        return (at + 1) & (len(self._places) - 1)
