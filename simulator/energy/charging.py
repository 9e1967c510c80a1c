"""Charging: what a BMS lets in, how a site shares its power, how a queue forms."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.energy.cell import Float32Array

FloatArray = NDArray[np.float64]

CUT_OFF_C_RATE = 0.04
"""A charge is over when the constant-voltage current has tapered to this."""


def allowed_c_rate(soc_ratio: FloatArray, temperature_degc: Float32Array) -> Float32Array:
    """Charge current a BMS allows (n,), in 1/h: little in the cold, less when full.

    0.1 C at the freezing point, as makers' tables have it against lithium plating.
    """
    cold = np.clip(0.10 + 0.035 * temperature_degc, 0.05, 1.2)
    full = np.clip(1.2 - 2.2 * np.maximum(soc_ratio - 0.5, 0.0), 0.1, 1.2)
    return np.asarray(np.minimum(cold, full), np.float32)


def shared_w(asked_w: FloatArray, site_w: float) -> FloatArray:
    """Power of each of a site's stalls (n,): nobody above what it asks, the rest in equal parts.

    >>> shared_w(np.array([20e3, 90e3, 90e3]), 120e3).tolist()
    [20000.0, 50000.0, 50000.0]
    """
    given = np.zeros(len(asked_w))
    left_w = site_w
    for place, stall in enumerate(np.argsort(asked_w, kind="stable")):
        given[stall] = min(asked_w[stall], left_w / (len(asked_w) - place))
        left_w -= given[stall]
    return given


@dataclass(frozen=True)
class Site:
    """A station: stalls and what its connection to the grid can carry."""

    stalls: int
    grid_w: float
    is_swap: bool = False


@dataclass(frozen=True)
class Visit:
    """Somebody who comes to a site with a need, in order of arrival."""

    arrives_s: float
    energy_j: float
    most_w: float


@dataclass(frozen=True)
class Service:
    """When a visit is served, and with what power on average."""

    starts_s: float
    ends_s: float
    power_w: float


def served(site: Site, visits: Sequence[Visit]) -> list[Service]:
    """Each visit's service: first come, first served, and power shared while stalls are in use.

    Between arrivals and departures power is constant; an event-driven pass, exact but for the
    cars' own taper. `visits` in order of arrival.
    """
    waiting = list(enumerate(visits))[::-1]
    left_j: dict[int, float] = {}
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    now_s = 0.0
    while waiting or left_j:
        while waiting and len(left_j) < site.stalls and waiting[-1][1].arrives_s <= now_s:
            number, visit = waiting.pop()
            left_j[number], starts[number] = visit.energy_j, now_s
        if not left_j:
            now_s = waiting[-1][1].arrives_s
            continue
        numbers = sorted(left_j)
        power = shared_w(np.array([visits[n].most_w for n in numbers]), site.grid_w)
        until_s = min(left_j[n] / p for n, p in zip(numbers, power, strict=True))
        if waiting and len(left_j) < site.stalls:
            until_s = min(until_s, waiting[-1][1].arrives_s - now_s)
        now_s += until_s
        for n, p in zip(numbers, power.tolist(), strict=True):
            left_j[n] -= p * until_s
            if left_j[n] <= 1e-6 * visits[n].energy_j:
                del left_j[n]
                ends[n] = now_s
    return [
        Service(starts[n], ends[n], visit.energy_j / max(ends[n] - starts[n], 1.0))
        for n, visit in enumerate(visits)
    ]


def swapped(site: Site, arrivals_s: Sequence[float], swap_s: float = 300.0) -> list[Service]:
    """Swaps of whole packs: `stalls` bays, each busy for `swap_s`; in order of arrival."""
    free = [0.0] * site.stalls
    result = []
    for arrives_s in arrivals_s:
        starts_s = max(arrives_s, heapq.heappop(free))
        heapq.heappush(free, starts_s + swap_s)
        result.append(Service(starts_s, starts_s + swap_s, 0.0))
    return result
