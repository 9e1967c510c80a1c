"""The traffic itself: one step at a time, all vehicles together.

A step: look ahead, obey lines and signals, wish for an acceleration, change lanes, move, go over
into the next lanes, leave and enter. Nothing is drawn in a step, so a run follows from network,
demand and events alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.ahead import Ahead, Walls, joining, look
from simulator.traffic.demand import Demand
from simulator.traffic.departures import Departures
from simulator.traffic.following import (
    FULL_BRAKING_MPS2,
    STANDSTILL_GAP_M,
    acceleration,
    move,
    safe_speed,
)
from simulator.traffic.halts import guide, on_the_road, put_walls
from simulator.traffic.lane_change import CHOOSE_EVERY_S, THINK_EVERY_S, Turns, choose
from simulator.traffic.lane_facts import LOWEST_DESIRED_MPS, LaneFacts
from simulator.traffic.network import NOWHERE, TrafficNetwork
from simulator.traffic.plans import ARRIVED, Plans
from simulator.traffic.right_of_way import LINE_GAP_M, RightOfWay
from simulator.traffic.signals import Listening, SignalProgram
from simulator.traffic.vehicles import STALE_M, Rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

END_GAP_M = 6.0
"""Before the end of a lane one has to leave: room to turn out of it."""
ACROSS_PER_M, ACROSS_MPS = 0.25, 1.2
"""Sideways at most a quarter of the way ahead and 1.2 m/s: a change takes about 3 s."""
STANDING_MPS = 0.1
STUCK_S, STUCK_M = 10.0, 20.0
"""Who stands this long this near to the end of a wrong lane takes the way it leads."""
JOIN_SLACK_RATIO, JOIN_MPS2 = 0.3, 3.0
"""Far from where ways join the gap need not be full yet, and nobody brakes hard for it."""
DENSE_RATIO = 0.75
"""With more than this share awake it costs less to work out everybody than to pick them."""


@dataclass
class Traffic:
    """The vehicles of a demand on a network; `step` drives them."""

    network: TrafficNetwork
    plans: Plans
    demand: Demand
    dt_s: float = 0.5
    signals: SignalProgram | None = None
    """What shows when; by default the network's own plans."""
    now_s: float = 0.0
    rows: Rows = field(default_factory=Rows.empty)
    limit_mps: FloatArray = field(init=False)  # (n_lanes,) with events
    stop_at_m: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Vehicle -> lane and offset at which it is made to stand."""
    halt_at_m: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Vehicle -> lane and offset at which its driver means to stop, and changes lanes for it."""
    top_mps_of: dict[int, float] = field(default_factory=dict)
    """Vehicle -> speed it is not to exceed."""
    forced_mps2: dict[int, float] = field(default_factory=dict)
    """Vehicle -> acceleration it is made to have."""
    friction_ratio: float = 1.0  # of dry asphalt
    speed_ratio: float = 1.0  # of desired speeds
    caution_ratio: float = 1.0  # of headways
    arrived: list[tuple[int, float]] = field(default_factory=list)  # vehicle, time
    n_steps: int = 0
    n_detours: int = 0  # vehicles that could not get into the lane of their way
    n_updates: int = 0

    def __post_init__(self) -> None:
        self.limit_mps = self.network.limit_mps.copy()
        self._walls: dict[object, list[tuple[int, float]]] = {}
        self._all_walls = Walls.of(self.network.n_lanes, ())
        self._rules = RightOfWay(self.network)
        self._program = self.signals if self.signals is not None else self.network.signals
        self._departures = Departures(self.network, self.plans, self.demand)
        self._facts = LaneFacts(self.network, self.plans, self.demand)
        self._lane_width_m = _widths(self.network)
        self._row_of = np.full(self.demand.n, NOWHERE, np.int64)
        self._in_halt_lane = np.empty(0, np.int64)

    @property
    def shown(self) -> IntArray:
        """What all signal heads show now."""
        return self._program.states(self.now_s)

    @property
    def n_waiting(self) -> int:
        """Vehicles whose time has come and that found no room yet."""
        return self._departures.n_waiting

    def set_walls(self, name: object, places: Sequence[tuple[int, float]]) -> None:
        """Something across the road at these (lane, offset in m); none takes `name` away again."""
        self._walls[name] = list(places)
        if not places:
            del self._walls[name]
        every = [place for group in self._walls.values() for place in group]
        self._all_walls = Walls.of(self.network.n_lanes, every)

    def fill(self, vehicles: IntArray, seed: int) -> None:
        """Put these vehicles of the demand on the road at once, standing, spread over all lanes.

        Raises ValueError if they do not fit.
        """
        self._departures.fill(self.rows, vehicles, seed)

    def put(
        self, vehicles: IntArray, lane: IntArray, offset_m: FloatArray, speed_mps: FloatArray
    ) -> None:
        """Put vehicles of the demand on the road at these places; they will not depart again."""
        self._departures.put(self.rows, vehicles, lane, offset_m, speed_mps)

    def rows_of(self, vehicles: IntArray) -> IntArray:
        """The row of each vehicle (m,), NOWHERE where it is not on the road."""
        self._row_of[self.rows.vehicle] = np.arange(self.rows.n)
        found = self._row_of[vehicles]
        self._row_of[self.rows.vehicle] = NOWHERE
        return found

    def release(self, vehicle: int) -> None:
        """Let a driver forget about its halt."""
        del self.halt_at_m[vehicle]
        row = int(self.rows_of(np.array([vehicle]))[0])
        if row != NOWHERE:
            self.rows.lane_m[row] = STALE_M

    def send(self, vehicle: int, plan: int) -> None:
        """Let a vehicle that is between junctions follow another plan from now on."""
        row = int(self.rows_of(np.array([vehicle]))[0])
        if row != NOWHERE:
            self.rows.plan[row] = plan
            self.rows.next_lane[row] = self.plans.connector[plan, self.rows.lane[row]]
            self.rows.lane_m[row] = STALE_M

    def places(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x, y (m) and course (deg) of the front bumpers of all rows, (n,)."""
        rows = self.rows
        return self.network.place(rows.lane, rows.offset_m, rows.to_left_m)

    def step(self) -> None:
        """Drive `dt_s`."""
        if self.rows.n:
            self._drive()
        self.now_s = round(self.now_s + self.dt_s, 6)
        self._departures.enter(self.rows, self.now_s, self.limit_mps)
        self.n_steps += 1
        self.n_updates += self.rows.n

    def _drive(self) -> None:
        network, rows, dt_s = self.network, self.rows, self.dt_s
        headway_s = rows.headway_s * self.caution_ratio
        full_mps2 = FULL_BRAKING_MPS2 * self.friction_ratio
        self._facts.refresh(rows, self.limit_mps, self.speed_ratio)
        self._in_halt_lane = np.empty(0, np.int64)
        if self.halt_at_m:
            halts = on_the_road(self.halt_at_m, self.rows_of)
            self._in_halt_lane = guide(rows, network.lane_edge, halts)
        if isinstance(self._program, Listening):
            self._program.advance(self.now_s, self._called(self._program.reach_m))
        code_of_link = self._rules.codes(self.shown)
        ahead = look(network, self.plans, rows, self._all_walls, code_of_link)
        for places in (self.stop_at_m, self.halt_at_m):
            if places:
                put_walls(rows, ahead, on_the_road(places, self.rows_of))
        desired = self._desired_mps(ahead)
        wanted = self._wanted(ahead, desired, headway_s)
        accel = wanted - ahead.asleep * rows.speed_mps / dt_s
        self._obey_lines(ahead, accel, desired, code_of_link)
        self._mind_joining(ahead, accel, desired)
        changed = self._change_lanes(ahead, wanted, accel, desired)
        self._force(accel)
        new_mps = np.maximum(rows.speed_mps + accel * dt_s, 0.0)
        cap = safe_speed(rows.speed_mps, ahead.gap_m - 0.2, ahead.leader_mps, full_mps2, dt_s)
        cap[changed] = np.inf  # their gap is another now, and was found safe
        new_mps = np.minimum(new_mps, cap)
        rows.accel_mps2 = (new_mps - rows.speed_mps) / dt_s
        moved_m = move(rows.speed_mps, new_mps, np.minimum(accel, rows.accel_mps2), dt_s)
        rows.speed_mps = new_mps
        rows.offset_m = rows.offset_m + moved_m
        self._drift(moved_m)
        rows.waited_s = (rows.waited_s + dt_s) * (new_mps < STANDING_MPS)
        self._go_over(changed)

    def _called(self, reach_m: float) -> BoolArray:
        """Signal heads (n_heads,) whose line somebody is near to, within that."""
        network, rows, n = self.network, self.rows, self.network.n_normal
        near = np.flatnonzero((rows.lane_m - rows.offset_m < reach_m) & (rows.next_lane >= n))
        near = near[rows.lane[near] < n]
        heads = network.link_signal[rows.next_lane[near] - n]
        is_called = np.zeros(len(network.signals.heads), np.bool_)
        is_called[heads[heads >= 0]] = True
        return is_called

    def _desired_mps(self, ahead: Ahead) -> FloatArray:
        """The limit here as each driver takes it, slowing in time for the lane behind."""
        rows = self.rows
        desired = rows.free_mps.copy()
        near = np.flatnonzero(rows.offset_m > rows.slow_at_m)
        rest_m, behind = np.maximum(ahead.rest_m[near], 0.0), rows.next_mps[near]
        desired[near] = np.sqrt(behind * behind + 2.0 * rows.braking_mps2[near] * rest_m)
        for vehicle, most_mps in self.top_mps_of.items():
            desired[rows.vehicle == vehicle] = max(most_mps, LOWEST_DESIRED_MPS)
        return desired

    def _wanted(self, ahead: Ahead, desired: FloatArray, headway_s: FloatArray) -> FloatArray:
        """What everybody would do in its lane; 0 for who is asleep."""
        rows = self.rows
        facts = (
            rows.speed_mps,
            ahead.gap_m,
            ahead.leader_mps,
            desired,
            headway_s,
            rows.max_accel_mps2,
            rows.braking_mps2,
        )
        awake = np.flatnonzero(~ahead.asleep)
        if len(awake) > DENSE_RATIO * rows.n:
            return acceleration(*facts) * ~ahead.asleep
        wanted = np.zeros(rows.n)
        wanted[awake] = acceleration(*(fact.take(awake) for fact in facts))
        return wanted

    def _force(self, accel: FloatArray) -> None:
        for vehicle, mps2 in self.forced_mps2.items():
            accel[self.rows.vehicle == vehicle] = mps2

    def _obey_lines(
        self, ahead: Ahead, accel: FloatArray, desired: FloatArray, code_of_link: IntArray
    ) -> None:
        """Stop before the line where one has to, and at the end of a lane that leads nowhere."""
        rows = self.rows
        stops, line_m, ends_lane = self._rules.stopping(rows, ahead, code_of_link, self.plans)
        rows.is_stopping &= ahead.asleep
        rows.is_stopping[stops[ends_lane]] = True  # before a line beyond it one still comes there
        ends = np.flatnonzero((rows.next_lane == NOWHERE) & ~ahead.asleep)
        who = np.concatenate([stops, ends])
        rest_m = np.concatenate([line_m, ahead.rest_m[ends] - END_GAP_M])
        v, braking = rows.speed_mps[who], rows.braking_mps2[who]
        to_line = acceleration(
            v,
            np.maximum(rest_m, 0.0) + STANDSTILL_GAP_M,
            0.0,
            desired[who],
            rows.headway_s[who] * 0.5,
            rows.max_accel_mps2[who],
            braking,
        )
        # A line does not move: the even braking that stops before it is enough.
        even = -v * v / (2.0 * np.maximum(rest_m, 0.1))
        to_line = np.maximum(to_line, np.minimum(even, -braking))
        # Past where one stops there is the last metre to the line, and no creeping over it.
        firm = np.minimum(-v * v / (2.0 * LINE_GAP_M), -braking)
        to_line = np.where(rest_m <= 0.0, np.minimum(to_line, firm), to_line)
        np.minimum.at(accel, who, to_line)

    def _mind_joining(self, ahead: Ahead, accel: FloatArray, desired: FloatArray) -> None:
        who, gap_m, leader_mps, to_go_m = joining(
            self.network, self.rows, ahead, self._rules.is_joined
        )
        if not who.size:
            return
        rows = self.rows
        far_m = np.maximum(to_go_m - 10.0, 0.0)
        behind = acceleration(
            rows.speed_mps[who],
            np.maximum(gap_m + JOIN_SLACK_RATIO * far_m, 0.5),
            leader_mps,
            desired[who],
            rows.headway_s[who] * 0.7,
            rows.max_accel_mps2[who],
            rows.braking_mps2[who],
        )
        behind = np.where(far_m > 0.0, np.maximum(behind, -JOIN_MPS2), behind)
        np.minimum.at(accel, who, behind)
        inside = gap_m < to_go_m  # once on the last metres it is a leader as any other
        close = np.flatnonzero(inside & (far_m <= 0.0) & (gap_m < ahead.gap_m[who]))
        ahead.gap_m[who[close]] = np.maximum(gap_m[close], 0.2)
        ahead.leader_mps[who[close]] = leader_mps[close]

    def _change_lanes(
        self, ahead: Ahead, wanted: FloatArray, accel: FloatArray, desired: FloatArray
    ) -> IntArray:
        rows, network = self.rows, self.network
        may = ~ahead.asleep
        for vehicle in (*self.stop_at_m, *self.forced_mps2):
            may[rows.vehicle == vehicle] = False
        may[self._in_halt_lane] = False
        turns = Turns(self._turn(THINK_EVERY_S) & may, self._turn(CHOOSE_EVERY_S) & may)
        found = choose(network, self.plans, rows, ahead, wanted, desired, turns, self.now_s)
        np.minimum.at(accel, found.courteous, found.courtesy_mps2)
        who, lane = found.rows, found.lanes
        stays_free = ~rows.is_stopping[who]
        accel[who] = np.where(stays_free, found.own_mps2, np.minimum(accel[who], found.own_mps2))
        is_left = lane == network.left[rows.lane[who]]
        width_m = self._lane_width_m[rows.lane[who]]
        rows.to_left_m[who] = np.where(is_left, -width_m, width_m)
        rows.lane[who] = lane
        rows.next_lane[who] = self.plans.connector[rows.plan[who], lane]
        rows.came_from[who], rows.came_from2[who] = NOWHERE, NOWHERE
        rows.lane_m[who] = STALE_M
        rows.changed_s[who] = self.now_s
        rows.is_stopping[who] = False
        return who

    def _turn(self, every_s: float) -> BoolArray:
        """Whose turn it is (n,), if everybody has one in so long."""
        every = max(1, round(every_s / self.dt_s))
        if every & (every - 1):
            return np.asarray(self.rows.turn % every == self.n_steps % every)
        # Of a power of two the last bits are the remainder, at a fortieth of a division's cost.
        return np.asarray(self.rows.turn & np.int8(every - 1) == self.n_steps % every)

    def _drift(self, moved_m: FloatArray) -> None:
        rows = self.rows
        who = np.flatnonzero(rows.to_left_m)
        step_m = np.minimum(ACROSS_PER_M * moved_m[who], ACROSS_MPS * self.dt_s)
        at_m = rows.to_left_m[who]
        rows.to_left_m[who] = np.sign(at_m) * np.maximum(np.abs(at_m) - step_m, 0.0)

    def _go_over(self, changed: IntArray) -> None:
        """Into the next lane, or off the road; and keep the order."""
        network, rows = self.network, self.rows
        moved = np.zeros(rows.n, np.bool_)
        stays = np.ones(rows.n, np.bool_)
        moved[changed] = True
        rows.lane_m[changed] = network.length_m[rows.lane[changed]]
        over = np.flatnonzero(rows.offset_m >= rows.lane_m)
        rows.lane_m[changed] = STALE_M
        while over.size:
            behind = rows.next_lane[over]
            arrives = behind == ARRIVED
            for row in over[arrives].tolist():
                self.arrived.append((int(rows.vehicle[row]), self.now_s + self.dt_s))
            stays[over[arrives]] = False
            self._hold(over[behind == NOWHERE])
            over, behind = over[behind >= 0], behind[behind >= 0]
            rows.offset_m[over] -= network.length_m[rows.lane[over]]
            rows.came_from2[over] = rows.came_from[over]
            rows.came_from[over] = rows.lane[over]
            rows.lane[over] = behind
            rows.next_lane[over] = self._onward(rows.plan[over], behind)
            rows.is_stopping[over] = False
            rows.lane_m[over] = STALE_M
            moved[over] = True
            over = over[rows.offset_m[over] >= network.length_m[behind]]
        self._free_the_stuck()
        rows.restore_order(moved, stays)

    def _onward(self, plan: IntArray, lane: IntArray) -> IntArray:
        """The lane behind each lane for each plan."""
        n = self.network.n_normal
        is_connector = lane >= n
        onward = self.plans.connector[plan, np.where(is_connector, 0, lane)]
        return np.where(is_connector, self.network.after[lane], onward)

    def _hold(self, who: IntArray) -> None:
        """At the end of a lane that leads nowhere one stands."""
        rows = self.rows
        rows.offset_m[who] = self.network.length_m[rows.lane[who]] - 1e-3
        rows.speed_mps[who] = 0.0

    def _free_the_stuck(self) -> None:
        """Who cannot get out of a wrong lane takes any way it leads, and the plan goes on there."""
        network, rows = self.network, self.rows
        rows.waited_s[self._in_halt_lane] = 0.0  # who means to stand there is not stuck
        who = np.flatnonzero((rows.next_lane == NOWHERE) & (rows.waited_s > STUCK_S))
        who = who[np.mod(rows.waited_s[who], STUCK_S) <= self.dt_s]  # one look each time
        near = network.length_m[rows.lane[who]] - rows.offset_m[who] <= STUCK_M
        who = who[near & (rows.lane[who] < network.n_normal)]
        for row in who.tolist():
            lane, plan = int(rows.lane[row]), int(rows.plan[row])
            first, last = network.link_from.searchsorted((lane, lane + 1))
            links = np.arange(first, last)
            goals = network.link_edges[1][links]
            leads = (self.plans.next_edge[plan, goals] >= 0) | self.plans.is_exit[goals]
            if not leads.any():  # its goal is out of reach: it leaves by the nearest exit
                plan = self.plans.leaving(self.plans.is_bus[plan])
                leads = (self.plans.next_edge[plan, goals] >= 0) | self.plans.is_exit[goals]
            if leads.any():
                rows.plan[row] = plan
                rows.next_lane[row] = network.n_normal + links[leads][0]
                rows.lane_m[row] = STALE_M
                self.n_detours += 1

    def replan(self, decided_m: float = 0.0) -> None:
        """After plans have changed: everybody looks again which connector to take.

        Who is nearer than that to the end of a lane keeps the one he has chosen.
        """
        rows = self.rows
        is_decided = self.network.length_m[rows.lane] - rows.offset_m < decided_m
        is_decided &= rows.next_lane >= 0
        on_lane = np.flatnonzero((rows.lane < self.network.n_normal) & ~is_decided)
        rows.next_lane[on_lane] = self.plans.connector[rows.plan[on_lane], rows.lane[on_lane]]
        rows.lane_m.fill(STALE_M)


def _widths(network: TrafficNetwork) -> FloatArray:
    """How far the next lane lies aside, (n_lanes,) m."""
    road_map = network.road_map
    number = {name: lane for lane, name in enumerate(road_map.lane_ids)}
    widths = np.full(network.n_lanes, 3.3)
    for lane, name in enumerate(network.lane_name[: network.n_normal]):
        widths[lane] = road_map.lane_width_m[number[name]]
    return widths
