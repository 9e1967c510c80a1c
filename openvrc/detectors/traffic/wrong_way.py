"""A vehicle drives against the direction of its lane.

A vehicle's course is compared with the lanes that run by its place. One lane in its direction
within reach explains it; none, or only one that is further off than positions err, while a lane
against its course is right under it, is evidence. Both distances are averaged over the samples of
at least 2 s, so that one bad fix is nothing: the lane along the course must be over 5 m away in
the mean (three standard deviations of a good fix, and a lane and a half), the one against it
within 2.5 m. The matcher may have put such a vehicle on the road beside it whose direction fits,
so its mark only chooses which samples are looked at.

Judged at once, sample by sample. Inside junctions nothing is decided. An episode ends 5 s after
its last such sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule, Severity
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.messages.record import LATE_IN_SUBJECT, LATE_IN_ZONE
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed, Spec
from openvrc.detectors.traffic import _fleet
from openvrc.detectors.traffic._lane_points import LanePoints
from openvrc.detectors.traffic._rounds import rounds

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAME = "traffic.wrong_way"

MOVES_MPS = 3.0  # slower may be backing out, and has no certain course
OFF_LANE_M = 3.5  # half a lane and 1.3 standard deviations of a good fix
AGAINST_COS = -0.5  # over 120 deg from the lane's direction
ALONG_FROM_M = 5.0
AGAINST_WITHIN_M = 2.5
SPAN_S = 2.0
SAMPLES = 3
GAP_S = 3.0  # evidence further apart is not of one piece
OVER_S = 5.0
IDLE_S = 60

SPEC: Spec = {
    "newest_ns": (np.int64, ABSENT_I64),
    "since_ns": (np.int64, ABSENT_I64),
    "last_ns": (np.int64, ABSENT_I64),
    "samples": (np.int64, 0),
    "along_m": (np.float64, 0.0),  # sums over the samples
    "against_m": (np.float64, 0.0),
    "open_since_ns": (np.int64, ABSENT_I64),
    "open_segment": (np.int64, -1),
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
}


@dataclass
class State:
    """Every vehicle with evidence of one zone and run."""

    context: Context
    vehicles: Keyed = field(default_factory=lambda: Keyed(SPEC))
    segments: _fleet.SegmentNumbers | None = None
    lanes: LanePoints | None = None


class WrongWay:
    """`traffic.wrong_way`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Wrong-way driver",
        meaning="A vehicle drives against the direction of the lane it is on.",
        advice="Warn oncoming traffic at once, inform the police.",
        actionable_for_s=60.0,
    )
    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """No evidence against anybody."""
        road_map = context.road_map
        if road_map is None:
            return State(context)
        return State(context, segments=_fleet.SegmentNumbers(road_map), lanes=LanePoints(road_map))

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Judge every sample; those of one vehicle in the batch's order."""
        road_map = state.context.road_map
        if road_map is None or not batch.n_rows:
            return state, []
        suspects = _suspects(state, batch)
        if not len(suspects):
            return state, []
        return state, _judge(state, road_map, batch.take(suspects))

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """End the episodes without further evidence, forget the others."""
        vehicles, road_map = state.vehicles, state.context.road_map
        if road_map is None or not len(vehicles):
            return state, []
        end_ns = vehicles["last_ns"] + int(OVER_S * NS_PER_S)
        ended = _fleet.ended_episodes(vehicles, end_ns, watermark_ns)
        findings = [_finding(state, road_map, one, "clear", int(end_ns[one])) for one in ended]
        vehicles["open_since_ns"][ended] = ABSENT_I64
        gone = vehicles["newest_ns"] < watermark_ns - IDLE_S * NS_PER_S
        gone &= vehicles["open_since_ns"] == ABSENT_I64
        vehicles.evict_if_many(gone)
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """All vehicles with evidence."""
        return state.vehicles.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        state.vehicles = Keyed.restore(SPEC, arrays)
        return state


def _suspects(state: State, batch: Batch) -> IndexArray:
    """Rows of moving motor vehicles that are off their lane, or against it, or on none."""
    assert state.segments is not None
    assert state.lanes is not None
    heading = np.radians(batch.column("heading_deg").astype(np.float64))
    rows = (batch.column("speed_mps") > MOVES_MPS) & np.isfinite(heading)
    rows &= (batch.column("lateness") & (LATE_IN_ZONE | LATE_IN_SUBJECT)) == 0
    rows &= np.isfinite(batch.column("lat_deg")) & np.isfinite(batch.column("lon_deg"))
    vehicle_class = batch.column("vehicle_class").astype(np.int64)
    rows &= (vehicle_class < 0) | _fleet.ON_LANES[vehicle_class]
    chosen = np.flatnonzero(rows)
    segment = state.segments.of(batch.dictionary("segment_id"))[batch.codes("segment_id")[chosen]]
    matched = segment >= 0
    on_map = chosen[matched]
    offset_m = batch.column("segment_offset_m")[on_map].astype(np.float64)
    lane = batch.column("lane_index")[on_map].astype(np.int64)
    point = state.lanes.point_of(segment[matched], lane, np.nan_to_num(offset_m))
    assert state.context.road_map is not None
    x_m, y_m = state.context.road_map.frame.to_xy_m(
        batch.column("lat_deg")[on_map], batch.column("lon_deg")[on_map]
    )
    course = heading[on_map]
    cosine = np.sin(course) * state.lanes.east[point] + np.cos(course) * state.lanes.north[point]
    odd = (cosine < AGAINST_COS) | (state.lanes.across_m(point, x_m, y_m) > OFF_LANE_M)
    return np.sort(on_map[odd])


def _judge(state: State, road_map: RoadMap, batch: Batch) -> list[Finding]:
    lanes, vehicles = state.lanes, state.vehicles
    assert lanes is not None
    x_m, y_m = road_map.frame.to_xy_m(batch.column("lat_deg"), batch.column("lon_deg"))
    heading = np.radians(batch.column("heading_deg").astype(np.float64))
    along_m, against_m, point = lanes.beside(x_m, y_m, np.sin(heading), np.cos(heading))
    found = np.flatnonzero(point >= 0)
    if not len(found):
        return []
    slot = vehicles.batch_slots(batch.take(found))
    at_ns = batch.column("sampled_at_ns")[found]
    findings = []
    for part in rounds(slot):
        rows, mine = found[part], slot[part]
        newer = at_ns[part] > vehicles["newest_ns"][mine]
        rows, mine, now_ns = rows[newer], mine[newer], at_ns[part][newer]
        _add(vehicles, mine, now_ns, along_m[rows], against_m[rows])
        vehicles["lat_deg"][mine] = batch.column("lat_deg")[rows]
        vehicles["lon_deg"][mine] = batch.column("lon_deg")[rows]
        for one, row in zip(mine.tolist(), rows.tolist(), strict=True):
            if _is_against(vehicles, one):
                segment = int(lanes.segment[point[row]])
                findings += _raised(
                    state, road_map, one, segment, float(batch.column("speed_mps")[row])
                )
    return findings


def _add(
    vehicles: Keyed, slot: IndexArray, at_ns: IndexArray, along_m: FloatArray, against_m: FloatArray
) -> None:
    """Add one sample's distances to each vehicle's sums; after a gap they begin anew."""
    fresh = at_ns - vehicles["newest_ns"][slot] > int(GAP_S * NS_PER_S)
    fresh |= vehicles["newest_ns"][slot] == ABSENT_I64
    # A sample right on a lane along its course ends what was held against the vehicle.
    cleared = along_m < against_m
    begins = slot[fresh | cleared]
    for name in ("samples", "along_m", "against_m"):
        vehicles[name][begins] = 0
    vehicles["since_ns"][begins] = at_ns[fresh | cleared]
    vehicles["newest_ns"][slot] = at_ns
    more = ~cleared
    vehicles["samples"][slot[more]] += 1
    vehicles["along_m"][slot[more]] += along_m[more]
    vehicles["against_m"][slot[more]] += against_m[more]


def _is_against(vehicles: Keyed, one: int) -> bool:
    samples = int(vehicles["samples"][one])
    span_ns = int(vehicles["newest_ns"][one] - vehicles["since_ns"][one])
    if samples < SAMPLES or span_ns < int(SPAN_S * NS_PER_S):
        return False
    return bool(
        vehicles["along_m"][one] >= ALONG_FROM_M * samples
        and vehicles["against_m"][one] <= AGAINST_WITHIN_M * samples
    )


def _raised(
    state: State, road_map: RoadMap, one: int, segment: int, speed_mps: float
) -> list[Finding]:
    """Open an episode; further evidence only keeps it open."""
    vehicles = state.vehicles
    at_ns, findings = int(vehicles["newest_ns"][one]), []
    end_ns = int(vehicles["last_ns"][one]) + int(OVER_S * NS_PER_S)
    vehicles["last_ns"][one] = at_ns
    if vehicles["open_since_ns"][one] != ABSENT_I64:
        if at_ns < end_ns:
            return []
        findings.append(_finding(state, road_map, one, "clear", end_ns))
    vehicles["open_since_ns"][one] = vehicles["since_ns"][one]
    vehicles["open_segment"][one] = segment
    samples = int(vehicles["samples"][one])
    evidence = {
        "text": f"Drives {speed_mps * 3.6:.0f} km/h against the direction of "
        f"{road_map.segment_ids[segment]}.",
        "samples": samples,
        "lane_along_course_m": round(float(vehicles["along_m"][one]) / samples, 1),
        "lane_against_course_m": round(float(vehicles["against_m"][one]) / samples, 1),
        "speed_mps": round(speed_mps, 2),
        "limit_along_m": ALONG_FROM_M,
        "limit_against_m": AGAINST_WITHIN_M,
    }
    more = {"severity": Severity.CRITICAL, "evidence": evidence}
    return [*findings, _finding(state, road_map, one, "raise", at_ns, **more)]


def _finding(
    state: State, road_map: RoadMap, one: int, phase: Any, at_ns: int, **more: Any
) -> Finding:
    vehicles = state.vehicles
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="vehicle",
        subject_id=vehicles.keys[one],
        at_ns=at_ns,
        started_at_ns=int(vehicles["open_since_ns"][one]),
        segment_id=road_map.segment_ids[vehicles["open_segment"][one]],
        lat_deg=float(vehicles["lat_deg"][one]),
        lon_deg=float(vehicles["lon_deg"][one]),
        **more,
    )


PLUGIN: Detector = WrongWay()
