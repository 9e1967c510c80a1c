"""People who cross a street in groups; vehicles wait at the crossing.

A group waits until everybody who comes can stop, then walks. If asked, one runs onto the first lane
before a vehicle, which brakes for an emergency, and turns back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.emission import Emitter
from simulator.roadside.users import CLASSES, RoadUsers
from simulator.traffic.engine import Traffic
from simulator.traffic.events import SOFT_MPS2, Truth
from simulator.traffic.network import TrafficNetwork
from simulator.traffic.world import TrafficWorld
from simulator.world import Outgoing, TruthEvent

FloatArray = NDArray[np.float64]

WALK_MPS, RUN_MPS = 1.3, 2.5  # children of 8 to 12 in a group; running
KERB_M = 2.0  # where they wait, beside the outer lanes
GAP_M = 0.8  # from one of a group to the next
RUN_GAP_S = (1.3, 2.6)
"""How far in time the vehicle is that somebody runs before: an emergency, no collision."""
RUN_LASTS_S, BRAKING_MPS2 = 2.0, -7.0
FIRST_NUMBER, OF_A_CROSSING, OF_A_GROUP = 1_000_000_000, 1_000_000, 100
"""Numbers as road users: beyond those of all vehicles."""
BODY_M = 0.5


class _Walking(NamedTuple):
    names: list[str]
    number: NDArray[np.int64]
    across_m: FloatArray  # from the outer lane's middle
    along_m: FloatArray  # from the crossing's middle
    speed_mps: FloatArray


@dataclass
class Crossing:
    """Who crosses, and what it does to traffic; a Runner and an Extra of the engine's world."""

    streets: tuple[str, str]
    """Edges that lie beside each other, there and back."""
    at_m: float
    """From the first street's start."""
    every_s: float
    group: int
    runs_at_s: float = np.inf
    """When a child runs out before the next car."""
    name: str = "child"
    number: int = 0
    """Among the crossings of a world."""
    source_id: str = "rsu-school"
    """Unit that tells of them where no sensors are simulated."""
    begun_s: float | None = None
    """When the group on the road stepped off; None while nobody crosses."""
    n_groups: int = 0
    runner: tuple[float, int] | None = None
    """When a child ran out, and before which vehicle."""
    is_over: bool = False
    _width_m: float = field(default=0.0)

    def before_step(self, traffic: Traffic) -> None:
        """See Runner."""
        self._width_m = self._width_m or self._road_width_m(traffic)
        now_s = traffic.now_s
        if now_s < 0:
            return
        if self.begun_s is not None and now_s - self.begun_s > self._takes_s:
            traffic.set_walls(self, [])
            self.begun_s, self.n_groups = None, self.n_groups + 1
        if self.begun_s is None and now_s >= self.every_s * (self.n_groups + 1):
            places = self._places(traffic)
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
                    segment_id=self.streets[0],
                    component=f"{self.name}-runner",
                    detail={"with": "pedestrian"},
                )
            )

    def __call__(
        self, emitter: Emitter, world: TrafficWorld, second: int, now_ns: int
    ) -> list[Outgoing]:
        """See Extra: all of them as they are, told by one camera."""
        walking = self._walking(float(second))
        n = len(walking.names)
        if not n:
            return []
        x_m, y_m, heading_deg = self._spots(world.traffic, walking)
        lat_deg, lon_deg = world.road_map.frame.to_lat_lon_deg(x_m, y_m)
        columns = {
            "sampled_at_ns": np.full(n, now_ns, np.int64),
            "object_class": "pedestrian",
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "speed_mps": walking.speed_mps,
            "heading_deg": np.full(n, heading_deg),
            "confidence_ratio": np.full(n, 0.9),
            "sensor": "camera",
        }
        source = np.full(n, emitter.source("rsu", self.source_id), np.int64)
        subjects = (np.arange(n, dtype=np.int32), walking.names)
        return emitter.emit("rsu_objects", source, subjects, columns)

    def road_users(self, traffic: Traffic) -> RoadUsers:
        """Who stands at it or walks now."""
        walking = self._walking(traffic.now_s)
        n = len(walking.names)
        x_m, y_m, heading_deg = self._spots(traffic, walking)
        return RoadUsers(
            walking.number, x_m, y_m, np.full(n, heading_deg), walking.speed_mps, np.zeros(n),
            np.full(n, CLASSES.index("pedestrian")), np.full(n, BODY_M), np.full(n, BODY_M),
        )  # fmt: skip

    def place_xy_m(self, network: TrafficNetwork) -> FloatArray:
        """Where it is: a unit that is to see its people stands there; (2,)."""
        x_m, y_m, _ = network.place(
            np.array([network.lane(self.streets[0], 0)]), np.array([self.at_m]), 0.0
        )
        return np.array([x_m[0], y_m[0]])

    def name_of(self, number: int) -> str | None:
        """What one of its people is called, None for somebody else."""
        rest = number - FIRST_NUMBER - self.number * OF_A_CROSSING
        if not 0 <= rest < OF_A_CROSSING:
            return None
        group, place = divmod(rest, OF_A_GROUP)
        return f"{self.name}-{group + 1}-{place + 1}" if group < 9_999 else f"{self.name}-runner"

    @property
    def _takes_s(self) -> float:
        return (self._width_m + 2 * KERB_M + GAP_M * self.group) / WALK_MPS

    def _walking(self, now_s: float) -> _Walking:
        k = np.arange(self.group)
        since_s = 0.0 if self.begun_s is None else now_s - self.begun_s
        walked_m = np.maximum(since_s * WALK_MPS - GAP_M * k, 0.0)
        across_m = np.asarray(np.minimum(walked_m - KERB_M, self._width_m + KERB_M), np.float64)
        is_walking = (walked_m > 0) & (across_m < self._width_m + KERB_M)
        first = FIRST_NUMBER + self.number * OF_A_CROSSING
        found = _Walking(
            [f"{self.name}-{self.n_groups + 1}-{number + 1}" for number in k.tolist()],
            first + self.n_groups * OF_A_GROUP + k,
            across_m,
            np.asarray((k % 3) * 0.5, np.float64),
            np.where(is_walking, WALK_MPS, 0.0),
        )
        if self.runner is None or self.is_over:
            return found
        since_s = now_s - self.runner[0]
        out_m = RUN_MPS * min(since_s, RUN_LASTS_S - since_s) - KERB_M
        return _Walking(
            [*found.names, f"{self.name}-runner"],
            np.append(found.number, first + OF_A_CROSSING - 1),
            np.append(across_m, max(out_m, -KERB_M)),
            np.append(found.along_m, 6.0),
            np.append(found.speed_mps, RUN_MPS),
        )

    def _spots(self, traffic: Traffic, walking: _Walking) -> tuple[FloatArray, FloatArray, float]:
        """x, y (n,) and the heading across the street."""
        network = traffic.network
        lane = network.lane(self.streets[0], 0)
        start, end = network.points_xy_m[lane][[0, -1]]
        ahead = (end - start) / np.hypot(*(end - start))
        left = np.array([-ahead[1], ahead[0]])
        at = start + np.outer(self.at_m + walking.along_m, ahead) + np.outer(walking.across_m, left)
        return at[:, 0], at[:, 1], float(np.degrees(np.arctan2(left[0], left[1])) % 360.0)

    def _run(self, traffic: Traffic) -> None:
        if self.runner is None and traffic.now_s >= self.runs_at_s and self.begun_s is None:
            rows, lane = traffic.rows, traffic.network.lane(self.streets[0], 0)
            gap_s = (self.at_m - rows.offset_m) / np.maximum(rows.speed_mps, 0.1)
            fits = (rows.lane == lane) & (rows.speed_mps > 4.0) & (rows.to_left_m == 0.0)
            fits &= (gap_s > RUN_GAP_S[0]) & (gap_s < RUN_GAP_S[1])
            if fits.any():
                vehicle = int(rows.vehicle[np.flatnonzero(fits)[0]])
                self.runner = (traffic.now_s, vehicle)
                traffic.forced_mps2[vehicle] = BRAKING_MPS2
        elif self.runner is not None and traffic.now_s - self.runner[0] >= RUN_LASTS_S:
            traffic.forced_mps2.pop(self.runner[1], None)

    def _places(self, traffic: Traffic) -> list[tuple[int, float]]:
        """The crossing on every lane of both directions: lane and metres from its start."""
        network = traffic.network
        found = []
        for street, is_back in zip(self.streets, (False, True), strict=True):
            first, last = network.edge_lanes[network.edge(street) :][:2].tolist()
            for lane in range(first, last):
                at_m = float(network.length_m[lane]) - self.at_m if is_back else self.at_m
                found.append((lane, at_m))
        return found

    def _road_width_m(self, traffic: Traffic) -> float:
        """From the middle of one outer lane to that of the other direction's."""
        network = traffic.network
        start = network.points_xy_m[network.lane(self.streets[0], 0)][0]
        end = network.points_xy_m[network.lane(self.streets[1], 0)][-1]
        return float(np.hypot(*(start - end)))

    def __hash__(self) -> int:
        return id(self)


def _can_stop(traffic: Traffic, lane: int, at_m: float) -> bool:
    """Whether everybody in a lane who comes can stop softly before a place, and nobody is on it."""
    rows = traffic.rows
    away_m = at_m - rows.offset_m
    needed_m = rows.speed_mps**2 / (2 * SOFT_MPS2) + 2.0
    is_near = (rows.lane == lane) & (away_m > -rows.length_m - 1.0) & (away_m < needed_m)
    return not bool(is_near.any())
