"""Which kinds of packs have more battery alerts than others: a recall in the making.

A cohort is a model or a chemistry. Of each rule its packs with an open alert are held against the
packs of all other cohorts of the same trait. A rule stands out in a cohort when at least three
packs have it, three times as often as elsewhere, and chance gives so many in fewer than one of a
thousand draws (Fisher's exact test, one-sided: the upper tail of the hypergeometric distribution).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

LEAST_TOLD, TIMES_OTHERS, LARGEST_P = 3, 3.0, 0.001
_Z95 = 1.96


@dataclass(frozen=True)
class PackAlerts:
    """One pack now; `rules` are those with an open alert of at least a warning."""

    vehicle_id: str
    model: str | None
    chemistry: str | None
    rules: frozenset[str]
    cell_spread_v: float | None = None
    """Highest less lowest cell of its newest frame."""


@dataclass(frozen=True)
class AlertCohort:
    """Packs of one value of a trait."""

    trait: str
    value: str
    packs: int
    told: int
    """With an alert."""
    told_low_ratio: float
    told_high_ratio: float
    """Wilson's 95 % interval of their share."""
    cell_spread_median_v: float | None


@dataclass(frozen=True)
class StandingOut:
    """A rule that raises in one cohort as nowhere else."""

    trait: str
    value: str
    rule: str
    packs: int
    told: int
    others: int
    others_told: int
    p_by_chance: float
    vehicle_ids: tuple[str, ...]


def cohorts_of(packs: Sequence[PackAlerts]) -> tuple[list[AlertCohort], list[StandingOut]]:
    """Cohorts by trait and value, and rules that stand out in one, the least likely first.

    >>> bad = [PackAlerts(f"b{i}", "B", "nmc", frozenset({"battery.connection"})) for i in range(4)]
    >>> sound = [PackAlerts(f"a{i}", "A", "nmc", frozenset()) for i in range(96)]
    >>> cohorts, standing_out = cohorts_of([*bad, *sound])
    >>> [(c.value, c.packs, c.told) for c in cohorts]
    [('A', 96, 0), ('B', 4, 4), ('nmc', 100, 4)]
    >>> [(s.value, s.rule, s.told, s.others_told) for s in standing_out]
    [('B', 'battery.connection', 4, 0)]
    """
    cohorts: list[AlertCohort] = []
    standing_out: list[StandingOut] = []
    for trait in ("model", "chemistry"):
        groups: dict[str, list[PackAlerts]] = {}
        for pack in packs:
            value = getattr(pack, trait)
            if value:
                groups.setdefault(value, []).append(pack)
        members = [pack for group in groups.values() for pack in group]
        told, n_all = _told(members), len(members)
        for value, mine in sorted(groups.items()):
            cohorts.append(_cohort(trait, value, mine))
            standing_out += _standing_out(trait, value, mine, told, n_all)
    standing_out.sort(key=lambda one: (one.p_by_chance, one.trait, one.value, one.rule))
    return cohorts, standing_out


def _told(packs: Sequence[PackAlerts]) -> Counter[str]:
    """Packs with an alert, by rule."""
    return Counter(rule for pack in packs for rule in pack.rules)


def _cohort(trait: str, value: str, packs: list[PackAlerts]) -> AlertCohort:
    told = sum(bool(pack.rules) for pack in packs)
    low, high = wilson(told, len(packs))
    spreads = sorted(p.cell_spread_v for p in packs if p.cell_spread_v is not None)
    middle = spreads[len(spreads) // 2] if spreads else None
    return AlertCohort(trait, value, len(packs), told, low, high, middle)


def _standing_out(
    trait: str, value: str, packs: list[PackAlerts], told: Counter[str], n_all: int
) -> list[StandingOut]:
    found = []
    others = n_all - len(packs)
    for rule, mine in sorted(_told(packs).items()):
        elsewhere = told[rule] - mine
        is_rare = mine * others >= TIMES_OTHERS * elsewhere * len(packs)
        if mine < LEAST_TOLD or others == 0 or not is_rare:
            continue
        p = by_chance(mine, len(packs), told[rule], n_all)
        if p < LARGEST_P:
            ids = tuple(sorted(pack.vehicle_id for pack in packs if rule in pack.rules))
            counts = (len(packs), mine, others, elsewhere)
            found.append(StandingOut(trait, value, rule, *counts, p, ids))
    return found


def by_chance(told: int, packs: int, all_told: int, all_packs: int) -> float:
    """Probability of so many or more among `packs` drawn from all.

    >>> round(by_chance(2, 2, 2, 4), 4)
    0.1667
    """
    # Each term over the one before it, from the largest on: exact binomials of a large fleet
    # have ten thousand digits and hold the interpreter for seconds.
    least, most = max(0, packs + all_told - all_packs), min(packs, all_told)
    mode = (packs + 1) * (all_told + 1) // (all_packs + 2)
    k = np.arange(least, most, dtype=np.float64)
    onwards = (all_told - k) * (packs - k)
    backwards = (k + 1) * (all_packs - all_told - packs + k + 1)
    split = mode - least
    above = np.cumprod(onwards[split:] / backwards[split:])
    below = np.cumprod((backwards[:split] / onwards[:split])[::-1])[::-1]
    ways = np.concatenate((below, [1.0], above))  # relative to the most likely number's
    tail = float(ways[max(told - least, 0) :].sum())
    return min(tail / float(ways.sum()), 1.0)


def wilson(events: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share.

    >>> [round(edge, 3) for edge in wilson(0, 100)]
    [0.0, 0.037]
    """
    p, z2 = events / trials, _Z95**2
    middle = p + z2 / (2 * trials)
    half = _Z95 * sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)
