"""A street before a school: children cross it in groups, one runs out before a car.

At the crossing a group waits until everybody who comes can stop, then walks; vehicles wait at it.
A camera unit tells of the children (`rsu_objects`); they carry nothing that talks. One child runs
onto the first lane before a vehicle, which brakes for an emergency, and turns back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.emission import Emitter
from simulator.faults.kind import Parameter
from simulator.scenarios.roads import ENDLESS_S, share_of_usual, traffic_world, values_of
from simulator.traffic import generators
from simulator.traffic.demand import TOWN_MIX, Flow
from simulator.traffic.engine import Traffic
from simulator.traffic.events import SOFT_MPS2, SpeedLimit, Truth
from simulator.traffic.world import TrafficWorld
from simulator.world import Outgoing, TruthEvent

USUAL_PER_H = 1400
STREETS = ("n0_0-n1_0", "n1_0-n0_0")
CROSSING_M = 180.0  # from the first street's start
WALK_MPS, RUN_MPS = 1.3, 2.5  # children of 8 to 12 in a group; running
KERB_M = 2.0  # where they wait, beside the outer lanes
GAP_M = 0.8  # from one child of a group to the next
RUN_GAP_S = (1.3, 2.6)
"""How far in time the vehicle is that a child runs before: an emergency, no collision."""
RUN_LASTS_S, BRAKING_MPS2 = 2.0, -7.0


@dataclass
class Children:
    """Who crosses, and what it does to traffic; a Runner and an Extra of the engine's world."""

    every_s: float
    group: int
    runs_at_s: float
    begun_s: float | None = None
    """When the group on the road stepped off; None while nobody crosses."""
    n_groups: int = 0
    runner: tuple[float, int] | None = None
    """When a child ran out, and before which vehicle."""
    is_over: bool = False
    _width_m: float = field(default=0.0)

    def before_step(self, traffic: Traffic) -> None:
        """See Runner."""
        self._width_m = self._width_m or _road_width_m(traffic)
        now_s = traffic.now_s
        if now_s < 0:
            return
        if self.begun_s is not None and now_s - self.begun_s > self._takes_s:
            traffic.set_walls(self, [])
            self.begun_s, self.n_groups = None, self.n_groups + 1
        if self.begun_s is None and now_s >= self.every_s * (self.n_groups + 1):
            places = _places(traffic)
            if all(_can_stop(traffic, lane, at_m) for lane, at_m in places):
                traffic.set_walls(self, places)
                self.begun_s = now_s
        self._run(traffic)

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """See Runner."""
        if self.runner is None or self.is_over:
            return
        began_s, vehicle = self.runner
        if traffic.now_s - began_s >= RUN_LASTS_S:
            self.is_over = True
        elif not any(event.rule == "traffic.conflict" for event in truth.events):
            truth.events.append(
                TruthEvent(
                    rule="traffic.conflict",
                    subject_id=truth.ids[vehicle],
                    from_ns=truth.ns(began_s),
                    to_ns=truth.ns(began_s + RUN_LASTS_S),
                    segment_id=STREETS[0],
                    component="child-runner",
                    detail={"with": "pedestrian"},
                )
            )

    def __call__(
        self, emitter: Emitter, world: TrafficWorld, second: int, now_ns: int
    ) -> list[Outgoing]:
        """See Extra."""
        names, across_m, along_m, speed_mps = self._seen(float(second))
        if not names:
            return []
        n = len(names)
        lane = world.network.lane(STREETS[0], 0)
        start, end = world.network.points_xy_m[lane][[0, -1]]
        ahead = (end - start) / np.hypot(*(end - start))
        left = np.array([-ahead[1], ahead[0]])
        at = start + np.outer(CROSSING_M + along_m, ahead) + np.outer(across_m, left)
        lat_deg, lon_deg = world.road_map.frame.to_lat_lon_deg(at[:, 0], at[:, 1])
        heading = float(np.degrees(np.arctan2(left[0], left[1])) % 360.0)
        columns = {
            "sampled_at_ns": np.full(n, now_ns, np.int64),
            "object_class": "pedestrian",
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "speed_mps": speed_mps,
            "heading_deg": np.full(n, heading),
            "confidence_ratio": np.full(n, 0.9),
            "sensor": "camera",
        }
        source = np.full(n, emitter.source("rsu", "rsu-school"), np.int64)
        return emitter.emit("rsu_objects", source, (np.arange(n, dtype=np.int32), names), columns)

    @property
    def _takes_s(self) -> float:
        return (self._width_m + 2 * KERB_M + GAP_M * self.group) / WALK_MPS

    def _seen(
        self, now_s: float
    ) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Who stands or walks: names, metres from the outer lane's middle and along, speeds."""
        k = np.arange(self.group)
        since_s = 0.0 if self.begun_s is None else now_s - self.begun_s
        walked_m = np.maximum(since_s * WALK_MPS - GAP_M * k, 0.0)
        across_m = np.asarray(np.minimum(walked_m - KERB_M, self._width_m + KERB_M), np.float64)
        is_walking = (walked_m > 0) & (across_m < self._width_m + KERB_M)
        names = [f"child-{self.n_groups + 1}-{number + 1}" for number in k.tolist()]
        along_m = np.asarray((k % 3) * 0.5, np.float64)
        speed_mps = np.where(is_walking, WALK_MPS, 0.0)
        if self.runner is None or self.is_over:
            return names, across_m, along_m, speed_mps
        since_s = now_s - self.runner[0]
        out_m = RUN_MPS * min(since_s, RUN_LASTS_S - since_s) - KERB_M
        return (
            [*names, "child-runner"],
            np.append(across_m, max(out_m, -KERB_M)),
            np.append(along_m, 6.0),
            np.append(speed_mps, RUN_MPS),
        )

    def _run(self, traffic: Traffic) -> None:
        if self.runner is None and traffic.now_s >= self.runs_at_s and self.begun_s is None:
            rows, lane = traffic.rows, traffic.network.lane(STREETS[0], 0)
            gap_s = (CROSSING_M - rows.offset_m) / np.maximum(rows.speed_mps, 0.1)
            fits = (rows.lane == lane) & (rows.speed_mps > 4.0) & (rows.to_left_m == 0.0)
            fits &= (gap_s > RUN_GAP_S[0]) & (gap_s < RUN_GAP_S[1])
            if fits.any():
                vehicle = int(rows.vehicle[np.flatnonzero(fits)[0]])
                self.runner = (traffic.now_s, vehicle)
                traffic.forced_mps2[vehicle] = BRAKING_MPS2
        elif self.runner is not None and traffic.now_s - self.runner[0] >= RUN_LASTS_S:
            traffic.forced_mps2.pop(self.runner[1], None)

    def __hash__(self) -> int:
        return id(self)


def _places(traffic: Traffic) -> list[tuple[int, float]]:
    """The crossing on every lane of both directions: lane and metres from its start."""
    network = traffic.network
    found = []
    for street, is_back in zip(STREETS, (False, True), strict=True):
        first, last = network.edge_lanes[network.edge(street) :][:2].tolist()
        for lane in range(first, last):
            at_m = float(network.length_m[lane]) - CROSSING_M if is_back else CROSSING_M
            found.append((lane, at_m))
    return found


def _road_width_m(traffic: Traffic) -> float:
    """From the middle of one outer lane to that of the other direction's."""
    network = traffic.network
    start = network.points_xy_m[network.lane(STREETS[0], 0)][0]
    end = network.points_xy_m[network.lane(STREETS[1], 0)][-1]
    return float(np.hypot(*(start - end)))


def _can_stop(traffic: Traffic, lane: int, at_m: float) -> bool:
    """Whether everybody in a lane who comes can stop softly before a place, and nobody is on it."""
    rows = traffic.rows
    away_m = at_m - rows.offset_m
    needed_m = rows.speed_mps**2 / (2 * SOFT_MPS2) + 2.0
    is_near = (rows.lane == lane) & (away_m > -rows.length_m - 1.0) & (away_m < needed_m)
    return not bool(is_near.any())


class SchoolZoneScenario:
    """The scenario as a plug-in."""

    name = "school-zone"
    description = "children cross before a school, seen by a camera unit; one runs before a car"
    parameters = (
        Parameter("every_s", 25.0, "from one group of children to the next", low=5.0),
        Parameter("group", 5.0, "children in a group", low=1.0, high=40.0),
        Parameter("runs_at_s", 3.0, "when a child runs out, before the next car"),
        Parameter("limit_mps", 8.33, "limit before the school", low=2.0, high=20.0),
    )

    def make(
        self,
        *,
        zone: str,
        run_id: str,
        seed: int = 1,
        duration_s: float | None = None,
        vehicles: int | None = None,
        start_ns: int | None = None,
        **more: Any,
    ) -> TrafficWorld:
        """See Scenario; `vehicles` are those of an hour."""
        values = {name: float(value) for name, value in values_of(self.parameters, more).items()}
        per_h = USUAL_PER_H * share_of_usual(vehicles, USUAL_PER_H)
        network = generators.grid(2, 1, spacing_m=400.0, lanes=1, signals=False)
        flows = [
            Flow("in_w0", "out_e0", per_h * 0.5, mix=TOWN_MIX),
            Flow("in_e0", "out_w0", per_h * 0.5, mix=TOWN_MIX),
        ]
        children = Children(values["every_s"], int(values["group"]), values["runs_at_s"])
        return traffic_world(
            "School zone", network, flows,
            [SpeedLimit(STREETS, values["limit_mps"], 0.0, ENDLESS_S)],
            zone=zone, run_id=run_id, seed=seed, duration_s=duration_s, start_ns=start_ns,
            also=[children], extras=[children],
        )  # fmt: skip


PLUGIN = SchoolZoneScenario()
