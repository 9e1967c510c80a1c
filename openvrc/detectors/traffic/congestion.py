"""Congestion of a road segment, told from the queue that every red light makes.

Inputs are the edge's windows after Edie: vehicle-seconds and metres driven in a segment.

Windows of 60 s: mean delay of one passage, d = L / u - L / v_limit. On a segment that ends
at a signal, or less than 150 m before one, each vehicle waits part of a red, so d is averaged
over three windows, two or more cycles, and must exceed the delay at which the Highway Capacity
Manual calls a signal failed (level of service F: 80 s). Elsewhere it is congestion when speed
over two windows is below half the limit and the delay more than a give-way line explains (50 s
in town, 10 s on roads without such). Either way this is one index: 1 is a warning, 2 serious, it
ends below 0.7.
None of this needs to know how many vehicles are connected.

Windows of 10 s: standing traffic on the whole segment, for 30 s: lane density above 40 vehicles
per km (capacity is reached below 30), speed below a quarter of the limit and more vehicles a lane
than one red collects. This sees every vehicle or stays silent, and is quick.

A single slow vehicle is no congestion. Segments shorter than 50 m are parts of junctions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule, Severity
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.traffic._windows import Columns, WindowBuffer, rows_of

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAME = "traffic.congestion"

SHORT_WINDOW_S, LONG_WINDOW_S = 10, 60
SIGNAL_WINDOWS = 3  # 180 s hold two cycles of 60 to 90 s
OPEN_ROAD_WINDOWS = 2
SIGNAL_DELAY_S = 80.0  # HCM 2010, exhibit 18-4: level of service F
OPEN_ROAD_RATIO = 0.5  # of the limit: level of service F of urban streets starts lower (0.3)
TOWN_LIMIT_MPS = 19.4  # 70 km/h: up to here a segment may end at a give-way or stop line
TOWN_DELAY_S = 50.0  # HCM 2010, exhibit 19-1: level of service F at unsignalised junctions
OPEN_ROAD_DELAY_S = 10.0  # less is a bend or a merge
SERIOUS_INDEX = 2.0
KEEP_SHARE = 0.7  # an index must fall to this share of a level's threshold to leave it
MIN_VEHICLES = 3
MIN_MEAN_VEHICLES = 1.0  # present on average
FEEDS_SIGNAL_M = 150.0  # a queue of 20 at a signal further on reaches back over this
FEEDS_STEPS = 8  # segments, junctions included, that such a stretch may be cut into
MIN_LENGTH_M = 50.0

DENSE_VPKM = 40.0  # per lane
STANDING_RATIO = 0.25
QUEUE_AT_SIGNAL = 8.0  # vehicles a lane: 45 s of red at 600 vehicles an hour collect 7 or 8
QUEUE_ELSEWHERE = 4.0
QUICK_WINDOWS = 3
QUICK_SERIOUS_WINDOWS = 12  # two minutes
LESS_DENSE_VPKM = 25.0  # hysteresis: below capacity density
LESS_STANDING_RATIO = 0.4
CALM_WINDOWS = 2
SILENT_S = 180  # no window of any segment of the zone

FIELDS: dict[str, tuple[Any, Any]] = {
    "long_level": (np.int64, 0),
    "index": (np.float64, 0.0),
    "quick_level": (np.int64, 0),
    "quick_run": (np.int64, 0),
    "calm_run": (np.int64, 0),
    "level": (np.int64, 0),
    "since_ns": (np.int64, ABSENT_I64),
    "is_unknown": (np.bool_, False),
    "speed_mps": (np.float64, np.nan),  # of the newest window with somebody in it
    "lane_density_vpkm": (np.float64, np.nan),
}


@dataclass(frozen=True)
class Roads:
    """What the rule needs of the map, (n_segments,) each."""

    length_m: FloatArray
    lanes: FloatArray
    limit_mps: FloatArray
    at_signal: BoolArray
    counts: BoolArray
    number_of: dict[str, int]


@dataclass
class State:
    """Every segment of one zone and run; arrays as long as the map."""

    context: Context
    roads: Roads
    values: dict[str, NDArray[Any]]
    vehicle_s: FloatArray
    """(SIGNAL_WINDOWS, n_segments) of the last long windows, newest first."""
    distance_m: FloatArray
    vehicle_count: FloatArray
    buffer: WindowBuffer = field(default_factory=WindowBuffer)
    folded_ns: int = ABSENT_I64
    end_ns: dict[int, int] = field(default_factory=dict)
    """Newest end folded, by window length."""


class Congestion:
    """`traffic.congestion`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Congestion",
        meaning="Traffic on this segment is jammed beyond what its signal explains.",
        advice="Look for the cause downstream; consider longer green, a detour or a speed advice.",
        recovering_for_s=30.0,
        actionable_for_s=900.0,
    )
    inputs: tuple[str, ...] = ("segment_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """Every segment free; without a map there are none."""
        roads = _roads(context.road_map)
        n = len(roads.length_m)
        values = {name: np.full(n, fill, dtype) for name, (dtype, fill) in FIELDS.items()}
        vehicle_s, distance_m, vehicle_count = np.zeros((3, SIGNAL_WINDOWS, n))
        return State(context, roads, values, vehicle_s, distance_m, vehicle_count)

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Hold the windows back until they are due."""
        state.buffer.add(rows_of(batch, state.roads.number_of))
        return state, []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """Fold the windows that are due, end by end."""
        findings: list[Finding] = []
        for end_ns, rows in state.buffer.due(state.folded_ns, watermark_ns):
            findings += _silenced(state, end_ns - 1)
            for window_s, fold in ((SHORT_WINDOW_S, _fold_quick), (LONG_WINDOW_S, _fold_long)):
                chosen = rows["window_s"] == window_s
                if chosen.any():
                    fold(state, end_ns, {n: array[chosen] for n, array in rows.items()})
                    state.end_ns[window_s] = end_ns
            state.folded_ns = end_ns
            findings += _changes(state, end_ns)
        findings += _silenced(state, watermark_ns)
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """Everything but the map."""
        ends = [state.end_ns.get(w, ABSENT_I64) for w in (SHORT_WINDOW_S, LONG_WINDOW_S)]
        return {
            **{name: array.copy() for name, array in state.values.items()},
            **state.buffer.snapshot("rows_"),
            "past": np.stack((state.vehicle_s, state.distance_m, state.vehicle_count)),
            "ends_ns": np.array([state.folded_ns, *ends]),
        }

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote, on the same map."""
        state = self.initial(context)
        state.values = {name: arrays[name].copy() for name in FIELDS}
        state.vehicle_s, state.distance_m, state.vehicle_count = arrays["past"].copy()
        state.buffer.restore(arrays, "rows_")
        state.folded_ns, *ends = arrays["ends_ns"].tolist()
        lengths = (SHORT_WINDOW_S, LONG_WINDOW_S)
        state.end_ns = {w: e for w, e in zip(lengths, ends, strict=True) if e != ABSENT_I64}
        return state


def _roads(road_map: RoadMap | None) -> Roads:
    if road_map is None:
        nothing = np.zeros(0)
        return Roads(nothing, nothing, nothing, nothing > 0, nothing > 0, {})
    length_m = road_map.segment_length_m
    return Roads(
        length_m=length_m,
        lanes=np.maximum(road_map.segment_lane_count, 1).astype(np.float64),
        limit_mps=road_map.segment_speed_limit_mps,
        at_signal=_metres_to_signal(road_map) <= FEEDS_SIGNAL_M,
        counts=(length_m >= MIN_LENGTH_M) & ~road_map.segment_is_internal,
        number_of={name: number for number, name in enumerate(road_map.segment_ids)},
    )


def _metres_to_signal(road_map: RoadMap) -> FloatArray:
    """From each segment's end to the next stop line at a signal; inf beyond FEEDS_STEPS."""
    length_m, n = road_map.segment_length_m, road_map.n_segments
    behind_m = np.where(road_map.segment_ends_at_signal, 0.0, np.inf)
    owner = np.repeat(np.arange(n), np.diff(road_map.successor_offsets))
    for _ in range(FEEDS_STEPS):
        via_m = (length_m + behind_m)[road_map.successor_segments]
        np.minimum.at(behind_m, owner, via_m)
    return behind_m


def _remember_speed(state: State, rows: Columns, window_s: int) -> None:
    segment, seen = rows["segment"], rows["vehicle_s"] > 0.0
    there = segment[seen]
    roads, values = state.roads, state.values
    values["speed_mps"][there] = rows["distance_m"][seen] / rows["vehicle_s"][seen]
    lane_km = roads.length_m[there] / 1000.0 * roads.lanes[there]
    values["lane_density_vpkm"][there] = rows["vehicle_s"][seen] / window_s / lane_km


def _fold_quick(state: State, end_ns: int, rows: Columns) -> None:
    """One 10 s window of the zone; segments without a row had nobody."""
    roads, values = state.roads, state.values
    n = len(roads.length_m)
    vehicle_s, distance_m = np.zeros(n), np.zeros(n)
    vehicle_s[rows["segment"]], distance_m[rows["segment"]] = rows["vehicle_s"], rows["distance_m"]
    _remember_speed(state, rows, SHORT_WINDOW_S)
    per_lane = vehicle_s / SHORT_WINDOW_S / roads.lanes
    density_vpkm = per_lane / (roads.length_m / 1000.0)
    ratio = distance_m / np.maximum(vehicle_s, 1e-9) / roads.limit_mps
    queue = np.where(roads.at_signal, QUEUE_AT_SIGNAL, QUEUE_ELSEWHERE)
    jammed = (density_vpkm >= DENSE_VPKM) & (ratio < STANDING_RATIO) & (per_lane >= queue)
    held = (density_vpkm >= LESS_DENSE_VPKM) & (ratio < LESS_STANDING_RATIO)
    steps = _steps(state, SHORT_WINDOW_S, end_ns)
    run = values["quick_run"] if steps == 1 else 0
    values["quick_run"] = np.where(jammed & roads.counts, run + 1, 0)
    values["calm_run"] = np.where(held, 0, values["calm_run"] + steps)
    level = np.where(values["quick_run"] >= QUICK_WINDOWS, 1, 0)
    level = np.where(values["quick_run"] >= QUICK_SERIOUS_WINDOWS, 2, level)
    kept = np.where(values["calm_run"] >= CALM_WINDOWS, 0, values["quick_level"])
    values["quick_level"] = np.maximum(level, kept)


def _fold_long(state: State, end_ns: int, rows: Columns) -> None:
    """One 60 s window of the zone; segments without a row had nobody."""
    steps = min(_steps(state, LONG_WINDOW_S, end_ns), SIGNAL_WINDOWS)
    for past, name in (
        (state.vehicle_s, "vehicle_s"),
        (state.distance_m, "distance_m"),
        (state.vehicle_count, "vehicle_count"),
    ):
        past[steps:] = past[: SIGNAL_WINDOWS - steps].copy()
        past[:steps] = 0.0
        past[0, rows["segment"]] = rows[name]
    if SHORT_WINDOW_S not in state.end_ns:
        _remember_speed(state, rows, LONG_WINDOW_S)
    values = state.values
    values["index"] = index = _index(state)
    level = np.where(index >= SERIOUS_INDEX, 2, np.where(index >= 1.0, 1, 0))
    keeps = np.where(index >= KEEP_SHARE * SERIOUS_INDEX, 2, np.where(index >= KEEP_SHARE, 1, 0))
    values["long_level"] = np.maximum(level, np.minimum(values["long_level"], keeps))


def _index(state: State) -> FloatArray:
    """Congestion index of each segment: 1 where congestion begins, 0 without traffic."""
    roads = state.roads
    n_windows = np.where(roads.at_signal, SIGNAL_WINDOWS, OPEN_ROAD_WINDOWS)
    used = np.arange(SIGNAL_WINDOWS)[:, None] < n_windows
    vehicle_s = (state.vehicle_s * used).sum(axis=0)
    distance_m = (state.distance_m * used).sum(axis=0)
    # Every window must have somebody: a road that was empty a minute ago is not jammed yet.
    present = ((state.vehicle_count > 0) | ~used).all(axis=0) & roads.counts
    present &= vehicle_s >= MIN_MEAN_VEHICLES * LONG_WINDOW_S * n_windows
    present &= (state.vehicle_count * used).max(axis=0) >= MIN_VEHICLES
    speed_mps = distance_m / np.maximum(vehicle_s, 1e-9)
    # A stand-still has no finite delay; 0.01 m/s stands for it.
    delay_s = roads.length_m / np.maximum(speed_mps, 0.01) - roads.length_m / roads.limit_mps
    slow = OPEN_ROAD_RATIO * roads.limit_mps / np.maximum(speed_mps, 0.01)
    least_s = np.where(roads.limit_mps <= TOWN_LIMIT_MPS, TOWN_DELAY_S, OPEN_ROAD_DELAY_S)
    slow = np.minimum(slow, delay_s / least_s)
    index: FloatArray = np.where(roads.at_signal, delay_s / SIGNAL_DELAY_S, slow)
    return np.where(present, index, 0.0)


def _steps(state: State, window_s: int, end_ns: int) -> int:
    """How many windows further this one is; 1 is the next."""
    last_ns = state.end_ns.get(window_s)
    return 1 if last_ns is None else max(1, round((end_ns - last_ns) / (window_s * NS_PER_S)))


def _changes(state: State, end_ns: int) -> list[Finding]:
    values = state.values
    new = np.maximum(values["long_level"], values["quick_level"])
    old = values["level"]
    news = np.flatnonzero((new != old) | ((new > 0) & values["is_unknown"]))
    values["level"] = new
    values["is_unknown"][:] = False
    return [_change(state, int(number), int(old[number]), end_ns) for number in news]


def _change(state: State, number: int, old: int, end_ns: int) -> Finding:
    values = state.values
    if old == 0:
        quick = values["quick_level"][number] > 0
        lasted_s = int(values["quick_run"][number]) * SHORT_WINDOW_S
        if not quick:
            at_signal = state.roads.at_signal[number]
            lasted_s = LONG_WINDOW_S * (SIGNAL_WINDOWS if at_signal else OPEN_ROAD_WINDOWS)
        values["since_ns"][number] = end_ns - lasted_s * NS_PER_S
    if values["level"][number] == 0:
        return _finding(state, number, "clear", end_ns)
    return _finding(state, number, "raise", end_ns, **_what(state, number))


def _what(state: State, number: int) -> dict[str, Any]:
    values, roads = state.values, state.roads
    speed_mps = round(float(values["speed_mps"][number]), 2)
    limit_mps = round(float(roads.limit_mps[number]), 2)
    severity = Severity.SERIOUS if values["level"][number] == 2 else Severity.WARNING
    evidence = {
        "text": f"Traffic moves at {speed_mps * 3.6:.0f} km/h where {limit_mps * 3.6:.0f} km/h "
        "are allowed.",
        "speed_mps": speed_mps,
        "speed_limit_mps": limit_mps,
        "lane_density_vpkm": round(float(values["lane_density_vpkm"][number]), 1),
        "congestion_index": round(float(values["index"][number]), 2),
        "standing_s": int(values["quick_run"][number]) * SHORT_WINDOW_S,
        "is_at_signal": bool(roads.at_signal[number]),
    }
    return {"severity": severity, "evidence": evidence}


def _silenced(state: State, upto_ns: int) -> list[Finding]:
    """The whole zone has no windows any more: nothing is known of what is open."""
    values = state.values
    at_ns = state.folded_ns + SILENT_S * NS_PER_S
    if state.folded_ns == ABSENT_I64 or upto_ns < at_ns:
        return []
    gone = np.flatnonzero((values["level"] > 0) & ~values["is_unknown"])
    values["is_unknown"][gone] = True
    return [_finding(state, int(number), "unknown", at_ns) for number in gone]


def _finding(state: State, number: int, phase: Any, at_ns: int, **more: Any) -> Finding:
    road_map = state.context.road_map
    assert road_map is not None
    lat_deg, lon_deg = road_map.point_at(number, float(road_map.segment_length_m[number]) / 2.0)
    segment_id = road_map.segment_ids[number]
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="segment",
        subject_id=segment_id,
        at_ns=at_ns,
        started_at_ns=int(state.values["since_ns"][number]),
        segment_id=segment_id,
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        **more,
    )


PLUGIN: Detector = Congestion()
