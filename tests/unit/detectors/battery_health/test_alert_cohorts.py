"""Battery alerts by kind of pack: what stands out is more than chance, and no less."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from openvrc.detectors.battery_health.alert_cohorts import (
    PackAlerts,
    by_chance,
    cohorts_of,
    wilson,
)

RULE = "battery.self_discharge"


def packs(model: str, n: int, told: int, chemistry: str = "nmc") -> list[PackAlerts]:
    return [
        PackAlerts(
            f"{model}-{i}", model, chemistry, frozenset({RULE} if i < told else ()), 0.01 + i / 1e4
        )
        for i in range(n)
    ]


def test_a_model_with_more_alerts_than_the_rest_stands_out_with_its_vehicles() -> None:
    cohorts, (found,) = cohorts_of([*packs("Old", 300, 2), *packs("New", 40, 6)])
    assert (found.trait, found.value, found.rule) == ("model", "New", RULE)
    assert (found.packs, found.told, found.others, found.others_told) == (40, 6, 300, 2)
    assert found.p_by_chance < 0.001
    assert found.vehicle_ids == tuple(f"New-{i}" for i in range(6))
    assert [(c.trait, c.value, c.packs, c.told) for c in cohorts] == [
        ("model", "New", 40, 6),
        ("model", "Old", 300, 2),
        ("chemistry", "nmc", 340, 8),
    ]


def test_few_packs_or_a_share_like_elsewhere_do_not_stand_out() -> None:
    assert cohorts_of([*packs("Old", 300, 0), *packs("New", 40, 2)])[1] == []
    assert cohorts_of([*packs("Old", 300, 30), *packs("New", 40, 6)])[1] == []


def test_a_fleet_of_one_model_has_nothing_to_stand_out_from() -> None:
    assert cohorts_of(packs("Only", 40, 20))[1] == []


def test_a_pack_of_unknown_kind_is_in_no_cohort() -> None:
    unknown = PackAlerts("x", None, "", frozenset({RULE}))
    assert cohorts_of([unknown]) == ([], [])


def test_chance_alone_stands_out_in_fewer_than_one_of_a_hundred_fleets() -> None:
    rng = np.random.default_rng(1)
    n_found = 0
    for _ in range(300):
        told = rng.random(200) < 0.05
        fleet = [
            PackAlerts(str(i), "AB"[i % 2], None, frozenset({RULE} if told[i] else ()))
            for i in range(200)
        ]
        n_found += bool(cohorts_of(fleet)[1])
    assert n_found <= 3


def exactly(told: int, packs: int, all_told: int, all_packs: int) -> float:
    ways = sum(
        comb(all_told, k) * comb(all_packs - all_told, packs - k)
        for k in range(told, min(packs, all_told) + 1)
    )
    return ways / comb(all_packs, packs)


def test_the_probability_by_chance_is_the_exact_one() -> None:
    for all_packs in (1, 2, 7, 12):
        for packs in range(all_packs + 1):
            for all_told in range(all_packs + 1):
                for told in range(min(packs, all_told) + 2):
                    counts = (told, packs, all_told, all_packs)
                    assert by_chance(*counts) == pytest.approx(exactly(*counts), rel=1e-12)
    for counts in (
        (6, 40, 8, 340),
        (30, 300, 60, 1000),
        (150, 300, 160, 1000),
        (290, 300, 400, 999),
    ):
        assert by_chance(*counts) == pytest.approx(exactly(*counts), rel=1e-9)


def test_a_fleet_of_a_hundred_thousand_packs_has_its_probability() -> None:
    # What exact binomials of 100,000 packs come to.
    assert by_chance(45, 20_000, 150, 100_000) == pytest.approx(0.0022956417784314323, rel=1e-9)
    assert by_chance(100, 20_000, 150, 100_000) == pytest.approx(3.567876680564615e-35, rel=1e-9)
    assert by_chance(20_000, 20_000, 50_000, 100_000) == 0.0  # less than a float can say


def test_probabilities_and_intervals_agree_with_tables() -> None:
    assert by_chance(0, 10, 5, 50) == 1.0
    assert abs(by_chance(5, 10, 5, 50) - 252 / 2_118_760) < 1e-12
    low, high = wilson(6, 40)
    assert (round(low, 4), round(high, 4)) == (0.0706, 0.2907)
