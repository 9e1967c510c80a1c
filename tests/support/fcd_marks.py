"""A SUMO floating-car recording as the Batches an edge would hand to detectors.

Reads `fcd.parquet`, adds white position noise, and takes the edge's marks (segment, lane, offset)
from the recording's truth or from `edge.aggregate.matching`. `segment_windows` is a minimal
aggregation after Edie (1963) of the same rows; production windows are made by the edge.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.columns import column_of
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S, ns_from_iso
from tests.support.shared_data import shared_data

EPOCH_NS = ns_from_iso("2026-01-01T00:00:00Z")  # time 0 of a recording with relative times
NOISE_SD_M = 1.5  # white, per axis: a good single-frequency GNSS fix under open sky

Marks = Literal["truth", "matched"]
CLASS_OF_TYPE = {"car": "car", "truck": "truck", "PKW": "car", "LKW": "truck", "BUS": "bus"}


@functools.cache
def read_map(package: str) -> RoadMap:
    """The road map of one package of SUMO ground truth."""
    from openvrc.mapformats.sumo_net import PLUGIN

    return PLUGIN.read(shared_data("traffic", package, "net.xml.gz"))


@dataclass(frozen=True)
class Fcd:
    """Rows in order of time; every array (n_rows,)."""

    time_s: NDArray[np.int64]
    vehicle: NDArray[np.int32]  # index into `vehicles`
    vehicles: list[str]
    vehicle_class: NDArray[np.int8]  # code of vehicle_state.vehicle_class
    lat_deg: NDArray[np.float64]
    lon_deg: NDArray[np.float64]
    speed_mps: NDArray[np.float64]
    heading_deg: NDArray[np.float64]
    accel_mps2: NDArray[np.float64]
    signals: NDArray[np.int64]
    segment: NDArray[np.int32]  # index into the map's segments, -1 off it
    lane_index: NDArray[np.int64]
    offset_m: NDArray[np.float64]

    def rows(self, chosen: Any) -> Fcd:
        """The chosen rows (mask, slice or indexes)."""
        arrays = {n: a[chosen] for n, a in vars(self).items() if isinstance(a, np.ndarray)}
        return replace(self, **arrays)


@functools.cache
def read_fcd(package: str, file: str = "fcd") -> Fcd:
    """One recording with its true marks and its true positions."""
    road_map = read_map(package)
    table = pq.read_table(shared_data("traffic", package, f"{file}.parquet")).sort_by("time_s")
    vehicle = pc.dictionary_encode(table["vehicle"].combine_chunks())
    kind = pc.dictionary_encode(table["type"].combine_chunks())
    lane = pc.dictionary_encode(table["lane"].combine_chunks())
    lanes = [name.rsplit("_", 1) for name in lane.dictionary.to_pylist()]
    segment = np.array([road_map.index_of(s) if s in road_map else -1 for s, _ in lanes], np.int32)
    lane_codes = lane.indices.to_numpy()
    words = column_of("vehicle_state", "vehicle_class").values
    classes = np.array([words.index(_class_word(t)) for t in kind.dictionary.to_pylist()], np.int8)

    def scaled(name: str, factor: float) -> NDArray[np.float64]:
        values: NDArray[np.float64] = table[name].to_numpy().astype(np.float64) * factor
        return values

    return Fcd(
        time_s=table["time_s"].to_numpy().astype(np.int64),
        vehicle=vehicle.indices.to_numpy(),
        vehicles=vehicle.dictionary.to_pylist(),
        vehicle_class=classes[kind.indices.to_numpy()],
        lat_deg=scaled("lat_e6", 1e-6),
        lon_deg=scaled("lon_e6", 1e-6),
        speed_mps=scaled("speed_cms", 1e-2),
        heading_deg=scaled("heading_cdeg", 1e-2),
        accel_mps2=scaled("accel_cms2", 1e-2),
        signals=table["signals"].to_numpy().astype(np.int64),
        segment=segment[lane_codes],
        lane_index=np.array([int(number) for _, number in lanes])[lane_codes],
        offset_m=scaled("pos_cm", 1e-2),
    )


def _class_word(sumo_type: str) -> str:
    upper = sumo_type.upper()
    return next((w for t, w in CLASS_OF_TYPE.items() if t.upper() in upper), "other")


def thin(fcd: Fcd, penetration: float, seed: int, always: Collection[str] = ()) -> Fcd:
    """A random share of the vehicles, whole tracks, and those that are to be there `always`."""
    if penetration >= 1.0:
        return fcd
    keep = np.random.default_rng(seed).random(len(fcd.vehicles)) < penetration
    keep |= np.isin(fcd.vehicles, list(always))
    return fcd.rows(keep[fcd.vehicle])


def with_noise(fcd: Fcd, road_map: RoadMap, seed: int, sd_m: float = NOISE_SD_M) -> Fcd:
    """Positions with white noise; marks stay those of the truth."""
    rng = np.random.default_rng(seed)
    x_m, y_m = road_map.frame.to_xy_m(fcd.lat_deg, fcd.lon_deg)
    noise_m = rng.normal(0.0, sd_m, (2, len(x_m)))
    lat_deg, lon_deg = road_map.frame.to_lat_lon_deg(x_m + noise_m[0], y_m + noise_m[1])
    return replace(fcd, lat_deg=lat_deg, lon_deg=lon_deg)


def with_correlated_noise(
    fcd: Fcd, road_map: RoadMap, seed: int, sd_m: float = NOISE_SD_M, memory_s: float = 60.0
) -> Fcd:
    """Positions with AR(1) noise of this standard deviation; rows are seconds in order."""
    rng, keep = np.random.default_rng(seed), float(np.exp(-1.0 / memory_s))
    x_m, y_m = road_map.frame.to_xy_m(fcd.lat_deg, fcd.lon_deg)
    error_m = rng.normal(0.0, sd_m, (2, len(fcd.vehicles)))
    noise_m = np.empty((2, len(x_m)))
    for rows in _seconds(fcd):
        error_m *= keep
        error_m += np.sqrt(1.0 - keep * keep) * rng.normal(0.0, sd_m, error_m.shape)
        noise_m[:, rows] = error_m[:, fcd.vehicle[rows]]
    lat_deg, lon_deg = road_map.frame.to_lat_lon_deg(x_m + noise_m[0], y_m + noise_m[1])
    return replace(fcd, lat_deg=lat_deg, lon_deg=lon_deg)


def with_matched_marks(fcd: Fcd, road_map: RoadMap) -> Fcd:
    """Marks as the edge's matcher makes them from the (noisy) positions."""
    matching = pytest.importorskip("edge.aggregate.matching")
    matcher = matching.Matcher(road_map)
    state = matcher.initial()
    parts = [
        matcher.update(
            state,
            fcd.vehicle[rows],
            EPOCH_NS + fcd.time_s[rows] * NS_PER_S,
            fcd.lat_deg[rows],
            fcd.lon_deg[rows],
            fcd.heading_deg[rows],
            fcd.speed_mps[rows],
        )
        for rows in _seconds(fcd)
    ]
    return replace(
        fcd,
        segment=np.concatenate([p.segment_index for p in parts]),
        lane_index=np.concatenate([p.lane_index for p in parts]).astype(np.int64),
        offset_m=np.concatenate([p.offset_m for p in parts]).astype(np.float64),
    )


def prepared(
    package: str,
    file: str,
    marks: Marks,
    *,
    penetration: float = 1.0,
    seed: int = 1,
    always: Collection[str] = (),
    from_s: float = 0.0,
    to_s: float = np.inf,
) -> Fcd:
    """A recording, or a part of it, thinned, with noise and the marks asked for."""
    road_map = read_map(package)
    whole = read_fcd(package, file)
    part = whole.rows((whole.time_s >= from_s) & (whole.time_s < to_s))
    fcd = with_noise(thin(part, penetration, seed, always), road_map, seed)
    return with_matched_marks(fcd, road_map) if marks == "matched" else fcd


def cut(package: str, file: str, from_s: float, to_s: float, seed: int = 1) -> Fcd:
    """A part of a recording with noise and the matcher's marks, for tests that must be quick."""
    return prepared(package, file, "matched", seed=seed, from_s=from_s, to_s=to_s)


def _seconds(fcd: Fcd) -> Iterator[slice]:
    edges = np.flatnonzero(np.diff(fcd.time_s, prepend=-(2**60)))
    for first, last in zip(edges, np.append(edges[1:], len(fcd.time_s)), strict=True):
        yield slice(int(first), int(last))


def vehicle_batches(fcd: Fcd, road_map: RoadMap, run_id: str = "test") -> Iterator[Batch]:
    """One vehicle_state Batch a second, with the edge's marks; times from EPOCH_NS."""
    ids = np.array([*road_map.segment_ids, ""])
    for rows in _seconds(fcd):
        yield _vehicle_batch(fcd.rows(rows), ids, run_id)


def _vehicle_batch(part: Fcd, segment_ids: NDArray[np.str_], run_id: str) -> Batch:
    subjects, subject_codes = np.unique(part.vehicle, return_inverse=True)
    segments, segment_codes = np.unique(part.segment, return_inverse=True)
    names = [part.vehicles[s] for s in subjects]
    at_ns = EPOCH_NS + part.time_s * NS_PER_S
    is_on_map = part.segment >= 0
    return from_columns(
        "vehicle_state",
        zone="test",
        run_id=run_id,
        origin="replay",
        n_rows=len(at_ns),
        columns={
            "source_id": (subject_codes.astype(np.int32), names),
            "subject_id": (subject_codes.astype(np.int32), names),
            "sampled_at_ns": at_ns,
            "edge_received_at_ns": at_ns,
            "lateness": 0,
            "lat_deg": part.lat_deg,
            "lon_deg": part.lon_deg,
            "speed_mps": part.speed_mps,
            "heading_deg": part.heading_deg,
            "accel_long_mps2": part.accel_mps2,
            "right_blinker_on": (part.signals & 1).astype(np.int8),
            "left_blinker_on": (part.signals >> 1 & 1).astype(np.int8),
            "brake_on": (part.signals >> 3 & 1).astype(np.int8),
            "vehicle_class": part.vehicle_class,
            "segment_id": (segment_codes.astype(np.int32), segment_ids[segments].tolist()),
            "lane_index": np.where(is_on_map, part.lane_index, -1),
            "segment_offset_m": np.where(is_on_map, part.offset_m, np.nan),
        },
    )


def segment_windows(fcd: Fcd, road_map: RoadMap, window_s: int) -> Iterator[Batch]:
    """segment_state of each complete window after Edie: one sample is one vehicle-second."""
    rows = np.flatnonzero(fcd.segment >= 0)
    window = fcd.time_s[rows] // window_s
    n = road_map.n_segments
    key = window * n + fcd.segment[rows]
    keys, place = np.unique(key, return_inverse=True)
    vehicle_s = np.bincount(place).astype(np.float64)
    distance_m = np.bincount(place, fcd.speed_mps[rows])
    pairs = np.unique(np.column_stack((place, fcd.vehicle[rows])), axis=0)
    counts = np.bincount(pairs[:, 0])
    seconds = np.bincount(np.unique(np.column_stack((place, fcd.time_s[rows])), axis=0)[:, 0])
    for number in np.unique(window)[:-1]:
        chosen = np.flatnonzero(keys // n == number)
        segment = keys[chosen] % n
        length_m = road_map.segment_length_m[segment]
        end_ns = EPOCH_NS + int(number + 1) * window_s * NS_PER_S
        yield from_columns(
            "segment_state",
            zone="test",
            run_id="test",
            origin="replay",
            n_rows=len(chosen),
            columns={
                "source_id": "edge",
                "subject_id": [road_map.segment_ids[s] for s in segment],
                "sampled_at_ns": np.full(len(chosen), end_ns),
                "edge_received_at_ns": np.full(len(chosen), end_ns),
                "lateness": 0,
                "window_start_ns": np.full(len(chosen), end_ns - window_s * NS_PER_S),
                "window_s": float(window_s),
                "revision": 0,
                "map_version": road_map.map_version,
                "density_vpkm": vehicle_s[chosen] / (window_s * length_m / 1000.0),
                "flow_vph": distance_m[chosen] / (window_s * length_m) * 3600.0,
                "speed_mps": distance_m[chosen] / vehicle_s[chosen],
                "vehicle_s": vehicle_s[chosen],
                "distance_m": distance_m[chosen],
                "vehicle_count": counts[chosen],
                "coverage_ratio": seconds[chosen] / window_s,
            },
        )


def window_batches(fcd: Fcd, road_map: RoadMap) -> list[tuple[int, Batch]]:
    """10 s and 60 s windows with the time in s (recording's) at which each is complete."""
    timed = [
        (int((b.column("sampled_at_ns")[0] - EPOCH_NS) // NS_PER_S), b)
        for window_s in (10, 60)
        for b in segment_windows(fcd, road_map, window_s)
        if b.n_rows
    ]
    return sorted(timed, key=lambda pair: pair[0])


def read_ghosts(package: str, seed: int = 1) -> Fcd:
    """The vehicles that drive lanes backwards, with noise and the matcher's marks."""
    from simulator.replay.files import csv_rows

    road_map = read_map(package)
    rows = sorted(
        csv_rows(shared_data("traffic", package, "wrongway.csv.gz")),
        key=lambda r: (float(r["time_s"]), r["vehicle"]),
    )
    names = sorted({r["vehicle"] for r in rows})
    number = {name: np.array([float(r[name]) for r in rows]) for name in ("lat", "lon", "time_s")}
    n_rows = len(rows)
    fcd = Fcd(
        time_s=number["time_s"].astype(np.int64),
        vehicle=np.array([names.index(r["vehicle"]) for r in rows], np.int32),
        vehicles=names,
        vehicle_class=np.zeros(n_rows, np.int8),
        lat_deg=number["lat"],
        lon_deg=number["lon"],
        speed_mps=np.array([float(r["speed_ms"]) for r in rows]),
        heading_deg=np.array([float(r["heading_deg"]) % 360.0 for r in rows]),
        accel_mps2=np.zeros(n_rows),
        signals=np.zeros(n_rows, np.int64),
        segment=np.full(n_rows, -1, np.int32),
        lane_index=np.full(n_rows, -1),
        offset_m=np.full(n_rows, np.nan),
    )
    return with_matched_marks(with_noise(fcd, road_map, seed), road_map)
