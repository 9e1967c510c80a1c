"""Speed and course of a track of positions, for recordings that hold neither."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from openvrc.contracts import geo
from openvrc.contracts.units import NS_PER_S

STANDING_M = 0.5
"""A shorter way has no course: it is the receiver's noise."""
MAX_SPEED_MPS = 150.0
"""The contract's; a point that leaps further has no speed that can be derived."""
Floats = npt.NDArray[np.float64]


def motion(
    times_ns: npt.NDArray[np.int64],
    lat_deg: Floats,
    lon_deg: Floats,
    segment: npt.NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """Speed and course (n,) of the way from the point before; a segment begins as it goes on.

    Where the way tells neither (a leap, a point without a position), the last known of the segment
    goes on, and a first speed is that of the next: nobody is said to stand who may be driving.
    A segment that knows no speed at all has 0, as of one point.
    """
    n = len(times_ns)
    speed_mps, heading_deg = np.zeros(n), np.full(n, np.nan)
    if n < 2:
        return speed_mps, heading_deg
    lat_deg, lon_deg = (np.where(np.isfinite(at), at, np.nan) for at in (lat_deg, lon_deg))
    way_m = geo.distance_m(lat_deg[:-1], lon_deg[:-1], lat_deg[1:], lon_deg[1:])
    course_deg = geo.bearing_deg(lat_deg[:-1], lon_deg[:-1], lat_deg[1:], lon_deg[1:])
    span_s = np.diff(times_ns) / NS_PER_S
    joins = (segment[1:] == segment[:-1]) & (span_s > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_way = np.where(joins, way_m / span_s, np.nan)
    speed_mps[1:] = np.where(by_way > MAX_SPEED_MPS, np.nan, by_way)
    heading_deg[1:] = np.where(joins & (way_m >= STANDING_M), course_deg, np.nan)
    is_first = np.append(True, ~joins)
    for values in (speed_mps, heading_deg):
        values[:-1] = np.where(is_first[:-1], values[1:], values[:-1])
    speed_mps = _carried_on(speed_mps, segment)
    speed_mps = _carried_on(speed_mps[::-1], segment[::-1])[::-1]
    return np.nan_to_num(speed_mps), _carried_on(heading_deg, segment)


def _carried_on(values: Floats, segment: npt.NDArray[np.int64]) -> Floats:
    """Each NaN takes the value before it in its segment, if there is one."""
    rows = np.arange(len(values))
    begins = np.append(True, segment[1:] != segment[:-1])
    start = np.maximum.accumulate(np.where(begins, rows, 0))
    place = np.maximum.accumulate(np.where(np.isnan(values), -1, rows))
    return np.where(place >= start, values[place], np.nan)
