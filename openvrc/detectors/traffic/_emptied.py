"""What `lane_closed` and `lane_blocked` have in common: folding lane use, telling of what emptied.

Looked at each fifth second of event time. An episode is one lane of one segment; it ends when
somebody drives through it, and is unknown when nobody has passed it on any lane for ten minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Finding, Rule, Severity
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic._lane_use import (
    CELL_M,
    EMPTY_S,
    LOOK_S,
    MAX_CHANCE,
    Emptied,
    LaneCells,
    LaneUse,
)
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._view import view_of

SILENT_S = 600
SERIOUS_LIMIT_MPS = 19.4  # 70 km/h, as for stopped_vehicle


@dataclass(frozen=True)
class Kind:
    """One of the two rules."""

    name: str
    sentence: str
    is_mine: Callable[[LaneUse, Emptied], bool]


@dataclass
class State:
    """One zone and run; without a map there are no lanes."""

    context: Context
    roads: Roads | None = None
    use: LaneUse | None = None


class EmptiedLane:
    """One of the two rules as a detector."""

    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def __init__(self, rule: Rule, sentence: str, is_mine: Callable[[LaneUse, Emptied], bool]):
        """`sentence` begins what is told, `is_mine` picks the stretches that are of this rule."""
        self.name, self.rule = rule.name, rule
        self._kind = Kind(rule.name, sentence, is_mine)

    def initial(self, context: Context) -> State:
        """Lanes that nobody has used yet."""
        road_map = context.road_map
        if road_map is None:
            return State(context)
        return State(context, roads_of(road_map), LaneUse(LaneCells(road_map)))

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Hold the batch back."""
        if state.use is not None and batch.n_rows:
            state.use.hold_back(view_of(batch, state.roads))
        return state, []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """Fold second by second, look at each fifth."""
        use, road_map, kind = state.use, state.context.road_map, self._kind
        findings: list[Finding] = []
        if use is None or road_map is None:
            return state, findings
        for second, rows in use.buffer.closed(use.evaluated_s, watermark_ns):
            findings += _silenced(kind, use, road_map, second - 1)
            use.fold(second, rows)
            if second // LOOK_S != use.evaluated_s // LOOK_S:
                findings += _look(kind, use, road_map, second)
            use.evaluated_s = second
        findings += _silenced(kind, use, road_map, watermark_ns // NS_PER_S)
        use.forget(watermark_ns)
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """Everything but the map."""
        return {} if state.use is None else state.use.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        if state.use is not None:
            state.use.restore(arrays)
        return state


def _look(kind: Kind, use: LaneUse, road_map: RoadMap, second: int) -> list[Finding]:
    findings = []
    for one in sorted(use.open.values(), key=lambda e: e.first):
        if use.is_used_again(one):
            del use.open[one.first]
            use.ended_s[use.lane_of(one.first)] = second
            findings.append(_finding(kind, use, road_map, one, "clear", second))
    lanes = {use.lane_of(e.first): e for e in use.open.values()}
    for one in use.stretches(second):
        known = lanes.get(use.lane_of(one.first))
        if known is not None and not known.is_unknown:
            continue
        if known is None and not kind.is_mine(use, one):
            continue
        told = one if known is None else replace(known, is_unknown=False)
        use.open[told.first] = lanes[use.lane_of(told.first)] = told
        findings.append(_raised(kind, use, road_map, told, second))
    return findings


def _silenced(kind: Kind, use: LaneUse, road_map: RoadMap, second: int) -> list[Finding]:
    findings = []
    for one in sorted(use.open.values(), key=lambda e: e.first):
        at_s = use.silent_since_s(one) + SILENT_S
        if not one.is_unknown and at_s <= second:
            use.open[one.first] = replace(one, is_unknown=True)
            findings.append(_finding(kind, use, road_map, one, "unknown", at_s))
    return findings


def _raised(kind: Kind, use: LaneUse, road_map: RoadMap, one: Emptied, second: int) -> Finding:
    segment, lane = use.lane_of(one.first)
    share = float(use.per_cell["share"][one.first : one.last + 1].max())
    others = use.others_since(one.first)
    evidence = {
        "text": f"{kind.sentence} {others} vehicles have passed on other lanes since the last one "
        f"used lane {lane}, {second - one.since_s} s ago; before, {share:.0%} did.",
        "empty_s": float(second - one.since_s),
        "vehicles_on_other_lanes": others,
        "used_before_ratio": round(share, 3),
        "from_m": float(use.cells.number[one.first] * CELL_M),
        "to_m": float((use.cells.number[one.last] + 1) * CELL_M),
        "limit_empty_s": float(EMPTY_S),
        "limit_probability": MAX_CHANCE,
    }
    limit_mps = float(road_map.segment_speed_limit_mps[segment])
    severity = Severity.SERIOUS if limit_mps > SERIOUS_LIMIT_MPS else Severity.WARNING
    more = {"severity": severity, "evidence": evidence}
    return _finding(kind, use, road_map, one, "raise", second, **more)


def _finding(
    kind: Kind, use: LaneUse, road_map: RoadMap, one: Emptied, phase: Any, at_s: int, **more: Any
) -> Finding:
    segment, lane = use.lane_of(one.first)
    begin_m = float(use.cells.number[one.first] * CELL_M)
    lat_deg, lon_deg = road_map.point_at(segment, begin_m)
    return Finding(
        rule=kind.name,
        phase=phase,
        subject_type="segment",
        subject_id=road_map.segment_ids[segment],
        at_ns=at_s * NS_PER_S,
        started_at_ns=one.since_s * NS_PER_S,
        component=f"lane:{lane}",
        segment_id=road_map.segment_ids[segment],
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        **more,
    )
