"""A vehicle drives against the direction of its lane.

A vehicle's course is compared with the lanes that run by its place. One lane in its direction
within reach explains it; none, or only one that is further off than positions err, while a lane
against its course is right under it, is evidence. Both distances are averaged over the samples of
at least 2 s, so that one bad fix is nothing: in the mean the lane against the course must be within
2.5 m and a thousand times as likely as the one along it, which then is 5.6 m away at least (nearly
two lanes), 6.1 m where the other is 2.5 m away: errors last a minute, so that a mean is no better
than a fix. The matcher may have put such a vehicle on the road beside it
whose direction fits, so its mark only chooses which samples are looked at.

Of a vehicle that somebody else tells of it is said only if the teller can be believed (`_units`):
where many of the others it relays would drive against their lanes, its positions are wrong.

Judged at once, sample by sample. Inside junctions nothing is decided. An episode ends 5 s after
its last such sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule, Severity
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed, Spec
from openvrc.detectors.traffic import _fleet
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._units import Units
from openvrc.detectors.traffic._view import View, view_of

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAME = "traffic.wrong_way"

MOVES_MPS = 3.0  # slower may be backing out, and has no certain course
OFF_LANE_M = 3.5  # half a lane and 1.3 standard deviations of a good fix
AGAINST_COS = -0.5  # over 120 deg from the lane's direction
CERTAIN_M2 = 2.0 * 1.5**2 * 6.9  # squares of the two distances apart: errors of 1.5 m, 1000 to 1
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
    roads: Roads | None = None
    units: Units = field(default_factory=Units)
    forgetting: _fleet.Forgetting = field(default_factory=_fleet.Forgetting)


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
        return State(context, roads=roads_of(road_map))

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Judge every sample; those of one vehicle in the batch's order."""
        if state.roads is None or not batch.n_rows:
            return state, []
        view = view_of(batch, state.roads)
        moving = _moving(view)
        is_suspect = _is_suspect(view, moving)
        state.units.learn(view, moving, is_suspect)
        suspects = moving[is_suspect]
        return state, _judge(state, state.roads, view, suspects) if len(suspects) else []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """End the episodes without further evidence, forget the others."""
        vehicles, road_map = state.vehicles, state.context.road_map
        is_due = state.forgetting.is_due(watermark_ns)
        if is_due:
            state.units.forget(watermark_ns)
        if road_map is None or not len(vehicles):
            return state, []
        end_ns = vehicles["last_ns"] + int(OVER_S * NS_PER_S)
        ended = _fleet.ended_episodes(vehicles, end_ns, watermark_ns)
        findings = [_finding(state, road_map, one, "clear", int(end_ns[one])) for one in ended]
        vehicles["open_since_ns"][ended] = ABSENT_I64
        if is_due:
            gone = vehicles["newest_ns"] < watermark_ns - IDLE_S * NS_PER_S
            vehicles.evict_if_many(gone & (vehicles["open_since_ns"] == ABSENT_I64))
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """All vehicles with evidence."""
        return state.vehicles.snapshot() | state.units.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        state.vehicles, state.units = Keyed.restore(SPEC, arrays), Units.restore(arrays)
        return state


def _moving(view: View) -> IndexArray:
    """Rows of moving motor vehicles on the map."""
    rows = (view.speed_mps > MOVES_MPS) & (view.segment >= 0)
    rows &= view.is_in_order & view.has_place & np.isfinite(view.heading_rad) & view.is_motor
    return np.flatnonzero(rows)


def _is_suspect(view: View, rows: IndexArray) -> BoolArray:
    """Which of these rows are off their lane, or against it."""
    is_against = view.lane_cosine[rows] < AGAINST_COS
    suspect: BoolArray = is_against | (view.across_m[rows] > OFF_LANE_M)
    return suspect


def _judge(state: State, roads: Roads, view: View, rows: IndexArray) -> list[Finding]:
    vehicles, road_map = state.vehicles, roads.road_map
    east_north = view.course[0][rows], view.course[1][rows]
    x_m, y_m = view.xy_m[0][rows], view.xy_m[1][rows]
    along_m, against_m, point = roads.lanes.beside(x_m, y_m, *east_north)
    found = np.flatnonzero(point >= 0)
    if not len(found):
        return []
    slot, at_ns = view.slots(vehicles, rows[found]), view.at_ns[rows[found]]
    findings = []
    for part in view.rounds_of(slot):
        newer = part[at_ns[part] > vehicles["newest_ns"][slot[part]]]
        mine, of, now_ns = slot[newer], found[newer], at_ns[newer]
        _add(vehicles, mine, now_ns, along_m[of], against_m[of])
        vehicles["lat_deg"][mine] = view.lat_deg[rows[of]]
        vehicles["lon_deg"][mine] = view.lon_deg[rows[of]]
        for one in np.flatnonzero(_are_against(vehicles, mine)).tolist():
            segment, row = int(roads.lanes.segment[point[of[one]]]), int(rows[of[one]])
            speed_mps = float(view.speed_mps[row])
            if _is_believed(state, view, row, int(mine[one])):
                findings += _raised(state, road_map, int(mine[one]), segment, speed_mps)
    return findings


def _is_believed(state: State, view: View, row: int, one: int) -> bool:
    """Whether who tells of this vehicle can be believed; an open episode goes on."""
    if not view.is_relayed[row] or state.vehicles["open_since_ns"][one] != ABSENT_I64:
        return True
    source = view.batch.dictionary("source_id")[view.batch.codes("source_id")[row]]
    words, place = view.batch.used_words("subject_id")
    return state.units.is_believed(source, int(words.hashes[place[row]]), int(view.at_ns[row]))


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


def _are_against(vehicles: Keyed, slot: IndexArray) -> BoolArray:
    """Whose evidence is enough."""
    samples = vehicles["samples"][slot]
    span_ns = vehicles["newest_ns"][slot] - vehicles["since_ns"][slot]
    against = (samples >= SAMPLES) & (span_ns >= int(SPAN_S * NS_PER_S))
    against &= vehicles["against_m"][slot] <= AGAINST_WITHIN_M * samples
    apart_m2 = np.square(vehicles["along_m"][slot]) - np.square(vehicles["against_m"][slot])
    against &= apart_m2 >= CERTAIN_M2 * np.square(samples)
    return np.asarray(against, np.bool_)


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
    along_m, against_m = (float(vehicles[n][one]) / samples for n in ("along_m", "against_m"))
    evidence = {
        "text": f"Drives {speed_mps * 3.6:.0f} km/h against the direction of "
        f"{road_map.segment_ids[segment]}.",
        "samples": samples,
        "lane_along_course_m": round(along_m, 1),
        "lane_against_course_m": round(against_m, 1),
        "speed_mps": round(speed_mps, 2),
        "limit_along_m": round(math.sqrt(against_m**2 + CERTAIN_M2), 1),
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
