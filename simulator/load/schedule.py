"""When each record of a load test is due: a rate over time, and its inverse.

An open loop: a record is due at its time whether or not the ones before it were sent, so a slow
broker shows as latency and not as less load. The other way is called coordinated omission (Tene,
"How NOT to Measure Latency", 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """A stretch of time with a rate that changes evenly, records/s."""

    seconds: float
    from_rate: float
    to_rate: float

    @property
    def records(self) -> float:
        """How many are due in it."""
        return self.seconds * (self.from_rate + self.to_rate) / 2


class Schedule:
    """Spans one after the other.

    >>> schedule = Schedule([Span(10.0, 0.0, 100.0), Span(5.0, 100.0, 100.0)])
    >>> schedule.records, schedule.due_s(np.array([0, 125, 500, 999])).tolist()
    (1000, [0.0, 5.0, 10.0, 14.99])
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        """Raises ValueError for a span without time or with a negative rate."""
        for span in spans:
            if span.seconds <= 0 or min(span.from_rate, span.to_rate) < 0:
                raise ValueError(f"{span}, expected a time above 0 and rates of at least 0")
        self._spans = tuple(spans)
        counts = [span.records for span in self._spans]
        self._firsts = np.array([0.0, *accumulate(counts)])
        self._starts_s = np.array([0.0, *accumulate(span.seconds for span in self._spans)])

    @property
    def spans(self) -> tuple[Span, ...]:
        """Its spans."""
        return self._spans

    @property
    def records(self) -> int:
        """All that are due."""
        return int(self._firsts[-1] + 1e-9)

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return float(self._starts_s[-1])

    @property
    def peak_rate(self) -> float:
        """The highest rate, records/s."""
        return max(max(span.from_rate, span.to_rate) for span in self._spans)

    def due_s(self, numbers: npt.NDArray[np.int64]) -> Floats:
        """When records (n,) are due, from the start; those beyond the last go on at its rate.

        Where the last rate is 0, they are due at the end.
        """
        place = np.searchsorted(self._firsts, numbers, side="right") - 1
        place = np.clip(place, 0, len(self._spans) - 1)
        from_rate = np.array([span.from_rate for span in self._spans])[place]
        slope = np.array([(s.to_rate - s.from_rate) / s.seconds for s in self._spans])[place]
        count = numbers - self._firsts[place]
        root = np.sqrt(np.maximum(from_rate**2 + 2 * slope * count, 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            # count = from_rate t + slope t^2 / 2, solved in the form that stands a slope of 0.
            after_s = np.where(count > 0, 2 * count / (from_rate + root), 0.0)
        after_s = np.where(np.isfinite(after_s), after_s, self.seconds - self._starts_s[place])
        due_s: Floats = self._starts_s[place] + after_s
        return due_s

    def offered(self, after_s: float) -> float:
        """Records due until then."""
        total = 0.0
        for span, start_s in zip(self._spans, self._starts_s.tolist(), strict=False):
            within_s = min(max(after_s - start_s, 0.0), span.seconds)
            slope = (span.to_rate - span.from_rate) / span.seconds
            total += within_s * (span.from_rate + slope * within_s / 2)
        return total

    def share(self, of: int) -> Schedule:
        """One of `of` equal parts, at the same times."""
        return Schedule([Span(s.seconds, s.from_rate / of, s.to_rate / of) for s in self._spans])


def schedule_of(rate: float, seconds: float, ramp_s: float, steps: Sequence[float]) -> Schedule:
    """A ramp up to the first step, then the steps, equally long; `steps` are shares of `rate`.

    Raises ValueError if the ramp leaves no time for the steps.
    """
    shares = list(steps) or [1.0]
    rest_s = seconds - ramp_s
    if rest_s <= 0:
        raise ValueError(f"the ramp takes {ramp_s:g} of {seconds:g} s, expected time after it")
    spans = [Span(ramp_s, 0.0, shares[0] * rate)] if ramp_s else []
    spans += [Span(rest_s / len(shares), share * rate, share * rate) for share in shares]
    return Schedule(spans)
