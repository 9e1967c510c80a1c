"""Segment windows against SUMO's own edge data: density and speed, at some shares of vehicles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.aggregate.steps import Samples
from edge.aggregate.windows import Windows
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from simulator.replay.files import csv_rows
from tests.support.fcd_marks import Fcd
from tests.support.shared_data import shared_data

WINDOW_S = 60
MIN_LENGTH_M = 100.0
MIN_VEHICLE_S = {True: 30.0, False: 60.0}
"""By whether all vehicles are connected, as in the floor's and the naive baseline's definition."""


@dataclass(frozen=True)
class State:
    """How far our windows are from the truth, over edges and minutes."""

    density_mape: float
    speed_mae_mps: float
    coverage: float


def read_truth(package: str, road_map: RoadMap) -> dict[tuple[int, int], tuple[float, ...]]:
    """(begin s, segment): vehicle-seconds, density in 1/km and speed in m/s."""
    rows = csv_rows(shared_data("traffic", package, "edgedata_60s.csv.gz"))
    return {
        (round(float(r["begin_s"])), road_map.index_of(r["edge"])): tuple(
            float(r[name]) for name in ("sampled_s", "density_vehkm", "speed_ms")
        )
        for r in rows
        if r["edge"] in road_map and r["speed_ms"]
    }


def windows_of(fcd: Fcd, road_map: RoadMap) -> dict[tuple[int, int], tuple[float, float]]:
    """(begin s, segment): density and speed of our 60 s windows."""
    windows = Windows(road_map)
    found: dict[tuple[int, int], tuple[float, float]] = {}
    cuts = np.flatnonzero(np.diff(fcd.time_s)) + 1
    for first, last in zip([0, *cuts], [*cuts, len(fcd.time_s)], strict=True):
        rows = slice(int(first), int(last))
        at_s = int(fcd.time_s[rows.start])
        windows.fold(
            Samples(
                fcd.vehicle[rows].astype(np.int64),
                fcd.time_s[rows] * NS_PER_S,
                fcd.segment[rows].astype(np.int64),
                fcd.offset_m[rows].astype(np.float64),
            )
        )
        for part in windows.advance(at_s * NS_PER_S):
            for row in np.flatnonzero(part.window_s == WINDOW_S).tolist():
                key = int(part.window_start_ns[row]) // NS_PER_S, int(part.segment[row])
                found[key] = float(part.density_vpkm[row]), float(part.speed_mps[row])
    return found


def measure(package: str, road_map: RoadMap, fcd: Fcd, *, everybody: bool) -> State:
    """Our windows of these (matched) vehicles against all vehicles' truth."""
    truth = read_truth(package, road_map)
    ours = windows_of(fcd, road_map)
    least_s = MIN_VEHICLE_S[everybody]
    wanted = [
        key
        for key, (vehicle_s, _, _) in truth.items()
        if vehicle_s > least_s
        and road_map.segment_length_m[key[1]] > MIN_LENGTH_M
        and not road_map.segment_is_internal[key[1]]
        and key[0] + WINDOW_S <= int(fcd.time_s[-1])
    ]
    have = [key for key in wanted if key in ours and np.isfinite(ours[key][1])]
    pairs: NDArray[np.float64] = np.array([(*truth[key][1:], *ours[key]) for key in have])
    return State(
        density_mape=float(np.mean(np.abs(pairs[:, 2] - pairs[:, 0]) / pairs[:, 0])),
        speed_mae_mps=float(np.mean(np.abs(pairs[:, 3] - pairs[:, 1]))),
        coverage=len(have) / len(wanted),
    )
