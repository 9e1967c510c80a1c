"""Signals that listen, and drivers who choose their way by the traffic."""

import numpy as np
import pytest

from simulator.traffic import generators
from simulator.traffic.actuated import MIN_GREEN_S, MOST_RATIO, PASSAGE_S, ActuatedSignals
from simulator.traffic.demand import Flow, flows_to_demand
from simulator.traffic.engine import Traffic
from simulator.traffic.events import Truth
from simulator.traffic.plans import Plans
from simulator.traffic.rerouting import Rerouting
from simulator.traffic.signals import AMBER, GREEN, RED, SignalPlans
from simulator.traffic.world import TrafficOptions, TrafficWorld

PLANS = {
    "j": (
        0.0,
        [(20.0, [GREEN, RED]), (3.0, [AMBER, RED]), (20.0, [RED, GREEN]), (3.0, [RED, AMBER])],
    )
}


def greens_s(calls: list[bool], until_s: float = 120.0) -> tuple[list[float], ActuatedSignals]:
    """How long each green lasts if the two groups are always, or never, called."""
    signals = ActuatedSignals(SignalPlans.of(PLANS))
    began_s, lasted, green = 0.0, [], True
    for step in range(round(until_s / 0.5)):
        now_s = step * 0.5
        signals.advance(now_s, np.array(calls))
        is_green = bool((signals.states(now_s) == GREEN).any())
        if green and not is_green:
            lasted.append(now_s - began_s)
        if is_green and not green:
            began_s = now_s
        green = is_green
    return lasted, signals


def test_an_empty_green_gaps_out_and_a_full_one_lasts_to_its_most() -> None:
    empty, signals = greens_s([False, False])
    assert set(empty) == {MIN_GREEN_S}
    assert signals.n_gap_outs == len(empty)
    assert signals.n_max_outs == 0
    full, signals = greens_s([True, True])
    assert set(full) == {20.0 * MOST_RATIO}
    assert signals.n_max_outs == len(full)
    one, _ = greens_s([True, False])
    assert set(one[::2]) == {20.0 * MOST_RATIO}
    assert set(one[1::2]) == {MIN_GREEN_S}


def test_a_green_ends_when_nobody_came_for_the_passage_time() -> None:
    signals = ActuatedSignals(SignalPlans.of(PLANS))
    for step in range(60):
        now_s = step * 0.5
        signals.advance(now_s, np.array([now_s < 12.0, False]))
        if signals.states(now_s)[0] != GREEN:
            break
    assert now_s == pytest.approx(11.5 + PASSAGE_S)


def test_what_is_told_of_an_end_holds() -> None:
    signals = ActuatedSignals(SignalPlans.of(PLANS))
    random = np.random.default_rng(1)
    told: list[tuple[float, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]] = []
    before = signals.states(0.0)
    for step in range(600):
        now_s = step * 0.5
        signals.advance(now_s, random.random(2) < 0.15)
        for head in np.flatnonzero(signals.states(now_s) != before).tolist():
            for at_s, ends in told:
                assert ends[0, head] - 0.5 <= now_s <= ends[1, head] + 0.5, (at_s, head)
            told = [] if head == 1 else told
        if (signals.states(now_s) != before).any():
            told = []
        before = signals.states(now_s)
        ends = signals.ends_s(now_s)
        assert (ends[0] <= ends[2]).all()
        assert (ends[2] <= ends[1]).all()
        told.append((now_s, ends))


def test_a_world_with_such_signals_tells_three_ends_and_serves_the_busy_road_longer() -> None:
    network = generators.arterial(junctions=1, lanes=1)
    plans = Plans(network)
    flows = [Flow("in_w0", "out_e0", 700.0)]
    demand = flows_to_demand(network, plans, flows, 150.0, 1)
    signals = ActuatedSignals(network.signals)
    world = TrafficWorld(
        zone="z", run_id="r", network=network, plans=plans, demand=demand,
        options=TrafficOptions(duration_s=150.0), signals=signals,
    )  # fmt: skip
    records = [
        record
        for frame in world.frames()
        for batch in frame.batches()
        if batch.message == "signal_state"
        for record in batch.to_records()
    ]
    assert all(r["min_end_ns"] <= r["likely_end_ns"] <= r["max_end_ns"] for r in records)
    assert any(r["min_end_ns"] < r["max_end_ns"] for r in records)
    link = int(np.flatnonzero(network.link_from == network.lane("in_w0", 0))[0])
    busy = network.signals.heads[int(network.link_signal[link])][1]
    green = [r["signal_group"] for r in records if r["phase"] == "green"]
    shares = np.bincount(green) / 150.0
    assert shares[busy] == shares.max()
    assert signals.n_gap_outs > 0


def test_drivers_go_round_an_edge_that_has_become_slow() -> None:
    network = generators.grid(2, 2)
    plans = Plans(network)
    flows = [Flow("in_w0", "out_e0", 400.0)]
    demand = flows_to_demand(network, plans, flows, 120.0, 1)
    traffic = Traffic(network, plans, demand)
    rerouting = Rerouting(every_s=60.0)
    truth = Truth(0, demand.ids)
    slow = network.edge("n0_0-n1_0")
    first, last = network.edge_lanes[slow : slow + 2]
    (plan,) = set(demand.plan.tolist())
    assert plans.next_edge[plan, network.edge("in_w0")] == slow
    fixed = plans.along([[network.edge("in_w0"), slow, network.edge("out_e0")]])
    traffic.limit_mps[first:last] = 1.0
    for _ in range(300):
        rerouting.before_step(traffic)
        traffic.step()
        rerouting.after_step(traffic, truth)
    assert rerouting.n_times >= 1
    assert plans.next_edge[plan, network.edge("in_w0")] != slow
    assert plans.next_edge[fixed[0], network.edge("in_w0")] == slow
