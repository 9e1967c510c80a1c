"""A small crossroads town in Batches: roads, signals, two RSUs, cars that drive round and round.

Made by a formula of time, so that a test can ask for any second. One car stands in the way, which
is a `traffic.stopped_vehicle`, and one pack overheats: `battery.over_temperature` and, once two
probes are hot, `battery.thermal_event`. A car that leaves at an end is back at its beginning in the
next second, 640 m away, which no car can do: `security.misbehaviour`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.maps import Lane, RoadMap, Segment, SignalHead
from openvrc.contracts.units import NS_PER_S, ns_from_iso

START_NS = ns_from_iso("2026-01-01T08:00:00Z")
LAT_DEG, LON_DEG = 53.5511, 9.9937
ARM_M = 320.0
LIMIT_MPS = 13.9
LANE_M = 3.2
ARMS = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}
OPPOSITE = {"north": "south", "east": "west", "south": "north", "west": "east"}
JUNCTION_M = 14.0
WALKERS_M = ((-16.0, 30.0), (-16.0, -24.0), (17.0, 40.0))
"""People on foot that a roadside unit sees, east and north of the middle."""


def road_map() -> RoadMap:
    """Four arms of two directions, two lanes each, and signals where they meet."""
    frame = LocalFrame(LAT_DEG, LON_DEG)
    segments, heads = [], []
    for arm in ARMS:
        segments += [_segment(frame, arm, way) for way in ("in", "out")]
        segments.append(_crossing(frame, arm))
        for lane in (0, 1):
            lat, lon = frame.to_lat_lon_deg(*_lane_point(arm, "in", JUNCTION_M, lane))
            heads.append(
                SignalHead(
                    intersection_id="market",
                    signal_group=0 if arm in ("north", "south") else 1,
                    lat_deg=float(lat),
                    lon_deg=float(lon),
                    segment_id=f"{arm}_in",
                    lane_index=lane,
                )
            )
    return RoadMap.build(segments, signal_heads=heads)


def _lane_point(arm: str, way: str, distance_m: float, lane: float) -> tuple[float, float]:
    """A point on an arm, `distance_m` from the middle; lane 0 is the rightmost."""
    x, y = ARMS[arm]
    side = LANE_M * (1.5 - lane) * (-1 if way == "in" else 1)
    return x * distance_m + y * side, y * distance_m - x * side


def _line(frame: LocalFrame, points: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    places = [frame.to_lat_lon_deg(x, y) for x, y in points]
    return tuple((float(lon), float(lat)) for lat, lon in places)


def _segment(frame: LocalFrame, arm: str, way: str) -> Segment:
    ends = (ARM_M, JUNCTION_M) if way == "in" else (JUNCTION_M, ARM_M)
    lanes = [
        Lane(
            id=f"{arm}_{way}_{i}",
            index=i,
            length_m=ARM_M - JUNCTION_M,
            coordinates=_line(frame, [_lane_point(arm, way, at, i) for at in ends]),
        )
        for i in (0, 1)
    ]
    return Segment(
        id=f"{arm}_{way}",
        name=f"{arm.title()} Street",
        length_m=ARM_M - JUNCTION_M,
        speed_limit_mps=LIMIT_MPS,
        successors=(f":market_{arm}",) if way == "in" else (),
        lanes=tuple(lanes),
        coordinates=_line(frame, [_lane_point(arm, way, at, 0.5) for at in ends]),
    )


def _crossing(frame: LocalFrame, arm: str) -> Segment:
    lanes = []
    for i in (0, 1):
        ends = [
            _lane_point(arm, "in", JUNCTION_M, i),
            _lane_point(OPPOSITE[arm], "out", JUNCTION_M, i),
        ]
        lanes.append(
            Lane(
                id=f":market_{arm}_{i}",
                index=i,
                length_m=2 * JUNCTION_M,
                coordinates=_line(frame, ends),
            )
        )
    return Segment(
        id=f":market_{arm}",
        length_m=2 * JUNCTION_M,
        speed_limit_mps=LIMIT_MPS,
        is_internal=True,
        successors=(f"{OPPOSITE[arm]}_out",),
        lanes=tuple(lanes),
        coordinates=lanes[0].coordinates,
    )


@dataclass
class Town:
    """One run of the town; `at(second)` gives what an edge would send for that second."""

    zone: str = "town"
    run_id: str = "town-run"
    origin: str = "simulated"
    title: str = "Crossroads town"
    n_cars: int = 48
    stopped_id: str = "car-stopped"
    hot_id: str = "car-hot"
    start_ns: int = START_NS
    map: RoadMap = field(default_factory=road_map)
    sent: int = 0

    def __post_init__(self) -> None:
        self._frame = LocalFrame(LAT_DEG, LON_DEG)

    def batch(self, message: str, n_rows: int, at_s: float, **columns: Any) -> Batch:
        """Records of this run with the edge's marks."""
        at_ns = self.start_ns + round(at_s * NS_PER_S)
        values = {
            "source_id": "town-rsu",
            "sampled_at_ns": at_ns,
            "edge_received_at_ns": at_ns,
            "lateness": 0,
            "id_kind": "permanent",
        }
        return from_columns(
            message,
            zone=self.zone,
            run_id=self.run_id,
            origin=self.origin,
            columns=values | columns,
            n_rows=n_rows,
        )

    def announce(self, state: str = "running", at_s: float = 0.0) -> Batch:
        """Who drives this run, and the map."""
        return self.batch(
            "zone_announce",
            1,
            at_s,
            source_id="town-driver",
            subject_id=self.zone,
            state=state,
            clock="driven",
            rate_ratio=1.0,
            time_zone="UTC",
            title=self.title,
            map_version=self.map.map_version,
            map_document=self.map.to_document(),
        )

    def at(self, second: float) -> list[Batch]:
        """Everything of one second, the tick last."""
        batches = [self.cars(second), self.signals(second), self.rsus(second), self.battery(second)]
        if second and second % 10 == 0:
            batches.append(self.windows(second))
        return [*batches, self.tick(second)]

    def tick(self, second: float, **of_driver: Any) -> Batch:
        """Zone time has come to this second."""
        at_ns = self.start_ns + round(second * NS_PER_S)
        return self.batch(
            "tick",
            1,
            second,
            source_id="town-edge",
            subject_id=self.zone,
            watermark_ns=at_ns - 2 * NS_PER_S,
            pending_records=0,
            **of_driver,
        )

    def cars(self, second: float) -> Batch:
        """All cars: a stream through each arm, and one that stands on the north arm."""
        rows = [self._car(i, second) for i in range(self.n_cars)]
        rows.append(self._stopped(second))
        n = len(rows)
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
        columns |= {
            "published_at_ns": time.time_ns(),
            "session": 1,
            "seq": list(range(self.sent, self.sent + n)),
        }
        self.sent += n
        return self.batch("vehicle_state", n, second, **columns)

    def _car(self, i: int, second: float) -> dict[str, Any]:
        arm = list(ARMS)[i % 4]
        lane = (i // 4) % 2
        if arm == "north":
            lane = 1  # the right lane is blocked there
        speed = {"north": 9.0, "east": 12.5, "south": 5.0, "west": 2.4}[arm]
        path_m = 2 * ARM_M
        along = (i * 61.0 + second * speed) % path_m
        kinds = ["car", "car", "car", "truck", "bus", "motorcycle", "bicycle"]
        return self._row(f"car-{i}", arm, along, lane, speed, kinds[i % len(kinds)])

    def _stopped(self, second: float) -> dict[str, Any]:
        stop_at_s = 6.0
        along = 60.0 + 10.0 * min(second, stop_at_s)
        speed = 10.0 if second < stop_at_s else 0.0
        return self._row(self.stopped_id, "north", along, 0, speed, "car")

    def _row(
        self, vehicle: str, arm: str, along: float, lane: int, speed: float, kind: str
    ) -> dict[str, Any]:
        """A vehicle that has driven `along` m from the arm's end through the middle and out."""
        distance = ARM_M - along
        exit_arm = OPPOSITE[arm]
        if distance > JUNCTION_M:
            segment, offset = f"{arm}_in", along
            place = _lane_point(arm, "in", distance, lane)
        elif distance > -JUNCTION_M:
            segment, offset = f":market_{arm}", along - (ARM_M - JUNCTION_M)
            place = _lane_point(arm, "in", distance, lane)
        else:
            segment, offset = f"{exit_arm}_out", -distance - JUNCTION_M
            place = _lane_point(exit_arm, "out", -distance, lane)
        x, y = ARMS[exit_arm]
        lat_deg, lon_deg = self._frame.to_lat_lon_deg(*place)
        return {
            "subject_id": vehicle,
            "lat_deg": float(lat_deg),
            "lon_deg": float(lon_deg),
            "speed_mps": speed,
            "heading_deg": math.degrees(math.atan2(x, y)) % 360.0,
            "vehicle_class": kind,
            "brake_on": speed == 0.0,
            "segment_id": segment,
            "lane_index": lane,
            "segment_offset_m": offset,
        }

    def signals(self, second: float) -> Batch:
        """Two groups that take turns, 20 s each."""
        is_first = (second // 20) % 2 == 0
        ends_ns = self.start_ns + round((second // 20 + 1) * 20 * NS_PER_S)
        return self.batch(
            "signal_state",
            2,
            second,
            source_id="town-signals",
            subject_id=["market:0", "market:1"],
            intersection_id="market",
            signal_group=[0, 1],
            phase=["green", "red"] if is_first else ["red", "green"],
            likely_end_ns=ends_ns,
        )

    def rsus(self, second: float) -> Batch:
        """Heartbeats of two RSUs."""
        places = [(-60.0, 60.0), (180.0, -40.0)]
        lat_lon = [self._frame.to_lat_lon_deg(x, y) for x, y in places]
        return self.batch(
            "rsu_status",
            2,
            second,
            source_id=["rsu-market", "rsu-east"],
            subject_id=["rsu-market", "rsu-east"],
            lat_deg=[float(lat) for lat, _ in lat_lon],
            lon_deg=[float(lon) for _, lon in lat_lon],
            range_m=[200.0, 120.0],
            health=["ok", "degraded"],
        )

    def roadside(self, second: float) -> list[Batch]:
        """What else the road sees and says: people on foot, roadworks, chargers."""
        at_ns = self.start_ns + round(second * NS_PER_S)
        places = [self._frame.to_lat_lon_deg(x, y) for x, y in WALKERS_M]
        car = self._car(0, second)  # seen too, and connected: shown once
        seen = self.batch(
            "rsu_objects", len(places) + 1, second,
            source_id="rsu-market",
            subject_id=[*(f"walker-{i}" for i in range(len(places))), "of-car-0"],
            object_class=["pedestrian"] * len(places) + ["car"],
            lat_deg=[*(float(lat) for lat, _ in places), car["lat_deg"]],
            lon_deg=[*(float(lon) for _, lon in places), car["lon_deg"]],
            speed_mps=1.4, heading_deg=90.0, confidence_ratio=0.9, sensor="camera",
        )  # fmt: skip
        lat_deg, lon_deg = map(float, self._frame.to_lat_lon_deg(120.0, 0.0))
        works = self.batch(
            "road_event", 1, second, source_id="rsu-market", subject_id="works-1",
            kind="roadworks", lat_deg=lat_deg, lon_deg=lon_deg, radius_m=25.0,
            cause="Water main", valid_to_ns=at_ns + 600 * NS_PER_S, advised_speed_mps=8.33,
        )  # fmt: skip
        lat_deg, lon_deg = map(float, self._frame.to_lat_lon_deg(60.0, -60.0))
        chargers = self.batch(
            "charger_state", 3, second, source_id="station-1",
            subject_id=[f"station-1:{i}" for i in range(3)], station_id="station-1",
            lat_deg=lat_deg, lon_deg=lon_deg, state=["charging", "charging", "available"],
            power_w=[48_000.0, 22_000.0, 0.0],
        )  # fmt: skip
        return [seen, works, chargers]

    def windows(self, second: float) -> Batch:
        """A 10 s window of every arm, with its cars' speeds."""
        speeds = {"north": 9.0, "east": 12.5, "south": 5.0, "west": 2.4}
        names = [f"{arm}_in" for arm in ARMS] + [f"{OPPOSITE[arm]}_out" for arm in ARMS]
        at_ns = self.start_ns + round(second * NS_PER_S)
        n = len(names)
        return self.batch(
            "segment_state",
            n,
            second,
            source_id="town-edge",
            subject_id=names,
            window_start_ns=at_ns - 10 * NS_PER_S,
            window_s=10.0,
            revision=0,
            map_version=self.map.map_version,
            speed_mps=[speeds[arm] for arm in ARMS] * 2,
            density_vpkm=20.0,
            flow_vph=720.0,
            vehicle_s=60.0,
            distance_m=300.0,
            vehicle_count=6,
            coverage_ratio=1.0,
        )

    def battery(self, second: float) -> Batch:
        """One pack that warms by a kelvin a second from 40 degC."""
        heat = min(40.0 + second, 75.0)
        return self.batch(
            "battery_state",
            1,
            second,
            source_id=self.hot_id,
            subject_id=self.hot_id,
            session=1,
            seq=round(second),
            soc_ratio=0.62,
            pack_voltage_v=372.4,
            pack_current_a=41.0,
            cell_voltages_v=[[3.88, 3.87, 3.89, 3.88] * 24],
            probe_temperatures_degc=[[heat, heat - 0.5, heat - 1.0, heat - 0.2]],
            charging_state="not_charging",
        )
