"""Buses that halt at stops, in the stop's lane, and traffic that obeys red lights to the metre."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.traffic import generators
from simulator.traffic.bus_stops import BusStop, BusStops, stops_of, with_stops_every
from simulator.traffic.demand import Flow, flows_to_demand
from simulator.traffic.engine import Traffic
from simulator.traffic.events import Truth
from simulator.traffic.plans import Plans
from simulator.traffic.signals import RED

NETWORK = generators.arterial(junctions=2, spacing_m=400.0)
STREET = "n0_0-n1_0"
TRUTH = Truth(0, ())


def traffic_of(flows: list[Flow], until_s: float, seed: int = 1) -> Traffic:
    plans = Plans(NETWORK)
    return Traffic(NETWORK, plans, flows_to_demand(NETWORK, plans, flows, until_s, seed))


def driven(traffic: Traffic, stops: BusStops, until_s: float) -> np.ndarray:
    """Rows (n_steps, 3) of each bus and step: where on the street, in which lane, how fast."""
    seen = []
    street = NETWORK.edge(STREET)
    while traffic.now_s < until_s:
        stops.before_step(traffic)
        traffic.step()
        stops.after_step(traffic, TRUTH)
        rows = traffic.rows
        is_bus = traffic.demand.kind[rows.vehicle] == 2
        on = is_bus & (NETWORK.lane_edge[rows.lane] == street)
        lane = NETWORK.lane_index[rows.lane[on]]
        seen += list(np.column_stack([rows.offset_m[on], lane, rows.speed_mps[on]]))
    return np.array(seen)


def test_a_bus_changes_into_the_lane_of_its_stop_stands_and_drives_on() -> None:
    # Whose way turns left behind it, out of the left lane.
    flow = Flow("in_w0", "out_n1", 40.0, mix={"bus": 1.0}, is_random=False)
    traffic = traffic_of([flow], 100.0)
    stops = BusStops(NETWORK, [BusStop(STREET, 0, 180.0)], dwell_s=20.0, seed=1)
    seen = driven(traffic, stops, 200.0)
    standing = seen[seen[:, 2] < 0.1]
    at_stop = standing[np.abs(standing[:, 0] - 180.0) < 3.0]
    assert stops.n_served == traffic.demand.n == len(traffic.arrived)
    assert stops.n_missed == 0
    assert (at_stop[:, 1] == 0).all()
    assert 10 < len(at_stop) * traffic.dt_s / traffic.demand.n < 60


def test_others_pass_a_bus_at_its_stop_without_touching_anybody() -> None:
    mix = {"car": 0.8, "bus": 0.2}
    traffic = traffic_of([Flow("in_w0", "out_e0", 700.0, mix=mix)], 80.0, seed=4)
    stops = BusStops(NETWORK, [BusStop(STREET, 0, 180.0)], dwell_s=15.0, seed=1)
    least_m = np.inf
    while traffic.now_s < 150.0:
        stops.before_step(traffic)
        traffic.step()
        rows = traffic.rows
        same = np.flatnonzero(rows.lane[1:] == rows.lane[:-1])
        gap_m = (rows.offset_m - rows.length_m)[same + 1] - rows.offset_m[same]
        least_m = min(least_m, gap_m.min(initial=np.inf))
    assert stops.n_served >= 2
    assert least_m > 0.0


def test_stops_come_from_the_map_and_a_map_without_gets_some_by_the_seed() -> None:
    assert stops_of(NETWORK) == []
    made = with_stops_every(NETWORK, 200.0, seed=1)
    assert made.road_map.map_version != NETWORK.road_map.map_version
    assert np.array_equal(made.lane_segment, NETWORK.lane_segment)
    stops = stops_of(made)
    on_street = [stop.at_m for stop in stops if stop.edge == STREET]
    assert len(on_street) == pytest.approx(NETWORK.edge_length_m[NETWORK.edge(STREET)] / 200, abs=1)
    assert stops_of(with_stops_every(NETWORK, 200.0, seed=1)) == stops
    assert stops_of(with_stops_every(NETWORK, 200.0, seed=2)) != stops
    fast = replace(NETWORK, limit_mps=np.full(NETWORK.n_lanes, 30.0))
    assert stops_of(with_stops_every(fast, 200.0, seed=1)) == []


def test_nobody_crosses_a_line_at_red_however_slowly() -> None:
    flows = [Flow("in_w0", "out_e0", 900.0), Flow("in_n0", "out_s0", 300.0)]
    traffic = traffic_of(flows, 150.0, seed=2)
    n, passed = NETWORK.n_normal, 0
    while traffic.now_s < 150.0:
        shown = traffic.shown
        lane_of = dict(zip(traffic.rows.vehicle.tolist(), traffic.rows.lane.tolist(), strict=True))
        traffic.step()
        rows = traffic.rows
        before = np.array([lane_of.get(vehicle, n) for vehicle in rows.vehicle.tolist()])
        crossed = rows.lane[(before < n) & (rows.lane >= n)] - n
        passed += len(crossed)
        assert (shown[NETWORK.link_signal[crossed]] != RED).all()
    assert passed > 30
