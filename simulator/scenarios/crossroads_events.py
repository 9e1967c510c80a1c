"""What happens on the crossroads' roads, beside their ordinary traffic.

Each event picks its vehicle by the state at its time (somebody who is where it can happen), and
is written into the ground truth when it begins.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from openvrc.contracts.units import NS_PER_S
from simulator.physics.traffic import Traffic
from simulator.scenarios.crossroads_map import Crossroads
from simulator.world import TruthEvent

JAMMED = "j1-n1"
BREAKDOWN = "j2-e"
BLOCKED_FROM_M = 60.0

BREAKDOWN_PLACE_M = (90.0, 200.0)
"""Behind it there is room for followers to change lanes, ahead of it a free view of 200 m."""
COASTING_MPS2 = -3.0
HARD_BRAKE_MPS2, HARD_BRAKE_S = -7.0, 1.25
"""An emergency braking on a dry road; long enough to be seen in a sample each second."""
EMERGENCY_MPS2, SAME_BRAKING_S = -5.5, 3.0
"""Harder than anybody brakes by choice; a pause of 3 s makes it another braking."""
FAST_MPS = 11.0
FOLLOWER_GAP_M = 18.0


@dataclass(frozen=True)
class EventTimes:
    """When things begin, s after the start, and how long they last."""

    jam_s: float = 0.0
    jam_for_s: float = 300.0
    breakdown_s: float = 3.0
    breakdown_for_s: float = 120.0
    hard_brake_s: float = 10.0
    hot_pack_s: float = 2.0
    hot_pack_for_s: float = 28.0
    insulation_s: float = 3.0


@dataclass
class RoadEvents:
    """Runs the events; `truth` grows as they begin."""

    roads: Crossroads
    times: EventTimes
    vehicle_ids: list[str]
    start_ns: int
    truth: list[TruthEvent] = field(default_factory=list)
    standing: int | None = None
    _standing_until_s: float = np.inf
    _braking: int | None = None
    _braking_until_s: float = np.inf
    _done: set[str] = field(default_factory=set)
    _braked_s: dict[int, float] = field(default_factory=dict)

    def apply(self, traffic: Traffic, time_s: float) -> None:
        """Begin and end what is due before the step at `time_s`."""
        self._jam(traffic, time_s)
        self._breakdown(traffic, time_s)
        self._hard_brake(traffic, time_s)

    def note(self, traffic: Traffic, time_s: float) -> None:
        """Write down who else brakes as hard as an emergency: reactions are events too."""
        for vehicle in np.flatnonzero(traffic.accel_mps2 < EMERGENCY_MPS2).tolist():
            is_new = time_s - self._braked_s.get(vehicle, -np.inf) > SAME_BRAKING_S
            self._braked_s[vehicle] = time_s
            if is_new and vehicle != self._braking:
                event = self._vehicle_event(
                    "traffic.hard_braking", traffic, vehicle, time_s, time_s
                )
                self.truth.append(event)

    def _ns(self, time_s: float) -> int:
        return self.start_ns + round(time_s * NS_PER_S)

    def _jam(self, traffic: Traffic, time_s: float) -> None:
        times = self.times
        is_on = times.jam_s <= time_s < times.jam_s + times.jam_for_s
        lanes = [self.roads.lane_of(JAMMED, index) for index in range(3)]
        traffic.slow_from_m[lanes] = BLOCKED_FROM_M if is_on else np.inf
        if is_on and "jam" not in self._done:
            self._done.add("jam")
            self.truth.append(
                TruthEvent(
                    rule="traffic.congestion",
                    subject_id=JAMMED,
                    from_ns=self._ns(time_s),
                    to_ns=self._ns(times.jam_s + times.jam_for_s),
                    segment_id=JAMMED,
                )
            )

    def _breakdown(self, traffic: Traffic, time_s: float) -> None:
        if self.standing is None and time_s >= self.times.breakdown_s:
            lane = self.roads.lane_of(BREAKDOWN, 1)
            low_m, high_m = BREAKDOWN_PLACE_M
            fits = (traffic.lane == lane) & (traffic.speed_mps > FAST_MPS / 2)
            fits &= (traffic.offset_m > low_m) & (traffic.offset_m < high_m)
            fits &= traffic.to_left_m == 0.0
            if not fits.any():
                return
            self.standing = vehicle = int(np.flatnonzero(fits)[0])
            self._standing_until_s = time_s + self.times.breakdown_for_s
            traffic.forced_mps2[vehicle] = COASTING_MPS2
            self.truth.append(
                self._vehicle_event(
                    "traffic.stopped_vehicle", traffic, vehicle, time_s, self._standing_until_s
                )
            )
        if self.standing is not None and time_s >= self._standing_until_s:
            traffic.forced_mps2[self.standing] = np.nan
            self._standing_until_s = np.inf

    def _hard_brake(self, traffic: Traffic, time_s: float) -> None:
        if self._braking is None and time_s >= self.times.hard_brake_s:
            vehicle = self._somebody_fast(traffic)
            if vehicle is None:
                return
            self._braking = vehicle
            self._braking_until_s = time_s + HARD_BRAKE_S
            traffic.forced_mps2[vehicle] = HARD_BRAKE_MPS2
            self.truth.append(
                self._vehicle_event(
                    "traffic.hard_braking", traffic, vehicle, time_s, self._braking_until_s
                )
            )
        if self._braking is not None and time_s >= self._braking_until_s:
            traffic.forced_mps2[self._braking] = np.nan
            self._braking_until_s = np.inf

    def _somebody_fast(self, traffic: Traffic) -> int | None:
        """A vehicle at speed on a link, off the other events' roads, with room behind it."""
        apart = [self.roads.segment_ids.index(name) for name in (JAMMED, BREAKDOWN)]
        segment = self.roads.network.segment[traffic.lane]
        fits = ~self.roads.network.is_internal[traffic.lane] & ~np.isin(segment, apart)
        fits &= (traffic.speed_mps > FAST_MPS) & (traffic.to_left_m == 0.0)
        for vehicle in np.flatnonzero(fits).tolist():
            behind_m = (
                traffic.offset_m[vehicle]
                - traffic.offset_m[
                    (traffic.lane == traffic.lane[vehicle])
                    & (traffic.offset_m < traffic.offset_m[vehicle])
                ]
            )
            if behind_m.min(initial=np.inf) > FOLLOWER_GAP_M + traffic.length_m[vehicle]:
                return int(vehicle)
        return None

    def _vehicle_event(
        self, rule: str, traffic: Traffic, vehicle: int, from_s: float, to_s: float
    ) -> TruthEvent:
        network = self.roads.network
        place = np.array([vehicle])
        x_m, y_m, _ = network.place(
            traffic.lane[place], traffic.offset_m[place], traffic.to_left_m[place]
        )
        lat_deg, lon_deg = self.roads.frame.to_lat_lon_deg(x_m, y_m)
        lane = int(traffic.lane[vehicle])
        return TruthEvent(
            rule=rule,
            subject_id=self.vehicle_ids[vehicle],
            from_ns=self._ns(from_s),
            to_ns=self._ns(to_s),
            segment_id=self.roads.segment_ids[network.segment[lane]],
            component=str(network.index[lane]),
            lat_deg=round(float(lat_deg[0]), 7),
            lon_deg=round(float(lon_deg[0]), 7),
        )
