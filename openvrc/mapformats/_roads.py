"""From drawn centre lines to directed segments with lanes, for formats that have no lanes.

Traffic keeps to the right: of a two-way road each direction's lanes lie right of the line; of a
one-way road they lie around it. Lanes are counted from the right. A segment leads to every
segment that starts where it ends, except back along its own road (but for dead ends).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.maps import Lane, Segment

FloatArray = NDArray[np.float64]

LANE_WIDTH_M = 3.2
MAX_LANES = 12  # per direction; more is a typing mistake
MIN_STEP_M = 0.01  # closer points are one point: they have no direction
# A sharp bend's mitre is cut at twice the offset, or lanes would reach far outside it.
MIN_MITRE = 0.5
KMH_PER_MPS = 3.6
MPH_PER_MPS = 2.236_936_292
WALKING_MPS = 7.0 / KMH_PER_MPS  # "walk", as German law reads it
UNLIMITED_MPS = 130.0 / KMH_PER_MPS  # "none": the advised speed on a German motorway


@dataclass(frozen=True)
class Road:
    """One centre line between two junctions, (n, 2) as lon, lat; ids of its directions."""

    line: FloatArray
    from_id: str
    to_id: str
    forward_id: str | None
    backward_id: str | None
    forward_lanes: int
    backward_lanes: int
    speed_limit_mps: float
    name: str = ""
    allows: tuple[str, ...] = ("bicycle", "bus", "motor")


def segments_of(roads: Iterable[Road]) -> list[Segment]:
    """Directed segments of all roads. Roads shorter than MIN_STEP_M disappear."""
    parts = list(roads)
    if not parts:
        return []
    points = np.concatenate([road.line for road in parts])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2.0
    frame = LocalFrame(float(middle[1]), float(middle[0]))
    drafts = [draft for road in parts for draft in _drafts(road, frame)]
    starting: dict[str, list[Segment]] = defaultdict(list)
    reverse: dict[str, str | None] = {}
    for segment, reverse_id in drafts:
        starting[segment.from_id].append(segment)
        reverse[segment.id] = reverse_id
    return [
        segment.model_copy(update={"successors": _after(segment, starting, reverse[segment.id])})
        for segment, _ in drafts
    ]


def speed_mps(text: str | float | None) -> float | None:
    """A speed limit in OSM's notation ("50", "30 mph", "none", "walk"); None if not one number."""
    if isinstance(text, (int, float)):
        return float(text) / KMH_PER_MPS if text > 0 else None
    word = (text or "").strip().lower()
    if word in ("none", "walk"):
        return UNLIMITED_MPS if word == "none" else WALKING_MPS
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(mph|km/h|kmh|kph|knots)?", word)
    if not found or float(found[1]) <= 0 or found[2] == "knots":
        return None
    return float(found[1]) / (MPH_PER_MPS if found[2] == "mph" else KMH_PER_MPS)


def lane_count(text: str | float | None) -> int | None:
    """A number of lanes, 1 to MAX_LANES; None if it says nothing usable."""
    try:
        count = int(float(text)) if text is not None else 0
    except (ValueError, OverflowError):
        return None
    return min(count, MAX_LANES) if count >= 1 else None


def _after(
    segment: Segment, starting: dict[str, list[Segment]], reverse_id: str | None
) -> tuple[str, ...]:
    onward = [other.id for other in starting[segment.to_id]]
    forward = tuple(other for other in onward if other != reverse_id)
    return forward or tuple(onward)


def _drafts(road: Road, frame: LocalFrame) -> list[tuple[Segment, str | None]]:
    """The road's directed segments without successors, each with the id of its reverse."""
    xy_m = np.column_stack(frame.to_xy_m(road.line[:, 1], road.line[:, 0]))
    keep = np.append(True, np.hypot(*np.diff(xy_m, axis=0).T) > MIN_STEP_M)
    xy_m = xy_m[keep]
    if len(xy_m) < 2:
        return []
    two_way = road.forward_id is not None and road.backward_id is not None
    drafts: list[tuple[Segment, str | None]] = []
    if road.forward_id is not None:
        ends = (road.from_id, road.to_id)
        segment = _directed(road, frame, xy_m, road.forward_id, ends, road.forward_lanes, two_way)
        drafts.append((segment, road.backward_id))
    if road.backward_id is not None:
        ends = (road.to_id, road.from_id)
        back = xy_m[::-1]
        segment = _directed(road, frame, back, road.backward_id, ends, road.backward_lanes, two_way)
        drafts.append((segment, road.forward_id))
    return drafts


def _directed(
    road: Road,
    frame: LocalFrame,
    xy_m: FloatArray,
    segment_id: str,
    ends: tuple[str, str],
    lanes: int,
    two_way: bool,
) -> Segment:
    length_m = float(np.hypot(*np.diff(xy_m, axis=0).T).sum())
    middle_m = lanes * LANE_WIDTH_M / 2.0 if two_way else 0.0  # right of the line
    rightmost_m = middle_m + (lanes - 1) * LANE_WIDTH_M / 2.0
    return Segment(
        id=segment_id,
        from_id=ends[0],
        to_id=ends[1],
        name=road.name,
        length_m=length_m,
        speed_limit_mps=road.speed_limit_mps,
        lanes=tuple(
            Lane(
                id=f"{segment_id}_{index}",
                index=index,
                length_m=length_m,
                width_m=LANE_WIDTH_M,
                allows=road.allows,
                coordinates=_shifted(frame, xy_m, rightmost_m - index * LANE_WIDTH_M),
            )
            for index in range(lanes)
        ),
        coordinates=_shifted(frame, xy_m, middle_m),
    )


def _shifted(
    frame: LocalFrame, xy_m: FloatArray, right_m: float
) -> tuple[tuple[float, float], ...]:
    """The line moved to its right, as (lon, lat)."""
    step = np.diff(xy_m, axis=0)
    step /= np.hypot(step[:, 0], step[:, 1])[:, None]
    before, after = step[[0, *range(len(step))]], step[[*range(len(step)), -1]]
    along = before + after
    size = np.hypot(along[:, 0], along[:, 1])
    turned_back = size < 1e-6  # a hairpin has no mean direction
    along = np.where(turned_back[:, None], before, along / np.maximum(size, 1e-6)[:, None])
    mitre = np.maximum((along * before).sum(axis=1), MIN_MITRE)
    normal = np.column_stack((along[:, 1], -along[:, 0])) / mitre[:, None]
    moved = xy_m + right_m * normal
    lat_deg, lon_deg = frame.to_lat_lon_deg(moved[:, 0], moved[:, 1])
    return tuple(zip(lon_deg.tolist(), lat_deg.tolist(), strict=True))
