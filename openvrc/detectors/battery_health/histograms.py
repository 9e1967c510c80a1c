"""Medians from counts in fixed bins: what replaces a list of all samples that would only grow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def grouped_medians(
    counts: npt.NDArray[np.integer[Any]], edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Median (k,) of samples counted in bins (k, b) between `edges` (b + 1,), rising.

    Within its bin the median is interpolated as if the samples lay evenly spread, so the error is
    below one bin. NaN for a row without samples, and where the median's bin has an infinite edge:
    all that is known then is that it lies beyond the finite ones.

    >>> grouped_medians(np.array([[1, 2, 1], [0, 0, 0]]), np.array([0.0, 1.0, 2.0, 3.0])).tolist()
    [1.5, nan]
    """
    total = counts.sum(axis=1)
    up_to = np.cumsum(counts, axis=1)
    half = total / 2.0
    place = np.minimum((up_to < half[:, None]).sum(axis=1), counts.shape[1] - 1)
    row = np.arange(len(counts))
    inside = counts[row, place]
    below = up_to[row, place] - inside
    share = (half - below) / np.maximum(inside, 1)
    is_known = (total > 0) & np.isfinite(edges[place]) & np.isfinite(edges[place + 1])
    low = np.where(is_known, edges[place], 0.0)
    high = np.where(is_known, edges[place + 1], 0.0)
    return np.where(is_known, low + share * (high - low), np.nan)
