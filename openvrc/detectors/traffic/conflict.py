"""Two road users on a collision course: what must be said to them at once.

Whenever a road user reports, it is held against everybody near it who reported within 0.6 s, both
at the moment of the newer report (constant speed in between). At 1 Hz, however the two interleave,
one of the two orders is that close. Two on one way within 45 degrees follow one another: in one
lane of a segment, or on a lane that the other's lane leads to (`_lane_links`; where the map's lines
do not tell, if in line with its course), by their offsets. Others cross; two that drive, only if
their roads meet in one junction and their courses not before it: bridges and bending ramps do not.
`_encounters` has the measures.

A conflict is a time to collision below 3 s. Of two that drive, both must have been on their lane
for 2.5 s, for who overtakes and is matched to the wrong lane seems to close in, and be reported
within 2 m of its line, for the matcher needs two or three reports to follow a change; a queue's end
needs neither. What no brake could avoid when first seen is such a mistake too. Crossing vehicles
are one only if neither can stop any more without hard braking, for at every junction courses cross
of those who will yield; with somebody on foot or on a bicycle it is one in any case. Vehicles are
taken to be on the line of their lane: fixes err by more than lanes are apart.

Judged at once, report by report. Runs at the edge, which publishes the warning
(`edge/warnings.py`). An episode is one vehicle's, whoever the others are, and over 3 s after its
last conflict.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import (
    Arrays,
    Context,
    Detector,
    Finding,
    Rule,
    Severity,
    pack_words,
)
from openvrc.contracts.near_pairs import near_pairs
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed, Spec
from openvrc.detectors.traffic._encounters import (
    ONCOMING_COS,
    SAME_WAY_COS,
    Measures,
    Users,
    cosine_of,
    crossing,
    following,
)
from openvrc.detectors.traffic._fleet import Forgetting, ended_episodes
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._view import ON_LANES, View, view_of

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAME = "traffic.conflict"

TTC_S = 3.0  # what the SSM literature and SUMO's device count as an encounter
WARNING_TTC_S, SERIOUS_TTC_S = 1.5, 0.8  # drivers need a second to react (Green 2000)
AVOIDABLE_MPS2 = 9.0  # what tyres give: who is first seen beyond it is on another lane than thought
CRAWLS_MPS = 4.0  # behind a queue's end, closing in comes of the queue and not of a wrong lane
STEADY_S = 2.5  # a lane just taken may be the matcher's mistake: overtaking looks like closing in
STOPPABLE_MPS2 = 3.0  # what the SSM device counts; Archer (2005) has 3.35 for a serious conflict
APART_S = 0.6  # half a period of 1 Hz and the jitter of sending
REACH_M = 60.0
IN_LINE_M = 1.6  # half a lane
STOP_LINE_M = 5.0  # a road's stated end may lie that far inside its junction, or roads meet askew
BESIDE_M = 2.0  # reported so far from its lane's line, somebody may be on the next one already
OVER_S = 3.0
IDLE_S = 60
MOVES_MPS = 1.0

SPEC: Spec = {
    "at_ns": (np.int64, ABSENT_I64),
    "x_m": (np.float64, np.nan),
    "y_m": (np.float64, np.nan),
    "east": (np.float64, np.nan),
    "north": (np.float64, np.nan),
    "speed_mps": (np.float64, np.nan),
    "length_m": (np.float64, 5.0),
    "segment": (np.int64, -1),
    "lane": (np.int64, -1),
    "offset_m": (np.float64, np.nan),
    "is_motor": (np.bool_, True),
    "across_m": (np.float64, 0.0),  # what was reported, from the lane's line
    "lane_since_ns": (np.int64, ABSENT_I64),  # when it came from another lane of its segment
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
    "last_ns": (np.int64, ABSENT_I64),
    "open_since_ns": (np.int64, ABSENT_I64),
    "open_segment": (np.int64, -1),
}
MOTION = tuple(SPEC)[:15]
Rows = dict[str, NDArray[Any]]


@dataclass
class State:
    """Every road user of one zone and run."""

    context: Context
    roads: Roads | None = None
    users: Keyed = field(default_factory=lambda: Keyed(SPEC))
    told: dict[tuple[str, str], int] = field(default_factory=dict)
    """Worst severity told in the open episode of the first, by pair."""
    forgetting: Forgetting = field(default_factory=Forgetting)


class Conflict:
    """`traffic.conflict`."""

    name = NAME
    runs_at = "edge"
    rule = Rule(
        name=NAME,
        title="Collision course",
        meaning="Two road users will collide within seconds if neither brakes or steers.",
        advice="Warn both at once; many at one place call for another layout or control.",
        actionable_for_s=10.0,
    )
    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """Nobody is near anybody; without a map there is no plane to compare in."""
        return State(context, roads_of(context.road_map) if context.road_map else None)

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Hold every report against those before it."""
        findings: list[Finding] = []
        if state.roads is None or not batch.n_rows:
            return state, findings
        view = view_of(batch, state.roads)
        rows = _rows(state, view)
        for part in _parts(rows["slot"]):
            findings += _meet(state, {name: values[part] for name, values in rows.items()})
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """End the episodes without a further conflict, forget the silent."""
        users = state.users
        end_ns = users["last_ns"] + int(OVER_S * NS_PER_S)
        findings = [_ended(state, one) for one in ended_episodes(users, end_ns, watermark_ns)]
        if state.forgetting.is_due(watermark_ns):
            gone = users["at_ns"] < watermark_ns - IDLE_S * NS_PER_S
            users.evict_if_many(gone & (users["open_since_ns"] == ABSENT_I64))
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """All road users and what was told of open episodes."""
        return {
            **state.users.snapshot(),
            "told_ego": pack_words([ego for ego, _ in state.told]),
            "told_other": pack_words([other for _, other in state.told]),
            "told_severity": np.array(list(state.told.values()), np.int64),
        }

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        # Not in snapshots before 2026-11-28: as if all had been reported on their lanes' lines.
        across_m = np.zeros(len(arrays["at_ns"]))
        state.users = Keyed.restore(SPEC, {"across_m": across_m, **arrays})
        pairs = zip(arrays["told_ego"].tolist(), arrays["told_other"].tolist(), strict=True)
        state.told = dict(zip(pairs, arrays["told_severity"].tolist(), strict=True))
        return state


def _rows(state: State, view: View) -> Rows:
    """Reports in order with position and speed; on a lane's line where they are on one."""
    assert view.roads is not None
    usable = view.has_place & view.is_in_order & np.isfinite(view.speed_mps)
    chosen = np.flatnonzero(usable)
    on_lane = view.on_lane[chosen]
    x_m, y_m = (axis[chosen] for axis in view.xy_m)
    east, north = (part[chosen] for part in view.course)
    is_motor = ON_LANES[view.vehicle_class[chosen]]
    lined = np.flatnonzero((on_lane >= 0) & is_motor & ~(view.lane_cosine[chosen] < SAME_WAY_COS))
    lanes, offset_m = view.roads.lanes, view.offset_m[chosen]
    line = lanes.on_line(on_lane[lined], view.lane[chosen][lined], offset_m[lined])
    for values, on_line in zip((x_m, y_m, east, north), line, strict=True):
        values[lined] = on_line
    return {
        "slot": view.slots(state.users, chosen),
        "at_ns": view.at_ns[chosen],
        "x_m": x_m,
        "y_m": y_m,
        "east": east,
        "north": north,
        "speed_mps": view.speed_mps[chosen],
        "length_m": view.length_m[chosen],
        "segment": on_lane,
        "lane": view.lane[chosen],
        "offset_m": offset_m,
        "is_motor": is_motor,
        "across_m": np.where(on_lane >= 0, view.across_m[chosen], 0.0),
        "lat_deg": view.lat_deg[chosen],
        "lon_deg": view.lon_deg[chosen],
    }


def _parts(slot: IndexArray) -> list[slice]:
    """Rows in pieces in which nobody comes twice, in order."""
    if len(np.unique(slot)) == len(slot):
        return [slice(0, len(slot))] if len(slot) else []
    parts, first, seen = [], 0, set[int]()
    for row, one in enumerate(slot.tolist()):
        if one in seen:
            parts.append(slice(first, row))
            first, seen = row, set()
        seen.add(one)
    return [*parts, slice(first, len(slot))]


def _meet(state: State, rows: Rows) -> list[Finding]:
    """One report a road user: find those near it, judge each pair once, move on."""
    users, n = state.users, len(rows["slot"])
    near_ns = int(APART_S * NS_PER_S)
    heard = np.flatnonzero(users["at_ns"] >= rows["at_ns"].min() - near_ns)
    rows["lane_since_ns"] = _lane_since_ns(users, rows)
    # Those of before, then the rows themselves: a row sees the rows before it, and of a road user
    # that comes later in the piece its report before.
    table = {name: np.concatenate((users[name][heard], rows[name])) for name in MOTION}
    table["slot"] = np.concatenate((heard, rows["slot"]))
    turn = np.concatenate((np.full(len(heard), -1), np.arange(n)))
    place_of = np.full(len(users), n)
    place_of[rows["slot"]] = np.arange(n)
    until = np.concatenate((place_of[heard], np.full(n, n)))
    asker, other = near_pairs(rows["x_m"], rows["y_m"], table["x_m"], table["y_m"], REACH_M)
    counts = (turn[other] < asker) & (until[other] > asker)
    apart_ns = rows["at_ns"][asker] - table["at_ns"][other]
    counts &= np.abs(apart_ns) <= near_ns
    counts &= (rows["speed_mps"][asker] > MOVES_MPS) | (table["speed_mps"][other] > MOVES_MPS)
    asker, other, apart_ns = asker[counts], other[counts], apart_ns[counts]
    findings = _judge(state, rows, table, asker, other, apart_ns / NS_PER_S)
    for name in MOTION:
        users[name][rows["slot"]] = rows[name]
    return findings


def _lane_since_ns(users: Keyed, rows: Rows) -> IndexArray:
    """When each came onto its lane from another one of the segment; long ago if it did not.

    After long silence nothing of before holds, whether or not it has been forgotten meanwhile.
    """
    slot = rows["slot"]
    is_known = users["at_ns"][slot] >= rows["at_ns"] - IDLE_S * NS_PER_S
    changed = (users["segment"][slot] == rows["segment"]) & (users["lane"][slot] != rows["lane"])
    since_ns = np.where(changed, rows["at_ns"], users["lane_since_ns"][slot])
    return np.where(is_known, since_ns, ABSENT_I64)


def _users(rows: Rows, chosen: IndexArray, ahead_s: FloatArray | float) -> Users:
    """Road users where they are `ahead_s` after their report."""
    speed_mps = rows["speed_mps"][chosen]
    east, north = rows["east"][chosen], rows["north"][chosen]
    moved_m = speed_mps * ahead_s
    return Users(
        x_m=rows["x_m"][chosen] + moved_m * np.nan_to_num(east),
        y_m=rows["y_m"][chosen] + moved_m * np.nan_to_num(north),
        east=east,
        north=north,
        speed_mps=speed_mps,
        length_m=rows["length_m"][chosen],
    )


def _judge(
    state: State,
    rows: Rows,
    table: Rows,
    asker: IndexArray,
    other: IndexArray,
    apart_s: FloatArray,
) -> list[Finding]:
    assert state.roads is not None
    one, two = _users(rows, asker, 0.0), _users(table, other, apart_s)
    cosine = cosine_of(one, two)
    along_m = _along_m(state, rows, table, asker, other, apart_s, one, two)
    ahead, behind = along_m > 0.0, along_m < 0.0
    same_way = (cosine > SAME_WAY_COS) & np.isfinite(along_m)
    found: list[tuple[IndexArray, Measures, bool]] = []
    for chosen, is_asker_behind in ((same_way & ahead, True), (same_way & behind, False)):
        pair = np.flatnonzero(chosen)
        first, second = (one, two) if is_asker_behind else (two, one)
        measures = following(np.abs(along_m[pair]), _pick(first, pair), _pick(second, pair))
        since_ns = np.maximum(
            rows["lane_since_ns"][asker[pair]], table["lane_since_ns"][other[pair]]
        )
        steady = rows["at_ns"][asker[pair]] - since_ns.clip(0) > int(STEADY_S * NS_PER_S)
        on_lanes = rows["across_m"][asker[pair]] < BESIDE_M
        on_lanes &= table["across_m"][other[pair]] < BESIDE_M
        sure = (steady & on_lanes) | (second.speed_mps[pair] < CRAWLS_MPS)
        measures = _where(measures, sure & (measures.drac_mps2 < AVOIDABLE_MPS2))
        found.append((pair, measures, is_asker_behind))
    roads = state.roads
    junction = roads.junction[rows["segment"][asker]]
    far_junction = roads.junction[table["segment"][other]]
    meet = (junction == far_junction) | (junction < 0) | (far_junction < 0)
    # Who walks or cycles crosses a road anywhere: only roads must meet in a junction.
    both_motor = rows["is_motor"][asker] & table["is_motor"][other]
    meet |= ~both_motor
    pair = np.flatnonzero(meet & (cosine <= SAME_WAY_COS) & (cosine > ONCOMING_COS))
    both_motor = both_motor[pair]
    moved_m = two.speed_mps[pair] * apart_s[pair]
    to_junction_m = (
        np.where(both_motor, _to_junction_m(roads, rows, asker[pair], 0.0), 0.0),
        np.where(both_motor, _to_junction_m(roads, table, other[pair], moved_m), 0.0),
    )
    measures = crossing(_pick(one, pair), _pick(two, pair), to_junction_m)
    yields = both_motor & (measures.drac_mps2 < STOPPABLE_MPS2)
    found.append((pair, _where(measures, ~yields), True))
    findings: list[Finding] = []
    for number, (pairs, measure, is_asker_ego) in enumerate(found):
        for place in np.flatnonzero(measure.ttc_s < TTC_S).tolist():
            row, foe = int(asker[pairs[place]]), int(table["slot"][other[pairs[place]]])
            me = int(rows["slot"][row])
            ego, foe = (me, foe) if is_asker_ego else (foe, me)
            facts = {
                "ttc_s": round(float(measure.ttc_s[place]), 2),
                "drac_mps2": round(float(measure.drac_mps2[place]), 2),
                "kind": "crossing" if number == 2 else "following",
            }
            where = (rows, row) if is_asker_ego else (table, int(other[pairs[place]]))
            findings += _conflict(state, ego, foe, int(rows["at_ns"][row]), where, facts)
    return findings


def _to_junction_m(
    roads: Roads, rows: Rows, chosen: IndexArray, moved_m: FloatArray | float
) -> FloatArray:
    """How far each must go on before the own road meets another; 0 off the roads.

    Roads that bend towards one another (a ramp) do not cross where courses do.
    """
    segment = rows["segment"][chosen]
    to_end_m = roads.length_m[segment] - rows["offset_m"][chosen] - moved_m
    rest_m = to_end_m - roads.crossed_m[segment] - STOP_LINE_M
    on_road = ~roads.is_internal[segment]
    return np.where(on_road, np.maximum(np.nan_to_num(rest_m), 0.0), 0.0)


def _where(measures: Measures, counts: BoolArray) -> Measures:
    """Conflicts only where `counts` (n,)."""
    return replace(measures, ttc_s=np.where(counts, measures.ttc_s, np.inf))


def _pick(users: Users, chosen: IndexArray) -> Users:
    return Users(*(values[chosen] for values in vars(users).values()))


def _along_m(
    state: State,
    rows: Rows,
    table: Rows,
    asker: IndexArray,
    other: IndexArray,
    apart_s: FloatArray,
    one: Users,
    two: Users,
) -> FloatArray:
    """How far the other is ahead of the asker on one way, negative behind; NaN on no one way."""
    assert state.roads is not None
    segment, far_segment = rows["segment"][asker], table["segment"][other]
    same = (segment == far_segment) & (segment >= 0)
    in_lane = same & (rows["lane"][asker] == table["lane"][other])
    moved_m = two.speed_mps * apart_s
    offset_m, far_offset_m = rows["offset_m"][asker], table["offset_m"][other] + moved_m
    along_m = np.where(in_lane, far_offset_m - offset_m, np.nan)
    place = rows["segment"][asker], rows["lane"][asker], offset_m
    far_place = far_segment, table["lane"][other], far_offset_m
    onward = np.flatnonzero(~same & state.roads.leads_to(segment, far_segment))
    along_m[onward] = _onward_m(state.roads, _at(place, onward), _at(far_place, onward),
                                _pick(one, onward), _pick(two, onward))  # fmt: skip
    back = np.flatnonzero(~same & state.roads.leads_to(far_segment, segment) & np.isnan(along_m))
    along_m[back] = -_onward_m(state.roads, _at(far_place, back), _at(place, back),
                               _pick(two, back), _pick(one, back))  # fmt: skip
    return along_m


Place = tuple[IndexArray, IndexArray, FloatArray]
"""Segments, lanes, offsets in m."""


def _at(place: Place, chosen: IndexArray) -> Place:
    return place[0][chosen], place[1][chosen], place[2][chosen]


def _onward_m(roads: Roads, place: Place, far_place: Place, one: Users, other: Users) -> FloatArray:
    """How far the other is ahead on a segment that follows, NaN if on no lane that one's leads to.

    Where the map's lines tell nothing of lanes, it is ahead if it is in line with one's course.
    """
    between_m, is_known = roads.lane_links.between(*place[:2], *far_place[:2])
    rest_m = roads.length_m[place[0]] - place[2]
    dx_m, dy_m = other.x_m - one.x_m, other.y_m - one.y_m
    ahead_m = dx_m * one.east + dy_m * one.north
    in_line = (ahead_m > 0.0) & (np.abs(dx_m * one.north - dy_m * one.east) < IN_LINE_M)
    return np.where(is_known, rest_m + between_m + far_place[2], np.where(in_line, ahead_m, np.nan))


def _severity(ttc_s: float) -> Severity:
    if ttc_s < SERIOUS_TTC_S:
        return Severity.SERIOUS
    return Severity.WARNING if ttc_s < WARNING_TTC_S else Severity.INFO


def _conflict(
    state: State, ego: int, foe: int, at_ns: int, where: tuple[Rows, int], facts: dict[str, Any]
) -> list[Finding]:
    """Open an episode, go on with one, or tell of another or a worse conflict in it."""
    users, findings = state.users, []
    is_open = users["open_since_ns"][ego] != ABSENT_I64
    if is_open and at_ns >= int(users["last_ns"][ego]) + int(OVER_S * NS_PER_S):
        findings.append(_ended(state, ego))
        is_open = False
    rows, row = where
    if not is_open:
        users["open_since_ns"][ego] = at_ns
        users["open_segment"][ego] = rows["segment"][row]
    users["last_ns"][ego] = max(at_ns, int(users["last_ns"][ego])) if is_open else at_ns
    pair, severity = (users.keys[ego], users.keys[foe]), _severity(facts["ttc_s"])
    if state.told.get(pair, -1) >= severity:
        return findings
    state.told[pair] = severity
    place = float(rows["lat_deg"][row]), float(rows["lon_deg"][row])
    evidence = {
        "text": f"Meets {pair[1]} in {facts['ttc_s']:.1f} s.",
        "other_id": pair[1],
        **facts,
        "limit_ttc_s": TTC_S,
    }
    more = {"severity": severity, "evidence": evidence, "lat_deg": place[0], "lon_deg": place[1]}
    return [*findings, _finding(state, ego, "raise", at_ns, **more)]


def _ended(state: State, one: int) -> Finding:
    users = state.users
    at_ns = int(users["last_ns"][one]) + int(OVER_S * NS_PER_S)
    finding = _finding(state, one, "clear", at_ns)
    users["open_since_ns"][one] = ABSENT_I64
    for pair in [pair for pair in state.told if pair[0] == finding.subject_id]:
        del state.told[pair]
    return finding


def _finding(state: State, one: int, phase: Any, at_ns: int, **more: Any) -> Finding:
    users, road_map = state.users, state.context.road_map
    segment = int(users["open_segment"][one])
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="vehicle",
        subject_id=users.keys[one],
        at_ns=at_ns,
        started_at_ns=int(users["open_since_ns"][one]),
        segment_id=road_map.segment_ids[segment] if road_map and segment >= 0 else "",
        **more,
    )


PLUGIN: Detector = Conflict()
