"""Segment states against SUMO's own edge data: density and speed, at some shares of vehicles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.aggregate.segment_batch import segment_batch
from edge.aggregate.steps import Samples
from edge.aggregate.windows import Windows
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from openvrc.traffic.completion import CELL_S, Completion, States
from openvrc.traffic.segment_model import Beliefs
from simulator.replay.files import csv_rows
from tests.support.fcd_marks import Fcd
from tests.support.shared_data import shared_data

WINDOW_S = 60
MIN_LENGTH_M = 100.0
MIN_VEHICLE_S = {True: 30.0, False: 60.0}
"""By whether all vehicles are connected, as in the floor's and the naive baseline's definition."""


@dataclass(frozen=True)
class State:
    """How far states are from the truth, over edges and minutes."""

    density_mape: float
    speed_mae_mps: float
    coverage: float
    within_80: float
    """Share of true speeds within 1.28 standard deviations of ours: 0.8 is honest."""
    share: float
    """The last estimate of the penetration, NaN for none."""


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


def read_loops(package: str, road_map: RoadMap) -> dict[int, Batch]:
    """`loop_counts` of a package by the second at which a period ends; time 0 is the epoch."""
    folder = ("traffic", package)
    lanes = {r["id"]: r for r in csv_rows(shared_data(*folder, "detectors.csv"))}
    rows: dict[int, list[dict[str, str]]] = {}
    for row in csv_rows(shared_data(*folder, "e1.csv.gz")):
        if row["detector"] in lanes and lanes[row["detector"]]["edge"] in road_map:
            rows.setdefault(round(float(row["end_s"])), []).append(row)
    return {end_s: _loop_batch(end_s, part, lanes) for end_s, part in rows.items()}


def _loop_batch(end_s: int, rows: list[dict[str, str]], lanes: dict[str, dict[str, str]]) -> Batch:
    return from_columns(
        "loop_counts",
        zone="test",
        run_id="test",
        origin="replay",
        n_rows=len(rows),
        columns={
            "source_id": "loops",
            "subject_id": [r["detector"] for r in rows],
            "sampled_at_ns": np.full(len(rows), end_s * NS_PER_S),
            "segment_id": [lanes[r["detector"]]["edge"] for r in rows],
            "lane_index": [int(lanes[r["detector"]]["lane"].rsplit("_", 1)[1]) for r in rows],
            "period_s": [float(r["end_s"]) - float(r["begin_s"]) for r in rows],
            "count": [int(r["n_veh"]) for r in rows],
            "speed_mps": [max(float(r["speed_ms"]), 0.0) or None for r in rows],
        },
    )


def windows_of(fcd: Fcd, road_map: RoadMap) -> Iterator[tuple[int, Batch | None]]:
    """Each second of a recording, and the windows that the edge closes in it."""
    windows = Windows(road_map)
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
        parts = windows.advance(at_s * NS_PER_S)
        names = {"zone": "test", "run_id": "test", "origin": "replay", "edge_id": "edge"}
        yield at_s, segment_batch(parts, road_map, **names, received_at_ns=0) if parts else None


def states_of(
    fcd: Fcd,
    road_map: RoadMap,
    *,
    loops: dict[int, Batch] | None = None,
    beliefs: Beliefs | None = None,
    window_s: int = WINDOW_S,
) -> dict[int, States]:
    """Begin in s to the completed states of each whole window of these (matched) vehicles."""
    completion = Completion(road_map, beliefs)
    found: dict[int, States] = {}
    for at_s, batch in windows_of(fcd, road_map):
        for part in (batch, (loops or {}).get(at_s)):
            if part is not None:
                completion.fold(part)
        if at_s % CELL_S == 0:
            completion.advance(at_s * NS_PER_S)
            states = completion.states(window_s)
            if states is not None and at_s % window_s == 0:
                found[at_s - window_s] = states
    return found


def measure(
    package: str,
    road_map: RoadMap,
    fcd: Fcd,
    *,
    everybody: bool,
    loops: dict[int, Batch] | None = None,
    beliefs: Beliefs | None = None,
) -> State:
    """States of these (matched) vehicles against all vehicles' truth."""
    states = states_of(fcd, road_map, loops=loops, beliefs=beliefs)
    wanted = [
        (key, facts)
        for key, facts in read_truth(package, road_map).items()
        if facts[0] > MIN_VEHICLE_S[everybody]
        and road_map.segment_length_m[key[1]] > MIN_LENGTH_M
        and not road_map.segment_is_internal[key[1]]
        and key[0] in states
    ]
    pairs: NDArray[np.float64] = np.array(
        [
            (
                *facts[1:],
                states[begin].density_vpkm[segment],
                states[begin].speed_mps[segment],
                states[begin].speed_sd_mps[segment],
            )
            for (begin, segment), facts in wanted
        ]
    )
    given = pairs[np.isfinite(pairs[:, 3])]
    error_mps = np.abs(given[:, 3] - given[:, 1])
    share = states[max(states)].share
    return State(
        density_mape=float(np.nanmean(np.abs(given[:, 2] - given[:, 0]) / given[:, 0])),
        speed_mae_mps=float(np.mean(error_mps)),
        coverage=len(given) / len(pairs),
        within_80=float(np.mean(error_mps < 1.28 * given[:, 4])),
        share=np.nan if share is None else share,
    )
