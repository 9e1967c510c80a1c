"""Road maps as GeoJSON (RFC 7946): our own canonical document, or plain LineStrings.

A plain file is a FeatureCollection in WGS-84 whose LineString features carry an `id` (of the
feature or among the properties) and, all optional, `oneway` (bool or yes/no; default no),
`maxspeed` (km/h, or "30 mph"), `lanes` (both directions together), `name`. Lines are drawn in the
direction of travel; a two-way line also gives the segment "-id". Lines that share an end point
are connected. Other geometry types are passed over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from openvrc.contracts.maps import MapError, RoadMap
from openvrc.mapformats import _files, _roads

MAX_BYTES = 256 * 1024 * 1024  # JSON is parsed as a whole, at some ten times its size
DEFAULT_SPEED_MPS = 50.0 / _roads.KMH_PER_MPS
NODE_DIGITS = 6  # ends within 0.1 m are one junction
YES = (True, "yes", "true", "1", 1)
NO = (False, None, "no", "false", "0", 0, "")


class GeoJson:
    """The GeoJSON road map format."""

    name = "geojson"
    description = "GeoJSON FeatureCollection of LineStrings (.geojson, .json)"

    def matches(self, path: Path) -> bool:
        """True by name."""
        return path.name.lower().removesuffix(".gz").endswith((".geojson", ".json"))

    def read(self, path: Path) -> RoadMap:
        """The collection as a road map. Raises MapError."""
        raw = b"".join(_files.chunks(path, MAX_BYTES))
        try:
            collection = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise MapError(f"{path.name}: not JSON: {error}") from error
        try:
            if isinstance(collection, dict) and "openvrc" in collection:
                return RoadMap.from_geojson(collection)
            return RoadMap.build(_roads.segments_of(_plain_roads(collection)))
        except MapError as error:
            raise MapError(f"{path.name}: {error}") from error
        except ValueError as error:
            raise MapError(f"{path.name}: {error}") from error


def _plain_roads(collection: Any) -> list[_roads.Road]:
    if not isinstance(collection, dict) or collection.get("type") != "FeatureCollection":
        raise MapError("expected a GeoJSON FeatureCollection")
    if "crs" in collection and "CRS84" not in json.dumps(collection["crs"]):
        raise MapError(f"crs is {collection['crs']!r}, expected WGS-84 longitude and latitude")
    features = collection.get("features")
    if not isinstance(features, list):
        raise MapError("features is missing, expected a list of GeoJSON features")
    roads = []
    for number, feature in enumerate(features):
        if not isinstance(feature, dict):
            raise MapError(f"feature {number}: is {feature!r}, expected an object")
        geometry = feature.get("geometry")
        if isinstance(geometry, dict) and geometry.get("type") == "LineString":
            roads.append(_road(number, feature, geometry.get("coordinates")))
    if not roads:
        raise MapError("has no LineString features, expected at least one road")
    return roads


def _road(number: int, feature: dict[str, Any], coordinates: Any) -> _roads.Road:
    properties = feature.get("properties") or {}
    road_id = feature.get("id", properties.get("id"))
    if not isinstance(road_id, (str, int)) or road_id == "":
        raise MapError(f"feature {number}: id is {road_id!r}, expected a string or a number")
    try:
        line = np.array([point[:2] for point in coordinates], dtype=np.float64)
    except (TypeError, ValueError, IndexError) as error:
        raise MapError(f"feature {number}: coordinates are not pairs of numbers") from error
    if line.ndim != 2 or len(line) < 2 or not (np.abs(line) <= (180.0, 90.0)).all():
        raise MapError(f"feature {number}: expected 2 or more [longitude, latitude] in degrees")
    oneway = properties.get("oneway")
    if oneway not in YES and oneway not in NO:
        raise MapError(f"feature {number}: oneway is {oneway!r}, expected yes or no")
    one_way = oneway in YES
    lanes = _roads.lane_count(properties.get("lanes")) or (1 if one_way else 2)
    return _roads.Road(
        line=line,
        from_id=_node(line[0]),
        to_id=_node(line[-1]),
        forward_id=str(road_id),
        backward_id=None if one_way else f"-{road_id}",
        forward_lanes=lanes if one_way else max(1, (lanes + 1) // 2),
        backward_lanes=0 if one_way else max(1, lanes // 2),
        speed_limit_mps=_roads.speed_mps(properties.get("maxspeed")) or DEFAULT_SPEED_MPS,
        name=str(properties.get("name") or ""),
    )


def _node(lon_lat: Any) -> str:
    return f"{lon_lat[0]:.{NODE_DIGITS}f},{lon_lat[1]:.{NODE_DIGITS}f}"


PLUGIN = GeoJson()
