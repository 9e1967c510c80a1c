"""Traffic on the crossroads for five minutes: nobody collides, nobody runs a red light."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from simulator.physics.traffic import RED, Ahead
from simulator.scenarios.crossroads import PLUGIN, CrossroadsWorld, signals_at
from simulator.scenarios.crossroads_map import build

DT_S = 0.25
FIVE_MINUTES = int(300 / DT_S)


def made(seed: int) -> CrossroadsWorld:
    return PLUGIN.make(zone="z", run_id="r", seed=seed)


@pytest.mark.parametrize("seed", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_nobody_collides_or_crosses_on_red_for_five_minutes(seed: int) -> None:
    world = made(seed)
    traffic, network = world.traffic, world.roads.network
    random = np.random.default_rng(seed)
    crossings: Counter[int] = Counter()
    for step in range(FIVE_MINUTES):
        time_s = step * DT_S
        world.events.apply(traffic, time_s)
        before, shown = traffic.lane.copy(), signals_at(time_s)
        traffic.step(DT_S, shown, random)
        assert Ahead.of(traffic).gap_m.min() > 0.5, time_s
        entered = (before != traffic.lane) & (network.signal[traffic.lane] >= 0)
        crossings.update(shown[network.signal[traffic.lane[entered]]].tolist())
        assert traffic.speed_mps.min() >= 0
        assert traffic.accel_mps2.min() >= -traffic.driver.full_braking_mps2 - 1e-9
    assert crossings[RED] == 0
    assert sum(crossings.values()) > 200  # traffic does flow


def test_vehicles_move_as_far_as_their_speed_says() -> None:
    """No jumps: a record's position follows from the one before, over turns and lane changes."""
    world = made(1)
    before = None
    for frame in world.frames():
        states = [b for b in frame.batches() if b.message == "vehicle_state"]
        if not states:
            break  # the last frame holds counts only
        (state,) = states
        order = np.argsort(state.texts("subject_id"))
        x_m, y_m = world.roads.frame.to_xy_m(state.column("lat_deg"), state.column("lon_deg"))
        here = x_m[order], y_m[order], state.column("speed_mps")[order]
        if before is not None:
            moved_m = np.hypot(here[0] - before[0], here[1] - before[1])
            fastest = np.maximum(here[2], before[2])
            assert (moved_m <= fastest + 1.5 + 0.1).all()
        before = here
        if frame.zone_time_ns - world.start_ns > 60e9:
            world.stop()


def test_every_lane_s_end_is_where_the_next_begins() -> None:
    network = build().network
    for lane in range(len(network.length_m)):
        for behind in set(network.following[lane].tolist()) - {-1}:
            end, start = network.points_xy_m[lane][-1], network.points_xy_m[behind][0]
            assert np.hypot(*(end - start)) < 1e-6


def test_positions_lie_on_the_map_s_lanes() -> None:
    roads = build()
    lanes = np.arange(len(roads.network.length_m))
    x_m, y_m, _ = roads.network.place(lanes, roads.network.length_m / 2, np.zeros(len(lanes)))
    map_frame = roads.road_map.frame
    lat_deg, lon_deg = roads.frame.to_lat_lon_deg(x_m, y_m)
    map_x_m, map_y_m = map_frame.to_xy_m(lat_deg, lon_deg)
    for lane in lanes:
        segment = roads.road_map.index_of(roads.segment_ids[roads.network.segment[lane]])
        place = roads.road_map.lane_at(segment, int(roads.network.index[lane]))
        points = roads.road_map.lane_points(place)
        dense = np.concatenate([np.linspace(a, b, 200) for a, b in pairwise(points)])
        away_m = np.hypot(dense[:, 0] - map_x_m[lane], dense[:, 1] - map_y_m[lane]).min()
        assert away_m < 1.1
