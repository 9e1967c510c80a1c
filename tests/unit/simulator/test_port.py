"""The terminal: berths serve one truck at a time, chargers share the grid's power, faults show."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from openvrc.contracts.plugins import discover
from simulator.scenarios import ScenarioError
from simulator.scenarios.port_power import PORT_TRUCK, Power
from simulator.traffic.world import TrafficWorld

GRID_W = 150_000.0
FAILS_S, MENDED_S = 5.0, 60.0


@pytest.fixture(scope="module")
def ran() -> tuple[TrafficWorld, Power, list[dict[str, Any]]]:
    """Two and a half minutes of a small terminal, and what was looked at each second."""
    world = discover("simulator.scenarios")["port"].make(
        zone="z", run_id="r", seed=3, duration_s=170.0, vehicles=12, cranes=2, stalls=3,
        grid_kw=GRID_W / 1000.0, charger_fault_s=FAILS_S, charger_fault_for_s=MENDED_S - FAILS_S,
        breakdown_for_s=30.0, outside_per_h=300.0,
    )  # fmt: skip
    power = world.also[0]
    looks = []
    for _ in world.frames():
        served = Counter(e.berth for e in power.work.errands.values() if e.is_served)
        rows = world.traffic.rows
        same = np.flatnonzero(rows.lane[1:] == rows.lane[:-1])
        gap_m = (rows.offset_m - rows.length_m)[same + 1] - rows.offset_m[same]
        look = {"charge_w": power.packs.charge_w, "at": power.work.charging(), "served": served}
        looks.append(look | {"gap_m": gap_m.min(initial=np.inf), "time_s": world.traffic.now_s})
    return world, power, looks


Ran = tuple[TrafficWorld, Power, list[dict[str, Any]]]


def test_a_berth_serves_one_truck_at_a_time_and_containers_go_both_ways(ran: Ran) -> None:
    _, power, looks = ran
    assert max(max(look["served"].values(), default=0) for look in looks) == 1
    kinds = Counter(name.split("_")[0] for name in power.work.n_services.elements())
    assert min(kinds[kind] for kind in ("crane", "stack", "gate")) >= 2
    assert kinds["bay"] >= 1


def test_nobody_drives_through_anybody_while_trucks_halt_at_berths(ran: Ran) -> None:
    assert min(look["gap_m"] for look in ran[2]) > 0.0


def test_chargers_share_the_grid_s_power_and_one_that_has_failed_gives_none(ran: Ran) -> None:
    _, _, looks = ran
    for look in looks[2:]:
        given_w = look["charge_w"][list(look["at"].values())]
        assert look["charge_w"].sum() <= GRID_W + 1e-6
        if FAILS_S + 1 < look["time_s"] < MENDED_S:
            assert "stall_0" not in look["at"]
        assert (given_w[given_w > 0] <= PORT_TRUCK.fast_charge_w).all()
    before, after = looks[3], looks[10]
    assert before["charge_w"].max() == pytest.approx(GRID_W / 3)
    assert after["charge_w"].max() == pytest.approx(GRID_W / 2)


def test_who_charges_gains_what_the_charger_gave_and_others_use_charge(ran: Ran) -> None:
    _, power, looks = ran
    packs = power.packs
    (longest,) = [v for stall, v in looks[-1]["at"].items() if stall == "stall_1"]
    capacity_j = PORT_TRUCK.rated_capacity_ah * 3600.0 * 640.0
    given_j = float(packs.charged_j[longest])
    assert given_j == pytest.approx(sum(look["charge_w"][longest] for look in looks[1:]), rel=0.02)
    gained = float(packs.cell.soc_ratio[longest] - packs.soc_ratio[longest])
    assert gained == pytest.approx(given_j / capacity_j, rel=0.25)
    driven = np.setdiff1d(np.arange(12), [v for look in looks for v in look["at"].values()])
    assert (packs.cell.soc_ratio[driven] < packs.soc_ratio[driven]).all()


def test_the_truth_has_the_charger_the_pack_and_the_breakdown(ran: Ran) -> None:
    world, _, _ = ran
    found = {event.rule: event for event in world.ground_truth()}
    assert found["fault.charger"].component == "station-port:1"
    assert found["fault.charger"].to_ns == world.start_ns + int(MENDED_S * 1e9)
    assert found["battery.insulation"].subject_id == "agv-012"
    assert found["traffic.stopped_vehicle"].segment_id == "apron_1"


def test_more_trucks_than_fit_at_the_start_are_refused_with_the_number_that_fits() -> None:
    def make(vehicles: int) -> None:
        discover("simulator.scenarios")["port"].make(
            zone="z", run_id="r", duration_s=1.0, vehicles=vehicles, cranes=2.0, stalls=12.0
        )

    with pytest.raises(ScenarioError, match="vehicles is 34, expected at most 32 with 2 cranes"):
        make(34)
    make(32)
