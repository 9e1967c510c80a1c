"""Rows of many vehicles in an order that can be folded: each round has a vehicle at most once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IndexArray = NDArray[np.int64]


def rounds(slot: IndexArray) -> list[IndexArray]:
    """Row numbers of every vehicle's first row, of every second one, and so on; (n,) not empty."""
    order = np.argsort(slot, kind="stable")
    ordered = slot[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    turn = np.arange(len(slot)) - np.repeat(starts, np.diff(starts, append=len(slot)))
    n_rounds = int(turn.max()) + 1
    if n_rounds == 1:
        return [order]
    by_turn = order[np.argsort(turn, kind="stable")]
    return np.split(by_turn, np.cumsum(np.bincount(turn))[:-1])
