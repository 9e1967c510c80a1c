"""Vehicles on a lane network: car following, signals, turns, lane changes; one step at a time.

Every vehicle follows the nearest bumper ahead: of its leader, of a vehicle that has just turned
off but still stands with its tail in the lane, or the stop line. A junction is entered only if
the lane behind it has room. Lane changes need a safe gap to both neighbours (the safety criterion
of MOBIL: Kesting, Treiber, Helbing 2007, doi:10.3141/1999-10).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.physics.idm import Driver, acceleration, advance
from simulator.physics.lane_network import LEFT, NO_LANE, RIGHT, STRAIGHT, LaneNetwork

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

GREEN, AMBER, RED = 0, 1, 2
TURN_SHARES = (0.25, 0.55, 0.20)  # right, straight, left

SEEN_EARLY_MPS2 = 1.2  # a blockage is seen from afar and rolled up to
NEAR_M = 0.1
LINE_GAP_M = 1.0  # where the first car stops before the line
STOPPING_MPS2 = 3.0  # a driver who could stop softer than this at amber does (RiLSA: 3.5)
REACTION_S = 0.5
ROOM_M = 3.0  # free road behind a junction beyond the car's own length
CREEPING_MPS = 3.0  # a last car slower than this keeps the junction from being entered

CHANGE_AFTER_M, CHANGE_UNTIL_M = 30.0, 30.0  # no lane change this near a link's ends
SAFE_BRAKING_MPS2 = 2.5
GAIN_MPS2 = 0.4
"""A voluntary change must gain this much: MOBIL's threshold plus some inertia."""
ACROSS_PER_M, ACROSS_MPS = 0.25, 1.3
"""Sideways at most a quarter of the way ahead and 1.3 m/s: a change takes about 3 s."""
CHANGE_EVERY = 4
"""A driver thinks of another lane every fourth step, in turn with the others."""

# Which turns a lane of a three-lane approach allows, by lane index from the right.
ALLOWED_INDEX = {RIGHT: (0,), STRAIGHT: (0, 1), LEFT: (2,)}


@dataclass
class Traffic:
    """n vehicles; arrays (n,) change in place with `step`."""

    network: LaneNetwork
    lane: IntArray
    offset_m: FloatArray  # of the front bumper
    speed_mps: FloatArray
    length_m: FloatArray
    haste_ratio: FloatArray  # desired speed over the limit
    turn: IntArray  # planned at the next junction
    driver: Driver = field(default_factory=Driver)
    to_left_m: FloatArray = field(init=False)  # still to drift; the lane itself has changed
    accel_mps2: FloatArray = field(init=False)
    forced_mps2: FloatArray = field(init=False)  # NaN: drives by itself
    is_stopping: BoolArray = field(init=False)  # for amber or red
    blinker: IntArray = field(init=False)  # -1 right, 1 left
    slow_from_m: FloatArray = field(init=False)  # (n_lanes,) where a blockage begins
    slow_mps: float = 1.5
    _count: int = 0

    def __post_init__(self) -> None:
        n = len(self.lane)
        self.to_left_m, self.accel_mps2 = np.zeros(n), np.zeros(n)
        self.forced_mps2 = np.full(n, np.nan)
        self.is_stopping, self.blinker = np.zeros(n, np.bool_), np.zeros(n, np.int64)
        self.slow_from_m = np.full(len(self.network.length_m), np.inf)

    def step(self, dt_s: float, signals: IntArray, random: np.random.Generator) -> None:
        """Drive `dt_s`. `signals` (n_signals,) are GREEN, AMBER or RED."""
        desired = self._desired_mps()
        ahead = Ahead.of(self)
        gap_m, leader_mps = ahead.gap_m, ahead.speed_mps
        accel = acceleration(self.speed_mps, gap_m, leader_mps, desired, self.driver)
        line_m = self._line_m(ahead, signals)
        to_line = acceleration(
            self.speed_mps, line_m + self.driver.standstill_gap_m, 0.0, desired, self.driver
        )
        # A line does not move: the even braking that stops before it is enough, where the IDM,
        # which fears that a leader might brake too, would brake for an emergency.
        even = -(self.speed_mps**2) / (2.0 * np.maximum(line_m, NEAR_M))
        to_line = np.maximum(to_line, np.minimum(even, -self.driver.comfortable_braking_mps2))
        accel = np.maximum(np.minimum(accel, to_line), -self.driver.full_braking_mps2)
        self.accel_mps2 = np.where(np.isnan(self.forced_mps2), accel, self.forced_mps2)
        self._change_lanes(ahead, accel, desired)
        moved_m, speed = advance(self.speed_mps, self.accel_mps2, dt_s)
        self.accel_mps2 = (speed - self.speed_mps) / dt_s
        self.speed_mps = speed
        self.offset_m = self.offset_m + moved_m
        drift_m = np.minimum(ACROSS_PER_M * moved_m, ACROSS_MPS * dt_s)
        self.to_left_m = np.sign(self.to_left_m) * np.maximum(np.abs(self.to_left_m) - drift_m, 0.0)
        self._enter_following(random)
        self._count += 1

    def _desired_mps(self) -> FloatArray:
        """Limit here, slowing in time for a slower lane behind and for a blockage."""
        network = self.network
        limit = network.speed_limit_mps[self.lane] * self.haste_ratio
        behind = self.next_lane()
        rest_m = np.maximum(network.length_m[self.lane] - self.offset_m, 0.0)
        slowing = 2.0 * self.driver.comfortable_braking_mps2 * rest_m
        limit = np.minimum(limit, np.sqrt(network.speed_limit_mps[behind] ** 2 + slowing))
        before_m = np.maximum(self.slow_from_m[self.lane] - self.offset_m, 0.0)
        slowing = 2.0 * SEEN_EARLY_MPS2 * before_m  # inf where nothing is blocked
        return np.minimum(limit, np.sqrt(self.slow_mps**2 + slowing))

    def next_lane(self) -> IntArray:
        """The lane behind each vehicle's own (n,); where its turn is not allowed, another."""
        options = self.network.following[self.lane]
        chosen = options[np.arange(len(self.lane)), self.turn]
        return np.where(chosen == NO_LANE, options.max(axis=1), chosen)

    def _line_m(self, ahead: Ahead, signals: IntArray) -> FloatArray:
        """Distance to where one must stop before the junction, inf where one need not."""
        network, behind = self.network, ahead.next_lane
        rest_m = network.length_m[self.lane] - self.offset_m
        signal = network.signal[behind]
        has_signal = (signal >= 0) & ~network.is_internal[self.lane]
        shown = np.where(has_signal, signals[signal], GREEN)
        needed_m = self.speed_mps**2 / (2 * STOPPING_MPS2) + self.speed_mps * REACTION_S
        can_stop = rest_m >= needed_m
        # Who has begun to stop at amber goes on; who could not stop drives on, unless slowed.
        self.is_stopping = (shown == RED) | ((shown == AMBER) & (self.is_stopping | can_stop))
        must_stop = self.is_stopping | (has_signal & can_stop & ahead.is_full)
        return np.where(must_stop, np.maximum(rest_m - LINE_GAP_M, 0.0), np.inf)

    def _enter_following(self, random: np.random.Generator) -> None:
        network = self.network
        over = np.flatnonzero(self.offset_m >= network.length_m[self.lane])
        if not over.size:
            return
        behind = self.next_lane()[over]
        self.offset_m[over] -= network.length_m[self.lane[over]]
        was_internal = network.is_internal[self.lane[over]]
        self.lane[over] = behind
        arrived = over[was_internal]  # on a new link: where to at its end?
        shares = np.cumsum(TURN_SHARES)
        self.turn[arrived] = np.searchsorted(shares, random.random(arrived.size), side="right")
        self.is_stopping[over] = False

    def _change_lanes(self, ahead: Ahead, accel: FloatArray, desired: FloatArray) -> None:
        network = self.network
        rest_m = network.length_m[self.lane] - self.offset_m
        may = ~network.is_internal[self.lane] & (self.to_left_m == 0.0)
        may &= (self.offset_m > CHANGE_AFTER_M) & (rest_m > CHANGE_UNTIL_M)
        may &= np.isnan(self.forced_mps2)
        may &= np.arange(len(self.lane)) % CHANGE_EVERY == self._count % CHANGE_EVERY
        self.blinker[self.to_left_m == 0.0] = 0
        taken: set[int] = set()
        for vehicle in np.flatnonzero(may).tolist():
            for target, is_needed in self._wishes(vehicle):
                if target in taken:  # one change into a lane per step: gaps are those before it
                    continue
                new_mps2 = self._acceleration_in(vehicle, target, ahead, float(desired[vehicle]))
                gain = 0.0 if is_needed else GAIN_MPS2
                if new_mps2 is None or (not is_needed and new_mps2 < accel[vehicle] + gain):
                    continue
                self._move(vehicle, target)
                taken.add(target)
                break

    def _wishes(self, vehicle: int) -> list[tuple[int, bool]]:
        """Neighbour lanes to look at, and whether the turn needs that side."""
        network, lane = self.network, int(self.lane[vehicle])
        index = int(network.index[lane])
        left, right = int(network.left[lane]), int(network.right[lane])
        has_signal = network.signal[network.following[lane].max()] >= 0
        allowed = ALLOWED_INDEX[int(self.turn[vehicle])] if has_signal else (0, 1, 2)
        if index < min(allowed):
            return [(left, True)]
        if index > max(allowed):
            return [(right, True)]
        return [
            (side, False)
            for side, new_index in ((left, index + 1), (right, index - 1))
            if side != NO_LANE and (new_index in allowed or self.speed_mps[vehicle] < CREEPING_MPS)
        ]

    def _acceleration_in(
        self, vehicle: int, target: int, ahead: Ahead, desired_mps: float
    ) -> float | None:
        """Own acceleration after a change, None if it would be unsafe for either."""
        leader, follower = ahead.neighbours(target, float(self.offset_m[vehicle]))
        room_m = self.driver.standstill_gap_m / 2
        own = self._following(vehicle, leader, desired_mps) if leader is not None else None
        if leader is not None:
            gap_m = self.offset_m[leader] - self.length_m[leader] - self.offset_m[vehicle]
            if gap_m < room_m or own is None or own < -SAFE_BRAKING_MPS2:
                return None
        if follower is not None:
            gap_m = self.offset_m[vehicle] - self.length_m[vehicle] - self.offset_m[follower]
            if gap_m < room_m:
                return None
            limit = float(self.network.speed_limit_mps[target])
            if self._following(follower, vehicle, limit) < -SAFE_BRAKING_MPS2:
                return None
        free = acceleration(self.speed_mps[vehicle], np.inf, 0.0, desired_mps, self.driver)
        return own if own is not None else float(free)

    def _following(self, vehicle: int, leader: int, desired_mps: float) -> float:
        gap_m = self.offset_m[leader] - self.length_m[leader] - self.offset_m[vehicle]
        speeds = self.speed_mps[vehicle], self.speed_mps[leader]
        return float(acceleration(speeds[0], gap_m, speeds[1], desired_mps, self.driver))

    def _move(self, vehicle: int, target: int) -> None:
        network, lane = self.network, int(self.lane[vehicle])
        width_m = float(np.hypot(*(network.points_xy_m[target][0] - network.points_xy_m[lane][0])))
        is_left = target == network.left[lane]
        self.lane[vehicle] = target
        self.to_left_m[vehicle] = -width_m if is_left else width_m
        self.blinker[vehicle] = 1 if is_left else -1


@dataclass(frozen=True)
class Ahead:
    """What lies ahead of every vehicle at one moment."""

    gap_m: FloatArray  # (n,) to the nearest bumper ahead, inf where there is none
    speed_mps: FloatArray  # (n,) of that vehicle
    next_lane: IntArray  # (n,)
    is_full: BoolArray  # (n,) no room behind the junction
    _order: IntArray  # (n,) vehicles by lane and offset
    _lanes: IntArray  # (n,) their lanes
    _offsets_m: FloatArray  # (n,) their offsets

    @classmethod
    def of(cls, traffic: Traffic) -> Ahead:
        """Look ahead over the rest of the lane, the junction, and the lane behind it."""
        network, lane, offset_m = traffic.network, traffic.lane, traffic.offset_m
        order = np.lexsort((offset_m, lane))
        lanes = lane[order]
        rear_m = offset_m - traffic.length_m
        n_lanes = len(network.length_m)
        last = np.full(n_lanes, -1, np.int64)  # the hindmost vehicle of each lane
        is_first = np.diff(lanes, prepend=-1) != 0
        last[lanes[is_first]] = order[is_first]

        gap_m = np.full(len(lane), np.inf)
        speed_mps = np.zeros(len(lane))
        same = lanes[1:] == lanes[:-1]
        own, leader = order[:-1][same], order[1:][same]
        gap_m[own], speed_mps[own] = rear_m[leader] - offset_m[own], traffic.speed_mps[leader]

        heads = np.append(order[:-1][~same], order[-1:])
        next_lane = traffic.next_lane()
        far_m = network.length_m[lane[heads]] - offset_m[heads]
        hop = next_lane[heads]
        for _ in range(2):  # the junction, then the link behind it
            found = last[hop]
            new_m = np.where(found >= 0, far_m + rear_m[found], np.inf)
            is_nearer = new_m < gap_m[heads]
            gap_m[heads] = np.where(is_nearer, new_m, gap_m[heads])
            speed_mps[heads] = np.where(is_nearer, traffic.speed_mps[found], speed_mps[heads])
            far_m = far_m + network.length_m[hop]
            hop = network.following[hop].max(axis=1)
        cls._mind_tails(traffic, heads, gap_m, speed_mps)
        is_full = cls._full(traffic, next_lane, last, rear_m)
        return cls(gap_m, speed_mps, next_lane, is_full, order, lanes, offset_m[order])

    @staticmethod
    def _mind_tails(
        traffic: Traffic, heads: IntArray, gap_m: FloatArray, speed_mps: FloatArray
    ) -> None:
        """Tails of vehicles that turned another way but still stand in the lane they came from."""
        network = traffic.network
        inside = network.is_internal[traffic.lane] & (traffic.offset_m < traffic.length_m)
        came_from = {  # internal lane -> the lane it leaves
            int(after): before
            for before in set(traffic.lane[heads].tolist())
            for after in network.following[before]
            if after != NO_LANE
        }
        head_of = {int(traffic.lane[head]): int(head) for head in heads}
        for vehicle in np.flatnonzero(inside).tolist():
            head = head_of.get(came_from.get(int(traffic.lane[vehicle]), NO_LANE))
            if head is None:
                continue
            rest_m = network.length_m[traffic.lane[head]] - traffic.offset_m[head]
            new_m = rest_m + traffic.offset_m[vehicle] - traffic.length_m[vehicle]
            if new_m < gap_m[head]:
                gap_m[head], speed_mps[head] = new_m, traffic.speed_mps[vehicle]

    @staticmethod
    def _full(
        traffic: Traffic, next_lane: IntArray, last: IntArray, rear_m: FloatArray
    ) -> BoolArray:
        """Whether the lane behind the junction has no room for one more than is on the way."""
        network = traffic.network
        target = np.where(
            network.is_internal[next_lane], network.following[next_lane].max(axis=1), next_lane
        )
        coming_m = np.zeros(len(network.length_m))
        inside = network.is_internal[traffic.lane]
        goal = network.following[traffic.lane[inside]].max(axis=1)
        np.add.at(coming_m, goal, traffic.length_m[inside] + traffic.driver.standstill_gap_m)
        hindmost = last[target]
        room_m = np.where(hindmost >= 0, rear_m[hindmost], np.inf) - coming_m[target]
        is_slow = np.where(hindmost >= 0, traffic.speed_mps[hindmost] < CREEPING_MPS, False)
        return np.asarray((room_m < traffic.length_m + ROOM_M) & is_slow)

    def neighbours(self, lane: int, offset_m: float) -> tuple[int | None, int | None]:
        """The vehicles before and behind a place in a lane."""
        first, last = np.searchsorted(self._lanes, (lane, lane + 1))
        place = first + int(np.searchsorted(self._offsets_m[first:last], offset_m, side="right"))
        leader = int(self._order[place]) if place < last else None
        follower = int(self._order[place - 1]) if place > first else None
        return leader, follower
