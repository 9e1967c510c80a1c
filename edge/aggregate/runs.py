"""Runs in flat arrays: where groups begin, and counting within them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IndexArray = NDArray[np.int64]


def counts_up(sizes: IndexArray) -> IndexArray:
    """0, 1, .. size - 1 for each size, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - sizes, sizes)


def group_starts(sorted_values: IndexArray | NDArray[np.int32]) -> IndexArray:
    """Where each run of equal values begins; empty for no values."""
    if len(sorted_values) == 0:
        return np.zeros(0, dtype=np.int64)
    changes = np.flatnonzero(sorted_values[1:] != sorted_values[:-1]) + 1
    return np.concatenate((np.zeros(1, dtype=np.int64), changes))
