"""Air temperature of a few climates: season, hour and a day's own anomaly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

COLDEST_DAY = 20
"""Of the year, 0-based: about 21 January in the northern hemisphere."""
WARMEST_HOUR = 15.0
MEMORY = 0.7  # of the anomaly from one day to the next
ANOMALY_K = 3.0  # sd


@dataclass(frozen=True)
class Climate:
    """Year's mean, half of the season's swing and half of the day's."""

    name: str
    mean_degc: float
    season_k: float
    day_k: float


CLIMATES = (
    Climate("north", 8.0, 17.0, 5.0),
    Climate("east", 17.0, 12.0, 4.0),
    Climate("south", 22.5, 7.0, 3.5),
    Climate("west", 16.0, 11.0, 4.5),
)


def anomalies_k(n_days: int, random: np.random.Generator) -> FloatArray:
    """Anomaly of each day and climate (n_days, n_climates), carried on from day to day."""
    noise = random.normal(0.0, ANOMALY_K, (n_days, len(CLIMATES)))
    result = np.empty_like(noise)
    last = noise[0] if n_days else noise
    for day in range(n_days):
        last = MEMORY * last + np.sqrt(1 - MEMORY**2) * noise[day]
        result[day] = last
    return result


def ambient_degc(
    climate: NDArray[np.int64], day_of_year: int, hour: FloatArray, anomaly_k: FloatArray
) -> FloatArray:
    """Air temperature where `climate` (n,) says, at `hour` (..., n); `anomaly_k` (n_climates,)."""
    mean, season, swing = (
        np.array([getattr(c, name) for c in CLIMATES])[climate]
        for name in ("mean_degc", "season_k", "day_k")
    )
    year = np.cos(2 * np.pi * (day_of_year - COLDEST_DAY) / 365.25)
    day = np.cos(2 * np.pi * (hour - WARMEST_HOUR) / 24.0)
    return np.asarray(mean + anomaly_k[climate] - season * year + swing * day)
