"""A small synthetic road and the vehicles on it, as Batches with the edge's marks.

Segment "road" runs east, 600 m, two lanes, 50 km/h; with `signal` it ends at one. Segment
"after" follows it. One row a second and vehicle unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Context, Detector, Finding
from openvrc.contracts.maps import Lane, RoadMap, Segment, SignalHead
from openvrc.contracts.units import NS_PER_S, ns_from_iso

START_NS = ns_from_iso("2026-01-01T00:00:00Z")
LENGTH_M = 600.0
LIMIT_MPS = 13.9
LAT_DEG, LON_DEG = 53.0, 10.0
DEG_PER_M = 1.0 / (111_320.0 * np.cos(np.radians(LAT_DEG)))

Row = dict[str, Any]


def _segment(name: str, start_m: float, length_m: float, successors: tuple[str, ...]) -> Segment:
    ends = [(LON_DEG + m * DEG_PER_M, LAT_DEG) for m in (start_m, start_m + length_m)]
    lanes = tuple(
        Lane(id=f"{name}_{i}", index=i, length_m=length_m, coordinates=tuple(ends)) for i in (0, 1)
    )
    return Segment(
        id=name,
        length_m=length_m,
        speed_limit_mps=LIMIT_MPS,
        successors=successors,
        lanes=lanes,
        coordinates=tuple(ends),
    )


def road_map(*, signal: bool = False) -> RoadMap:
    """The map; `signal` puts heads at the end of both lanes of "road"."""
    heads = [
        SignalHead(
            intersection_id="x",
            signal_group=lane,
            lat_deg=LAT_DEG,
            lon_deg=LON_DEG + LENGTH_M * DEG_PER_M,
            segment_id="road",
            lane_index=lane,
        )
        for lane in (0, 1)
    ]
    segments = [_segment("road", 0.0, LENGTH_M, ("after",)), _segment("after", 600.0, 300.0, ())]
    return RoadMap.build(segments, signal_heads=heads if signal else [])


def context(*, signal: bool = False) -> Context:
    """Where a detector runs in these tests."""
    return Context("test", "test", "simulated", road_map(signal=signal))


def row(vehicle: str, at_s: float, offset_m: float, speed_mps: float, **more: Any) -> Row:
    """One sample; `more` are other columns of vehicle_state."""
    return {
        "subject_id": vehicle,
        "source_id": vehicle,
        "sampled_at_ns": START_NS + round(at_s * NS_PER_S),
        "lat_deg": LAT_DEG,
        "lon_deg": LON_DEG + offset_m * DEG_PER_M,
        "speed_mps": speed_mps,
        "segment_id": "road",
        "segment_offset_m": offset_m,
        "lane_index": 0,
        "vehicle_class": "car",
        "lateness": 0,
        "edge_received_at_ns": START_NS,
    } | more


def passing(vehicle: str, start_s: float, speed_mps: float = 12.0, **more: Any) -> list[Row]:
    """Drives through "road" at constant speed, beginning at its start."""
    seconds = np.arange(0.0, LENGTH_M / speed_mps)
    return [row(vehicle, start_s + s, s * speed_mps, speed_mps, **more) for s in seconds]


def stopping(
    vehicle: str, stop_s: float, at_m: float, go_s: float, end_s: float, **more: Any
) -> list[Row]:
    """Comes at 10 m/s, stands at `at_m` from `stop_s` to `go_s`, drives on to `end_s`."""
    rows = []
    for second in np.arange(max(stop_s - at_m / 10.0, 0.0), end_s + 1.0):
        offset_m = at_m + 10.0 * (min(second - stop_s, 0.0) + max(second - go_s, 0.0))
        if offset_m <= LENGTH_M:
            speed_mps = 0.0 if stop_s <= second <= go_s else 10.0
            rows.append(row(vehicle, float(second), float(offset_m), speed_mps, **more))
    return rows


def batch_of(rows: Sequence[Row], message: str = "vehicle_state") -> Batch:
    """Rows as one Batch, in the given order."""
    names = sorted({name for r in rows for name in r})
    columns = {name: [r.get(name) for r in rows] for name in names}
    return from_columns(
        message, zone="test", run_id="test", origin="simulated", columns=columns, n_rows=len(rows)
    )


def in_time(rows: Iterable[Row]) -> list[Row]:
    """Rows in order of sampling, then of vehicle."""
    return sorted(rows, key=lambda r: (r["sampled_at_ns"], r["subject_id"]))


def run(
    detector: Detector, where: Context, rows: Sequence[Row], message: str = "vehicle_state"
) -> list[Finding]:
    """Findings of the plainest run: a Batch a second, a tick after each, two seconds behind."""
    state, findings = detector.initial(where), []
    seconds = [-(-(r["sampled_at_ns"] - START_NS) // NS_PER_S) for r in rows]
    for second in sorted(set(seconds)):
        part = [r for r, s in zip(rows, seconds, strict=True) if s == second]
        state, now = detector.update(state, batch_of(part, message))
        findings += now
        state, now = detector.advance(state, START_NS + (second - 2) * NS_PER_S)
        findings += now
    state, now = detector.advance(state, START_NS + (max(seconds) + 60) * NS_PER_S)
    return findings + now


def run_scrambled(
    detector: Detector,
    where: Context,
    rows: Sequence[Row],
    message: str = "vehicle_state",
    *,
    seed: int,
    shuffles: bool,
) -> list[Finding]:
    """The same records otherwise: batches split at random, ticks left out at random, the state
    saved and restored in between, and rows moved by up to 1.5 s if `shuffles`."""
    rng = np.random.default_rng(seed)
    at_s = np.array([(r["sampled_at_ns"] - START_NS) / NS_PER_S for r in rows])
    arrival_s = at_s + (rng.uniform(0.0, 1.5, len(rows)) if shuffles else 0.0)
    order = np.argsort(arrival_s, kind="stable")
    state, findings, place = detector.initial(where), [], 0
    while place < len(order):
        part = order[place : place + int(rng.integers(1, 60))]
        place += len(part)
        state, now = detector.update(state, batch_of([rows[i] for i in part], message))
        findings += now
        if place < len(order) and rng.random() < 0.4:
            watermark_s = float(at_s[order[place:]].min()) - 0.001
            state, now = detector.advance(state, START_NS + int(watermark_s * NS_PER_S))
            findings += now
        if rng.random() < 0.2:
            state = detector.restore(where, detector.snapshot(state))
    state, now = detector.advance(state, START_NS + int((at_s.max() + 60.0) * NS_PER_S))
    return findings + now


def as_set(findings: Iterable[Finding]) -> list[tuple[Any, ...]]:
    """Findings in an order of their own, so that two runs can be compared."""
    key = [(f.at_ns, f.subject_id, f.phase, f.started_at_ns, repr(f)) for f in findings]
    return sorted(key)
