"""Is a vehicle where it can have driven to? Position against the last one, per subject.

A position further from the last accepted one than a vehicle can drive is refused (a GNSS outlier,
a spoofed message, a mixed-up id). If the next one agrees with the refused one, the vehicle really
is there (a ferry, a tow truck, a pseudonym taken over): the second consistent position wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.slots import Grouped, Slots

MAX_DRIVE_MPS = 90.0
"""324 km/h: above any vehicle on a public road."""
SLACK_M = 100.0
"""Two sources may disagree: GNSS in a street canyon errs by up to 50 m, on either side."""
METRES_PER_DEGREE = 111_320.0
"""Length of one degree of latitude; of longitude at the equator."""
NEVER_NS = np.iinfo(np.int64).min

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SPEC = {
    # The last accepted position.
    "at_ns": (np.int64, NEVER_NS, 0),
    "lat_deg": (np.float64, np.nan, 0),
    "lon_deg": (np.float64, np.nan, 0),
    # The last refused position, waiting for a second one that agrees with it.
    "refused_at_ns": (np.int64, NEVER_NS, 0),
    "refused_lat_deg": (np.float64, np.nan, 0),
    "refused_lon_deg": (np.float64, np.nan, 0),
}
_ACCEPTED = ("at_ns", "lat_deg", "lon_deg")


def can_be_driven(elapsed_ns: Any, lat0_deg: Any, lon0_deg: Any, lat_deg: Any, lon_deg: Any) -> Any:
    """Whether two positions that far apart in time can be of one vehicle; all arrays (n,).

    Equirectangular distance: exact to 0.1 % below 100 km, and further apart nothing is close.
    """
    east_deg = np.abs((lon_deg - lon0_deg + 180.0) % 360.0 - 180.0)
    east_m = east_deg * METRES_PER_DEGREE * np.cos(np.radians(lat_deg))
    north_m = (lat_deg - lat0_deg) * METRES_PER_DEGREE
    reach_m = SLACK_M + MAX_DRIVE_MPS * np.abs(elapsed_ns) * 1e-9
    return np.hypot(east_m, north_m) <= reach_m


def plausible_positions(
    subjects: Slots, rows: Grouped, at_ns: Times, lat_deg: Floats, lon_deg: Floats
) -> Bools:
    """Rows (n,) whose position is plausible, in order of arrival; keeps the newest ones."""
    here = (at_ns, lat_deg, lon_deg)
    if rows.is_once:
        before = [subjects[name][rows.slots] for name in _ACCEPTED]
        fits = _fit(before, here)
    else:
        fits = np.empty(len(at_ns), np.bool_)
        fits[rows.order] = _fit(_before(subjects, rows, here), [v[rows.order] for v in here])
    odd = np.unique(rows.slots[~fits])
    # A position that fits ends the waiting for one that agrees with a refused one.
    waiting = subjects["refused_at_ns"]
    quiet = rows.slots if not odd.size else np.setdiff1d(rows.slots, odd)
    waiting[quiet] = NEVER_NS
    if odd.size:
        _judge_one_by_one(subjects, rows, odd, here, fits)
    good = np.flatnonzero(fits)
    good = good[rows.at(fits).last()]
    for name, values in zip(_ACCEPTED, here, strict=True):
        subjects[name][rows.slots[good]] = values[good]
    return fits


def _fit(before: Sequence[Any], here: Sequence[Any]) -> Bools:
    is_known = before[0] != NEVER_NS
    elapsed_ns = np.where(is_known, here[0] - before[0], 0)
    fits: Bools = ~is_known | can_be_driven(elapsed_ns, *before[1:], *here[1:])
    return fits


def _before(subjects: Slots, rows: Grouped, here: Sequence[Any]) -> list[Any]:
    """Time and position before each row, rows in `rows.order`."""
    found = []
    firsts = rows.slots[rows.order[rows.starts]]
    for values, name in zip(here, _ACCEPTED, strict=True):
        before = np.empty_like(values)
        before[1:] = values[rows.order][:-1]
        before[rows.starts] = subjects[name][firsts]
        found.append(before)
    return found


def _judge_one_by_one(
    subjects: Slots, rows: Grouped, odd: Times, here: Sequence[Any], fits: Bools
) -> None:
    slot = rows.slots[rows.order]
    lows, highs = np.searchsorted(slot, odd), np.searchsorted(slot, odd, side="right")
    for which, low, high in zip(odd.tolist(), lows.tolist(), highs.tolist(), strict=True):
        good = tuple(subjects[name][which] for name in _ACCEPTED)
        refused = tuple(subjects["refused_" + name][which] for name in _ACCEPTED)
        for row in rows.order[low:high].tolist():
            now = tuple(values[row] for values in here)
            fits[row] = _agree(good, now) or (refused[0] != NEVER_NS and _agree(refused, now))
            if fits[row]:
                good, refused = now, (NEVER_NS, math.nan, math.nan)
            else:
                refused = now
        for name, value in zip(_ACCEPTED, refused, strict=True):
            subjects["refused_" + name][which] = value


def _agree(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    if one[0] == NEVER_NS:
        return True
    elapsed_ns = int(other[0]) - int(one[0])
    return bool(can_be_driven(elapsed_ns, one[1], one[2], other[1], other[2]))
