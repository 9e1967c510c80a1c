"""Eclipse SUMO road networks (.net.xml, .net.xml.gz).

Format: https://sumo.dlr.de/docs/Networks/SUMO_Road_Networks.html. Segment ids are SUMO's edge
ids; edges inside junctions (function "internal") are kept, crossings and walking areas are not.
Lane lengths are SUMO's `length`, which may differ from the drawn shape. A signal head is one
link of a `tlLogic`: intersection id = its id, signal group = link index, at the end of the lane
the link starts from. SUMO lane 0 is the rightmost, as ours.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer
from pyproj.exceptions import ProjError

from openvrc.contracts.maps import BusStop, Lane, MapError, RoadMap, Segment, SignalHead
from openvrc.mapformats import _files

DEFAULT_LANE_WIDTH_M = 3.2  # SUMO's SUMO_const_laneWidth
MIN_LENGTH_M = 0.1  # SUMO's POSITION_EPS; shorter internal lanes are written as 0.00
MIN_SPEED_MPS = 0.1  # a closed lane has speed 0, which no travel time survives
PEDESTRIAN_FUNCTIONS = ("crossing", "walkingarea")

# SUMO vehicle classes that make a lane one for our classes.
CLASSES = {
    "motor": {"passenger", "truck", "delivery", "trailer", "private"},
    "bus": {"bus", "coach"},
    "bicycle": {"bicycle"},
    "pedestrian": {"pedestrian"},
    "rail": {"tram", "rail_urban", "rail", "rail_electric", "rail_fast", "subway", "cable_car"},
}

FloatArray = NDArray[np.float64]
Attributes = dict[str, str]


@dataclass
class _Edge:
    attributes: Attributes
    lanes: list[Attributes] = field(default_factory=list)


@dataclass
class _Net:
    locations: list[Attributes] = field(default_factory=list)
    edges: dict[str, _Edge] = field(default_factory=dict)
    connections: list[Attributes] = field(default_factory=list)
    bus_stops: list[Attributes] = field(default_factory=list)


class SumoNet:
    """The SUMO network format."""

    name = "sumo"
    description = "SUMO network (.net.xml, .net.xml.gz)"

    def matches(self, path: Path) -> bool:
        """True by name, or for any XML file whose root is <net>."""
        name = path.name.lower().removesuffix(".gz")
        return name.endswith("net.xml") or (
            name.endswith(".xml") and _files.root_tag(path) == "net"
        )

    def read(self, path: Path) -> RoadMap:
        """The network as a road map. Raises MapError."""
        net = _parse(path)
        if not net.edges:
            raise MapError(f"{path.name}: has no edges with lanes, expected at least one")
        to_lon_lat = _projection(path, net.locations)
        try:
            return _road_map(net, to_lon_lat)
        except MapError as error:
            raise MapError(f"{path.name}: {error}") from error
        except (KeyError, ValueError) as error:
            raise MapError(f"{path.name}: bad or missing attribute: {error}") from error


def grid_convergence_deg(path: Path, lat_deg: FloatArray, lon_deg: FloatArray) -> FloatArray:
    """What to add to a heading in the net's grid, as SUMO writes it, for one from true north.

    At 52 deg north and 1.7 deg from the meridian of a UTM zone this is 1.36 deg, which puts a
    vehicle at 30 m/s off by 0.7 m a second across its lane. Raises MapError as `read` does.
    """
    locations = [attributes for tag, attributes in _files.xml_events(path) if tag == "location"]
    plane = _projection(path, locations).transformer.source_crs
    return meridian_convergence_deg(plane, lat_deg, lon_deg)


def meridian_convergence_deg(
    plane: CRS | None, lat_deg: FloatArray, lon_deg: FloatArray
) -> FloatArray:
    """True bearing of a projection's grid north at points; zero for a plane in degrees."""
    if plane is None or plane.is_geographic:
        return np.zeros(np.broadcast(lat_deg, lon_deg).shape)
    factors = Proj(plane).get_factors(lon_deg, lat_deg)
    return np.asarray(factors.meridian_convergence, dtype=np.float64)


def _parse(path: Path) -> _Net:
    events = _files.xml_events(path)
    root = next(events, ("nothing", {}))[0]
    if root != "net":
        raise MapError(f"{path.name}: root element is <{root}>, expected <net>")
    net, edge = _Net(), _Edge({})
    collect = {
        "connection": net.connections.append,
        "busStop": net.bus_stops.append,
        "location": net.locations.append,
    }
    for tag, attributes in events:
        if tag == "edge":
            edge = _Edge(attributes)
        elif tag == "/edge" and edge.lanes:
            if edge.attributes.get("function") not in PEDESTRIAN_FUNCTIONS:
                net.edges[edge.attributes.get("id", "")] = edge
        elif tag == "lane":
            edge.lanes.append(attributes)
        elif tag in collect:
            collect[tag](attributes)
    return net


@dataclass(frozen=True)
class _Projection:
    """From the net's metres to longitude and latitude."""

    transformer: Transformer
    offset_x_m: float
    offset_y_m: float

    def lon_lat(self, points_m: FloatArray) -> FloatArray:
        lon_deg, lat_deg = self.transformer.transform(
            points_m[:, 0] - self.offset_x_m, points_m[:, 1] - self.offset_y_m
        )
        return np.column_stack((lon_deg, lat_deg))


def _projection(path: Path, locations: list[Attributes]) -> _Projection:
    location = locations[0] if locations else {}
    parameter = location.get("projParameter", "!")
    if parameter in ("!", "-", ""):
        raise MapError(
            f"{path.name}: <location> has no projection (projParameter is {parameter!r}), "
            "expected a PROJ string, so that positions have a latitude and longitude"
        )
    try:
        offset_x_m, offset_y_m = map(float, location["netOffset"].split(","))
        plane = CRS.from_user_input(parameter)
        transformer = Transformer.from_crs(plane, "EPSG:4326", always_xy=True)
    except (ProjError, KeyError, ValueError) as error:
        raise MapError(f"{path.name}: <location> cannot be used: {error}") from error
    return _Projection(transformer, offset_x_m, offset_y_m)


def _road_map(net: _Net, projection: _Projection) -> RoadMap:
    following: dict[str, set[str]] = defaultdict(set)
    for connection in net.connections:
        via = connection.get("via")
        following[connection["from"]].add(_edge_of(via) if via else connection["to"])
    stops: dict[str, list[BusStop]] = defaultdict(list)
    for stop in net.bus_stops:
        edge_id = _edge_of(stop["lane"])
        start_m = float(stop.get("startPos", 0.0))
        end_m = float(stop.get("endPos", start_m))
        stops[edge_id].append(BusStop(id=stop["id"], start_m=start_m, end_m=end_m))
    lines = _lane_lines(net, projection)
    heads = _signal_heads(net, lines)
    segments = (  # held by nobody else, so that a large net's can go before its map is made
        _segment(edge, lines, following[edge_id] & net.edges.keys(), stops[edge_id])
        for edge_id, edge in net.edges.items()
    )
    return RoadMap.build(segments, signal_heads=heads)


def _lane_lines(net: _Net, projection: _Projection) -> dict[str, FloatArray]:
    """Every lane's (n, 2) line in lon, lat; projected in one call, which is 100 times faster."""
    names, shapes = [], []
    for edge in net.edges.values():
        for lane in edge.lanes:
            points = [point.split(",")[:2] for point in lane["shape"].split()]
            shape = np.array(points, dtype=np.float64)
            if len(shape) == 0:
                raise MapError(f"lane {lane.get('id')!r} has an empty shape")
            names.append(lane["id"])
            shapes.append(shape if len(shape) > 1 else np.repeat(shape, 2, axis=0))
    lon_lat = projection.lon_lat(np.concatenate(shapes))
    if not np.isfinite(lon_lat).all():
        raise MapError("some shapes lie outside the projection")
    ends = np.cumsum([len(shape) for shape in shapes])
    return dict(zip(names, np.split(lon_lat, ends[:-1]), strict=True))


def _segment(
    edge: _Edge, lines: dict[str, FloatArray], successors: set[str], stops: list[BusStop]
) -> Segment:
    edge_id = edge.attributes["id"]
    is_internal = edge.attributes.get("function") == "internal"
    junction = edge_id.removeprefix(":").rsplit("_", 1)[0] if is_internal else ""
    lanes = [_lane(attributes, lines[attributes["id"]]) for attributes in edge.lanes]
    lanes.sort(key=lambda lane: lane.index)
    driven = [lane for lane in lanes if "motor" in lane.allows] or lanes
    return Segment(
        id=edge_id,
        from_id=edge.attributes.get("from", junction),
        to_id=edge.attributes.get("to", junction),
        name=edge.attributes.get("name", ""),
        length_m=driven[0].length_m,
        speed_limit_mps=max(MIN_SPEED_MPS, *(float(lane["speed"]) for lane in edge.lanes)),
        is_internal=is_internal,
        successors=tuple(successors),
        lanes=tuple(lanes),
        bus_stops=tuple(stops),
        coordinates=_middle_line([lines[lane.id] for lane in driven]),
    )


def _lane(attributes: Attributes, line: FloatArray) -> Lane:
    return Lane(
        id=attributes["id"],
        index=int(attributes["index"]),
        length_m=max(MIN_LENGTH_M, float(attributes["length"])),
        width_m=float(attributes.get("width", DEFAULT_LANE_WIDTH_M)),
        allows=_allowed(attributes),
        coordinates=tuple(map(tuple, line.tolist())),
    )


def _allowed(attributes: Attributes) -> tuple[str, ...]:
    """Our vehicle classes out of SUMO's `allow` or `disallow` (neither means all)."""
    allow, disallow = attributes.get("allow"), attributes.get("disallow", "")
    if allow is not None and allow != "all":
        admitted = set(allow.split())
        return tuple(name for name, classes in CLASSES.items() if classes & admitted)
    if disallow == "all":
        return ()
    refused = set(disallow.split())
    return tuple(name for name, classes in CLASSES.items() if not classes <= refused)


def _middle_line(lines: list[FloatArray]) -> tuple[tuple[float, float], ...]:
    """The carriageway's middle: the middle lane, or the mean of the middle two."""
    right, left = lines[(len(lines) - 1) // 2], lines[len(lines) // 2]
    middle = (right + left) / 2.0 if len(right) == len(left) else left
    return tuple(map(tuple, middle.tolist()))


def _signal_heads(net: _Net, lines: dict[str, FloatArray]) -> list[SignalHead]:
    heads: dict[tuple[str, int, str, int], SignalHead] = {}
    for connection in net.connections:
        edge_id = connection["from"]
        if "tl" not in connection or edge_id.startswith(":") or edge_id not in net.edges:
            continue
        group, lane_index = int(connection["linkIndex"]), int(connection["fromLane"])
        if group < 0:  # SUMO's mark for a link the signal leaves alone
            continue
        lon_deg, lat_deg = lines[f"{edge_id}_{lane_index}"][-1].tolist()
        heads[connection["tl"], group, edge_id, lane_index] = SignalHead(
            intersection_id=connection["tl"],
            signal_group=group,
            lat_deg=lat_deg,
            lon_deg=lon_deg,
            segment_id=edge_id,
            lane_index=lane_index,
        )
    return list(heads.values())


def _edge_of(lane_id: str) -> str:
    return lane_id.rsplit("_", 1)[0]


PLUGIN = SumoNet()
