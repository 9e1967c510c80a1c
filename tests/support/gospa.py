"""GOSPA, the generalised optimal sub-pattern assignment metric, p = 2 and alpha = 2.

Rahmathullah, Garcia-Fernandez, Svensson 2017, arXiv 1601.05585: the square is the sum of squared
distances of assigned pairs (below c) and of c^2 / 2 for each missed and each false one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

FloatArray = NDArray[np.float64]


class Gospa(NamedTuple):
    """Its parts for one moment."""

    localisation_m2: float  # sum of squared distances of the assigned
    assigned: int
    missed: int
    false: int
    c_m: float
    truth: NDArray[np.int64]  # (assigned,) rows
    found: NDArray[np.int64]

    @property
    def value_m(self) -> float:
        """The metric."""
        return float(np.sqrt(self.localisation_m2 + self.c_m**2 / 2 * (self.missed + self.false)))


def gospa(truth_m: FloatArray, found_m: FloatArray, c_m: float) -> Gospa:
    """Of true (n, 2) and found places (m, 2)."""
    apart2 = ((truth_m[:, None, :] - found_m[None, :, :]) ** 2).sum(axis=2)
    rows, columns = linear_sum_assignment(np.minimum(apart2, c_m**2))
    near = apart2[rows, columns] < c_m**2
    rows, columns = rows[near], columns[near]
    n = len(rows)
    return Gospa(
        float(apart2[rows, columns].sum()), n, len(truth_m) - n, len(found_m) - n, c_m,
        rows.astype(np.int64), columns.astype(np.int64),
    )  # fmt: skip
