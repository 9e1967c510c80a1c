"""Simulated traffic in normal operation: nobody touches, leaps, or stands for ever."""

from pathlib import Path

import numpy as np
import pytest

from openvrc.contracts.maps import RoadMap
from openvrc.mapformats import read_map
from simulator.traffic import generators
from simulator.traffic.demand import TOWN_MIX, Flow, flows_to_demand
from simulator.traffic.engine import Traffic
from simulator.traffic.events import (
    Event,
    HardBrake,
    LaneClosure,
    SlowVehicle,
    SpeedLimit,
    StoppedVehicle,
    Weather,
)
from simulator.traffic.from_map import from_map, read_network
from simulator.traffic.network import NetworkError, TrafficNetwork
from simulator.traffic.plans import Plans
from simulator.traffic.signals import GREEN, GREEN_YIELD, RED, SignalPlans
from simulator.traffic.world import TrafficOptions, TrafficWorld
from simulator.world import Frame


def flows(network: TrafficNetwork, entry_vph: float) -> list[Flow]:
    outs = [network.edge_ids[edge] for edge in network.exits()]
    return [
        Flow(network.edge_ids[entry], out, entry_vph / len(outs), mix=TOWN_MIX)
        for entry in network.entries()
        for out in outs
        if network.edge_ids[entry][3:] != out[4:]
    ]


def grid_traffic(entry_vph: float = 500.0, until_s: float = 60.0, seed: int = 1) -> Traffic:
    network = generators.grid(2, 2)
    plans = Plans(network)
    return Traffic(
        network, plans, flows_to_demand(network, plans, flows(network, entry_vph), until_s, seed)
    )


def test_nobody_touches_leaps_or_brakes_impossibly_and_all_arrive() -> None:
    traffic = grid_traffic()
    before: dict[int, tuple[float, float]] = {}
    for step in range(700):
        traffic.step()
        rows = traffic.rows
        same = rows.lane[1:] == rows.lane[:-1]
        gap_m = (rows.offset_m[1:] - rows.length_m[1:] - rows.offset_m[:-1])[same]
        assert gap_m.min(initial=np.inf) > 0.0
        assert rows.accel_mps2.min(initial=0.0) > -9.5
        if step < 200:
            x_m, y_m, _ = traffic.places()
            now = dict(zip(rows.vehicle.tolist(), zip(x_m, y_m, strict=True), strict=True))
            fast = dict(zip(rows.vehicle.tolist(), rows.speed_mps, strict=True))
            for vehicle, (x, y) in now.items():
                if vehicle in before:
                    leap_m = np.hypot(x - before[vehicle][0], y - before[vehicle][1])
                    assert leap_m < 0.5 * fast[vehicle] + 3.0
            before = now
        if not rows.n and traffic.now_s > 60.0:
            break
    assert len(traffic.arrived) == traffic.demand.n


def test_the_same_seed_gives_the_same_run() -> None:
    one, two, other = grid_traffic(), grid_traffic(), grid_traffic(seed=2)
    for _ in range(80):
        for traffic in (one, two, other):
            traffic.step()
    assert one.rows.offset_m.tolist() == two.rows.offset_m.tolist()
    assert one.rows.offset_m.tolist() != other.rows.offset_m.tolist()


def test_rows_stay_in_order_of_lane_and_place() -> None:
    traffic = grid_traffic()
    for _ in range(100):
        traffic.step()
        assert (np.diff(traffic.rows.key()) >= 0).all()


def test_a_plan_leads_along_its_route_and_one_without_a_way_is_refused() -> None:
    network = generators.grid(2, 2)
    plans = Plans(network)
    route = [network.edge(name) for name in ("in_w0", "n0_0-n1_0", "n1_0-n1_1", "out_n1")]
    (row,) = plans.along([route])
    assert [int(plans.next_edge[row, edge]) for edge in route[:-1]] == route[1:]
    with pytest.raises(NetworkError, match="no link leads from in_w0 to out_n1"):
        plans.along([[route[0], route[-1]]])
    with pytest.raises(NetworkError, match="no way leads"):
        flows_to_demand(network, plans, [Flow("out_n1", "in_w0", 10.0)], 10.0, 1)
    with pytest.raises(NetworkError, match="not in the network"):
        network.edge("nowhere")


def test_lanes_are_told_to_be_left_in_time_for_the_way() -> None:
    network = generators.motorway(ramps=1, lanes=2, spacing_m=600.0)
    plans = Plans(network)
    off, main = plans.to_edges(np.array([network.edge("off_0"), network.edge("main_1")]))
    assert plans.change[off, network.lane("dec_0", 2)] == -2
    assert plans.change[off, network.lane("main_0", 1)] == -1
    assert plans.change[main, network.lane("acc_0", 0)] == 1
    assert plans.change[main, network.lane("main_0", 0)] == 0


def test_plans_of_signals_know_what_shows_and_when_it_ends() -> None:
    plans = SignalPlans.of(
        {"a": (0.0, [(20.0, [GREEN, RED]), (10.0, [RED, RED]), (20.0, [RED, GREEN_YIELD])])}
    )
    assert plans.states(5.0).tolist() == [GREEN, RED]
    assert plans.ends_s(5.0).tolist() == [20.0, 30.0]
    assert plans.states(35.0).tolist() == [RED, GREEN_YIELD]
    assert plans.ends_s(35.0).tolist() == [50.0, 50.0]
    assert plans.ends_s(20.0).tolist() == [50.0, 30.0]


EVENTS: list[Event] = [
    StoppedVehicle("n0_1-n1_1", 0, 120.0, 20.0, 40.0),
    LaneClosure("n1_1-n2_1", 0, 120.0, 10.0, 80.0),
    SlowVehicle("n0_2-n1_2", 2.0, 15.0, 60.0),
    HardBrake("n1_0-n0_0", 20.0),
    SpeedLimit(("n2_2-n2_1",), 5.0, 10.0, 100.0),
    Weather(60.0, 30.0),
]


def world_of(seed: int = 1) -> tuple[TrafficWorld, list[Frame]]:
    network = generators.grid(3, 3)
    plans = Plans(network)
    demand = flows_to_demand(network, plans, flows(network, 600.0), 100.0, seed, warm_up_s=60.0)
    options = TrafficOptions(seed=seed, duration_s=100.0, warm_up_s=60.0, connected_share=0.5)
    world = TrafficWorld("zone-1", "run-1", network, plans, demand, options, EVENTS)
    return world, list(world.frames())


@pytest.fixture(scope="module")
def ran() -> tuple[TrafficWorld, list[Frame]]:
    return world_of()


def test_events_come_to_be_and_their_truth_says_where_and_when(
    ran: tuple[TrafficWorld, list[Frame]],
) -> None:
    world, _ = ran
    truth = {event.rule: event for event in reversed(world.ground_truth())}
    stopped = truth["traffic.stopped_vehicle"]
    assert stopped.segment_id == "n0_1-n1_1"
    assert stopped.to_ns is not None
    assert stopped.to_ns - stopped.from_ns == 40 * 10**9
    assert truth["traffic.lane_closed"].component == "0"
    assert truth["traffic.slow_vehicle"].segment_id == "n0_2-n1_2"
    assert {"traffic.hard_braking"} <= truth.keys()


def test_a_closed_lane_is_empty_behind_its_wall_while_others_pass() -> None:
    network = generators.grid(2, 1)
    plans = Plans(network)
    demand = flows_to_demand(network, plans, [Flow("in_w0", "out_e0", 700.0)], 130.0, 1)
    options = TrafficOptions(duration_s=130.0)
    closure = LaneClosure("n0_0-n1_0", 1, 100.0, 0.0, 500.0)
    world = TrafficWorld("z", "r", network, plans, demand, options, [closure])
    lane = network.lane("n0_0-n1_0", 1)
    for _ in world.frames():
        rows = world.traffic.rows
        assert not ((rows.lane == lane) & (rows.offset_m > 101.0)).any()
    assert len(world.traffic.arrived) > 2


def test_only_the_connected_share_speaks_and_signals_tell_their_ends(
    ran: tuple[TrafficWorld, list[Frame]],
) -> None:
    world, frames = ran
    batches = [batch for frame in frames for batch in frame.batches()]
    said = {s for b in batches if b.message == "vehicle_state" for s in b.texts("subject_id")}
    share = len(said) / world.demand.n
    assert 0.35 < share < 0.65
    (signals,) = [b for b in frames[30].batches() if b.message == "signal_state"]
    for record in signals.to_records():
        assert record["likely_end_ns"] > record["sampled_at_ns"]


def test_a_street_map_without_junctions_gets_them_drawn(tmp_path: Path) -> None:
    osm = tmp_path / "cross.osm"
    osm.write_text(CROSS)
    network = read_network(osm)
    ids = set(read_map(osm).segment_ids)
    assert set(network.edge_ids) == ids
    assert from_map(read_map(osm)).n_lanes == network.n_lanes
    assert network.conflicts.is_yielding.any()
    plans = Plans(network)
    entries, exits = network.entries(), network.exits()
    assert not len(entries) or len(exits)
    goal = network.edge(min(ids))
    (row,) = plans.to_edges(np.array([goal]))
    assert (plans.next_edge[row] >= 0).sum() >= 3


def test_a_street_map_s_turn_restrictions_are_driven_by(tmp_path: Path) -> None:
    def turns(text: str) -> set[tuple[str, str]]:
        osm = tmp_path / "cross.osm"
        osm.write_text(text)
        network = read_network(osm)
        before, behind = network.link_edges
        names = network.edge_ids
        return {(names[a], names[b]) for a, b in zip(before.tolist(), behind.tolist(), strict=True)}

    cut = CROSS.replace('<nd ref="1"/><nd ref="2"/>', '<nd ref="1"/>').replace(
        "</osm>",
        """<way id="12"><nd ref="1"/><nd ref="2"/><tag k="highway" v="primary"/></way>
        <relation id="1"><member type="way" ref="10" role="from"/>
        <member type="node" ref="1" role="via"/><member type="way" ref="12" role="to"/>
        <tag k="type" v="restriction"/><tag k="restriction" v="no_straight_on"/>
        </relation></osm>""",
    )
    free = turns(cut.replace("no_straight_on", "give_way"))
    assert free - turns(cut) == {("10/3/1", "12/1/2")}


def test_a_map_that_states_no_ways_on_has_all_and_one_that_does_has_dead_ends(
    tmp_path: Path,
) -> None:
    osm = tmp_path / "cross.osm"
    osm.write_text(CROSS)

    def links_from(*silent: str) -> dict[str, int]:
        """How many connectors leave each segment once these state no successors."""
        document = read_map(osm).to_geojson()
        for feature in document["features"]:
            if feature["id"] in silent:
                feature["properties"]["successors"] = []
        network = from_map(RoadMap.from_geojson(document))
        before = network.link_edges[0]
        return {name: int((before == edge).sum()) for edge, name in enumerate(network.edge_ids)}

    stated = links_from()
    assert stated["10/3/1"] == 3
    assert links_from(*stated) == stated
    assert links_from("10/3/1") == stated | {"10/3/1": 0}


CROSS = """<osm version="0.6">
<node id="1" lat="53.5500" lon="9.9900"/><node id="2" lat="53.5520" lon="9.9900"/>
<node id="3" lat="53.5480" lon="9.9900"/><node id="4" lat="53.5500" lon="9.9930"/>
<node id="5" lat="53.5500" lon="9.9870"/>
<way id="10"><nd ref="3"/><nd ref="1"/><nd ref="2"/><tag k="highway" v="primary"/></way>
<way id="11"><nd ref="5"/><nd ref="1"/><nd ref="4"/><tag k="highway" v="residential"/></way>
</osm>"""


def test_from_every_edge_a_plan_leads_to_the_nearest_exit() -> None:
    network = generators.grid(2, 2)
    plans = Plans(network)
    row = plans.leaving(False)
    assert plans.leaving(False) == row
    assert network.edge_ids[plans.next_edge[row, network.edge("n0_0-n1_0")]] in ("out_e0", "out_s1")
    leads = plans.next_edge[row] >= 0
    assert leads[np.setdiff1d(np.arange(network.n_edges), network.exits())].all()
