"""Vehicles one after another slow down at one place with nothing ahead that explains it.

Who meets an obstruction that is not connected itself brakes, waits or squeezes past, and is fast
again behind it. One such vehicle may have had its own reasons; several at the same 50 m of a lane
within minutes have found something. A queue is told apart by its history: it reaches its
bottleneck, so ahead of the place others were slow too. An obstruction has fast traffic ahead.

Cells of 50 m of each lane remember who was last below 0.3 of the limit in them. Raised when a
second vehicle begins to be, 10 to 180 s after the first (two that brake together are one event),
while the cells up to 100 m further ahead have had no slow vehicle for 600 s, and no bus has stood
there: who waits behind a bus at its stop has found nothing. Places at a segment's start and near
its end, further from one where others cross or a signal stands, are where vehicles are slow
anyway. Over when nobody has been slow there for 60 s.
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
from openvrc.detectors.keyed import Keyed, Spec
from openvrc.detectors.traffic import _fleet
from openvrc.detectors.traffic._open_lanes import AHEAD_CELLS, Cells
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._seconds import Columns, SecondsBuffer
from openvrc.detectors.traffic._view import BUS_LIKE, View, view_of

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAME = "traffic.sudden_slowdown"

SLOW_SHARE = 0.3  # of the limit: no driver goes so slow by choice on an open road
VEHICLES = 2
APART_S = 10  # closer is one platoon that braked for one reason
AGAIN_S = 5  # a vehicle that was fast for longer is slow for another reason
WITHIN_S = 180  # two probes at 5 % of 1,000 vehicles an hour and lane
REMEMBERED_S = 600
OVER_S = 60
NEVER_S = -(2**40)
SERIOUS_LIMIT_MPS = 19.4  # 70 km/h, as for stopped_vehicle

FLEET: Spec = {
    "newest_ns": (np.int64, ABSENT_I64),
    "stamp": (np.int64, 0),  # a number of its own, which outlives its slot
    "slow_s": (np.int64, NEVER_S),
    "since_s": (np.int64, NEVER_S),
}
ROWS: Columns = {
    "at_ns": np.empty(0, np.int64),
    "slot": np.empty(0, np.int64),
    "stamp": np.empty(0, np.int64),
    "cell": np.empty(0, np.int64),
    "lat_deg": np.empty(0, np.float64),
    "lon_deg": np.empty(0, np.float64),
    "speed_mps": np.empty(0, np.float64),
    "accuracy_m": np.empty(0, np.float64),
    "is_bus": np.empty(0, np.bool_),
}


@dataclass
class State:
    """All of one zone and run; arrays are per cell."""

    context: Context
    cells: Cells | None = None
    roads: Roads | None = None
    fleet: Keyed = field(default_factory=lambda: Keyed(FLEET))
    buffer: SecondsBuffer = field(default_factory=lambda: SecondsBuffer(ROWS))
    evaluated_s: int = -1
    stamps: int = 0
    per_cell: dict[str, NDArray[Any]] = field(default_factory=dict)
    open: dict[int, tuple[int, float, float]] = field(default_factory=dict)
    """Cell of each open episode: when it began, and where."""
    forgetting: _fleet.Forgetting = field(default_factory=_fleet.Forgetting)


class SuddenSlowdown:
    """`traffic.sudden_slowdown`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Sudden slowdown",
        meaning="Vehicles brake one after another at one place with free road ahead of it.",
        advice="Look at the camera of the place: something lies or stands there.",
        recovering_for_s=10.0,
        actionable_for_s=300.0,
    )
    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """Lanes on which nobody was slow."""
        road_map = context.road_map
        if road_map is None:
            return State(context)
        roads = roads_of(road_map)
        cells = Cells(roads)
        n_cells = len(cells.segment)
        per_cell = {
            "first_s": np.full(n_cells, NEVER_S, np.int64),
            "last_s": np.full(n_cells, NEVER_S, np.int64),
            "stamp": np.full(n_cells, -1, np.int64),
            "since_s": np.full(n_cells, NEVER_S, np.int64),
            "vehicles": np.zeros(n_cells, np.int64),
            "bus_s": np.full(n_cells, NEVER_S, np.int64),
        }
        return State(context, cells, roads, per_cell=per_cell)

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Hold back who is slow."""
        if state.roads is not None and batch.n_rows:
            view = view_of(batch, state.roads)
            rows = _slow_rows(state, view)
            state.buffer.add(rows, is_of_one_row_each=view.is_of_one_row_each)
        return state, []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """Fold second by second; end what has been quiet."""
        road_map = state.context.road_map
        findings: list[Finding] = []
        if road_map is None:
            return state, findings
        for second, rows in state.buffer.closed(state.evaluated_s, watermark_ns):
            findings += _over(state, road_map, second - 1)
            findings += _second(state, road_map, second, rows)
            state.evaluated_s = second
        findings += _over(state, road_map, watermark_ns // NS_PER_S)
        if state.forgetting.is_due(watermark_ns):
            _evict(state, watermark_ns)
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """Everything but the map."""
        opened = [(cell, *facts) for cell, facts in state.open.items()]
        return {
            **state.fleet.snapshot("fleet_"),
            **state.buffer.snapshot("rows_"),
            **{f"cell_{name}": values.copy() for name, values in state.per_cell.items()},
            "evaluated_s": np.array([state.evaluated_s, state.stamps]),
            "open_cell": np.array([o[0] for o in opened], np.int64),
            "open_since_s": np.array([o[1] for o in opened], np.int64),
            "open_place_deg": np.array([o[2:] for o in opened], np.float64).reshape(-1, 2),
        }

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        state.fleet = Keyed.restore(FLEET, arrays, "fleet_")
        # Buses are told apart since 2026-11-27: in an older checkpoint nobody is one.
        is_bus = {"rows_is_bus": np.zeros(len(arrays["rows_at_ns"]), np.bool_)}
        state.buffer.restore(is_bus | dict(arrays), "rows_")
        for name, values in state.per_cell.items():
            if f"cell_{name}" in arrays:
                values[:] = arrays[f"cell_{name}"]
        state.evaluated_s, state.stamps = arrays["evaluated_s"].tolist()
        for cell, since_s, place in zip(
            arrays["open_cell"].tolist(),
            arrays["open_since_s"].tolist(),
            arrays["open_place_deg"].tolist(),
            strict=True,
        ):
            state.open[cell] = (since_s, place[0], place[1])
        return state


def _slow_rows(state: State, view: View) -> Columns:
    """The rows of motor vehicles below the limit's share on a lane, in time."""
    assert state.cells is not None
    slow = view.speed_mps < SLOW_SHARE * view.limit_mps
    slow &= view.is_in_time & view.has_place & (view.on_lane >= 0)
    slow &= view.is_motor
    rows = np.flatnonzero(slow)
    if not len(rows):
        return ROWS
    slot, at_ns = view.slots(state.fleet, rows), view.at_ns[rows]
    stamp = state.fleet["stamp"]
    fresh = np.unique(slot[stamp[slot] == 0])
    stamp[fresh] = state.stamps + 1 + np.arange(len(fresh))
    state.stamps += len(fresh)
    np.maximum.at(state.fleet["newest_ns"], slot, at_ns)
    return {
        "at_ns": at_ns,
        "slot": slot,
        "stamp": stamp[slot],
        "cell": state.cells.of(view.segment[rows], view.lane[rows], view.offset_m[rows]),
        "lat_deg": view.lat_deg[rows],
        "lon_deg": view.lon_deg[rows],
        "speed_mps": view.speed_mps[rows],
        "accuracy_m": view.accuracy_m[rows],
        "is_bus": BUS_LIKE[view.vehicle_class[rows]],
    }


def _second(state: State, road_map: RoadMap, second: int, rows: Columns) -> list[Finding]:
    per_cell, is_bus = state.per_cell, rows["is_bus"]
    assert state.cells is not None
    if is_bus.any():
        per_cell["bus_s"][rows["cell"][is_bus]] = second
        rows = {name: values[~is_bus] for name, values in rows.items()}
    cell = rows["cell"]
    since_s = _slow_since(state.fleet, rows["slot"], second)
    # One row a cell: who began last is the news there.
    order = np.lexsort((rows["stamp"], since_s, cell))
    chosen = order[np.append(np.diff(cell[order]) > 0, True)[: len(order)]]
    cell, stamp, since_s = cell[chosen], rows["stamp"][chosen], since_s[chosen]
    old = second - per_cell["last_s"][cell] > WITHIN_S
    begins = cell[old]
    per_cell["first_s"][begins], per_cell["vehicles"][begins] = second, 0
    news = old | (
        (per_cell["stamp"][cell] != stamp) & (since_s - per_cell["since_s"][cell] >= APART_S)
    )
    per_cell["vehicles"][cell] += news
    per_cell["stamp"][cell[news]] = stamp[news]
    per_cell["since_s"][cell[news]] = since_s[news]
    per_cell["last_s"][cell] = second
    suspicious = (per_cell["vehicles"][cell] >= VEHICLES) & state.cells.is_open[cell]
    suspicious &= ~_slow_ahead(state, cell, second)
    findings = []
    for row, one in zip(chosen[suspicious].tolist(), cell[suspicious].tolist(), strict=True):
        if not any(abs(one - other) <= AHEAD_CELLS + 1 for other in state.open):
            place = float(rows["lat_deg"][row]), float(rows["lon_deg"][row])
            state.open[one] = (int(per_cell["first_s"][one]), *place)
            findings.append(_raised(state, road_map, one, int(rows["at_ns"][row])))
    return findings


def _slow_since(fleet: Keyed, slot: IndexArray, second: int) -> IndexArray:
    """When each of these vehicles, slow now, began to be, (n,)."""
    again = second - fleet["slow_s"][slot] > AGAIN_S
    fleet["since_s"][slot[again]] = second
    fleet["slow_s"][slot] = second
    since_s: IndexArray = fleet["since_s"][slot]
    return since_s


def _slow_ahead(state: State, cell: IndexArray, second: int) -> BoolArray:
    """Whether others were slow ahead of each cell, or a bus in it or ahead, (n,)."""
    last_s, bus_s = state.per_cell["last_s"], state.per_cell["bus_s"]
    ahead = [last_s[cell + step] > second - REMEMBERED_S for step in range(1, AHEAD_CELLS + 1)]
    ahead += [bus_s[cell + step] > second - REMEMBERED_S for step in range(AHEAD_CELLS + 1)]
    found: BoolArray = np.logical_or.reduce(ahead)
    return found


def _over(state: State, road_map: RoadMap, second: int) -> list[Finding]:
    findings = []
    for cell in sorted(state.open):
        near = state.per_cell["last_s"][max(cell - 1, 0) : cell + 2]
        if int(near.max()) + OVER_S <= second:
            at_ns = (int(near.max()) + OVER_S) * NS_PER_S
            findings.append(_finding(state, road_map, cell, "clear", at_ns))
            del state.open[cell]
    return findings


def _raised(state: State, road_map: RoadMap, cell: int, at_ns: int) -> Finding:
    assert state.cells is not None
    limit_mps = float(road_map.segment_speed_limit_mps[state.cells.segment[cell]])
    vehicles = int(state.per_cell["vehicles"][cell])
    span_s = int(state.per_cell["last_s"][cell] - state.per_cell["first_s"][cell])
    evidence = {
        "text": f"{vehicles} vehicles slowed down below {SLOW_SHARE * limit_mps * 3.6:.0f} km/h "
        f"here within {span_s} s, with nobody slow ahead.",
        "vehicles": vehicles,
        "span_s": span_s,
        "limit_speed_mps": round(SLOW_SHARE * limit_mps, 2),
        "from_m": float(state.cells.start_m[cell]),
    }
    severity = Severity.SERIOUS if limit_mps > SERIOUS_LIMIT_MPS else Severity.WARNING
    return _finding(state, road_map, cell, "raise", at_ns, severity=severity, evidence=evidence)


def _finding(
    state: State, road_map: RoadMap, cell: int, phase: Any, at_ns: int, **more: Any
) -> Finding:
    assert state.cells is not None
    since_s, lat_deg, lon_deg = state.open[cell]
    segment_id = road_map.segment_ids[state.cells.segment[cell]]
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="segment",
        subject_id=segment_id,
        at_ns=at_ns,
        started_at_ns=since_s * NS_PER_S,
        component=f"lane:{state.cells.lane[cell]}",
        segment_id=segment_id,
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        **more,
    )


def _evict(state: State, watermark_ns: int) -> None:
    """Forget who has not been slow for longer than two vehicles may lie apart."""
    gone = state.fleet["newest_ns"] < watermark_ns - (WITHIN_S + 60) * NS_PER_S
    _fleet.evict(state.fleet, state.buffer, gone)


PLUGIN: Detector = SuddenSlowdown()
