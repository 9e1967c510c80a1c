"""How long a way takes now, and between which times four of five drivers will need.

The spread of a single trip has three parts: each signal stops some and lets others pass, plain
segments differ little, and drivers are faster or slower than others all the way. Segments are taken
as independent but for the driver.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from openvrc.contracts.maps import RoadMap
from openvrc.traffic.routes import Floats, Way

SIGNAL_SD_RATIO = 0.6
"""Of the time of a segment before a signal, and at least so many seconds:"""
SIGNAL_SD_S = 8.0
PLAIN_SD_RATIO = 0.15
DRIVER_SD_RATIO = 0.07
"""Of the whole way: lorries and cars, chosen speeds."""
TEN_TO_NINETY = 1.28
MAX_FASTER_RATIO = 0.9
"""Nobody drives a whole way faster than this share of its time at the limit."""


class TravelTime(NamedTuple):
    """Of one way, for who leaves now."""

    length_m: float
    free_s: float
    """At the limits, without a stop."""
    expected_s: float
    low_s: float
    high_s: float


def travel_time(road_map: RoadMap, pass_s: Floats, way: Way) -> TravelTime:
    """Expected time with its 80 % interval; `pass_s` is a whole pass's of each segment."""
    segments = np.array(way.segments)
    driven_m = np.array(way.driven_m)
    part = driven_m / road_map.segment_length_m[segments]
    takes_s = pass_s[segments] * part
    free_s = float((driven_m / road_map.segment_speed_limit_mps[segments]).sum())
    at_signal = road_map.segment_ends_at_signal[segments]
    signal_sd_s = np.maximum(SIGNAL_SD_RATIO * takes_s, SIGNAL_SD_S * part)
    sd_s = np.where(at_signal, signal_sd_s, PLAIN_SD_RATIO * takes_s)
    expected_s = float(takes_s.sum())
    spread_s = TEN_TO_NINETY * float(
        np.hypot(np.sqrt((sd_s**2).sum()), DRIVER_SD_RATIO * expected_s)
    )
    low_s = min(max(expected_s - spread_s, MAX_FASTER_RATIO * free_s), expected_s)
    return TravelTime(float(driven_m.sum()), free_s, expected_s, low_s, expected_s + spread_s)
