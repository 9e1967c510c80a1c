"""The traffic that is measured: many vehicles, each heard once a second by its roadside unit.

The order is the honest one: every second each unit hears its vehicles in a new random order, so
no table and no index sees them sorted. Every vehicle drives straight at its own speed; a few brake
hard once, so that there are alerts to be timed. There is no map: nothing is matched. With batteries
every vehicle's battery speaks each ten seconds as well, through the same units.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.units import NS_PER_S
from simulator.emission import Emitter
from simulator.world import RECORDS_PER_MESSAGE, Frame, Origin, Outgoing, TruthEvent

ZONE = "bench"
VEHICLES_PER_RSU = 500
"""A busy junction; also ten full messages of 50 a second from each unit."""
LENGTH_M_PER_DEG = 111_320.0
CENTRE_DEG = (52.27, 10.53)
BOX_DEG = 0.5
SPEED_MPS = (15.0, 30.0)
NOISE_MPS, NOISE_DEG = 0.1, 1e-5
"""A GNSS receiver in the open: 0.1 m/s and one metre."""
BRAKING_MPS2 = -7.0
BRAKING_S = 1.5
BRAKING_BEFORE_S = 0.2
"""A vehicle begins to brake this long before the sample that tells of it."""
BATTERY_EVERY_S = 10
"""A tenth of the vehicles' rate; the national protocol asks for a frame each 10 or 30 s."""
CELLS, PROBES = 96, 24
CELL_SPREAD_V, CELL_NOISE_V = 0.004, 0.001
"""Of a sound pack, and of its measurement."""
NS_PER_US = 1000
"""The database keeps microseconds; whole ones make a sample findable there."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TrafficPlan:
    """What is sent."""

    vehicles: int
    records_per_message: int
    records_per_frame: int
    seed: int
    start_ns: int
    run_id: str
    has_batteries: bool = False
    first_rsu: int = 0
    """Number of the first unit: several processes share a run, each with units of its own."""


def units_of(vehicles: int) -> int:
    """How many units hear so many vehicles."""
    return -(-vehicles // VEHICLES_PER_RSU)


class BenchWorld:
    """A `World` of vehicles without a map; ends only by `stop`.

    Frames and messages may change their size on the way; from record `brakings_from` on, each
    `braking_every`-th vehicle brakes (0: nobody does).
    """

    zone = ZONE
    origin: Origin = "simulated"
    title = "benchmark traffic"
    time_zone = "UTC"
    road_map = None

    def __init__(self, plan: TrafficPlan) -> None:
        """Raises ValueError for no vehicles or records that come in no whole messages."""
        if plan.vehicles <= 0:
            raise ValueError(f"vehicles is {plan.vehicles}, expected at least 1")
        if plan.records_per_frame <= 0 or plan.records_per_frame % RECORDS_PER_MESSAGE:
            raise ValueError(f"records_per_frame is {plan.records_per_frame}, expected 50, 100 ...")
        if not 1 <= plan.records_per_message <= RECORDS_PER_MESSAGE:
            raise ValueError(f"records_per_message is {plan.records_per_message}, expected 1 to 50")
        self.run_id, self.start_ns = plan.run_id, plan.start_ns // NS_PER_S * NS_PER_S
        self._plan = plan
        self._n_rsus = units_of(plan.vehicles)
        self._rng = np.random.default_rng(plan.seed)
        first = plan.first_rsu * VEHICLES_PER_RSU
        self._names = [f"vehicle-{first + number:06d}" for number in range(plan.vehicles)]
        self._start_lat_deg = CENTRE_DEG[0] + self._uniform(-BOX_DEG / 2, BOX_DEG / 2)
        self._start_lon_deg = CENTRE_DEG[1] + self._uniform(-BOX_DEG / 2, BOX_DEG / 2)
        self._heading_deg = self._uniform(0.0, 360.0)
        self._speed_mps = self._uniform(*SPEED_MPS)
        self._braking_at_s = np.full(plan.vehicles, np.inf)
        self._soc_ratio = self._uniform(0.2, 0.9)
        self._spread_v = self._rng.normal(0.0, CELL_SPREAD_V, CELLS)
        self._emitter = Emitter(zone=ZONE, run_id=plan.run_id, origin=self.origin, seed=plan.seed)
        self._rsus = np.array(
            [
                self._emitter.source("rsu", f"rsu-{plan.first_rsu + n:03d}")
                for n in range(self._n_rsus)
            ],
            np.int64,
        )
        self.n_emitted = 0
        self.records_per_frame = plan.records_per_frame
        self.records_per_message = plan.records_per_message
        self.brakings_from = self.braking_every = 0
        self._stopped = threading.Event()

    def _uniform(self, low: float, high: float) -> Floats:
        return self._rng.uniform(low, high, self._plan.vehicles)

    def frames(self) -> Iterator[Frame]:
        """Second after second until `stop`; the last frame holds every sender's count."""
        zone_time_ns, second = self.start_ns, 0
        while not self._stopped.is_set():
            for vehicles, rsus, at_ns in self._second(second):
                if self._stopped.is_set():
                    break
                zone_time_ns = int(at_ns[-1])
                outgoing = self._emit(vehicles, rsus, at_ns)
                yield Frame(zone_time_ns, self._as_sent(outgoing))
            second += 1
        yield self._emitter.final_frame(zone_time_ns)

    def stop(self) -> None:
        """Make `frames` end."""
        self._stopped.set()

    def ground_truth(self) -> list[TruthEvent]:
        """Nothing that is judged."""
        return []

    def _second(self, second: int) -> Iterator[tuple[Ints, Ints, Ints]]:
        """One second in frames: vehicle, unit and sample time (n_rows,) of each row."""
        plan, n_rsus = self._plan, self._n_rsus
        # (units, rounds, 50): each unit's own vehicles in a new order, told in rounds of messages.
        members = np.arange(n_rsus * VEHICLES_PER_RSU).reshape(n_rsus, VEHICLES_PER_RSU)
        members = self._rng.permuted(members, axis=1)
        # The last unit may hear fewer: its empty places come last, so that messages stay full.
        members[-1] = members[-1][np.argsort(members[-1] >= plan.vehicles, kind="stable")]
        turns = self._rng.permutation(n_rsus)
        by_round = members[turns].reshape(n_rsus, -1, RECORDS_PER_MESSAGE).transpose(1, 0, 2)
        vehicles = by_round.reshape(-1)
        rsus = np.broadcast_to(self._rsus[turns][None, :, None], by_round.shape).reshape(-1)
        if plan.vehicles < len(vehicles):
            vehicles, rsus = (values[vehicles < plan.vehicles] for values in (vehicles, rsus))
        at_ns = self._times_ns(second)
        first = 0
        while first < plan.vehicles:
            rows = slice(first, first + self.records_per_frame)
            first = rows.stop
            yield vehicles[rows], rsus[rows], at_ns[rows]

    def _times_ns(self, second: int) -> Ints:
        """When the rows (n_vehicles,) of a pass over all vehicles were sampled."""
        n = self._plan.vehicles
        at_us = np.arange(n, dtype=np.int64) * 1_000_000 // n
        return self.start_ns + second * NS_PER_S + at_us * NS_PER_US

    def _emit(self, vehicles: Ints, rsus: Ints, at_ns: Ints) -> list[Outgoing]:
        elapsed_s = (at_ns - self.start_ns) / NS_PER_S
        self._brake(vehicles, elapsed_s)
        driven_m, speed_mps, accel_mps2 = self._motion(vehicles, elapsed_s)
        heading_rad = np.radians(self._heading_deg[vehicles])
        lat_deg = self._start_lat_deg[vehicles] + driven_m * np.cos(heading_rad) / LENGTH_M_PER_DEG
        per_lon_m = LENGTH_M_PER_DEG * np.cos(np.radians(lat_deg))
        lon_deg = self._start_lon_deg[vehicles] + driven_m * np.sin(heading_rad) / per_lon_m
        noise = self._rng.standard_normal((4, len(vehicles)))
        columns = {
            "sampled_at_ns": at_ns,
            "lat_deg": lat_deg + NOISE_DEG * noise[0],
            "lon_deg": lon_deg + NOISE_DEG * noise[1],
            "altitude_m": 75.0 + 0.5 * noise[0],
            "speed_mps": np.maximum(speed_mps + NOISE_MPS * noise[2], 0.0),
            "heading_deg": self._heading_deg[vehicles],
            "accel_long_mps2": accel_mps2 + NOISE_MPS * noise[3],
            "accel_lat_mps2": NOISE_MPS * noise[1],
            "yaw_rate_dps": NOISE_MPS * noise[2],
            "brake_on": (accel_mps2 < 0).astype(np.int8),
            "vehicle_class": "car",
            "length_m": 4.5,
            "width_m": 1.8,
            "position_accuracy_m": 1.0,
        }
        subjects = (vehicles.astype(np.int32), self._names)
        states = self._emitter.emit("vehicle_state", rsus, subjects, columns)
        if not self._plan.has_batteries:
            return states
        turn = int(elapsed_s[0]) % BATTERY_EVERY_S
        speak = (vehicles // VEHICLES_PER_RSU) % BATTERY_EVERY_S == turn
        return states + self._emit_batteries(vehicles[speak], rsus[speak], at_ns[speak])

    def _emit_batteries(self, vehicles: Ints, rsus: Ints, at_ns: Ints) -> list[Outgoing]:
        """Sound packs that discharge; nothing a rule should find."""
        if not vehicles.size:
            return []
        n_rows = len(vehicles)
        soc = self._soc_ratio[vehicles] - (at_ns - self.start_ns) / NS_PER_S / 36_000
        cells_v = (3.4 + 0.7 * soc)[:, None] + self._spread_v
        cells_v = cells_v + self._rng.normal(0.0, CELL_NOISE_V, (n_rows, CELLS))
        probes_degc = np.broadcast_to(25.0 + 0.1 * np.arange(PROBES), (n_rows, PROBES))
        columns = {
            "sampled_at_ns": at_ns,
            "pack_voltage_v": cells_v.sum(axis=1),
            "pack_current_a": 30.0 + self._rng.standard_normal(n_rows),
            "soc_ratio": soc,
            "cell_voltages_v": _lists(cells_v),
            "probe_temperatures_degc": _lists(probes_degc),
            "insulation_ohm": 5e6,
            "charging_state": "not_charging",
            "odometer_m": self._speed_mps[vehicles] * (at_ns - self.start_ns) / NS_PER_S,
            "vehicle_speed_mps": self._speed_mps[vehicles],
            "bms_alarm_level": 0,
        }
        subjects = (vehicles.astype(np.int32), self._names)
        return self._emitter.emit("battery_state", rsus, subjects, columns)

    def _brake(self, vehicles: Ints, elapsed_s: Floats) -> None:
        """Let the next ones brake, a moment before they are heard; nobody brakes twice."""
        past = self.n_emitted + np.arange(len(vehicles)) - self.brakings_from
        self.n_emitted += len(vehicles)
        if not self.braking_every:
            return
        is_chosen = (past >= 0) & (past % self.braking_every == 0)
        chosen, at_s = vehicles[is_chosen], elapsed_s[is_chosen] - BRAKING_BEFORE_S
        self._braking_at_s[chosen] = np.minimum(self._braking_at_s[chosen], at_s)

    def _motion(self, vehicles: Ints, elapsed_s: Floats) -> tuple[Floats, Floats, Floats]:
        """Distance driven, speed and acceleration (n_rows,) with at most one braking."""
        speed_mps = self._speed_mps[vehicles]
        since_s = np.maximum(elapsed_s - self._braking_at_s[vehicles], 0.0)
        braked_s = np.minimum(since_s, BRAKING_S)
        lost_m = -BRAKING_MPS2 * braked_s * (since_s - braked_s / 2)
        accel_mps2 = np.where((since_s > 0) & (since_s < BRAKING_S), BRAKING_MPS2, 0.0)
        return speed_mps * elapsed_s - lost_m, speed_mps + BRAKING_MPS2 * braked_s, accel_mps2

    def _as_sent(self, messages: list[Outgoing]) -> tuple[Outgoing, ...]:
        if self.records_per_message == RECORDS_PER_MESSAGE:
            return tuple(messages)
        return tuple(
            replace(message, start=row, end=min(row + self.records_per_message, message.bounds[1]))
            for message in messages
            for row in range(*message.bounds, self.records_per_message)
        )


def _lists(values: Floats) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """A list column of equally long rows."""
    n_rows, width = values.shape
    offsets = np.arange(n_rows + 1, dtype=np.int32) * width
    return values.astype(np.float32).ravel(), offsets
