"""Latencies counted in buckets of a thousandth of their value, so that processes can be added up.

The layout of an HDR histogram: linear within an octave, an octave after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

_PARTS = 1024
"""Of an octave: no value is off by more than 0.1 %."""
_OCTAVES = 32
"""From 1 us to 2^32 us, more than an hour."""


class LatencyHistogram:
    """Counts by latency, microseconds.

    >>> histogram = LatencyHistogram()
    >>> histogram.add(np.array([1000.0, 2000.0, 3000.0]))
    >>> round(histogram.percentile_us(50)), histogram.count
    (2001, 3)
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_OCTAVES * _PARTS, np.int64)
        self._greatest_us = 0.0

    @property
    def count(self) -> int:
        """How many values."""
        return int(self._counts.sum())

    def add(self, latency_us: npt.NDArray[np.float64] | Sequence[float]) -> None:
        """Count values; below 1 us (clocks differ) counts as 1."""
        values = np.maximum(np.asarray(latency_us, np.float64), 1.0)
        if not values.size:
            return
        self._greatest_us = max(self._greatest_us, float(values.max()))
        octave = np.minimum(np.floor(np.log2(values)).astype(np.int64), _OCTAVES - 1)
        part = ((values / 2.0**octave - 1.0) * _PARTS).astype(np.int64)
        place = octave * _PARTS + np.clip(part, 0, _PARTS - 1)
        self._counts += np.bincount(place, minlength=len(self._counts))

    def percentile_us(self, percent: float) -> float:
        """The value below which `percent` of all lie (upper edge of its bucket); NaN if empty."""
        total = self.count
        if not total:
            return float("nan")
        wanted = max(1, int(np.ceil(percent / 100.0 * total)))
        place = int(np.searchsorted(np.cumsum(self._counts), wanted))
        edge = 2.0 ** (place // _PARTS) * (1.0 + (place % _PARTS + 1) / _PARTS)
        return min(edge, self._greatest_us)

    def figures_ms(self) -> dict[str, float | None]:
        """The usual percentiles and the greatest, ms; None if empty."""
        names = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
        if not self.count:
            return dict.fromkeys(names)
        return {n: round(self.percentile_us(share) / 1000.0, 3) for n, share in names.items()}

    def to_json(self) -> dict[str, object]:
        """Only the buckets that hold something."""
        places = np.flatnonzero(self._counts)
        return {
            "places": places.tolist(),
            "counts": self._counts[places].tolist(),
            "greatest_us": self._greatest_us,
        }

    def merge(self, values: Mapping[str, object]) -> None:
        """Add what `to_json` of another said."""
        places, counts = values["places"], values["counts"]
        np.add.at(self._counts, np.asarray(places, np.int64), np.asarray(counts, np.int64))
        self._greatest_us = max(self._greatest_us, float(values["greatest_us"]))  # type: ignore[arg-type]
