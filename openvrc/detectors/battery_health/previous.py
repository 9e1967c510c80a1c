"""The value before: a signal's sample in the vehicle's frame before, over the cut of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.detectors.battery.frames import Rows
from openvrc.detectors.keyed import Keyed


def previous_values(
    rows: Rows, values: npt.NDArray[Any], vehicles: Keyed, field: str
) -> npt.NDArray[Any]:
    """Values (n,) of each row's predecessor among `rows`; `vehicles[field]` keeps the last one.

    For a vehicle's very first row it is the field's fill value; the caller tells such rows by
    `rows.previous_at_ns`.
    """
    stored = vehicles[field]
    if rows.is_single:
        alone = stored[rows.slot].astype(values.dtype, copy=False)
        stored[rows.slot] = values
        return alone
    previous = np.empty(len(rows), values.dtype)
    previous[1:] = values[:-1]
    previous[rows.is_first] = stored[rows.slot[rows.is_first]]
    stored[rows.slot[rows.is_last]] = values[rows.is_last]
    return previous


def last_of_vehicle(rows: Rows) -> npt.NDArray[np.bool_]:
    """(n,) whether a row is its vehicle's last in this batch."""
    return rows.is_last


def gap_ns(rows: Rows) -> npt.NDArray[np.float64]:
    """Time (n,) since the vehicle's row before; infinite for its very first row."""
    return rows.at_ns.astype(np.float64) - rows.previous_at_ns.astype(np.float64)
