"""Where the crossroads' vehicles are at the start: on the links, with gaps they can keep."""

from __future__ import annotations

import numpy as np

from simulator.physics.traffic import TURN_SHARES, Traffic
from simulator.scenarios.crossroads_events import BREAKDOWN, JAMMED
from simulator.scenarios.crossroads_map import Crossroads

JAM_SHARE, BREAKDOWN_SHARE = 0.38, 0.15  # of the moving vehicles, at the start
LAST_START_M = 90.0  # nobody starts nearer to a stop line: it may be red
LEAST_SPACING_M = 9.0
TRUCK_SHARE = 0.08
CAR_M, TRUCK_M = (4.6, 1.85), (9.0, 2.5)


def starting_traffic(roads: Crossroads, n: int, random: np.random.Generator) -> Traffic:
    """Vehicles on the links with gaps they can keep: many where jam and breakdown will be."""
    links = roads.links()
    shares = np.array(
        [{JAMMED: JAM_SHARE, BREAKDOWN: BREAKDOWN_SHARE}.get(name, 0.0) for name in links]
    )
    shares[shares == 0] = (1.0 - shares.sum()) / (shares == 0).sum()
    counts = np.floor(np.cumsum(shares) * n + 1e-9).astype(np.int64)
    counts = np.diff(counts, prepend=0)
    counts[-1] += n - counts.sum()
    lanes: list[int] = []
    offsets: list[float] = []
    spacings: list[float] = []
    for name, count in zip(links, counts.tolist(), strict=True):
        for index in range(3):
            of_lane = len(range(index, count, 3))
            place = roads.lane_of(name, index)
            end_m = float(roads.network.length_m[place])
            end_m -= 5.0 if name in (JAMMED, BREAKDOWN) else LAST_START_M
            spacing_m = (end_m - 25.0) / max(of_lane, 1)
            jitter_m = random.uniform(
                0.0, max(0.0, spacing_m - LEAST_SPACING_M - TRUCK_M[0]), of_lane
            )
            offsets += (25.0 + spacing_m * np.arange(of_lane) + jitter_m).tolist()
            lanes += [place] * of_lane
            spacings += [spacing_m] * of_lane
    is_truck = random.random(n) < TRUCK_SHARE
    lane = np.array(lanes, np.int64)
    order = random.permutation(n)  # ids must not tell where a vehicle starts
    speed_mps = np.clip((np.array(spacings) - LEAST_SPACING_M - 4.0) / 2.0, 1.0, 12.0)
    on_jam = np.isin(lane, [roads.lane_of(JAMMED, index) for index in range(3)])
    return Traffic(
        network=roads.network,
        lane=lane[order],
        offset_m=np.array(offsets)[order],
        speed_mps=np.where(on_jam, 1.5, speed_mps)[order],
        length_m=np.where(is_truck, TRUCK_M[0], CAR_M[0]),
        haste_ratio=random.uniform(0.88, 1.02, n),
        turn=random.choice(len(TURN_SHARES), n, p=TURN_SHARES),
    )
