"""What all rules about vehicles cost together beyond map matching, at 1,000 to 100,000 vehicles.

A made zone: roads of 600 m and two lanes, twelve vehicles a road. Most drive with 12 m/s, every
eighth waits in a queue at its road's end, one in a thousand stands on a free lane, one in a hundred
drives between the lanes. One batch a second with every vehicle once, in an order of its own each
second (the honest case: in a fixed order each rule finds its memory in the cache). CPU time of the
process, view and rules; the first ten seconds are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Context, Detector
from openvrc.contracts.maps import Lane, RoadMap, Segment
from openvrc.contracts.plugins import discover
from openvrc.contracts.units import NS_PER_S, ns_from_iso

START_NS = ns_from_iso("2026-01-01T00:00:00Z")
ROAD_M, PER_ROAD = 600.0, 12
ROADS_IN_A_ROW = 40
WARM_S, TIMED_S = 10, 20
LAT_DEG, LON_DEG = 53.55, 10.0
M_PER_LAT_DEG = 111_320.0
M_PER_LON_DEG = M_PER_LAT_DEG * float(np.cos(np.radians(LAT_DEG)))


@dataclass(frozen=True)
class Speed:
    """CPU per record of one zone size."""

    n_vehicles: int
    us_per_record: float

    @property
    def records_per_cpu_s(self) -> float:
        """How many records one core takes."""
        return 1e6 / self.us_per_record


def vehicle_rules() -> list[Detector]:
    """All rules of traffic and security that read vehicle_state."""
    return [
        detector
        for name, detector in discover("openvrc.detectors").items()
        if name.startswith(("traffic.", "security.")) and "vehicle_state" in detector.inputs
    ]


def _place_of(road: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each road begins, east and north in m; far enough apart to be no neighbours."""
    row = (road // ROADS_IN_A_ROW).astype(np.float64)
    return (road - row * ROADS_IN_A_ROW) * (ROAD_M + 50.0), row * 50.0


def made_map(n_roads: int) -> RoadMap:
    """Roads going east, none connected."""

    def line(road: int, beside_m: float) -> tuple[tuple[float, float], ...]:
        east_m, north_m = (float(value[0]) for value in _place_of(np.array([road])))
        lat_deg = LAT_DEG + (north_m + beside_m) / M_PER_LAT_DEG
        ends_m = (east_m, east_m + ROAD_M)
        return tuple((LON_DEG + x_m / M_PER_LON_DEG, lat_deg) for x_m in ends_m)

    return RoadMap.build(
        [
            Segment(
                id=f"road{road:05}",
                length_m=ROAD_M,
                speed_limit_mps=13.9,
                lanes=tuple(
                    Lane(id=f"road{road:05}_{i}", index=i, length_m=ROAD_M,
                         coordinates=line(road, 3.2 * i))
                    for i in range(2)
                ),
                coordinates=line(road, 1.6),
            )
            for road in range(n_roads)
        ],
        origin_lat_deg=LAT_DEG,
        origin_lon_deg=LON_DEG,
    )  # fmt: skip


def made_batches(n_vehicles: int, seconds: int, seed: int = 1) -> Iterator[Batch]:
    """One batch a second."""
    rng = np.random.default_rng(seed)
    number = np.arange(n_vehicles)
    road, place = number // PER_ROAD, number % PER_ROAD
    waits = number % 8 == 0
    stands = number % 1000 == 501
    offset_m = np.where(waits, ROAD_M - 1.0 - 4.0 * place, place * 50.0)
    lane = (place % 2).astype(np.int64)
    beside_m = np.where(number % 100 == 7, 4.5, 0.0)
    late_ns = rng.integers(0, NS_PER_S, n_vehicles)  # each sends at a time of its own
    names = [f"vehicle-{one:06}" for one in number]
    ids = [f"road{one:05}" for one in range(int(road[-1]) + 1)]
    for second in range(seconds):
        drives = ~waits & ~(stands & (second > 3))
        offset_m = np.where(drives, offset_m + 12.0, offset_m)
        leaves = np.flatnonzero(offset_m > ROAD_M)
        offset_m[leaves] -= ROAD_M
        for one in leaves.tolist():  # and another vehicle comes in
            names[one] = f"vehicle-{one:06}-{second}"
        order = rng.permutation(n_vehicles)
        east_m, north_m = _place_of(road)
        noise_m = rng.normal(0.0, 1.5, (2, n_vehicles))
        y_m = north_m + 3.2 * lane + beside_m + noise_m[1]
        lon_deg = LON_DEG + (east_m + offset_m + noise_m[0]) / M_PER_LON_DEG
        at_ns = START_NS + second * NS_PER_S - late_ns
        yield from_columns(
            "vehicle_state",
            zone="made",
            run_id="bench",
            origin="simulated",
            n_rows=n_vehicles,
            columns={
                "source_id": (order.astype(np.int32), names),
                "subject_id": (order.astype(np.int32), names),
                "sampled_at_ns": at_ns[order],
                "edge_received_at_ns": at_ns[order],
                "lateness": 0,
                "lat_deg": (LAT_DEG + y_m / M_PER_LAT_DEG)[order],
                "lon_deg": lon_deg[order],
                "speed_mps": np.where(drives, 12.0, 0.0)[order],
                "heading_deg": np.full(n_vehicles, 90.0),
                "accel_long_mps2": np.where(drives, 0.1, 0.0)[order],
                "vehicle_class": "car",
                "segment_id": (road[order].astype(np.int32), ids),
                "lane_index": lane[order],
                "segment_offset_m": np.clip(offset_m + noise_m[0], 0.0, ROAD_M)[order],
            },
        )


def measure(n_vehicles: int, detectors: list[Detector] | None = None) -> Speed:
    """CPU per record of all rules together, or of the given ones."""
    rules = vehicle_rules() if detectors is None else detectors
    context = Context("made", "bench", "simulated", made_map(-(-n_vehicles // PER_ROAD)))
    states = [rule.initial(context) for rule in rules]
    cpu_s, records = 0.0, 0
    for second, batch in enumerate(made_batches(n_vehicles, WARM_S + TIMED_S)):
        batch.used_words("subject_id")  # the pipeline has looked the ids up before the rules come
        began_s = time.process_time()
        for place, rule in enumerate(rules):
            states[place], _ = rule.update(states[place], batch)
            watermark_ns = START_NS + (second - 2) * NS_PER_S
            states[place], _ = rule.advance(states[place], watermark_ns)
        if second >= WARM_S:
            cpu_s += time.process_time() - began_s
            records += batch.n_rows
    return Speed(n_vehicles, 1e6 * cpu_s / records)
