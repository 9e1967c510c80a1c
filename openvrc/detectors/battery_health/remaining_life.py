"""Remaining useful life: how far, and how long, until a state of health of 80 %, as an interval.

Loss of capacity follows a power of use: exponents between 0.44 (equivalent full cycles) and 0.65
(days) describe an LG M50 cell in NREL's BLAST-Lite, and straight lines fit many packs after their
first year; so `loss = k x^b` with b between 0.45 and 1. With a loss L at an odometer D the end is
at `D (0.2 / L)^(1 / b)`. The least life takes b = 1 and the lower end of the interval of SoH, the
most b = 0.45 and its upper end. A loss under 2 % bounds nothing, nor is more than 1.5 million km
told.

Assumes that the use goes on as it was and that the pack was new at odometer 0; a knee, which no
frame announces, is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

END_SOH_RATIO = 0.80
LEAST_EXPONENT, MOST_EXPONENT = 0.45, 1.0
LEAST_LOSS_RATIO = 0.02
LEAST_DRIVEN_M, LEAST_DAYS = 100_000.0, 7.0
LONGEST_M = 1.5e9  # beyond what a car's body lasts, "more than" is all that should be said


@dataclass(frozen=True)
class RemainingLife:
    """Bounds; None where nothing bounds it."""

    low_m: float | None
    high_m: float | None
    low_days: float | None
    high_days: float | None


def remaining_life(
    soh_low_ratio: float | None,
    soh_high_ratio: float | None,
    odometer_m: float | None,
    driven_m: float | None,
    observed_days: float,
) -> RemainingLife:
    """From the interval of SoH and the highest odometer; days at the observed pace.

    >>> life = remaining_life(0.86, 0.90, 1e8, 2e6, 50.0)
    >>> round(life.low_m / 1e6), round(life.high_m / 1e6)
    (43, 367)
    """
    if soh_low_ratio is None or soh_high_ratio is None or not odometer_m:
        return RemainingLife(None, None, None, None)
    low = _distance(odometer_m, 1.0 - soh_low_ratio, MOST_EXPONENT)
    high = _distance(odometer_m, 1.0 - soh_high_ratio, LEAST_EXPONENT)
    pace = None
    if driven_m is not None and driven_m >= LEAST_DRIVEN_M and observed_days >= LEAST_DAYS:
        pace = driven_m / observed_days
    return RemainingLife(low, high, _days(low, pace), _days(high, pace))


def _distance(odometer_m: float, loss: float, exponent: float) -> float | None:
    end_loss = 1.0 - END_SOH_RATIO
    if loss < LEAST_LOSS_RATIO:
        return None
    left = odometer_m * ((end_loss / loss) ** (1.0 / exponent) - 1.0)
    return None if left > LONGEST_M else max(left, 0.0)


def _days(distance_m: float | None, pace: float | None) -> float | None:
    return None if distance_m is None or pace is None else distance_m / pace
