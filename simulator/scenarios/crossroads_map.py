"""Roads of the crossroads: two signalled junctions in a row, six arms with a turning loop each.

    n1      n2
     |       |
w -- j1 --- j2 -- e        400 m arms, three lanes each way, right-hand traffic
     |       |
    s1      s2

From the right, lanes turn right or go straight, go straight, turn left. At its outer end an arm
loops back, so vehicles never leave and no record is of a vehicle that has just been made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.maps import Lane, RoadMap, Segment, SignalHead
from simulator.physics.lane_network import LEFT, NO_LANE, RIGHT, STRAIGHT, LaneNetwork
from simulator.physics.signal_plan import FixedTimePlan, Stage

FloatArray = NDArray[np.float64]
Point = tuple[float, float]

ORIGIN_LAT_DEG, ORIGIN_LON_DEG = 52.2700, 10.5300  # near Braunschweig
ARM_M = 400.0
BOX_M = 22.0  # from a junction's centre to its stop lines
JUNCTION_SPACING_M = ARM_M + 2 * BOX_M
LANES = 3
LANE_WIDTH_M = 3.5
MEDIAN_M = 8.0  # lets a car turn back with a radius of 5.75 m
TOWN_MPS = 50.0 / 3.6
SPEED_OF_TURN_MPS = {RIGHT: 5.5, STRAIGHT: TOWN_MPS, LEFT: 8.0}  # 2-3 m/s2 across
LOOP_MPS = 4.5
CURVE_POINTS = 13

JUNCTIONS = ("j1", "j2")
# Compass directions as unit vectors, in the order of the signal groups.
DIRECTIONS: dict[str, Point] = {"n": (0, 1), "e": (1, 0), "s": (0, -1), "w": (-1, 0)}
RIGHT_OF = {"n": "e", "e": "s", "s": "w", "w": "n"}
OPPOSITE = {"n": "s", "s": "n", "e": "w", "w": "e"}
LEFT_OF = {side: towards for towards, side in RIGHT_OF.items()}

# East and west have the longer green: two junctions feed them.
PLAN = FixedTimePlan(
    (
        Stage(frozenset({3, 7}), 22.0),  # east-west, straight and right
        Stage(frozenset({4, 8}), 9.0),  # east-west, left
        Stage(frozenset({1, 5}), 18.0),  # north-south, straight and right
        Stage(frozenset({2, 6}), 9.0),  # north-south, left
    )
)
N_GROUPS = 8


def signal_group(approach: str, turn: int) -> int:
    """Number of the group for vehicles that come from a side: odd for straight and right."""
    return 2 * list(DIRECTIONS).index(approach) + (2 if turn == LEFT else 1)


@dataclass
class _Piece:
    """One segment in the making."""

    segment_id: str
    from_id: str
    to_id: str
    lines: list[FloatArray]  # per lane (n, 2), rightmost first
    speed_mps: float
    is_internal: bool
    signal: int = -1
    lane_indexes: list[int] = field(default_factory=list)  # at the segment it is entered from


@dataclass(frozen=True)
class Crossroads:
    """The scenario's roads in both forms."""

    road_map: RoadMap
    frame: LocalFrame
    network: LaneNetwork
    segment_ids: tuple[str, ...]  # by the network's segment numbers
    junction_xy_m: FloatArray  # (n_junctions, 2)

    def lane_of(self, segment_id: str, index: int) -> int:
        """The network's lane number."""
        segment = self.segment_ids.index(segment_id)
        found = (self.network.segment == segment) & (self.network.index == index)
        return int(np.flatnonzero(found)[0])

    def links(self) -> list[str]:
        """Segments between junctions, in the network's order."""
        internal = set(self.network.segment[self.network.is_internal].tolist())
        return [name for number, name in enumerate(self.segment_ids) if number not in internal]


def build() -> Crossroads:
    """The roads; always the same."""
    pieces = list(_links())
    pieces += [piece for junction in JUNCTIONS for piece in _turns(junction, pieces)]
    pieces += list(_loops(pieces))
    frame = LocalFrame(ORIGIN_LAT_DEG, ORIGIN_LON_DEG)
    return Crossroads(
        road_map=_road_map(pieces, frame),
        frame=frame,
        network=_network(pieces),
        segment_ids=tuple(piece.segment_id for piece in pieces),
        junction_xy_m=np.array([_centre(junction) for junction in JUNCTIONS]),
    )


def neighbour(junction: str, direction: str) -> str:
    """The node that lies in a direction from a junction."""
    if direction in "ew":
        inner = {("j1", "e"): "j2", ("j2", "w"): "j1"}
        return inner.get((junction, direction), direction)
    return f"{direction}{junction[1]}"


def _centre(junction: str) -> Point:
    return ((JUNCTIONS.index(junction) - 0.5) * JUNCTION_SPACING_M, 0.0)


def _lane_to_right_m(index: int) -> float:
    """Distance of a lane's middle from the road's axis."""
    return MEDIAN_M / 2 + (LANES - 1 - index + 0.5) * LANE_WIDTH_M


def _line(start: Point, towards: str, length_m: float, index: int) -> FloatArray:
    """A lane's straight line from a point of the road's axis."""
    ahead = np.array(DIRECTIONS[towards], np.float64)
    right = np.array(DIRECTIONS[RIGHT_OF[towards]], np.float64)
    first = np.array(start) + right * _lane_to_right_m(index)
    return np.array([first, first + ahead * length_m])


def _links() -> Iterator[_Piece]:
    """Both directions of all seven roads."""
    for junction in JUNCTIONS:
        centre = np.array(_centre(junction))
        for direction, unit in DIRECTIONS.items():
            other = neighbour(junction, direction)
            near = tuple(centre + BOX_M * np.array(unit))
            far = tuple(centre + (BOX_M + ARM_M) * np.array(unit))
            out = [_line(near, direction, ARM_M, index) for index in range(LANES)]
            yield _Piece(f"{junction}-{other}", junction, other, out, TOWN_MPS, False)
            if other not in JUNCTIONS:
                back = [_line(far, OPPOSITE[direction], ARM_M, index) for index in range(LANES)]
                yield _Piece(f"{other}-{junction}", other, junction, back, TOWN_MPS, False)


def _turns(junction: str, links: list[_Piece]) -> Iterator[_Piece]:
    by_id = {piece.segment_id: piece for piece in links}
    for approach in DIRECTIONS:
        origin = neighbour(junction, approach)
        entering = by_id[f"{origin}-{junction}"]
        heading = OPPOSITE[approach]
        goals = {RIGHT: RIGHT_OF[heading], STRAIGHT: heading, LEFT: LEFT_OF[heading]}
        for turn, lanes in ((RIGHT, [0]), (STRAIGHT, [0, 1]), (LEFT, [2])):
            goal = neighbour(junction, goals[turn])
            leaving = by_id[f"{junction}-{goal}"]
            lines = [_curve(entering.lines[i], leaving.lines[i]) for i in lanes]
            yield _Piece(
                f":{junction}_{origin}-{goal}",
                entering.segment_id,
                leaving.segment_id,
                lines,
                SPEED_OF_TURN_MPS[turn],
                True,
                JUNCTIONS.index(junction) * N_GROUPS + signal_group(approach, turn) - 1,
                lanes,
            )


def _curve(before: FloatArray, after: FloatArray) -> FloatArray:
    """A quadratic Bezier curve from a lane's end to another's start, tangent to both."""
    start, end = before[-1], after[0]
    ahead, leaving = before[1] - before[0], after[1] - after[0]
    cross = ahead[0] * leaving[1] - ahead[1] * leaving[0]
    if abs(cross) < 1e-9 * np.hypot(*ahead) * np.hypot(*leaving):
        return np.array([start, end])
    way = end - start
    corner = start + ahead * (way[0] * leaving[1] - way[1] * leaving[0]) / cross
    t = np.linspace(0.0, 1.0, CURVE_POINTS)[:, None]
    return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end)


def _loops(pieces: list[_Piece]) -> Iterator[_Piece]:
    """From the end of each arm back to its start, lane by lane, nearly half circles."""
    by_id = {piece.segment_id: piece for piece in pieces}
    for piece in [p for p in pieces if not p.is_internal and p.to_id not in JUNCTIONS]:
        back = by_id[f"{piece.to_id}-{piece.from_id}"]
        lines = []
        for out, home in zip(piece.lines, back.lines, strict=True):
            ahead = (out[1] - out[0]) / np.hypot(*(out[1] - out[0]))
            reach = ahead * np.hypot(*(home[0] - out[1])) * 2.0 / 3.0  # half a circle's handle
            t = np.linspace(0.0, 1.0, CURVE_POINTS)[:, None]
            p0, p1, p2, p3 = out[1], out[1] + reach, home[0] + reach, home[0]
            lines.append(
                (1 - t) ** 3 * p0 + 3 * t * (1 - t) ** 2 * p1 + 3 * t**2 * (1 - t) * p2 + t**3 * p3
            )
        yield _Piece(
            f":{piece.to_id}_back",
            piece.segment_id,
            back.segment_id,
            lines,
            LOOP_MPS,
            True,
            lane_indexes=[0, 1, 2],
        )


def _length_m(line: FloatArray) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def _network(pieces: list[_Piece]) -> LaneNetwork:
    lanes = [(number, index) for number, p in enumerate(pieces) for index in range(len(p.lines))]
    place = {pair: lane for lane, pair in enumerate(lanes)}
    numbers = {piece.segment_id: number for number, piece in enumerate(pieces)}
    following = np.full((len(lanes), 3), NO_LANE, np.int64)
    for number, piece in enumerate(pieces):
        if not piece.is_internal:
            continue
        is_loop = piece.signal < 0
        turns = (RIGHT, STRAIGHT, LEFT) if is_loop else (_turn_of(piece, pieces, numbers),)
        for index, entered in enumerate(piece.lane_indexes):
            lane = place[number, index]
            following[lane, :] = place[numbers[piece.to_id], entered]
            for turn in turns:
                following[place[numbers[piece.from_id], entered], turn] = lane

    def side(step: int) -> NDArray[np.int64]:
        found = [
            NO_LANE if pieces[number].is_internal else place.get((number, index + step), NO_LANE)
            for number, index in lanes
        ]
        return np.array(found, np.int64)

    lines = tuple(pieces[number].lines[index] for number, index in lanes)
    return LaneNetwork(
        length_m=np.array([_length_m(line) for line in lines]),
        speed_limit_mps=np.array([pieces[number].speed_mps for number, _ in lanes]),
        is_internal=np.array([pieces[number].is_internal for number, _ in lanes]),
        segment=np.array([number for number, _ in lanes]),
        index=np.array([index for _, index in lanes]),
        left=side(1),
        right=side(-1),
        following=following,
        signal=np.array([pieces[number].signal for number, _ in lanes]),
        points_xy_m=lines,
    )


def _turn_of(piece: _Piece, pieces: list[_Piece], numbers: dict[str, int]) -> int:
    before = pieces[numbers[piece.from_id]].lines[0]
    after = pieces[numbers[piece.to_id]].lines[0]
    ahead, leaving = before[1] - before[0], after[1] - after[0]
    cross = ahead[0] * leaving[1] - ahead[1] * leaving[0]
    scale = np.hypot(*ahead) * np.hypot(*leaving)
    return STRAIGHT if abs(cross) < 1e-9 * scale else LEFT if cross > 0 else RIGHT


def _road_map(pieces: list[_Piece], frame: LocalFrame) -> RoadMap:
    def degrees(line: FloatArray) -> tuple[tuple[float, float], ...]:
        lat_deg, lon_deg = frame.to_lat_lon_deg(line[:, 0], line[:, 1])
        return tuple(zip(lon_deg.tolist(), lat_deg.tolist(), strict=True))

    after: dict[str, list[str]] = {}
    for piece in pieces:
        if piece.is_internal:
            after.setdefault(piece.from_id, []).append(piece.segment_id)
    by_id = {piece.segment_id: piece for piece in pieces}
    segments = []
    for piece in pieces:
        lanes = tuple(
            Lane(
                id=f"{piece.segment_id}_{index}",
                index=index,
                length_m=_length_m(line),
                width_m=LANE_WIDTH_M,
                allows=("motor", "bus"),
                coordinates=degrees(line),
            )
            for index, line in enumerate(piece.lines)
        )
        middle = (piece.lines[(len(lanes) - 1) // 2] + piece.lines[len(lanes) // 2]) / 2
        inner = piece.segment_id[1:].split("_")[0]
        segments.append(
            Segment(
                id=piece.segment_id,
                from_id=inner if piece.is_internal else piece.from_id,
                to_id=inner if piece.is_internal else piece.to_id,
                name="" if piece.is_internal else f"{piece.from_id} to {piece.to_id}",
                length_m=_length_m(middle),
                speed_limit_mps=piece.speed_mps,
                is_internal=piece.is_internal,
                successors=(
                    (piece.to_id,) if piece.is_internal else tuple(after[piece.segment_id])
                ),
                lanes=lanes,
                bus_stops=(),
                coordinates=degrees(middle),
            )
        )
    heads = [
        _head(piece, by_id[piece.from_id], index, degrees)
        for piece in pieces
        if piece.signal >= 0
        for index in piece.lane_indexes
    ]
    unique = {(h.intersection_id, h.signal_group, h.segment_id, h.lane_index): h for h in heads}
    return RoadMap.build(
        segments,
        signal_heads=unique.values(),
        origin_lat_deg=ORIGIN_LAT_DEG,
        origin_lon_deg=ORIGIN_LON_DEG,
    )


def _head(piece: _Piece, approach: _Piece, index: int, degrees) -> SignalHead:  # type: ignore[no-untyped-def]
    ((lon_deg, lat_deg),) = degrees(approach.lines[index][-1:])
    junction, group = divmod(piece.signal, N_GROUPS)
    return SignalHead(
        intersection_id=JUNCTIONS[junction],
        signal_group=group + 1,
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        segment_id=approach.segment_id,
        lane_index=index,
    )
