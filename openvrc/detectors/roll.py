"""One number a vehicle for all rules of a zone, so that an id is looked up once a batch.

Each rule keeps a table of its own of the vehicles it knows (`Keyed`). Finding a batch's ids in ten
tables was a fifth of what all rules cost. A `Roll` numbers them once; a `Keyed` then has an array
from these numbers to its slots, and what it has not met on the roll it does not know. The roll is
no state: it may begin anew at any time, and no finding depends on it.
"""

from __future__ import annotations

from typing import Protocol
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from openvrc.contracts.words import Words, WordTable

Numbers = npt.NDArray[np.int64]

FEWEST = 8192
"""So many ids are kept whoever is gone: half a megabyte."""


class Reader(Protocol):
    """Somebody who keeps numbers of a roll."""

    def uses(self, roll: Roll) -> Numbers:
        """The numbers of this roll, of its generation of now, that are kept."""
        ...


class Roll:
    """Ids numbered as they come; those that no reader keeps any more are struck off.

    >>> from openvrc.contracts.words import words_of
    >>> roll = Roll()
    >>> roll.call(words_of(["a", "b"])).tolist(), roll.call(words_of(["b"])).tolist()
    ([0, 1], [1])
    """

    def __init__(self) -> None:
        self._ids = WordTable()
        self._limit = FEWEST
        self._readers: WeakSet[Reader] = WeakSet()
        self.generation = 0
        """Numbers hold within one generation."""

    def __len__(self) -> int:
        return len(self._ids)

    def call(self, words: Words) -> Numbers:
        """Number (n,) of each id of a batch; may begin a new generation before."""
        if len(self._ids) > self._limit:
            self._strike()
        return self.add(words)

    def add(self, words: Words) -> Numbers:
        """Number (n,) of each id, within this generation."""
        return self._ids.add(words)

    def is_read_by(self, reader: Reader) -> None:
        """Keep what this reader keeps, for as long as there is the reader."""
        self._readers.add(reader)

    def words(self, number: Numbers) -> Words:
        """The ids of some numbers."""
        return self._ids.words(number)

    def _strike(self) -> None:
        """Forget whom no reader keeps, if that is a quarter of all.

        Not who was not heard for long: a reader would put them all on the roll again.
        """
        is_kept = np.zeros(len(self._ids), np.bool_)
        for reader in self._readers:
            is_kept[reader.uses(self)] = True
        if 4 * int(is_kept.sum()) <= 3 * len(is_kept):
            self._ids.keep(is_kept)
            self.generation += 1
        self._limit = max(2 * len(self._ids), FEWEST)
