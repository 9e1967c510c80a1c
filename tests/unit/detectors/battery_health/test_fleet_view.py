"""The fleet side by side: cohorts, packs apart from theirs, batches that drift together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from openvrc.detectors.battery_health.fleet_view import Pack, fleet_view
from openvrc.detectors.battery_health.health import Health
from openvrc.detectors.battery_health.road_energy import RoadUse
from tests.unit.detectors.battery_health.synthetic_pack import Pack as Synthetic
from tests.unit.detectors.battery_health.synthetic_pack import health_of

ONE = health_of(Synthetic(soc=0.8).discharge(0.7), rated_ah=130.0)


def health(name: str, soh: float, odometer_m: float = 2e7, warm: bool = False) -> Health:
    hours = [0.0] * 10
    hours[6 if warm else 4] = 100.0
    usage = replace(
        ONE.usage,
        odometer_m=odometer_m,
        driven_m=1e6,
        energy_out_kwh=200.0,
        energy_recovered_kwh=30.0,
        charge_out_ah=200_000 / 350,
        hours_by_temperature=tuple(hours),
    )
    return replace(
        ONE,
        vehicle_id=name,
        soh_ratio=soh,
        soh_low_ratio=soh - 0.02,
        soh_high_ratio=soh + 0.02,
        resistance_ohm=0.08,
        usage=usage,
    )


def packs(n: int = 30, seed: int = 1) -> list[Pack]:
    soh = np.random.default_rng(seed).normal(0.93, 0.012, n)
    return [Pack(health(f"ev{i}", float(s)), "Compact", "nmc", 150.0) for i, s in enumerate(soh)]


def test_a_healthy_fleet_has_cohorts_and_nothing_else() -> None:
    view = fleet_view(packs())
    model = next(c for c in view.cohorts if c.trait == "model")
    assert (model.value, model.packs) == ("Compact", 30)
    assert model.soh_median_ratio == pytest.approx(0.93, abs=0.01)
    assert (view.outliers, view.drifts) == ((), ())


def test_energy_per_km_is_without_what_came_back_and_gives_the_range() -> None:
    model = fleet_view(packs()).cohorts[0]
    assert model.energy_wh_per_km == pytest.approx(170.0)
    assert model.range_km == pytest.approx(150.0 * 0.93 * 350 / 170.0, rel=0.02)


def test_a_pack_far_below_its_model_and_mileage_is_named() -> None:
    fleet = [*packs(), Pack(health("weak", 0.82), "Compact", "nmc", 150.0)]
    assert [(o.vehicle_id, o.reason) for o in fleet_view(fleet).outliers] == [
        ("weak", "state of health")
    ]


def test_an_old_pack_is_compared_with_old_ones() -> None:
    old = [Pack(health(f"old{i}", 0.82, 1.2e8), "Compact", "nmc", 150.0) for i in range(8)]
    assert fleet_view([*packs(), *old]).outliers == ()


def test_a_pack_with_more_resistance_is_named() -> None:
    worn = replace(health("worn", 0.93), resistance_ohm=0.11)
    found = fleet_view([*packs(), Pack(worn, "Compact", "nmc", 150.0)]).outliers
    assert [(o.vehicle_id, o.reason) for o in found] == [("worn", "resistance")]


def test_a_batch_of_packs_that_drifts_together_is_told_before_any_stands_out() -> None:
    fleet = packs()
    bad = [
        Pack(health(f"bad{i}", soh.health.soh_ratio - 0.035), "Compact", "nmc", 150.0)  # type: ignore[operator]
        for i, soh in enumerate(packs(12, seed=4))
    ]
    batches = {p.health.vehicle_id: "A" for p in fleet} | {p.health.vehicle_id: "B" for p in bad}
    view = fleet_view([*fleet, *bad], batches)
    assert [(d.trait, d.value, d.model) for d in view.drifts] == [("batch", "B", "Compact")]
    assert len(view.outliers) <= 1  # of 42 packs, though 12 are bad


def test_what_a_bms_displays_is_no_evidence() -> None:
    told = [
        Pack(replace(p.health, soh_low_ratio=None, soh_high_ratio=None), "Compact", "nmc")
        for p in packs()
    ]
    assert fleet_view(told).cohorts[0].soh_median_ratio is None


def test_few_packs_and_unknown_models_have_no_statistics() -> None:
    view = fleet_view([Pack(health(f"ev{i}", 0.9), "", "") for i in range(4)])
    assert all(c.soh_median_ratio is None for c in view.cohorts)
    assert not [c for c in view.cohorts if c.trait in ("model", "chemistry")]


def test_a_kind_of_road_costs_range_against_all_roads_of_its_model() -> None:
    # 170 Wh/km over all; 255 on the motorway leave two thirds of the range.
    fleet = [
        replace(p, health=replace(p.health, roads={"motorway": RoadUse(102.0, 4e5)}))
        for p in packs()
    ]
    (cost,) = fleet_view(fleet).roads
    assert (cost.model, cost.road, cost.packs) == ("Compact", "motorway", 30)
    assert cost.energy_wh_per_km == pytest.approx(255.0)
    assert cost.range_change_ratio == pytest.approx(170 / 255 - 1)
    few = fleet_view(fleet[:4]).roads[0]
    assert (few.packs, few.energy_wh_per_km) == (4, None)
