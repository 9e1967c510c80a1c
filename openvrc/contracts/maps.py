"""The road map of a zone, as arrays: segments, lanes, who follows whom, signals, bus stops.

A *segment* is a directed piece of road between two junctions, or inside one (`is_internal`); it
has lanes, counted from 0 at the right. Geometry is kept in one local plane (`frame`, x east and
y north in m) and made once from the WGS-84 document, so every process that has the document has
the same arrays and the same `map_version`. Ragged data is in CSR form: the points of segment i
are rows `offsets[i]` to `offsets[i + 1]`. All arrays are read-only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts import map_document
from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.map_document import BusStop, Lane, MapError, Segment, SignalHead

__all__ = ["BusStop", "Lane", "MapError", "RoadMap", "Segment", "SignalHead"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]
ArrayT = TypeVar("ArrayT", bound=NDArray[Any])

_HELD: WeakValueDictionary[str, RoadMap] = WeakValueDictionary()
"""Maps that are in use, by document; a map never changes."""

# A polyline may be this much shorter than the stated length before it counts as a mistake
# (a source's length may follow a finer or a three-dimensional shape).
MAX_LENGTH_RATIO = 20.0


@dataclass(frozen=True, eq=False, repr=False)
class RoadMap:
    """A zone's roads. Make one with `build`, `from_geojson` or `from_document`.

    Segments are ordered by id, lanes by segment and index. Lengths are those the source states;
    an offset in m along a segment runs from 0 to `segment_length_m`, whatever its polyline's own
    length. `segment_points_xy_m` is the line to draw; `lane_points_xy_m` the centre of each lane.
    """

    map_version: str
    origin_lat_deg: float
    origin_lon_deg: float
    frame: LocalFrame

    segment_ids: tuple[str, ...]
    segment_length_m: FloatArray  # (n_segments,)
    segment_speed_limit_mps: FloatArray  # (n_segments,)
    segment_lane_count: IndexArray  # (n_segments,)
    segment_is_internal: BoolArray  # (n_segments,) inside a junction
    segment_name: tuple[str, ...]  # street names, "" where unknown
    segment_from: tuple[str, ...]  # junction ids
    segment_to: tuple[str, ...]
    segment_ends_at_signal: BoolArray  # (n_segments,)
    segment_point_offsets: IndexArray  # (n_segments + 1,)
    segment_points_xy_m: FloatArray  # (n_points, 2)

    lane_ids: tuple[str, ...]
    lane_segment: IndexArray  # (n_lanes,) index into segments
    lane_index: IndexArray  # (n_lanes,) 0 is the rightmost
    lane_length_m: FloatArray  # (n_lanes,)
    lane_width_m: FloatArray  # (n_lanes,)
    lane_allows: tuple[tuple[str, ...], ...]  # of bicycle, bus, motor, pedestrian, rail
    lane_point_offsets: IndexArray  # (n_lanes + 1,)
    lane_points_xy_m: FloatArray  # (n_lane_points, 2)

    # Segments reachable next, through the junction: its internal ones and the ones behind them.
    successor_offsets: IndexArray  # (n_segments + 1,)
    successor_segments: IndexArray  # (n_successors,) index into segments

    signal_heads: tuple[SignalHead, ...]
    bus_stops: tuple[BusStop, ...]
    canonical: bytes  # the document `map_version` is the hash of

    @classmethod
    def build(
        cls,
        segments: Iterable[Segment],
        *,
        signal_heads: Iterable[SignalHead] = (),
        origin_lat_deg: float | None = None,
        origin_lon_deg: float | None = None,
    ) -> Self:
        """A map of these segments; without an origin, the middle of their bounding box.

        Raises MapError for no segments, a repeated id, a successor or a signal head on a segment
        or lane that does not exist, and a length that does not fit its line.
        """
        parts = list(segments)
        if not parts:
            raise MapError("the map has no segments, expected at least one")
        if origin_lat_deg is None or origin_lon_deg is None:
            points = np.array([point for part in parts for point in part.coordinates])
            origin_lon_deg, origin_lat_deg = (
                float(value) for value in (points.min(axis=0) + points.max(axis=0)) / 2.0
            )
        collection = map_document.feature_collection(
            parts, signal_heads, origin_lat_deg, origin_lon_deg
        )
        # Through the document and back, so that every process computes from the same numbers.
        canonical = map_document.canonical_json(collection)
        del parts, collection  # of a large map, each takes as much as what is made now
        return cls._assemble(*map_document.parse(json.loads(canonical)), canonical)

    @classmethod
    def from_geojson(cls, collection: dict[str, Any]) -> Self:
        """The map of a document made by `to_geojson`; its `map_version` is taken anew."""
        segments, heads, lat_deg, lon_deg = map_document.parse(collection)
        fresh = map_document.feature_collection(segments, heads, lat_deg, lon_deg)
        canonical = map_document.canonical_json(fresh)
        if fresh == map_document.without_version(collection):  # then parsing again adds nothing
            return cls._assemble(segments, heads, lat_deg, lon_deg, canonical)
        return cls._assemble(*map_document.parse(json.loads(canonical)), canonical)

    @classmethod
    def from_document(cls, document: str) -> RoadMap:
        """The map packed by `to_document`. Raises MapError for anything else.

        Who asks again while somebody holds it gets the same map: a town takes seconds to read.
        """
        known = _HELD.get(document)
        if known is None:
            known = _HELD[document] = cls.from_geojson(map_document.unpack(document))
        return known

    @classmethod
    def _assemble(
        cls,
        segments: list[Segment],
        heads: list[SignalHead],
        lat_deg: float,
        lon_deg: float,
        canonical: bytes,
    ) -> Self:
        if not segments:
            raise MapError("the map has no segments, expected at least one")
        try:
            frame = LocalFrame(lat_deg, lon_deg)
        except ValueError as error:
            raise MapError(str(error)) from error
        index = _index_by_id(segments)
        _check_heads(heads, segments, index)
        lanes = [lane for segment in segments for lane in segment.lanes]
        lane_count = np.array([len(segment.lanes) for segment in segments], dtype=np.int32)
        segment_offsets, segment_points = _polylines(segments, frame)
        lane_offsets, lane_points = _polylines(lanes, frame)
        successor_offsets, successors = _successors(segments, index)
        ends_at_signal = np.zeros(len(segments), dtype=np.bool_)
        ends_at_signal[[index[head.segment_id] for head in heads]] = True
        return cls(
            map_version=map_document.version_of(canonical),
            origin_lat_deg=lat_deg,
            origin_lon_deg=lon_deg,
            frame=frame,
            segment_ids=tuple(segment.id for segment in segments),
            segment_length_m=_frozen([segment.length_m for segment in segments]),
            segment_speed_limit_mps=_frozen([segment.speed_limit_mps for segment in segments]),
            segment_lane_count=_locked(lane_count),
            segment_is_internal=_locked(np.array([part.is_internal for part in segments])),
            segment_name=tuple(segment.name for segment in segments),
            segment_from=tuple(segment.from_id for segment in segments),
            segment_to=tuple(segment.to_id for segment in segments),
            segment_ends_at_signal=_locked(ends_at_signal),
            segment_point_offsets=segment_offsets,
            segment_points_xy_m=segment_points,
            lane_ids=tuple(lane.id for lane in lanes),
            lane_segment=_locked(np.repeat(np.arange(len(segments), dtype=np.int32), lane_count)),
            lane_index=_locked(np.array([lane.index for lane in lanes], dtype=np.int32)),
            lane_length_m=_frozen([lane.length_m for lane in lanes]),
            lane_width_m=_frozen([lane.width_m for lane in lanes]),
            lane_allows=tuple(lane.allows for lane in lanes),
            lane_point_offsets=lane_offsets,
            lane_points_xy_m=lane_points,
            successor_offsets=successor_offsets,
            successor_segments=successors,
            signal_heads=tuple(heads),
            bus_stops=tuple(stop for segment in segments for stop in segment.bus_stops),
            canonical=canonical,
        )

    @property
    def n_segments(self) -> int:
        """How many segments, internal ones included."""
        return len(self.segment_ids)

    @property
    def n_lanes(self) -> int:
        """How many lanes, those inside junctions included."""
        return len(self.lane_ids)

    @cached_property
    def _segment_numbers(self) -> dict[str, int]:
        return {segment_id: number for number, segment_id in enumerate(self.segment_ids)}

    def index_of(self, segment_id: str) -> int:
        """The segment's index. Raises KeyError, with the id, if the map does not have it."""
        return self._segment_numbers[segment_id]

    def __contains__(self, segment_id: object) -> bool:
        return segment_id in self._segment_numbers

    def successors_of(self, segment_index: int) -> IndexArray:
        """Indexes of the segments reachable next, internal ones and those behind them."""
        first, last = self.successor_offsets[segment_index : segment_index + 2]
        return self.successor_segments[first:last]

    def segment_points(self, segment_index: int) -> FloatArray:
        """The segment's polyline, (n, 2) in m in the local frame."""
        first, last = self.segment_point_offsets[segment_index : segment_index + 2]
        return self.segment_points_xy_m[first:last]

    def lane_points(self, lane: int) -> FloatArray:
        """The lane's centre line, (n, 2) in m in the local frame; `lane` indexes `lane_ids`."""
        first, last = self.lane_point_offsets[lane : lane + 2]
        return self.lane_points_xy_m[first:last]

    def lane_at(self, segment_index: int, lane_index: int) -> int:
        """Which of `lane_ids` is the lane number `lane_index` of a segment. Raises IndexError."""
        if not 0 <= lane_index < int(self.segment_lane_count[segment_index]):
            raise IndexError(f"{self.segment_ids[segment_index]} has no lane {lane_index}")
        first = int(np.searchsorted(self.lane_segment, segment_index))
        return first + lane_index

    def point_at(self, segment_index: int, offset_m: float) -> tuple[float, float]:
        """Latitude and longitude (deg) of the point `offset_m` along a segment, clipped to it."""
        points = self.segment_points(segment_index)
        steps_m = np.hypot(*np.diff(points, axis=0).T)
        along_m = np.concatenate(([0.0], np.cumsum(steps_m)))
        at_m = offset_m * along_m[-1] / self.segment_length_m[segment_index]
        x_m, y_m = (np.interp(at_m, along_m, points[:, axis]) for axis in (0, 1))
        lat_deg, lon_deg = self.frame.to_lat_lon_deg(x_m, y_m)
        return float(lat_deg), float(lon_deg)

    def to_geojson(self) -> dict[str, Any]:
        """The canonical WGS-84 FeatureCollection, for `from_geojson` or a page.

        LineString features (`properties.kind` is segment) carry their lanes, Point features are
        signal heads; `openvrc.map_version` is added for readers.
        """
        collection: dict[str, Any] = json.loads(self.canonical)
        collection["openvrc"]["map_version"] = self.map_version
        return collection

    def to_document(self) -> str:
        """The map as ASCII text for transport inside a message; see `from_document`."""
        return map_document.pack(self.canonical)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RoadMap) and self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.map_version)

    def __repr__(self) -> str:
        return f"RoadMap({self.map_version}, {self.n_segments} segments, {self.n_lanes} lanes)"


def _index_by_id(segments: Sequence[Segment]) -> dict[str, int]:
    index = {segment.id: number for number, segment in enumerate(segments)}
    if len(index) < len(segments):
        repeated = next(a.id for a, b in pairwise(segments) if a.id == b.id)
        raise MapError(f"segment id {repeated!r} appears twice, expected unique ids")
    return index


def _check_heads(
    heads: Sequence[SignalHead], segments: Sequence[Segment], index: dict[str, int]
) -> None:
    for head in heads:
        number = index.get(head.segment_id)
        if number is None or head.lane_index >= len(segments[number].lanes):
            raise MapError(
                f"signal head {head.intersection_id}/{head.signal_group} stands on "
                f"{head.segment_id!r} lane {head.lane_index}, which the map does not have"
            )


def _polylines(
    parts: Sequence[Segment] | Sequence[Lane], frame: LocalFrame
) -> tuple[IndexArray, FloatArray]:
    """CSR offsets and local points of every part's line, with its stated length checked."""
    offsets = np.zeros(len(parts) + 1, dtype=np.int32)
    offsets[1:] = np.cumsum([len(part.coordinates) for part in parts])
    lon_lat = np.array([point for part in parts for point in part.coordinates])
    points = np.column_stack(frame.to_xy_m(lon_lat[:, 1], lon_lat[:, 0]))
    steps_m = np.append(np.hypot(*np.diff(points, axis=0).T), 0.0)
    steps_m[offsets[1:] - 1] = 0.0  # no step from one line to the next
    drawn_m = np.add.reduceat(steps_m, offsets[:-1])
    stated_m = np.array([part.length_m for part in parts])
    # Lengths below a metre round to anything, so the check starts there.
    wrong = np.flatnonzero(drawn_m > MAX_LENGTH_RATIO * np.maximum(stated_m, 1.0))
    if wrong.size:
        part, length_m = parts[wrong[0]], drawn_m[wrong[0]]
        raise MapError(
            f"{part.id!r}: length_m is {part.length_m}, but its line is {length_m:.1f} m long"
        )
    return _locked(offsets), _locked(points)


def _successors(
    segments: Sequence[Segment], index: dict[str, int]
) -> tuple[IndexArray, IndexArray]:
    """CSR of direct successors plus, through internal ones, the segments behind a junction."""
    direct: list[set[int]] = []
    for segment in segments:
        unknown = [name for name in segment.successors if name not in index]
        if unknown:
            raise MapError(f"segment {segment.id!r} leads to {unknown[0]!r}, which is not there")
        direct.append({index[name] for name in segment.successors})
    reach: list[list[int]] = []
    for start in range(len(segments)):
        found: set[int] = set()
        ahead = list(direct[start])
        while ahead:
            number = ahead.pop()
            if number not in found:
                found.add(number)
                if segments[number].is_internal:
                    ahead.extend(direct[number])
        reach.append(sorted(found))
    offsets = np.zeros(len(segments) + 1, dtype=np.int32)
    offsets[1:] = np.cumsum([len(found_list) for found_list in reach])
    flat = np.array([number for found_list in reach for number in found_list], dtype=np.int32)
    return _locked(offsets), _locked(flat)


def _frozen(values: Sequence[float]) -> FloatArray:
    return _locked(np.array(values, dtype=np.float64))


def _locked(array: ArrayT) -> ArrayT:
    array.flags.writeable = False
    return array
