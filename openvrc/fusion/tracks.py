"""The tracks as arrays: where each road user is believed to be, and who has seen it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.columns import column_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Hashes = NDArray[np.uint64]

NEVER_NS = -(2**62)
NOBODY = np.uint64(0)
N_SOURCES = 4
"""Units that a track remembers, the newest."""
KINDS = column_of("rsu_objects", "object_class").values
ON_FOOT = np.isin(KINDS, ("pedestrian", "bicycle"))


@dataclass
class Tracks:
    """Every array (n, ...), by number, which is the order they came in."""

    number: IntArray
    state: FloatArray  # (n, 4) east, north, m; their velocities, m/s
    spread: FloatArray  # (n, 4, 4)
    at_ns: IntArray  # of the state
    first_ns: IntArray
    seen_ns: IntArray  # newest report
    own_ns: IntArray  # newest self-report, NEVER_NS for who is not connected
    vehicle: Hashes  # who it says to be, NOBODY
    hits: IntArray  # reports so far
    votes: FloatArray  # (n, n_kinds)
    length_m: FloatArray
    width_m: FloatArray
    heading_deg: FloatArray  # the last one while it moved
    source: Hashes  # (n, N_SOURCES) units that see it
    source_key: Hashes  # (n, N_SOURCES) as what
    source_ns: IntArray  # (n, N_SOURCES) when last

    @property
    def n(self) -> int:
        """How many."""
        return len(self.number)

    @classmethod
    def fresh(cls, number: IntArray) -> Tracks:
        """Tracks of these numbers, of which nothing is known."""
        n = len(number)
        of_sources = (n, N_SOURCES)
        gap = np.full(n, np.nan)
        never = np.full(n, NEVER_NS)
        return cls(
            number, np.zeros((n, 4)), np.zeros((n, 4, 4)), never.copy(), never.copy(),
            never.copy(), never.copy(), np.zeros(n, np.uint64), np.zeros(n, np.int64),
            np.zeros((n, len(KINDS))), gap, gap.copy(), gap.copy(),
            np.zeros(of_sources, np.uint64), np.zeros(of_sources, np.uint64),
            np.full(of_sources, NEVER_NS),
        )  # fmt: skip

    def take(self, rows: IntArray | NDArray[np.bool_]) -> Tracks:
        """Copies of these."""
        return Tracks(*(getattr(self, f.name)[rows] for f in fields(self)))

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Only these."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name)[rows])

    def append(self, others: Tracks) -> None:
        """Others behind them."""
        for f in fields(self):
            both = np.concatenate([getattr(self, f.name), getattr(others, f.name)])
            setattr(self, f.name, both)

    def rows_of(self, number: IntArray) -> IntArray:
        """Rows of tracks by number, -1 for one that is gone."""
        if not self.n:
            return np.full(len(number), -1)
        at = np.minimum(np.searchsorted(self.number, number), self.n - 1)
        return np.where(self.number[at] == number, at, -1)

    @property
    def kind(self) -> IntArray:
        """Most voted class of each, -1 where nobody told."""
        best = np.argmax(self.votes, axis=1) if self.n else np.zeros(0, np.int64)
        return np.where(self.votes.any(axis=1), best, -1)

    def note_source(self, rows: IntArray, source: Hashes, key: Hashes, at_ns: IntArray) -> None:
        """A unit has seen each of these rows, all different."""
        is_slot = self.source[rows] == source[:, None]
        oldest = np.argmin(self.source_ns[rows], axis=1)
        slot = np.where(is_slot.any(axis=1), np.argmax(is_slot, axis=1), oldest)
        self.source[rows, slot] = source
        self.source_key[rows, slot] = key
        self.source_ns[rows, slot] = np.where(
            is_slot.any(axis=1), np.maximum(self.source_ns[rows, slot], at_ns), at_ns
        )

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Copies of the arrays."""
        return {f.name: getattr(self, f.name).copy() for f in fields(self)}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Tracks:
        """What `snapshot` gave."""
        return cls(*(arrays[f.name].copy() for f in fields(cls)))
