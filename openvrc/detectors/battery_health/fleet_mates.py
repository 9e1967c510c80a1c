"""Capacity from rest anchors, with the open-circuit curve learned from fleet-mates of a model.

A BMS counts coulombs against the capacity it believes in, so a charge window returns that belief
(2 % sd between vehicles). A rested voltage owes nothing to it. What is needed is the curve from
rested voltage to charge, the same in all vehicles of a model:

1. first guess `u(V)`: mean displayed charge of all vehicles in 40 classes of voltage, rising; own
   errors of BMS average out, what all BMS of a model share does not;
2. `F = u + sum c_k hat_k(u)` with hats 10 % apart: for pairs of anchors of vehicle v that differ
   by 10 % or more, `Q = C_v (F(V2) - F(V1)) + e`; capacities and c in turn, by weighted least
   squares with a ridge of 3 % on c (ten rounds). The coulombs of all vehicles give F its shape,
   what the BMS share goes out with it;
3. the scale, which 2 cannot tell, comes from the charge windows of the whole fleet: the median
   ratio of both capacities, since beliefs are wrong each in their own way.

A pair weighs by its noise: 3 mV (hysteresis, rest) over the slope of the curve at both ends, so
that the flat middle of LFP hardly counts, 0.4 % of fixed error, and 1.2 % per root hour of load
(frames of 10 s show moments of a load). The variance of a vehicle's capacity is scaled by what
residuals show over the model. Errors that all pairs of a vehicle share (gain of its current sensor,
hysteresis of LFP, loads between two frames) no residual shows: they are what the spread of the
ratio of both capacities over the model leaves when the belief of a BMS is taken out, 0.8 % at
least. Over 2.5 % they tell nothing that charge windows do not (LFP, whose rested voltage depends on
where it came from). Fewer than five vehicles of a model with three pairs: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openvrc.detectors.battery_health.rest_anchors import Pairs

LEAST_VEHICLES, LEAST_PAIRS = 5, 3
LEAST_SPAN = 0.10
N_CLASSES, N_HATS, ROUNDS = 40, 11, 10
RIDGE_RATIO = 0.03
NOISE_V, FIXED_RATIO, PER_ROOT_HOUR_RATIO = 0.003, 0.004, 0.012
SHARED_FLOOR_RATIO = 0.008
MOST_SHARED_RATIO = 0.025
Z_90 = 1.6449
BELIEF_RATIO = 0.020  # 1.8 points at a SoH of 0.9: what windows of a vehicle miss by in real cars
SD_PER_MAD = 1.4826

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Anchored:
    """Capacity (n_vehicles,) by rest anchors and its relative sd; NaN where they do not tell."""

    capacity_ah: FloatArray
    sd_ratio: FloatArray


@dataclass(frozen=True)
class _Curve:
    """Rested voltage to charge: rising points."""

    volts: FloatArray
    charge: FloatArray

    def at(self, volts: FloatArray) -> FloatArray:
        return np.interp(volts, self.volts, self.charge)

    def slope(self, volts: FloatArray) -> FloatArray:
        """Charge per volt (n,), from point to point."""
        slopes = np.gradient(self.charge, self.volts)
        return np.interp(volts, self.volts, slopes)


def anchored(pairs: Pairs, group: IntArray, window_ah: FloatArray) -> Anchored:
    """Of all vehicles; `group` (n_vehicles,) numbers the models, -1 for unknown.

    `window_ah` (n_vehicles,) are capacities from charge windows, NaN where unknown.
    """
    found = Anchored(np.full(len(group), np.nan), np.full(len(group), np.nan))
    for model in np.unique(group[group >= 0]).tolist():
        _fit_model(pairs.where(group[pairs.slot] == model), window_ah, found)
    return found


def _fit_model(pairs: Pairs, window_ah: FloatArray, found: Anchored) -> None:
    curve = _first_guess(pairs)
    if curve is None:
        return
    u_from, u_to = curve.at(pairs.from_v), curve.at(pairs.to_v)
    enough = np.bincount(pairs.slot, np.abs(u_to - u_from) >= LEAST_SPAN, len(window_ah))
    keep = (np.abs(u_to - u_from) >= LEAST_SPAN) & (enough[pairs.slot] >= LEAST_PAIRS)
    slots, vehicle = np.unique(pairs.slot[keep], return_inverse=True)
    if len(slots) < LEAST_VEHICLES:
        return
    kept, u_from, u_to = pairs.where(keep), u_from[keep], u_to[keep]
    variance = _variance(kept, curve)
    span = _refined_span(kept, u_from, u_to, vehicle, len(slots), 1.0 / variance)
    capacity, sd = _capacities(kept.charge_ah, span, vehicle, len(slots), variance)
    offset = np.log(window_ah[slots] / capacity)
    offset = offset[np.isfinite(offset)]
    if len(offset) < LEAST_VEHICLES:
        return
    apart = np.abs(offset - np.median(offset))
    spread = max(SD_PER_MAD * float(np.median(apart)), float(np.quantile(apart, 0.9)) / Z_90)
    scale_sd = 1.2533 * spread / np.sqrt(len(offset))  # of a median
    shared = max(spread**2 - BELIEF_RATIO**2 - float(np.nanmedian(sd)) ** 2, SHARED_FLOOR_RATIO**2)
    if shared > MOST_SHARED_RATIO**2:
        return
    found.capacity_ah[slots] = capacity * np.exp(np.median(offset))
    found.sd_ratio[slots] = np.sqrt(sd**2 + scale_sd**2 + shared)


def _first_guess(pairs: Pairs) -> _Curve | None:
    volts = np.concatenate([pairs.from_v, pairs.to_v])
    shown = np.concatenate([pairs.from_soc, pairs.to_soc])
    if len(volts) < N_CLASSES:
        return None
    edges = np.unique(np.quantile(volts, np.linspace(0, 1, N_CLASSES + 1)))
    if len(edges) < 3:
        return None
    place = np.clip(np.searchsorted(edges, volts, "right") - 1, 0, len(edges) - 2)
    n = np.bincount(place, minlength=len(edges) - 1)
    has = n > 0
    mean_v = np.bincount(place, volts, len(n))[has] / n[has]
    mean_soc = np.bincount(place, shown, len(n))[has] / n[has]
    return _Curve(mean_v, np.maximum.accumulate(mean_soc)) if len(mean_v) > 2 else None


def _variance(pairs: Pairs, curve: _Curve) -> FloatArray:
    at_ends = curve.slope(pairs.from_v) ** 2 + curve.slope(pairs.to_v) ** 2
    variance: FloatArray = (
        at_ends * NOISE_V**2 + FIXED_RATIO**2 + pairs.drive_h * PER_ROOT_HOUR_RATIO**2
    )
    return variance


def _refined_span(
    pairs: Pairs,
    u_from: FloatArray,
    u_to: FloatArray,
    vehicle: IntArray,
    n_vehicles: int,
    weight: FloatArray,
) -> FloatArray:
    """Charge between the anchors (m,) on the curve that all vehicles' coulombs agree on."""
    hats = (_hats(u_to) - _hats(u_from))[:, 1:-1]
    span = u_to - u_from
    ridge = np.eye(hats.shape[1]) / RIDGE_RATIO**2
    weighted = hats * weight[:, None]
    squares = weighted.T @ hats + ridge
    for _ in range(ROUNDS):
        capacity = _ratio(pairs.charge_ah, span, vehicle, n_vehicles, weight)[vehicle]
        misses = pairs.charge_ah / capacity - (u_to - u_from)
        usable = np.isfinite(misses) & (capacity > 0)
        right = weighted[usable].T @ misses[usable]
        span = u_to - u_from + hats @ np.linalg.solve(squares, right)
    return span


def _hats(u: FloatArray) -> FloatArray:
    """(m, 11) piecewise linear functions between 0 and 1."""
    knots = np.linspace(0.0, 1.0, N_HATS)
    hats: FloatArray = np.maximum(0.0, 1.0 - np.abs(u[:, None] - knots) * (N_HATS - 1))
    return hats


def _ratio(
    charge_ah: FloatArray, span: FloatArray, vehicle: IntArray, n: int, weight: FloatArray
) -> FloatArray:
    top = np.bincount(vehicle, weight * charge_ah * span, n)
    bottom = np.bincount(vehicle, weight * span**2, n)
    return top / np.where(bottom > 0, bottom, np.nan)


def _capacities(
    charge_ah: FloatArray, span: FloatArray, vehicle: IntArray, n: int, variance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Capacity (n,) and its relative sd, twice weighted down where pairs miss by far."""
    weight = 1.0 / variance
    capacity = _ratio(charge_ah, span, vehicle, n, weight)
    misses = (charge_ah / capacity[vehicle] - span) / np.sqrt(variance)
    spread = max(SD_PER_MAD * float(np.nanmedian(np.abs(misses))), 0.1)
    weight = weight / np.maximum(1.0, (np.abs(misses) / (3.0 * spread)) ** 2)
    capacity = _ratio(charge_ah, span, vehicle, n, weight)
    bottom = np.bincount(vehicle, weight * span**2, n)
    sd: FloatArray = spread / np.sqrt(np.where(bottom > 0, bottom, np.nan))
    return np.where(capacity > 0, capacity, np.nan), sd
