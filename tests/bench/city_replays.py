"""Demand, routes and signals out of SUMO's own traces, to drive the same traffic by our engine."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simulator.replay.files import csv_rows
from simulator.replay.sumo_words import body_of
from simulator.traffic.demand import BUS, CAR, TRUCK, TWO_WHEELER, Demand, VehicleKind, demand_of
from simulator.traffic.engine import Traffic
from simulator.traffic.from_sumo import read_sumo
from simulator.traffic.network import TrafficNetwork
from simulator.traffic.plans import Plans
from simulator.traffic.signals import CODE_OF_LETTER, GREEN_YIELD, RecordedSignals

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

KINDS: tuple[VehicleKind, ...] = (
    replace(CAR, headway_s=1.0, accel_mps2=2.6),
    replace(TRUCK, headway_s=1.0, accel_mps2=1.3),
    replace(BUS, headway_s=1.0, accel_mps2=1.2),
    replace(TWO_WHEELER, headway_s=1.0, accel_mps2=6.0),
)
"""Headways and accelerations are SUMO's defaults: the packages' drivers have no others
(https://sumo.dlr.de/docs/Vehicle_Type_Parameter_Defaults.html)."""
CAR_AT, TRUCK_AT, BUS_AT, TWO_WHEELER_AT = range(4)
MOST_HOPS = 6
"""Short edges that a trace each second may skip."""


@dataclass(frozen=True)
class Replay:
    """A package's traffic, ready to be driven."""

    network: TrafficNetwork
    plans: Plans
    demand: Demand
    signals: RecordedSignals | None
    first_s: float
    last_s: float
    present: IntArray  # vehicles on the road at `first_s`
    present_lane: IntArray
    present_m: FloatArray
    present_mps: FloatArray

    def traffic(self, dt_s: float = 0.5) -> Traffic:
        """The traffic at its start."""
        traffic = Traffic(
            self.network,
            self.plans,
            self.demand,
            dt_s=dt_s,
            signals=self.signals,
            now_s=self.first_s,
        )
        traffic.put(self.present, self.present_lane, self.present_m, self.present_mps)
        return traffic


def read_replay(package: Path, trace: str = "control_fcd.parquet") -> Replay:
    """A package's control run: who drives where and when, by its trace."""
    network = read_sumo(package / "net.xml.gz")
    plans = Plans(network)
    table = pq.read_table(
        package / trace, columns=["time_s", "vehicle", "type", "lane", "pos_cm", "speed_cms"]
    )
    time_s = table["time_s"].to_numpy().astype(np.float64)
    lanes = table["lane"].combine_chunks().dictionary_encode()
    words, codes = lanes.dictionary.to_pylist(), lanes.indices.to_numpy()
    number = {name: lane for lane, name in enumerate(network.lane_name[: network.n_normal])}
    lane_of_code = np.array([number.get(word, -1) for word in words], np.int64)
    lane = lane_of_code[codes]
    names = table["vehicle"].combine_chunks().dictionary_encode()
    vehicle = names.indices.to_numpy()
    starts = np.flatnonzero(np.diff(vehicle, prepend=-1))
    ends = np.append(starts[1:], len(vehicle))
    types = table["type"].take(starts).to_pylist()
    edge = np.where(lane >= 0, network.lane_edge[np.maximum(lane, 0)], -1)
    follow = _links(network)
    routes: dict[tuple[tuple[int, ...], bool], list[int]] = defaultdict(list)
    rows: list[tuple[int, int, int]] = []
    lengths_m: list[float] = []
    for start, end, type_id in zip(starts.tolist(), ends.tolist(), types, strict=True):
        seen = edge[start:end]
        seen = seen[seen >= 0]
        if not len(seen):
            continue
        passed = seen[np.flatnonzero(np.diff(seen, prepend=-1))].tolist()
        route = _joined(passed, follow)
        if route is None:
            continue
        kind = _kind(type_id)
        routes[tuple(route), kind == BUS_AT].append(len(rows))
        lengths_m.append(body_of(type_id).length_m)
        rows.append((start, route[0], kind))
    plan = np.zeros(len(rows), np.int64)
    for is_bus in (False, True):
        chosen = [key for key in routes if key[1] == is_bus]
        if chosen:
            numbers = plans.along([key[0] for key in chosen], is_bus=is_bus)
            for key, row in zip(chosen, numbers.tolist(), strict=True):
                plan[routes[key]] = row
    begins = np.array([row[0] for row in rows])
    depart_s = time_s[begins]
    ids = [names.dictionary[int(vehicle[k])].as_py() for k in begins.tolist()]
    demand = demand_of(
        depart_s,
        np.array([row[1] for row in rows]),
        plan,
        np.array([row[2] for row in rows]),
        1,
        KINDS,
        ids,
    )
    order = np.argsort(depart_s, kind="stable")
    limits = network.limit_mps[np.maximum(lane, 0)]
    ratio = np.where(lane >= 0, table["speed_cms"].to_numpy() / 100.0 / limits, 0.0)
    free = [_free_ratio(ratio[starts[k] : ends[k]]) for k in np.searchsorted(starts, begins)]
    demand.speed_ratio[:] = np.array(free)[order]
    known = np.isfinite(lengths_m)[order]
    demand.length_m[known] = np.array(lengths_m)[order][known]
    first_s = float(time_s.min())
    here = np.flatnonzero((depart_s[order] == first_s) & (lane[begins[order]] >= 0))
    place = begins[order][here]
    present_m = table["pos_cm"].to_numpy()[place] / 100.0
    here, place, present_m = _apart(here, place, present_m, lane, demand.length_m)
    return Replay(
        network=network,
        plans=plans,
        demand=demand,
        signals=_signals(package, network, first_s, float(time_s.max())),
        first_s=first_s,
        last_s=float(time_s.max()),
        present=here,
        present_lane=lane[place],
        present_m=present_m,
        present_mps=table["speed_cms"].to_numpy()[place] / 100.0,
    )


def _apart(
    here: IntArray, place: IntArray, at_m: FloatArray, lane: IntArray, length_m: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """Those present in order of lane and place, moved back where they would touch.

    A trace gives no lengths, so that a class's length may be longer than the gap. Who would have to
    move back over the lane's start comes in when there is room.
    """
    order = np.lexsort((-at_m, lane[place]))
    here, place, at_m = here[order], place[order], at_m[order].copy()
    stays = np.ones(len(here), np.bool_)
    rear_m, before = np.inf, -1
    for row, (one, vehicle) in enumerate(zip(place.tolist(), here.tolist(), strict=True)):
        rear_m = np.inf if lane[one] != before else rear_m
        before = int(lane[one])
        at_m[row] = min(at_m[row], rear_m - 0.5)
        stays[row] = at_m[row] > 0.0
        rear_m = at_m[row] - length_m[vehicle] if stays[row] else rear_m
    return here[stays], place[stays], at_m[stays]


def _free_ratio(ratio: FloatArray) -> float:
    """A driver's desired speed over the limit: the upper quartile of what it drove."""
    return float(np.clip(np.quantile(ratio, 0.75), 0.7, 1.4))


def _kind(type_id: str) -> int:
    word = body_of(type_id).vehicle_class
    kinds = {"truck": TRUCK_AT, "bus": BUS_AT, "motorcycle": TWO_WHEELER_AT}
    return kinds.get(word or "car", CAR_AT)


def _links(network: TrafficNetwork) -> dict[int, list[int]]:
    follow: dict[int, set[int]] = defaultdict(set)
    for before, behind in zip(*(edges.tolist() for edges in network.link_edges), strict=True):
        follow[before].add(behind)
    return {edge: sorted(goals) for edge, goals in follow.items()}


def _joined(passed: list[int], follow: dict[int, list[int]]) -> list[int] | None:
    """The route with edges that the trace has skipped; None if there is no short way."""
    route = [passed[0]]
    for goal in passed[1:]:
        way = _way(route[-1], goal, follow)
        if way is None:
            return None
        route += way
    return route


def _way(start: int, goal: int, follow: dict[int, list[int]]) -> list[int] | None:
    queue: deque[list[int]] = deque([[start]])
    while queue:
        path = queue.popleft()
        for edge in follow.get(path[-1], []):
            if edge == goal:
                return [*path[1:], edge]
            if len(path) < MOST_HOPS:
                queue.append([*path, edge])
    return None


def _signals(
    package: Path, network: TrafficNetwork, first_s: float, last_s: float
) -> RecordedSignals | None:
    path = package / "spat.csv.gz"
    if not path.exists():
        return None
    place = {head: number for number, head in enumerate(network.signals.heads)}
    codes = np.tile(network.signals.states(0.0), (int(last_s - first_s) + 2, 1))
    for row in sorted(csv_rows(path), key=lambda r: float(r["time_s"])):
        second = max(int(float(row["time_s"]) - first_s), 0)
        for group, letter in enumerate(row["state"]):
            head = place.get((row["tls"], group))
            if head is not None and second < len(codes):
                codes[second:, head] = CODE_OF_LETTER.get(letter, GREEN_YIELD)
    return RecordedSignals(first_s, codes)
