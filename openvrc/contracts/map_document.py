"""The road map as a document: what a map file must state, checked, and its one canonical form.

A map is a WGS-84 GeoJSON FeatureCollection. A directed segment is a LineString feature whose
properties carry its lanes, successors and bus stops; a signal head is a Point feature. The
canonical form has a fixed order, 1e-7 deg (about 1 cm) coordinates and compact JSON, so that the
same roads always give the same bytes and so the same `map_version`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from openvrc.contracts.errors import VrcError

FORMAT = "openvrc-road-map/1"
COORDINATE_DIGITS = 7  # 1e-7 deg is 1.1 cm: below any positioning error
METRE_DIGITS = 4
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024  # a city of 100,000 segments needs about 40 MB
VERSION_DIGITS = 12
# What a lane admits, reduced from a source's own finer classes.
VEHICLE_CLASSES = ("bicycle", "bus", "motor", "pedestrian", "rail")

LonLat = tuple[
    Annotated[float, Field(ge=-180.0, le=180.0)], Annotated[float, Field(ge=-90.0, le=90.0)]
]
Line = Annotated[tuple[LonLat, ...], Field(min_length=2)]
Length = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class MapError(VrcError, ValueError):
    """A road map that cannot be used; the text says what was wrong and what was expected."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Lane(_Part):
    """One lane of a segment; `index` counts from 0, the rightmost."""

    id: Annotated[str, Field(min_length=1)]
    index: Annotated[int, Field(ge=0, le=126)]
    length_m: Length
    width_m: Length = 3.2
    allows: tuple[str, ...] = ("motor",)
    coordinates: Line  # (lon, lat) in deg, along the lane's centre


class BusStop(_Part):
    """Where buses stand on a segment, from `start_m` to `end_m` along it."""

    id: Annotated[str, Field(min_length=1)]
    segment_id: str = ""
    start_m: Annotated[float, Field(ge=0.0)]
    end_m: Annotated[float, Field(ge=0.0)]


class Segment(_Part):
    """One directed piece of road between two junctions, or inside one (`is_internal`)."""

    id: Annotated[str, Field(min_length=1)]
    from_id: str = ""
    to_id: str = ""
    name: str = ""
    length_m: Length
    speed_limit_mps: Length
    is_internal: bool = False
    successors: tuple[str, ...] = ()
    lanes: Annotated[tuple[Lane, ...], Field(min_length=1)]
    bus_stops: tuple[BusStop, ...] = ()
    coordinates: Line

    @model_validator(mode="after")
    def _lanes_are_counted_from_the_right(self) -> Self:
        indexes = sorted(lane.index for lane in self.lanes)
        if indexes != list(range(len(indexes))):
            raise ValueError(f"lane indexes are {indexes}, expected 0 to {len(indexes) - 1}")
        return self


class SignalHead(_Part):
    """One signal-controlled movement, placed at the stop line of the lane it holds back."""

    intersection_id: Annotated[str, Field(min_length=1)]
    signal_group: Annotated[int, Field(ge=0)]
    lat_deg: Annotated[float, Field(ge=-90.0, le=90.0)]
    lon_deg: Annotated[float, Field(ge=-180.0, le=180.0)]
    segment_id: str
    lane_index: Annotated[int, Field(ge=0)]


def feature_collection(
    segments: Iterable[Segment],
    signal_heads: Iterable[SignalHead],
    origin_lat_deg: float,
    origin_lon_deg: float,
) -> dict[str, Any]:
    """The canonical document of a map: rounded, and in a fixed order."""
    ordered = sorted(segments, key=lambda segment: segment.id)
    heads = sorted(
        signal_heads,
        key=lambda h: (h.intersection_id, h.signal_group, h.segment_id, h.lane_index),
    )
    return {
        "type": "FeatureCollection",
        "openvrc": {
            "format": FORMAT,
            "origin_lat_deg": round(origin_lat_deg, COORDINATE_DIGITS),
            "origin_lon_deg": round(origin_lon_deg, COORDINATE_DIGITS),
        },
        "features": [*map(_segment_feature, ordered), *map(_head_feature, heads)],
    }


def canonical_json(collection: dict[str, Any]) -> bytes:
    """Compact UTF-8 JSON with sorted keys: the bytes the version is taken of."""
    text = json.dumps(
        collection, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def without_version(collection: dict[str, Any]) -> dict[str, Any]:
    """The collection without the `map_version` that was added for readers; a shallow copy."""
    head = {key: value for key, value in collection["openvrc"].items() if key != "map_version"}
    return {**collection, "openvrc": head}


def version_of(canonical: bytes) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of the canonical document."""
    return hashlib.sha256(canonical).hexdigest()[:VERSION_DIGITS]


def parse(
    collection: Any,  # whatever json.loads gave
) -> tuple[list[Segment], list[SignalHead], float, float]:
    """Segments, signal heads and the origin's lat, lon of a canonical document.

    Raises MapError naming the first thing that is wrong.
    """
    if not isinstance(collection, dict) or collection.get("type") != "FeatureCollection":
        raise MapError("expected a GeoJSON FeatureCollection")
    head = collection.get("openvrc")
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        found = head.get("format") if isinstance(head, dict) else head
        raise MapError(f"openvrc.format is {found!r}, expected {FORMAT!r}")
    features = collection.get("features")
    if not isinstance(features, list):
        raise MapError("features is missing, expected a list of GeoJSON features")
    segments: list[Segment] = []
    heads: list[SignalHead] = []
    for number, feature in enumerate(features):
        try:
            _parse_feature(feature, segments, heads)
        except (ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise MapError(f"feature {number}: {_brief(error)}") from error
    try:
        origin_lat_deg, origin_lon_deg = (
            float(head["origin_lat_deg"]),
            float(head["origin_lon_deg"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MapError(f"openvrc.origin_lat_deg, origin_lon_deg: {_brief(error)}") from error
    return segments, heads, origin_lat_deg, origin_lon_deg


def pack(canonical: bytes) -> str:
    """The document as ASCII text that travels inside a message: base64 of zlib."""
    return base64.b64encode(zlib.compress(canonical, level=9)).decode("ascii")


def unpack(document: str) -> Any:
    """What `pack` was given, parsed; refuses more than MAX_DOCUMENT_BYTES. Raises MapError."""
    try:
        packed = base64.b64decode(document, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MapError(f"document is not base64: {error}") from error
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(packed, MAX_DOCUMENT_BYTES + 1)
    except zlib.error as error:
        raise MapError(f"document is not zlib data: {error}") from error
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise MapError(f"document unpacks to over {MAX_DOCUMENT_BYTES} bytes, refused")
    if not inflater.eof:
        raise MapError("document is truncated")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MapError(f"document is not JSON: {error}") from error


def _segment_feature(segment: Segment) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": segment.id,
        "geometry": {"type": "LineString", "coordinates": _rounded(segment.coordinates)},
        "properties": {
            "kind": "segment",
            "segment_id": segment.id,
            "from_id": segment.from_id,
            "to_id": segment.to_id,
            "name": segment.name,
            "length_m": round(segment.length_m, METRE_DIGITS),
            "speed_limit_mps": round(segment.speed_limit_mps, METRE_DIGITS),
            "lane_count": len(segment.lanes),
            "is_internal": segment.is_internal,
            "successors": sorted(set(segment.successors)),
            "lanes": [_lane(lane) for lane in sorted(segment.lanes, key=lambda lane: lane.index)],
            "bus_stops": [
                {
                    "id": stop.id,
                    "start_m": round(stop.start_m, METRE_DIGITS),
                    "end_m": round(stop.end_m, METRE_DIGITS),
                }
                for stop in sorted(segment.bus_stops, key=lambda stop: stop.id)
            ],
        },
    }


def _lane(lane: Lane) -> dict[str, Any]:
    return {
        "id": lane.id,
        "index": lane.index,
        "length_m": round(lane.length_m, METRE_DIGITS),
        "width_m": round(lane.width_m, METRE_DIGITS),
        "allows": sorted(set(lane.allows)),
        "coordinates": _rounded(lane.coordinates),
    }


def _head_feature(head: SignalHead) -> dict[str, Any]:
    place = ((head.lon_deg, head.lat_deg),)
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": _rounded(place)[0]},
        "properties": {
            "kind": "signal_head",
            "intersection_id": head.intersection_id,
            "signal_group": head.signal_group,
            "segment_id": head.segment_id,
            "lane_index": head.lane_index,
        },
    }


def _rounded(line: Iterable[tuple[float, float]]) -> list[list[float]]:
    digits = COORDINATE_DIGITS
    # Adding 0.0 turns -0.0 into 0.0, which would print differently.
    return [[round(lon, digits) + 0.0, round(lat, digits) + 0.0] for lon, lat in line]


def _parse_feature(feature: Any, segments: list[Segment], heads: list[SignalHead]) -> None:
    properties, geometry = feature["properties"], feature["geometry"]
    kind = properties.get("kind")
    if kind == "segment":
        if geometry["type"] != "LineString":
            raise ValueError(f"geometry is {geometry['type']}, expected LineString")
        stops = [
            {**stop, "segment_id": feature["id"]} for stop in properties.get("bus_stops") or ()
        ]
        fields = {
            **properties,
            "id": feature["id"],
            "coordinates": geometry["coordinates"],
            "bus_stops": stops,
        }
        segments.append(Segment.model_validate(fields))
    elif kind == "signal_head":
        lon_deg, lat_deg = geometry["coordinates"]
        heads.append(
            SignalHead.model_validate({**properties, "lat_deg": lat_deg, "lon_deg": lon_deg})
        )
    else:
        raise ValueError(f"properties.kind is {kind!r}, expected 'segment' or 'signal_head'")


def _brief(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return str(error)
