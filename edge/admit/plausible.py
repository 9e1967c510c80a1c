"""Is a vehicle where it can have driven to? Position against the last one, per subject.

A position further from the last accepted one than a vehicle can drive is refused (a GNSS outlier,
a spoofed message, a mixed-up id). If the next one agrees with the refused one, the vehicle really
is there (a ferry, a tow truck, a pseudonym taken over): the second consistent position wins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.slots import Slots, last_of_each

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


class Jumps:
    """The fold: which positions of a batch are plausible."""

    def __init__(self) -> None:
        self.subjects = Slots(SPEC)

    def judge(self, slots: Times, at_ns: Times, lat_deg: Floats, lon_deg: Floats) -> Bools:
        """Rows (n,) whose position is plausible, in order of arrival; keeps the newest ones."""
        subjects = self.subjects
        order = np.argsort(slots, kind="stable")
        slot, at, lat, lon = slots[order], at_ns[order], lat_deg[order], lon_deg[order]
        starts = np.ones(len(slot), np.bool_)
        starts[1:] = slot[1:] != slot[:-1]
        first = slot[starts]
        before = [np.concatenate(([values[0]], values[:-1])) for values in (at, lat, lon)]
        for values, name in zip(before, _ACCEPTED, strict=True):
            values[starts] = subjects[name][first]
        is_known = before[0] != NEVER_NS
        elapsed_ns = np.where(is_known, at - before[0], 0)
        fits: Bools = ~is_known | can_be_driven(elapsed_ns, before[1], before[2], lat, lon)
        odd = np.unique(slot[~fits])
        # A position that fits ends the waiting for one that agrees with a refused one.
        quiet = first[~np.isin(first, odd)] if odd.size else first
        subjects["refused_at_ns"][quiet] = NEVER_NS
        if odd.size:
            self._judge_one_by_one(odd, slot, at, lat, lon, fits)
        self._keep(slot, at, lat, lon, fits)
        result = np.empty_like(fits)
        result[order] = fits
        return result

    def _keep(self, slot: Times, at: Times, lat: Floats, lon: Floats, fits: Bools) -> None:
        rows = np.flatnonzero(fits)
        rows = rows[last_of_each(slot[rows])] if rows.size else rows
        for name, values in zip(_ACCEPTED, (at, lat, lon), strict=True):
            self.subjects[name][slot[rows]] = values[rows]

    def _judge_one_by_one(
        self, odd: Times, slot: Times, at: Times, lat: Floats, lon: Floats, fits: Bools
    ) -> None:
        state = self.subjects
        lows, highs = np.searchsorted(slot, odd), np.searchsorted(slot, odd, side="right")
        for which, low, high in zip(odd.tolist(), lows.tolist(), highs.tolist(), strict=True):
            good = tuple(state[name][which] for name in _ACCEPTED)
            refused = tuple(state["refused_" + name][which] for name in _ACCEPTED)
            for row in range(low, high):
                here = (at[row], lat[row], lon[row])
                fits[row] = _agree(good, here) or (refused[0] != NEVER_NS and _agree(refused, here))
                if fits[row]:
                    good, refused = here, (NEVER_NS, math.nan, math.nan)
                else:
                    refused = here
            for name, value in zip(_ACCEPTED, refused, strict=True):
                state["refused_" + name][which] = value

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint."""
        return self.subjects.snapshot()

    @classmethod
    def restore(cls, tree: Mapping[str, Any]) -> Jumps:
        """What `snapshot` wrote."""
        jumps = cls()
        jumps.subjects = Slots.restore(SPEC, tree)
        return jumps


def _agree(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    if one[0] == NEVER_NS:
        return True
    elapsed_ns = int(other[0]) - int(one[0])
    return bool(can_be_driven(elapsed_ns, one[1], one[2], other[1], other[2]))
