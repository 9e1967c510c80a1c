"""One number a vehicle for all rules of a zone, so that an id is looked up once a batch.

Each rule keeps a table of its own of the vehicles it knows (`Keyed`). Finding a batch's ids in ten
tables was a fifth of what all rules cost. A `Roll` numbers them once; a `Keyed` then has an array
from these numbers to its slots, and what it has not met on the roll it does not know. The roll is
no state: it may begin anew at any time, and no finding depends on it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from openvrc.contracts.words import Words, WordTable

Numbers = npt.NDArray[np.int64]

FEWEST = 8192
"""So many ids are kept whoever is gone: half a megabyte."""


class Roll:
    """Ids numbered as they come; those not called for long are struck off.

    >>> from openvrc.contracts.words import words_of
    >>> roll = Roll()
    >>> roll.call(words_of(["a", "b"])).tolist(), roll.call(words_of(["b"])).tolist()
    ([0, 1], [1])
    """

    def __init__(self) -> None:
        self._ids = WordTable()
        self._limit = FEWEST
        self._turn, self._cleaned_turn = 1, 0
        self._last_turn = np.zeros(0, np.int64)
        self.generation = 0
        """Numbers hold within one generation."""

    def __len__(self) -> int:
        return len(self._ids)

    def call(self, words: Words) -> Numbers:
        """Number (n,) of each id of a batch; may begin a new generation before."""
        if len(self._ids) > self._limit:
            self._strike()
        number = self.add(words)
        self._turn += 1
        self._last_turn[number] = self._turn
        return number

    def add(self, words: Words) -> Numbers:
        """Number (n,) of each id, within this generation."""
        number = self._ids.add(words)
        if len(self._last_turn) < len(self._ids):
            grown = np.zeros(2 * len(self._ids), np.int64)
            grown[: len(self._last_turn)] = self._last_turn
            self._last_turn = grown
        return number

    def words(self, number: Numbers) -> Words:
        """The ids of some numbers."""
        return self._ids.words(number)

    def _strike(self) -> None:
        """Forget who was not called since the last time, if that is a quarter of all."""
        is_kept = self._last_turn[: len(self._ids)] > self._cleaned_turn
        if 4 * int(is_kept.sum()) <= 3 * len(is_kept):
            self._ids.keep(is_kept)
            self._last_turn = self._last_turn[: len(is_kept)][is_kept]
            self.generation += 1
        self._cleaned_turn = self._turn
        self._limit = max(2 * len(self._ids), FEWEST)
