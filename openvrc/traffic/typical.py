"""What a segment's speed typically is at a time of the week, and whether it is unusual now.

A *day* is one value: the space-mean speed of a quarter of an hour (distance by time of all that
was seen in it). Typical is the median of days of the same weekday; where there are fewer than three
of those, of all working days, or of all Saturdays and Sundays (`basis`). Medians, because a day
with an incident must not become part of what is typical.

Unusual is judged on the logarithm of speed, for traffic differs by ratios: how far the speed lies
from the median, in standard deviations of

    sd^2 = (n MAD^2 + n0 sd0^2) / (n + n0)     days among themselves, MAD as 1.4826 times the median
                                               absolute deviation, shrunk towards a prior
         + (pi / 2) sd^2 / n                   the median's own error
         + (error / speed)^2                   of the speed now, which few vehicles may tell

Public holidays are days like others; nothing tells them apart.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Basis = Literal["weekday", "working_days", "weekends"]

QUARTER_S = 900
SATURDAY = 6
"""ISO weekdays count from Monday, 1."""
MIN_DAYS = 3
"""A median of two is a mean, which one odd day spoils."""
PRIOR_SD = 0.2
"""sd0: believed before any day was seen. Of log-normal days of this spread one of a hundred is then
called unusual, whatever their number; of a spread of 0.3 one of 20 by three days, of 170 by 40."""
PRIOR_DAYS = 4.0
"""n0: three or four days say little of their own spread."""
UNUSUAL_SD = 3.0
UNUSUAL_RATIO = 1.25
"""And at least so many times slower or faster: what is sure but small is nobody's concern."""
MIN_SPEED_MPS = 0.3
"""Standing is standing: below this, logarithms tell differences that nobody sees."""


class Typical(NamedTuple):
    """Of one segment at one time of the week."""

    basis: Basis
    days: int
    speed_mps: float
    """The median day."""
    low_mps: float
    high_mps: float
    """Eight of ten days lie between them."""
    sd_ratio: float
    """Standard deviation of days, of the speed."""


class Judgement(NamedTuple):
    """A speed beside what is typical."""

    ratio: float
    """Of the typical speed; below 1 is slower."""
    score: float
    """Standard deviations from it; below 0 is slower."""
    is_unusual: bool


def typical(
    speed_mps: Floats, weekday: npt.NDArray[np.int64], wanted_weekday: int
) -> Typical | None:
    """Of days (n,) with their ISO weekdays, 1 is Monday; None where there are too few.

    >>> three = np.array([10.0, 12.0, 11.0])
    >>> found = typical(three, np.array([1, 1, 1]), 1)
    >>> found.speed_mps, found.days, found.basis
    (11.0, 3, 'weekday')
    """
    is_weekend = wanted_weekday >= SATURDAY
    same_kind = (weekday >= SATURDAY) == is_weekend
    choices: tuple[tuple[Basis, npt.NDArray[np.bool_]], ...] = (
        ("weekday", weekday == wanted_weekday),
        ("weekends" if is_weekend else "working_days", same_kind),
    )
    for basis, chosen in choices:
        if np.count_nonzero(chosen) >= MIN_DAYS:
            return _of_days(basis, speed_mps[chosen])
    return None


def _of_days(basis: Basis, speed_mps: Floats) -> Typical:
    logs = np.log(np.maximum(speed_mps, MIN_SPEED_MPS))
    n_days = len(logs)
    mad = 1.4826 * float(np.median(np.abs(logs - np.median(logs))))
    variance = (n_days * mad**2 + PRIOR_DAYS * PRIOR_SD**2) / (n_days + PRIOR_DAYS)
    low, middle, high = np.quantile(speed_mps, [0.1, 0.5, 0.9]).tolist()
    return Typical(basis, n_days, middle, low, high, float(np.sqrt(variance)))


def judge(usual: Typical, speed_mps: float, error_mps: float) -> Judgement:
    """A speed with its standard error beside what is typical."""
    now_mps = max(speed_mps, MIN_SPEED_MPS)
    ratio = now_mps / max(usual.speed_mps, MIN_SPEED_MPS)
    variance = usual.sd_ratio**2 * (1.0 + np.pi / 2.0 / usual.days)
    score = float(np.log(ratio) / np.sqrt(variance + (error_mps / now_mps) ** 2))
    is_far = ratio <= 1.0 / UNUSUAL_RATIO or ratio >= UNUSUAL_RATIO
    return Judgement(ratio, score, is_far and abs(score) >= UNUSUAL_SD)
