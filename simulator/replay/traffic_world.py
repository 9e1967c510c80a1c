"""A traffic recording as a world: who is connected, who relays, what is said when.

Vehicles report position, motion, lights, class and size: what a real one knows, never its lane or
edge. Within reach of a roadside unit a share of them is relayed by it; the unit is chosen by the
reported position. Side feeds (signals, loops) add their messages by zone time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from simulator.emission import Emitter
from simulator.replay import sumo_words
from simulator.replay.options import ReplayOptions
from simulator.replay.vehicles import TrafficRows, Vehicles
from simulator.rsus import Rsus
from simulator.sampling import normal_pair
from simulator.world import Frame, Origin, Outgoing, TruthEvent

RSU_STATUS_EVERY_S = 5
SOURCE_STATUS_EVERY_S = 10
MAX_LAT_DEG, MAX_LON_DEG = 90.0, 180.0
"""Of what is a position."""


class Feed(Protocol):
    """Messages beside the vehicles', by zone time."""

    def messages(self, emitter: Emitter, zone_time_ns: int) -> list[Outgoing]:
        """What there is to say up to `zone_time_ns` and has not been said yet."""
        ...


@dataclass
class TrafficWorld:
    """See `simulator.world.World`."""

    options: ReplayOptions
    title: str
    road_map: RoadMap | None
    rsus: Rsus
    vehicles: Vehicles
    start_ns: int
    steps: Callable[[], Iterator[TrafficRows]]
    """Rows by step of zone time, in order; connected vehicles or all of them."""
    feeds: list[Feed] = field(default_factory=list)
    truth: list[TruthEvent] = field(default_factory=list)
    more: Callable[[TrafficRows], dict[str, Any]] = lambda _rows: {}
    """Further columns of the rows' vehicle_state, as for `from_columns`."""
    origin: Origin = "replay"
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def zone(self) -> str:
        """See World."""
        return self.options.zone

    @property
    def run_id(self) -> str:
        """See World."""
        return self.options.run_id

    @property
    def time_zone(self) -> str:
        """See World."""
        return self.options.time_zone

    def stop(self) -> None:
        """See World."""
        self._stop.set()

    def ground_truth(self) -> list[TruthEvent]:
        """See World: the recording's own events, all of them from the start."""
        return sorted(self.truth, key=lambda event: event.from_ns)

    def frames(self) -> Iterator[Frame]:
        """See World."""
        emitter = Emitter(
            zone=self.zone,
            run_id=self.run_id,
            origin=self.origin,
            seed=self.options.seed,
            loss=self.options.loss,
        )
        rsu_due, status_due = _Every(RSU_STATUS_EVERY_S), _Every(SOURCE_STATUS_EVERY_S)
        now_ns: int | None = None
        for rows in self.steps():
            if self._stop.is_set():
                break
            now_ns = int(rows.time_ns[-1])
            messages, relayed = self._vehicle_messages(emitter, rows)
            for feed in self.feeds:
                messages += feed.messages(emitter, now_ns)
            if rsu_due(now_ns):
                messages += rsu_status(emitter, self.rsus, now_ns, relayed)
            if status_due(now_ns):
                messages += emitter.status(now_ns)
            yield Frame(now_ns, tuple(messages))
        if now_ns is not None:
            yield emitter.final_frame(now_ns)

    def _vehicle_messages(
        self, emitter: Emitter, rows: TrafficRows
    ) -> tuple[list[Outgoing], NDArray[np.int64]]:
        """Messages of a step, and how many rows each roadside unit relays (n_rsus,)."""
        rows = rows.take(self.vehicles.is_connected()[rows.vehicle])
        if not len(rows.vehicle):
            return [], np.zeros(len(self.rsus.ids), np.int64)
        lat_deg, lon_deg, x_m, y_m = self._measured_position(rows)
        relay = self.rsus.nearest(x_m, y_m)
        relay[~self.vehicles.is_relayed()[rows.vehicle]] = -1
        sources = np.array(
            [
                emitter.source("rsu", self.rsus.ids[rsu])
                if rsu >= 0
                else emitter.source("vehicle", self.vehicles.ids[number])
                for rsu, number in zip(relay.tolist(), rows.vehicle.tolist(), strict=True)
            ],
            np.int64,
        )
        columns = self._columns(rows) | {"lat_deg": lat_deg, "lon_deg": lon_deg}
        subjects = (rows.vehicle, self.vehicles.ids)
        messages = emitter.emit("vehicle_state", sources, subjects, columns)
        return messages, np.bincount(relay[relay >= 0], minlength=len(self.rsus.ids))

    def _measured_position(self, rows: TrafficRows) -> tuple[NDArray[np.float64], ...]:
        """Latitude, longitude, x and y, each (n,); what is no position stays, at x and y of NaN."""
        lat_deg, lon_deg = rows.lat_deg.copy(), rows.lon_deg.copy()
        x_m, y_m = np.full(len(lat_deg), np.nan), np.full(len(lat_deg), np.nan)
        # Dirt is for the edge to judge: noise would make another position, even a valid one, of it.
        valid = (np.abs(lat_deg) <= MAX_LAT_DEG) & (np.abs(lon_deg) <= MAX_LON_DEG)
        if not valid.any():
            return lat_deg, lon_deg, x_m, y_m
        frame = (
            self.road_map.frame
            if self.road_map is not None
            else LocalFrame(float(lat_deg[valid][0]), float(lon_deg[valid][0]))
        )
        x_m[valid], y_m[valid] = frame.to_xy_m(lat_deg[valid], lon_deg[valid])
        if self.options.noise_m > 0:
            east, north = normal_pair(self.vehicles.noise_hash()[rows.vehicle], rows.time_ns)
            x_m, y_m = x_m + self.options.noise_m * east, y_m + self.options.noise_m * north
            lat_deg[valid], lon_deg[valid] = frame.to_lat_lon_deg(x_m[valid], y_m[valid])
        return lat_deg, lon_deg, x_m, y_m

    def _columns(self, rows: TrafficRows) -> dict[str, Any]:
        length_m, width_m = self.vehicles.size_m()
        noise_m = self.options.noise_m
        return {
            "sampled_at_ns": rows.time_ns,
            "speed_mps": rows.speed_mps,
            "heading_deg": rows.heading_deg,
            "accel_long_mps2": rows.accel_long_mps2,
            "brake_on": _light(rows.lights, sumo_words.LIGHT_BRAKE),
            "left_blinker_on": _light(rows.lights, sumo_words.LIGHT_LEFT_BLINKER),
            "right_blinker_on": _light(rows.lights, sumo_words.LIGHT_RIGHT_BLINKER),
            "hazard_lights_on": _light(rows.lights, sumo_words.LIGHT_EMERGENCY_BLINKER),
            "vehicle_class": self.vehicles.class_code()[rows.vehicle],
            "length_m": length_m[rows.vehicle],
            "width_m": width_m[rows.vehicle],
            "position_accuracy_m": noise_m if noise_m > 0 else None,
        } | self.more(rows)


class _Every:
    """True at the first call and whenever a period of zone time has passed since."""

    def __init__(self, period_s: int) -> None:
        self._period_ns = period_s * NS_PER_S
        self._slot: int | None = None

    def __call__(self, now_ns: int) -> bool:
        slot = now_ns // self._period_ns
        is_due = slot != self._slot
        self._slot = slot
        return is_due


def rsu_status(
    emitter: Emitter, rsus: Rsus, now_ns: int, relayed: NDArray[np.int64]
) -> list[Outgoing]:
    """A heartbeat of every roadside unit."""
    n_rsus = len(rsus.ids)
    sources = np.array([emitter.source("rsu", rsu_id) for rsu_id in rsus.ids], np.int64)
    columns = {
        "sampled_at_ns": np.full(n_rsus, now_ns, np.int64),
        "lat_deg": rsus.lat_deg,
        "lon_deg": rsus.lon_deg,
        "range_m": rsus.range_m,
        "health": "ok",
        "clock_offset_ms": 0.0,
        "vehicles_in_range": relayed,
    }
    subjects = (np.arange(n_rsus, dtype=np.int32), list(rsus.ids))
    return emitter.emit("rsu_status", sources, subjects, columns)


def _light(lights: NDArray[np.int32], bit: int) -> NDArray[np.int8]:
    return np.where(lights < 0, -1, (lights & bit) > 0).astype(np.int8)
