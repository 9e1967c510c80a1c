"""Which report is of which track: one to one within a scan of one sensor, at the least total cost.

Pairs within the gate are a sparse graph. Most reports have one track and that track one report of
this scan; the rest are solved together, exactly, by the shortest augmenting path algorithm (Jonker
and Volgenant 1987, doi:10.1007/BF02278710), in which each report may also stay alone at the gate's
cost. Few are written down as a full table, many as a sparse one: that takes a millisecond to make.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEAST_COST = 1e-6
"""A sparse matrix knows no zero."""
FULL_CELLS = 4096
"""A table of so many cells is solved in less time than a sparse one is made."""


def assign(
    report: IntArray, place: IntArray, cost: FloatArray, n_reports: int, alone_cost: float
) -> IntArray:
    """The pair that each report (n_reports,) gets, as its number, -1 for none.

    Pairs (n,) of report and place; a place is a track as one scan may see it once. Ties go to the
    lower pair.

    >>> assign(np.array([0, 0, 1]), np.array([5, 6, 5]), np.array([1.0, 2.0, 1.5]), 2, 9.0).tolist()
    [1, 2]
    """
    found = np.full(n_reports, -1, np.int64)
    wanted = np.flatnonzero(cost < alone_cost)
    if not wanted.size:
        return found
    r, p = report[wanted], place[wanted]
    places, p = np.unique(p, return_inverse=True)
    single = (np.bincount(r, minlength=n_reports)[r] == 1) & (np.bincount(p)[p] == 1)
    found[r[single]] = wanted[single]
    hard = np.flatnonzero(~single)
    if hard.size:
        pairs = wanted[hard]
        _solve(found, pairs, report[pairs], p[hard], cost[pairs], len(places), alone_cost)
    return found


def _solve(
    found: IntArray,
    pairs: IntArray,
    report: IntArray,
    place: IntArray,
    cost: FloatArray,
    n_places: int,
    alone_cost: float,
) -> None:
    reports, row = np.unique(report, return_inverse=True)
    n = len(reports)
    rows = np.concatenate([row, np.arange(n)])
    columns = np.concatenate([place, n_places + np.arange(n)])
    weights = np.concatenate([np.maximum(cost, 0.0) + LEAST_COST, np.full(n, alone_cost)])
    chosen_row, chosen_column = _cheapest(rows, columns, weights, n, n_places + n)
    is_taken = chosen_column < n_places
    taken = chosen_row[is_taken] * n_places + chosen_column[is_taken]
    keys = row * n_places + place
    order = np.argsort(keys, kind="stable")
    found[reports[chosen_row[is_taken]]] = pairs[order[np.searchsorted(keys[order], taken)]]


def _cheapest(
    rows: IntArray, columns: IntArray, weights: FloatArray, n_rows: int, n_columns: int
) -> tuple[IntArray, IntArray]:
    """A column of its own for each row at the least total weight; pairs not given may not be.

    Imports are late: they take 0.4 s of CPU, and a zone without roadside units never needs them.
    """
    if n_rows * n_columns <= FULL_CELLS:
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

        table = np.full((n_rows, n_columns), np.inf)
        table[rows, columns] = weights
        full = linear_sum_assignment(table)
        return full[0].astype(np.int64), full[1].astype(np.int64)
    from scipy.sparse import csr_array  # noqa: PLC0415
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching  # noqa: PLC0415

    graph = csr_array((weights, (rows, columns)), shape=(n_rows, n_columns))
    chosen_row, chosen_column = min_weight_full_bipartite_matching(graph)
    return chosen_row.astype(np.int64), chosen_column.astype(np.int64)
