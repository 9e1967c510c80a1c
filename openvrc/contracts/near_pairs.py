"""Which of some places lie near which others: a grid join, pairs of indexes out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

_ROW_CELLS = 1 << 24  # cells a grid row is numbered with: more than any zone is wide


def near_pairs(
    asker_x_m: FloatArray,
    asker_y_m: FloatArray,
    x_m: FloatArray,
    y_m: FloatArray,
    reach_m: float,
) -> tuple[IndexArray, IndexArray]:
    """Pairs (asker, place) of at most `reach_m`, each once; arrays (n_askers,) and (n_places,).

    >>> zero = np.zeros(1)
    >>> [i.tolist() for i in near_pairs(zero, zero, np.array([3.0, 9.0]), np.zeros(2), 5.0)]
    [[0], [0]]
    """
    cell = _cells(x_m, y_m, reach_m)
    order = np.argsort(cell, kind="stable")
    cells = cell[order]
    middle = _cells(asker_x_m, asker_y_m, reach_m)
    rows = (middle[:, None] + np.array([-_ROW_CELLS, 0, _ROW_CELLS])).ravel()
    low = np.searchsorted(cells, rows - 1, side="left")
    count = np.searchsorted(cells, rows + 1, side="right") - low
    asker = np.repeat(np.repeat(np.arange(len(asker_x_m)), 3), count)
    place = order[np.arange(len(asker)) + np.repeat(low - (np.cumsum(count) - count), count)]
    dx_m, dy_m = asker_x_m[asker] - x_m[place], asker_y_m[asker] - y_m[place]
    near = dx_m * dx_m + dy_m * dy_m <= reach_m * reach_m
    return asker[near], place[near]


def _cells(x_m: FloatArray, y_m: FloatArray, size_m: float) -> IndexArray:
    column, row = np.floor(x_m / size_m), np.floor(y_m / size_m)
    cells: IndexArray = row.astype(np.int64) * _ROW_CELLS + column.astype(np.int64)
    return cells
