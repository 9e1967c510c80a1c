"""Battery alerts by kind of pack: what stands out is more than chance, and no less."""

from __future__ import annotations

import numpy as np

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


def test_probabilities_and_intervals_agree_with_tables() -> None:
    assert by_chance(0, 10, 5, 50) == 1.0
    assert abs(by_chance(5, 10, 5, 50) - 252 / 2_118_760) < 1e-12
    low, high = wilson(6, 40)
    assert (round(low, 4), round(high, 4)) == (0.0706, 0.2907)
