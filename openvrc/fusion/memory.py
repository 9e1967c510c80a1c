"""Which track a sender's subject was last assigned to: its unit's number, or a vehicle's id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.units import NS_PER_S
from openvrc.fusion.reports import Hashes

IntArray = NDArray[np.int64]

KEEP_NS = 5 * NS_PER_S


@dataclass
class Memory:
    """Every array (n,), by key."""

    key: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    number: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    at_ns: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    def numbers(self, key: Hashes) -> IntArray:
        """Tracks of these subjects, -1 for none."""
        if not len(self.key):
            return np.full(len(key), -1)
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where(self.key[at] == key, self.number[at], -1)

    def note(self, key: Hashes, number: IntArray, at_ns: IntArray) -> None:
        """These subjects, all different, are of these tracks."""
        rest = ~np.isin(self.key, key)
        keys = np.concatenate([self.key[rest], key])
        order = np.argsort(keys, kind="stable")
        self.key = keys[order]
        self.number = np.concatenate([self.number[rest], number])[order]
        self.at_ns = np.concatenate([self.at_ns[rest], at_ns])[order]

    def rename(self, gone: IntArray, into: IntArray) -> None:
        """Subjects of tracks that are gone are of others now."""
        if len(gone):
            name = dict(zip(gone.tolist(), into.tolist(), strict=True))
            number = [name.get(known, known) for known in self.number.tolist()]
            self.number = np.array(number, np.int64)

    def forget(self, now_ns: int) -> None:
        """Subjects that nobody told of for KEEP_NS."""
        fresh = now_ns - self.at_ns <= KEEP_NS
        if not fresh.all():
            self.key, self.number, self.at_ns = (
                self.key[fresh], self.number[fresh], self.at_ns[fresh]
            )  # fmt: skip

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Copies of the arrays."""
        return {n: getattr(self, n).copy() for n in ("key", "number", "at_ns")}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Memory:
        """What `snapshot` gave."""
        return cls(*(arrays[name].copy() for name in ("key", "number", "at_ns")))
