"""A cell against itself: how far its rest deviation has drifted since the vehicle's first days.

A leak of 1 kohm takes 0.06 % of charge a day from a cell of 150 A h: below any limit between cells
for weeks, but a drift. x are the centred mean deviations of a rest batch, u its middle cell's
voltage. A sound cell of another capacity or charge moves with u, which a regression over the last
20 days takes away; time stands in it beside u, so that a leak is not taken for a slope:

    x = a + b1 (u - u0) + b2 (u - u0)^2 + r t        (forgetting, with a ridge on b and r)

A baseline are the means over the first twelve batches and three days, e the exponential mean (a
fifth a batch) of x less its baseline, less what b1 and b2 make of the same difference of u:

- e is 5 mV below zero, and 7 robust sds of all cells' e (0.5 mV at least);
- e is 5 times its own standard error, from the cell's own scatter around e;
- not more than three cells drift at once.

Where the pack fans out, at the ends of a flat curve, a parabola says nothing: a batch whose cells
spread by 1.5 times as much as in the narrowest one so far is left aside.

In 24 simulated cars of 60 days the regression took the spread of sound cells from up to 4.7 mV to
0.5 mV.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from openvrc.contracts.detection import Arrays
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.battery.deviation import LEAST_MOST_OUTLIERS, SD_PER_MAD
from openvrc.detectors.battery.wide import Wide

DAY_NS = 86_400 * NS_PER_S
BASELINE_BATCHES, BASELINE_NS = 12, 3 * DAY_NS
SMOOTHING = 0.2
LIMIT_V, LEAST_Z, NOISE_FLOOR_V = 0.005, 7.0, 0.5e-3
LEAST_OWN_Z = 5.0
OWN_FLOOR_V = 1e-3
MEMORY_DAYS, TIME_DAYS = 20.0, 10.0
RIDGE = np.diag([1.2e-3, 1.2e-3, 0.05, 1e-9])
"""On b1 (three batches 20 mV apart), b2, r and a."""
MOST_SPREAD, LEAST_SPREAD_V = 1.5, 4e-3
LEAST_MIDDLE_V = 0.5  # below: a batch whose middle cell nobody summed up

_PRODUCTS = ("x_u", "x_uu", "x_t", "x_1")
_CELLS = {
    "baseline_v": (np.float64, 0.0),
    "smooth_v": (np.float64, 0.0),
    "scatter_v2": (np.float64, 0.0),
    **dict.fromkeys(_PRODUCTS, (np.float32, 0.0)),
}
_HEADS = {"heads": (np.int64, 0)}
_N, _BEGAN, _LAST, _N_HEADS = range(4)
_FACTS = {"facts": (np.float64, 0.0)}
_U0, _GRAM, _BASE_U, _SMOOTH_U = 0, slice(1, 17), slice(17, 19), slice(19, 21)
_SPREAD, _N_FACTS = 21, 22
FloatArray = npt.NDArray[np.float64]


class RestDrift:
    """Baselines, regressions and smoothed deviations of all vehicles."""

    def __init__(self) -> None:
        self._cells, self._heads, self._facts = Wide(_CELLS), Wide(_HEADS), Wide(_FACTS)

    def after(
        self, slot: int, deviation_v: FloatArray, middle_v: float, began_at_ns: int, width: int
    ) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """One more batch of a vehicle's cells (c,): drift (width,) in V, and which cells drift."""
        drift, drifts = np.zeros(width), np.zeros(width, np.bool_)
        if middle_v < LEAST_MIDDLE_V:
            return drift, drifts
        self._cells.fit(slot + 1, width)
        self._heads.fit(slot + 1, _N_HEADS)
        self._facts.fit(slot + 1, _N_FACTS)
        n_cells = len(deviation_v)
        if self._fans_out(slot, deviation_v):
            return drift, drifts
        features = self._learn(slot, deviation_v, middle_v, began_at_ns)
        if self._is_baseline(slot, deviation_v, features[:2], began_at_ns):
            return drift, drifts
        slope = self._slope(slot, n_cells)
        drift[:n_cells], own_v = self._moved(slot, deviation_v, features[:2], slope)
        noise = max(NOISE_FLOOR_V, SD_PER_MAD * float(np.median(np.abs(drift[:n_cells]))))
        limit = np.maximum(max(LIMIT_V, LEAST_Z * noise), LEAST_OWN_Z * own_v)
        drifts[:n_cells] = drift[:n_cells] <= -limit
        if int(drifts.sum()) > LEAST_MOST_OUTLIERS:
            drifts[:] = False
        return drift, drifts

    def _fans_out(self, slot: int, deviation_v: FloatArray) -> bool:
        """Whether the cells lie much further apart than in the vehicle's narrowest batch so far."""
        spread_v = max(LEAST_SPREAD_V, SD_PER_MAD * float(np.median(np.abs(deviation_v))))
        facts = self._facts["facts"][slot]
        narrowest_v = float(facts[_SPREAD])
        facts[_SPREAD] = spread_v if narrowest_v == 0.0 else min(narrowest_v, spread_v)
        return spread_v > MOST_SPREAD * float(facts[_SPREAD])

    def _learn(
        self, slot: int, deviation_v: FloatArray, middle_v: float, began_at_ns: int
    ) -> FloatArray:
        """Add a batch to the vehicle's regression; its features: u, u^2, t, 1."""
        head, facts = self._heads["heads"][slot], self._facts["facts"][slot]
        if head[_N] == 0:
            head[_BEGAN] = head[_LAST] = began_at_ns
            facts[_U0] = middle_v
        keep = float(np.exp(-(began_at_ns - int(head[_LAST])) / DAY_NS / MEMORY_DAYS))
        head[_LAST] = began_at_ns
        u = middle_v - float(facts[_U0])
        t = (began_at_ns - int(head[_BEGAN])) / DAY_NS / TIME_DAYS
        features = np.array([u, u * u, t, 1.0])
        facts[_GRAM] = facts[_GRAM] * keep + np.outer(features, features).ravel()
        for name, value in zip(_PRODUCTS, features.tolist(), strict=True):
            products = self._cells[name][slot, : len(deviation_v)]
            products *= keep
            products += value * deviation_v
        return features

    def _is_baseline(
        self, slot: int, deviation_v: FloatArray, u: FloatArray, began_at_ns: int
    ) -> bool:
        """Whether the batch belongs to the vehicle's first days, and then their means with it."""
        head, facts = self._heads["heads"][slot], self._facts["facts"][slot]
        head[_N] += 1
        n = int(head[_N])
        if n > BASELINE_BATCHES and began_at_ns - int(head[_BEGAN]) >= BASELINE_NS:
            return False
        n_cells = len(deviation_v)
        baseline = self._cells["baseline_v"][slot, :n_cells]
        baseline += (deviation_v - baseline) / n
        facts[_BASE_U] += (u - facts[_BASE_U]) / n
        self._cells["smooth_v"][slot, :n_cells] = baseline
        facts[_SMOOTH_U] = facts[_BASE_U]
        return True

    def _slope(self, slot: int, n_cells: int) -> FloatArray:
        """b1 and b2 (2, c) of each cell."""
        gram = self._facts["facts"][slot, _GRAM].reshape(4, 4)
        products = np.stack([self._cells[name][slot, :n_cells] for name in _PRODUCTS])
        solved: FloatArray = np.linalg.solve(gram + RIDGE, products.astype(np.float64))
        return solved[:2]

    def _moved(
        self, slot: int, deviation_v: FloatArray, u: FloatArray, slope: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Drift (c,) of each cell against the pack's, and its standard error (c,)."""
        facts, n_cells = self._facts["facts"][slot], len(deviation_v)
        baseline = self._cells["baseline_v"][slot, :n_cells]
        smooth = self._cells["smooth_v"][slot, :n_cells]
        scatter = self._cells["scatter_v2"][slot, :n_cells]
        smooth += SMOOTHING * (deviation_v - smooth)
        facts[_SMOOTH_U] += SMOOTHING * (u - facts[_SMOOTH_U])
        drift = smooth - baseline - (facts[_SMOOTH_U] - facts[_BASE_U]) @ slope
        drift -= np.median(drift)
        rest = deviation_v - baseline - (u - facts[_BASE_U]) @ slope - drift
        rest -= np.median(rest)
        scatter += SMOOTHING * (rest**2 - scatter)
        share = SMOOTHING / (2.0 - SMOOTHING)
        return drift, np.sqrt(share * np.maximum(scatter, OWN_FLOOR_V**2))

    def snapshot(self, prefix: str) -> Arrays:
        """Copies for a checkpoint."""
        return (
            self._cells.snapshot(prefix)
            | self._heads.snapshot(prefix)
            | self._facts.snapshot(prefix)
        )

    def load(self, arrays: Arrays, prefix: str) -> None:
        """Take over what `snapshot` wrote; what was kept before the regression begins anew."""
        if f"{prefix}facts" not in arrays:
            return
        self._cells = Wide.restore(_CELLS, arrays, prefix)
        self._heads = Wide.restore(_HEADS, arrays, prefix)
        self._facts = Wide.restore(_FACTS, arrays, prefix)
