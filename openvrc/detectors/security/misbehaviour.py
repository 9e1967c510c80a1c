"""A sender whose reports contradict one another or the map: false, faulty or replayed data.

Each report is held against the one before: at the stated speed and course the vehicle should be
there. The gap along and across the course, in standard deviations of two positions, is evidence
against the sender. So is its distance from the lane it was matched to, beyond half a lane, but only
of one who leapt there from its lane: lanes, car parks and whole roads are missing from maps, and
who drives there has turned off.
Evidence adds up less what chance gives (a CUSUM, Page 1954, doi:10.1093/biomet/41.1-2.100), so
that one great leap or many small contradictions tell, and bad fixes do not:

    along_score = max(0, along_score + min(along^2 / 2, 20) - 1.2)
    across_score = max(0, across_score + min(across^2 / 2, 20) - 1.2 + off_lane)

where off_lane counts from a leap (across^2 / 2 over 3) until the sender is on a lane again.

For Gaussian gaps such a score's tail falls as exp(-0.88 score): 16 is passed by chance in one of
a million reports. Trust comes back slowly: an episode ends 600 s after the last report that raised
the score above its limit, for one who has lied once may repeat it in a way that fits.

Attack types: VeReMi NextGen (Hermann et al.) and CaTCH's checks; the weights are our own. Not
detectable here: what begins while a vehicle stands and fits its stand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule, Severity
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed, Spec
from openvrc.detectors.traffic._fleet import Forgetting, ended_episodes
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._view import View, view_of

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAME = "security.misbehaviour"

POSITION_SD_M = 1.5  # of one fix, per axis, where the sender does not state worse
MOTION_SD_MPS2 = 1.0  # what speeds and courses change between samples of 1 s
DRIFT = 1.2  # chance gives 0.5 a sample; twice that and a margin
LIMIT = 16.0
MAX_STEP = 20.0  # one leap is enough, and no more than that
OFF_LANE_M = 2.6  # half a lane, and a metre for how maps are drawn
OFF_LANE_MAX = 2.0  # the map may be wrong: it never convicts within seconds
OFF_LANE_SD_M = 1.5
LEAP = 3.0  # 2.4 standard deviations: no vehicle's motion, and seldom noise just where lanes end
NEAR_END_M = 15.0  # at junctions lanes bend and widen
MOVES_MPS = 2.0
MAX_GAP_S = 3.0  # over longer gaps a vehicle may have done anything
FORGIVEN_S = 600
IDLE_S = 60
CHECKS = ("position_along", "position_across", "off_lane")

SPEC: Spec = {
    "newest_ns": (np.int64, ABSENT_I64),
    "x_m": (np.float64, np.nan),
    "y_m": (np.float64, np.nan),
    "east": (np.float64, np.nan),  # parts of the course
    "north": (np.float64, np.nan),
    "along_score": (np.float64, 0.0),
    "across_score": (np.float64, 0.0),
    "is_on_lane": (np.bool_, False),  # at its last report for which that could be told
    "has_leapt": (np.bool_, False),
    "open_since_ns": (np.int64, ABSENT_I64),
    "guilty_ns": (np.int64, ABSENT_I64),
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
}
Rows = dict[str, NDArray[Any]]


@dataclass
class State:
    """Every sender of one zone and run."""

    context: Context
    roads: Roads | None = None
    vehicles: Keyed = field(default_factory=lambda: Keyed(SPEC))
    forgetting: Forgetting = field(default_factory=Forgetting)


class Misbehaviour:
    """`security.misbehaviour`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Implausible sender",
        meaning="A vehicle's reports contradict one another or the road: it is not where, or as "
        "fast, as it says.",
        advice="Do not act on what it reports; look for a fault of its receiver, else for fraud.",
        actionable_for_s=600.0,
    )
    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """Everybody is trusted; without a map there is no plane to compare in."""
        road_map = context.road_map
        if road_map is None:
            return State(context)
        return State(context, roads_of(road_map))

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Weigh every report; those of one vehicle in the batch's order."""
        if state.roads is None or not batch.n_rows:
            return state, []
        view = view_of(batch, state.roads)
        rows = _rows(state, view)
        if view.is_of_one_row_each:
            return state, _weigh(state, rows)
        findings: list[Finding] = []
        for part in view.rounds_of(rows["slot"]):
            findings += _weigh(state, {name: values[part] for name, values in rows.items()})
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """Forgive, and forget the silent."""
        vehicles = state.vehicles
        if not len(vehicles):
            return state, []
        end_ns = vehicles["guilty_ns"] + FORGIVEN_S * NS_PER_S
        ended = ended_episodes(vehicles, end_ns, watermark_ns)
        findings = [_finding(state, one, "clear", int(end_ns[one])) for one in ended]
        vehicles["open_since_ns"][ended] = ABSENT_I64
        if state.forgetting.is_due(watermark_ns):
            gone = vehicles["newest_ns"] < watermark_ns - IDLE_S * NS_PER_S
            vehicles.evict_if_many(gone & (vehicles["open_since_ns"] == ABSENT_I64))
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """All senders."""
        return state.vehicles.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        # Not in snapshots before 2026-11-28: as if nobody's lane had been told yet.
        unknown = np.zeros(len(arrays["newest_ns"]), np.bool_)
        lanes = {"is_on_lane": unknown, "has_leapt": unknown}
        state.vehicles = Keyed.restore(SPEC, lanes | dict(arrays))
        return state


def _rows(state: State, view: View) -> Rows:
    """Reports in time with position, speed and course, in the map's plane."""
    course_is_known = np.isfinite(view.heading_rad)
    usable = view.has_place & view.is_in_order & course_is_known & np.isfinite(view.speed_mps)
    chosen = None if usable.all() else np.flatnonzero(usable)
    off_lane, is_told = _off_lane(view)
    rows = {
        "at_ns": view.at_ns,
        "x_m": view.xy_m[0],
        "y_m": view.xy_m[1],
        "east": view.course[0],
        "north": view.course[1],
        "speed_mps": view.speed_mps,
        # fmax: who does not state an accuracy is taken to be good.
        "sd_m": np.fmax(view.accuracy_m, POSITION_SD_M),
        "off_lane": off_lane,
        "is_told": is_told,
        "lat_deg": view.lat_deg,
        "lon_deg": view.lon_deg,
    }
    if chosen is not None:
        rows = {name: values[chosen] for name, values in rows.items()}
    return rows | {"slot": view.slots(state.vehicles, chosen)}


def _off_lane(view: View) -> tuple[FloatArray, BoolArray]:
    """Evidence of being beside the matched lane, at most OFF_LANE_MAX, and where it can be told.

    Away from junctions, of who moves.
    """
    assert view.roads is not None
    evidence = np.zeros(len(view))
    is_told = (view.segment >= 0) & (view.speed_mps > MOVES_MPS) & ~view.is_internal
    to_end_m = view.roads.length_m[view.segment] - view.offset_m
    is_told &= (view.offset_m > NEAR_END_M) & (to_end_m > NEAR_END_M)
    beside_m = view.across_m - OFF_LANE_M
    chosen = np.flatnonzero(is_told & (beside_m > 0.0))
    shares = beside_m[chosen] / OFF_LANE_SD_M
    evidence[chosen] = np.minimum(shares * shares, OFF_LANE_MAX)
    return evidence, is_told


def _weigh(state: State, rows: Rows) -> list[Finding]:
    """One report a vehicle: compare with its last, move on, open episodes."""
    vehicles = state.vehicles
    newer = rows["at_ns"] > vehicles["newest_ns"][rows["slot"]]
    if not newer.all():
        rows = {name: values[newer] for name, values in rows.items()}
    slot = rows["slot"]
    steps = _steps(vehicles, rows)
    steps[CHECKS[2]] = _after_leap(vehicles, rows, steps[CHECKS[1]])
    along = np.maximum(vehicles["along_score"][slot] + steps[CHECKS[0]], 0.0)
    across = vehicles["across_score"][slot] + steps[CHECKS[1]] + steps[CHECKS[2]]
    vehicles["along_score"][slot] = np.minimum(along, LIMIT)
    vehicles["across_score"][slot] = np.clip(across, 0.0, LIMIT)
    guilty = _newly_guilty(vehicles, rows, np.flatnonzero((along >= LIMIT) | (across >= LIMIT)))
    for name in ("x_m", "y_m", "east", "north", "lat_deg", "lon_deg"):
        vehicles[name][slot] = rows[name]
    vehicles["newest_ns"][slot] = rows["at_ns"]
    findings: list[Finding] = []
    for row in guilty.tolist():
        evidence = {name: float(values[row]) for name, values in steps.items()}
        findings += _convict(state, int(slot[row]), int(rows["at_ns"][row]), evidence)
    return findings


def _after_leap(vehicles: Keyed, rows: Rows, across: FloatArray) -> FloatArray:
    """The evidence of being off the lane, of who has leapt there from it."""
    slot, off_lane, is_told = rows["slot"], rows["off_lane"], rows["is_told"]
    is_on = is_told & (off_lane == 0.0)
    # Near a junction nothing is told: the leap may have been there.
    leaps = vehicles["is_on_lane"][slot] & (across > LEAP - DRIFT)
    has_leapt = (vehicles["has_leapt"][slot] | leaps) & ~is_on
    vehicles["has_leapt"][slot] = has_leapt
    vehicles["is_on_lane"][slot[is_told]] = is_on[is_told]
    return np.where(has_leapt, off_lane, 0.0)


def _newly_guilty(vehicles: Keyed, rows: Rows, guilty: IndexArray) -> IndexArray:
    """Which of the guilty rows are news; for the others the episode only goes on."""
    slot, at_ns = rows["slot"][guilty], rows["at_ns"][guilty]
    goes_on = vehicles["open_since_ns"][slot] != ABSENT_I64
    goes_on &= at_ns < vehicles["guilty_ns"][slot] + FORGIVEN_S * NS_PER_S
    vehicles["guilty_ns"][slot[goes_on]] = at_ns[goes_on]
    news: IndexArray = guilty[~goes_on]
    return news


def _steps(vehicles: Keyed, rows: Rows) -> dict[str, FloatArray]:
    """What each check adds to the score, less what chance gives; zero on a new track."""
    slot, speed_mps = rows["slot"], rows["speed_mps"]
    last_ns = vehicles["newest_ns"][slot]
    elapsed_s = np.where(last_ns == ABSENT_I64, np.inf, (rows["at_ns"] - last_ns) / NS_PER_S)
    known = elapsed_s <= MAX_GAP_S
    elapsed_s = np.where(known, elapsed_s, 0.0)
    east, north = rows["east"], rows["north"]
    before_east, before_north = vehicles["east"][slot], vehicles["north"][slot]
    # In a bend a vehicle moves along the mean of both courses; who turns back at once, does not.
    cosine = east * before_east + north * before_north
    bends = cosine > 0.0
    length = np.sqrt(2.0 + 2.0 * np.where(bends, cosine, 0.0))  # of both together
    east = np.where(bends, (east + before_east) / length, east)
    north = np.where(bends, (north + before_north) / length, north)
    dx_m = rows["x_m"] - vehicles["x_m"][slot]
    dy_m = rows["y_m"] - vehicles["y_m"][slot]
    variance_m2 = 2.0 * np.square(rows["sd_m"]) + np.square(MOTION_SD_MPS2 * np.square(elapsed_s))
    along_m = dx_m * east + dy_m * north - speed_mps * elapsed_s
    across_m = dx_m * north - dy_m * east
    parts = [
        np.where(known, np.minimum(gap_m * gap_m / (2.0 * variance_m2), MAX_STEP) - DRIFT, 0.0)
        for gap_m in (along_m, across_m)
    ]
    return dict(zip(CHECKS, (*parts, rows["off_lane"]), strict=True))


def _convict(state: State, one: int, at_ns: int, evidence: dict[str, float]) -> list[Finding]:
    vehicles: Keyed = state.vehicles
    findings: list[Finding] = []
    end_ns = int(vehicles["guilty_ns"][one]) + FORGIVEN_S * NS_PER_S
    vehicles["guilty_ns"][one] = at_ns
    if vehicles["open_since_ns"][one] != ABSENT_I64:
        findings.append(_finding(state, one, "clear", end_ns))
    vehicles["open_since_ns"][one] = at_ns
    along, across = (float(vehicles[name][one]) for name in ("along_score", "across_score"))
    check = CHECKS[0] if along >= across else max(CHECKS[1:], key=lambda name: evidence[name])
    text = {
        "position_along": "Its positions do not fit its speed.",
        "position_across": "Its positions do not fit its course.",
        "off_lane": "It says that it drives beside the road.",
    }[check]
    facts = {"text": text, "reason": check, "score": round(max(along, across), 1)}
    facts |= {f"{name}_score": round(value, 2) for name, value in evidence.items()}
    facts["limit_score"] = LIMIT
    more = {"severity": Severity.WARNING, "evidence": facts}
    return [*findings, _finding(state, one, "raise", at_ns, **more)]


def _finding(state: State, one: int, phase: Any, at_ns: int, **more: Any) -> Finding:
    vehicles = state.vehicles
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="vehicle",
        subject_id=vehicles.keys[one],
        at_ns=at_ns,
        started_at_ns=int(vehicles["open_since_ns"][one]),
        lat_deg=float(vehicles["lat_deg"][one]),
        lon_deg=float(vehicles["lon_deg"][one]),
        **more,
    )


PLUGIN: Detector = Misbehaviour()
