"""Level of service, A to F, of a segment: Highway Capacity Manual 2010.

Where traffic meets a signal it is judged by delay a pass (exhibit 18-4); on freely flowing roads of
motorway speed by density a lane (exhibit 10-7, passenger cars taken as vehicles); on other streets
by speed as a share of the free one (exhibit 16-4).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVELS = ("A", "B", "C", "D", "E", "F")
SIGNAL_DELAY_S = (10.0, 20.0, 35.0, 55.0, 80.0)
MOTORWAY_DENSITY_VPKM = (6.8, 11.2, 16.2, 21.7, 28.0)
STREET_SPEED_RATIO = (0.85, 0.67, 0.50, 0.40, 0.30)
MOTORWAY_LIMIT_MPS = 22.0
"""80 km/h and more: the lowest limits of freeways in the manual lie at 55 mph (24.6 m/s)."""


def levels(
    at_signal: npt.NDArray[np.bool_],
    limit_mps: Floats,
    delay_s: Floats,
    lane_density_vpkm: Floats,
    speed_mps: Floats,
) -> npt.NDArray[np.int8]:
    """Index into `LEVELS` of each segment (n,), -1 where its measure is NaN.

    A motorway whose density is not known is judged as a street.
    """
    is_motorway = (limit_mps >= MOTORWAY_LIMIT_MPS) & np.isfinite(lane_density_vpkm) & ~at_signal
    by_delay = np.searchsorted(SIGNAL_DELAY_S, delay_s, side="left")
    by_density = np.searchsorted(MOTORWAY_DENSITY_VPKM, lane_density_vpkm, side="left")
    slowness = -speed_mps / limit_mps
    by_speed = np.searchsorted([-ratio for ratio in STREET_SPEED_RATIO], slowness, side="right")
    found = np.where(at_signal, by_delay, np.where(is_motorway, by_density, by_speed))
    measure = np.where(at_signal, delay_s, np.where(is_motorway, lane_density_vpkm, speed_mps))
    return np.where(np.isnan(measure), -1, found).astype(np.int8)
