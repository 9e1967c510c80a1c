"""The simulated traffic against traffic flow theory."""

import numpy as np
import pytest
from numpy.typing import NDArray

from simulator.traffic import generators
from simulator.traffic.demand import CAR, Demand, Flow, VehicleKind, demand_of, flows_to_demand
from simulator.traffic.engine import Traffic
from simulator.traffic.following import STANDSTILL_GAP_M, equilibrium_gap_m
from simulator.traffic.plans import Plans

ALIKE = VehicleKind("car", 5.0, 1.8, 1.4, 1.5, 2.0, 1.0, 0.0, 50.0)
HEADWAY_S, LENGTH_M = 1.4, 5.0


def alike(demand: Demand) -> Demand:
    """All drivers the same: theory knows one."""
    demand.headway_s[:] = HEADWAY_S
    demand.accel_mps2[:] = 1.5
    return demand


def ring_of(n: int, length_m: float = 600.0, limit_mps: float = 30.0) -> Traffic:
    network = generators.ring(length_m, 1, limit_mps)
    plans = Plans(network)
    row = plans.loop([network.edge(f"ring_{k}") for k in range(8)])
    zeros = np.zeros(n, np.int64)
    demand = alike(demand_of(np.zeros(n), zeros, np.full(n, row), zeros, 1, [ALIKE]))
    traffic = Traffic(network, plans, demand)
    traffic.fill(np.arange(n), 1)
    return traffic


def run(traffic: Traffic, for_s: float) -> None:
    for _ in range(round(for_s / traffic.dt_s)):
        traffic.step()


@pytest.mark.parametrize("n", [15, 30])
def test_on_a_ring_everybody_comes_to_the_equilibrium_speed_of_the_density(n: int) -> None:
    traffic = ring_of(n)
    run(traffic, 200.0)
    circle_m = float(traffic.network.length_m.sum())
    gap_m = circle_m / n - LENGTH_M
    expected = min((gap_m - STANDSTILL_GAP_M) / HEADWAY_S, 30.0)
    assert traffic.rows.speed_mps.mean() == pytest.approx(expected, rel=0.04)
    assert equilibrium_gap_m(expected, HEADWAY_S) == pytest.approx(gap_m, rel=0.05)


def test_the_flow_of_a_full_lane_is_the_capacity_of_the_model() -> None:
    """Capacity of the triangular diagram, v0 / (s0 + l + v0 T), less what lane changes cost."""
    network = generators.motorway(ramps=1, spacing_m=600.0, lanes=2, speed_limit_mps=30.0)
    plans = Plans(network)
    flows = [Flow("main_0", "main_1", 6000.0, is_random=False)]
    traffic = Traffic(network, plans, alike(flows_to_demand(network, plans, flows, 180.0, 1)))
    run(traffic, 80.0)
    before = len(traffic.arrived)
    run(traffic, 100.0)
    per_lane_vph = (len(traffic.arrived) - before) / 100.0 * 3600.0 / 2
    capacity_vph = 3600.0 * 30.0 / (STANDSTILL_GAP_M + CAR.length_m + 30.0 * HEADWAY_S)
    assert 0.8 * capacity_vph < per_lane_vph < 1.05 * capacity_vph


def queue_at_a_light(n: int) -> Traffic:
    """A queue that has stood at red on a street and is let go."""
    network = generators.arterial(junctions=1, lanes=1)
    plans = Plans(network)
    (row,) = plans.to_edges(np.array([network.edge("out_e0")]))
    zeros = np.zeros(n, np.int64)
    entry = np.full(n, network.edge("in_w0"))
    demand = alike(demand_of(np.zeros(n), entry, np.full(n, row), zeros, 1, [ALIKE]))
    return Traffic(network, plans, demand)


def test_saturation_flow_and_start_of_a_queue_at_green_are_those_of_the_highway_manual() -> None:
    """HCM 2010: about 1,900 per hour and lane at T = 1.4 s less; starting wave 4 to 7 m/s."""
    traffic = queue_at_a_light(14)
    link = int(np.flatnonzero(traffic.network.link_from == traffic.network.lane("in_w0", 0))[0])
    lane = traffic.network.lane("in_w0", 0)
    program = Switch(3, len(traffic.network.signals.heads))
    traffic._program = program
    program.code = 0
    run(traffic, 60.0)
    queued = np.flatnonzero(traffic.rows.lane == lane)
    assert len(queued) == 14
    assert (traffic.rows.speed_mps < 0.1).all()
    order = traffic.rows.vehicle[queued[::-1]]
    places_m = traffic.rows.offset_m[queued[::-1]]
    assert places_m[0] == pytest.approx(traffic.network.length_m[lane] - 1.0, abs=1.0)
    spacing_m = np.diff(-places_m)
    assert spacing_m == pytest.approx(np.full(13, LENGTH_M + STANDSTILL_GAP_M), abs=0.6)
    program.code = 3
    starts: dict[int, float] = {}
    crossed: dict[int, float] = {}
    green_s = traffic.now_s
    for _ in range(90):
        traffic.step()
        rows = traffic.rows
        for vehicle, speed, on in zip(rows.vehicle, rows.speed_mps, rows.lane, strict=True):
            if speed > 0.5:
                starts.setdefault(int(vehicle), traffic.now_s - green_s)
            if on != lane:
                crossed.setdefault(int(vehicle), traffic.now_s - green_s)
    times = np.array([crossed[int(v)] for v in order])
    saturation_vph = 3600.0 / np.diff(times[4:12]).mean()
    assert 1500.0 < saturation_vph < 2100.0
    waves_mps = (places_m[1] - places_m[10]) / (starts[int(order[10])] - starts[int(order[1])])
    assert 3.5 < waves_mps < 9.0
    assert link >= 0


class Switch:
    """A program by hand: all heads show one code."""

    def __init__(self, link_code: int, n_heads: int) -> None:
        self.code, self.n_heads = link_code, n_heads

    def states(self, time_s: float) -> NDArray[np.int64]:
        return np.full(self.n_heads, self.code, np.int64)


def test_a_jam_on_a_ring_travels_upstream_at_the_speed_of_theory() -> None:
    """The congested branch falls by -(s0 + l) / T: 5 m/s against the traffic."""
    traffic = ring_of(32)
    run(traffic, 150.0)
    vehicle = int(traffic.rows.vehicle[10])
    traffic.forced_mps2[vehicle] = -4.0
    run(traffic, 3.0)
    traffic.forced_mps2.clear()
    start = np.concatenate([[0.0], np.cumsum(traffic.network.length_m[:8])])

    def slowest_m() -> float:
        rows = traffic.rows
        on = rows.lane < 8
        worst = np.flatnonzero(on)[np.argmin(rows.speed_mps[on])]
        return float(start[rows.lane[worst]] + rows.offset_m[worst])

    run(traffic, 6.0)
    first_m = slowest_m()
    run(traffic, 25.0)
    moved_m = (slowest_m() - first_m + start[8] / 2) % start[8] - start[8] / 2
    assert -moved_m / 25.0 == pytest.approx((STANDSTILL_GAP_M + LENGTH_M) / HEADWAY_S, rel=0.35)
