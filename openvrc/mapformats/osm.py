"""OpenStreetMap extracts as XML (.osm, .osm.gz): roads for motor vehicles and buses.

Format: https://wiki.openstreetmap.org/wiki/OSM_XML; tags: the wiki's Key:highway, Key:oneway,
Key:maxspeed, Key:lanes. Ways are cut where they share a node and at traffic signals; ids are
`way/from_node/to_node`, directed. Foot and cycle ways are left out: they would cut every road at
every crossing. Turn restrictions: `osm_restrictions`.

A signal at a junction stops every approach; one mapped before a junction stops the direction it
says (`traffic_signals:direction`), else the one towards the nearer junction. Signal groups count
the approaches of one node.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from openvrc.contracts.maps import MapError, RoadMap, Segment, SignalHead
from openvrc.mapformats import _files, _roads
from openvrc.mapformats.osm_restrictions import Relation, Restriction, restricted, restriction_of

# Limits where none is tagged, in km/h: German law in town, and by class outside.
DEFAULT_SPEED_KMH = {
    "motorway": 130.0,
    "motorway_link": 60.0,
    "trunk": 100.0,
    "trunk_link": 60.0,
    "primary": 50.0,
    "primary_link": 50.0,
    "secondary": 50.0,
    "secondary_link": 50.0,
    "tertiary": 50.0,
    "tertiary_link": 50.0,
    "unclassified": 50.0,
    "residential": 30.0,
    "living_street": 7.0,
    "service": 30.0,
    "road": 50.0,
    "busway": 50.0,
    "bus_guideway": 50.0,
}
BUS_ONLY = ("busway", "bus_guideway")
ONE_WAY_CLASSES = ("motorway", "motorway_link")
TWO_LANE_CLASSES = ("motorway", "trunk")
CLOSED = ("no",)
SIGNAL_DIRECTION = "traffic_signals:direction"

Tags = dict[str, str]


@dataclass
class Way:
    """A way's nodes in order, and its tags."""

    id: str
    nodes: list[str] = field(default_factory=list)
    tags: Tags = field(default_factory=dict)


@dataclass
class Extract:
    """What roads are made of, from any encoding of OpenStreetMap's data."""

    lon_lat: dict[str, tuple[float, float]] = field(default_factory=dict)
    signals: dict[str, str] = field(default_factory=dict)  # node to direction, "" if untagged
    ways: list[Way] = field(default_factory=list)
    restrictions: list[Restriction] = field(default_factory=list)


class OsmXml:
    """The OpenStreetMap XML format."""

    name = "osm"
    description = "OpenStreetMap XML extract (.osm, .osm.gz)"

    def matches(self, path: Path) -> bool:
        """True by name, or for any XML file whose root is <osm>."""
        name = path.name.lower().removesuffix(".gz")
        return name.endswith((".osm", ".osm.xml")) or (
            name.endswith(".xml") and _files.root_tag(path) == "osm"
        )

    def read(self, path: Path) -> RoadMap:
        """The extract's roads as a road map. Raises MapError."""
        try:
            return road_map_of(_parse(path))
        except MapError as error:
            text = str(error)
            raise MapError(text if path.name in text else f"{path.name}: {text}") from error
        except (KeyError, ValueError) as error:
            raise MapError(f"{path.name}: bad or missing attribute: {error}") from error


def road_map_of(extract: Extract) -> RoadMap:
    """The extract's roads as a road map. Raises MapError for one without roads."""
    roads = _split(extract)
    if not roads:
        raise MapError("has no roads (ways tagged highway=...), expected at least one")
    segments = restricted(_roads.segments_of(roads), extract.restrictions)
    return RoadMap.build(segments, signal_heads=_signal_heads(extract, roads, segments))


def _parse(path: Path) -> Extract:
    events = _files.xml_events(path)
    root = next(events, ("nothing", {}))[0]
    if root != "osm":
        raise MapError(f"root element is <{root}>, expected <osm>")
    reader = _Reader()
    for tag, attributes in events:
        if tag.startswith("/"):
            reader.end(tag[1:])
        else:
            reader.start(tag, attributes)
    return reader.extract


@dataclass
class _Reader:
    """What has been read so far, and what is being read."""

    extract: Extract = field(default_factory=Extract)
    _node_id: str = ""
    _way: Way = field(default_factory=lambda: Way(""))
    _relation: Relation = field(default_factory=Relation)
    _tags: Tags = field(default_factory=dict)
    """Of the node, way or relation at hand."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """A start tag."""
        if tag == "tag":
            self._tags[attributes["k"]] = attributes["v"]
        elif tag == "nd":
            self._way.nodes.append(attributes["ref"])
        elif tag == "member":
            found = (attributes["type"], attributes["ref"])
            self._relation.members[attributes["role"]].append(found)
        elif tag in ("node", "way", "relation"):
            self._begin(tag, attributes)

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        self._tags = {}
        if tag == "node":
            self._node_id = attributes["id"]
            lon_lat = (float(attributes["lon"]), float(attributes["lat"]))
            self.extract.lon_lat[self._node_id] = lon_lat
        elif tag == "way":
            self._way = Way(attributes["id"], tags=self._tags)
        else:
            self._relation = Relation(self._tags)

    def end(self, tag: str) -> None:
        """An end tag."""
        if tag == "node" and is_signal(self._tags):
            self.extract.signals[self._node_id] = self._tags.get(SIGNAL_DIRECTION, "")
        elif tag == "way" and is_road(self._tags):
            self.extract.ways.append(self._way)
        elif tag == "relation" and (found := restriction_of(self._relation)) is not None:
            self.extract.restrictions.append(found)


def is_signal(tags: Tags) -> bool:
    """Whether a node is a traffic signal."""
    return tags.get("highway") == "traffic_signals"


def is_road(tags: Tags) -> bool:
    """Whether motor vehicles or buses drive there."""
    if tags.get("highway") not in DEFAULT_SPEED_KMH or tags.get("area") == "yes":
        return False
    access = tags.get("motor_vehicle", tags.get("vehicle", tags.get("access", "yes")))
    return access not in CLOSED or bool(_allowed(tags))


def _allowed(tags: Tags) -> tuple[str, ...]:
    access = tags.get("motor_vehicle", tags.get("vehicle", tags.get("access", "yes")))
    motor = access not in CLOSED and tags["highway"] not in BUS_ONLY
    bus = tags.get("bus", tags.get("psv", "yes" if motor or tags["highway"] in BUS_ONLY else "no"))
    classes = {
        "bicycle": tags.get("bicycle") not in CLOSED and tags["highway"] not in ONE_WAY_CLASSES,
        "bus": bus not in CLOSED,
        "motor": motor,
    }
    usable = motor or classes["bus"]
    return tuple(name for name, is_allowed in classes.items() if is_allowed and usable)


def _split(extract: Extract) -> list[_roads.Road]:
    """Roads between cuts: shared nodes, ends of ways, signals."""
    uses: Counter[str] = Counter()
    for way in extract.ways:
        way.nodes = [node for node in way.nodes if node in extract.lon_lat]  # clipped extracts
        uses.update(way.nodes)
        uses.update(way.nodes[:1] + way.nodes[-1:])  # an end is always a cut
    roads = []
    for way in extract.ways:
        cuts = [
            at for at, node in enumerate(way.nodes) if uses[node] > 1 or node in extract.signals
        ]
        for first, last in _without_loops(way.nodes, cuts):
            roads.append(_road(extract, way, first, last))
    names = Counter(name for road in roads for name in (road.forward_id, road.backward_id) if name)
    repeated = {name for name, count in names.items() if count > 1}
    # A way that runs twice between the same two nodes: its later runs are left out.
    seen: set[str | None] = set()
    unique = []
    for road in roads:
        key = road.forward_id or road.backward_id
        if key not in repeated or key not in seen:
            unique.append(road)
        seen |= {road.forward_id, road.backward_id}
    return unique


def _without_loops(nodes: list[str], cuts: list[int]) -> list[tuple[int, int]]:
    """Stretches between cuts; one that ends where it began is cut in the middle too."""
    stretches = []
    for first, last in pairwise(cuts):
        if nodes[first] == nodes[last] and last - first >= 2:
            middle = (first + last) // 2
            stretches += [(first, middle), (middle, last)]
        elif nodes[first] != nodes[last]:
            stretches.append((first, last))
    return stretches


def _road(extract: Extract, way: Way, first: int, last: int) -> _roads.Road:
    tags, kind = way.tags, way.tags["highway"]
    from_id, to_id = way.nodes[first], way.nodes[last]
    implied = "yes" if kind in ONE_WAY_CLASSES or _is_roundabout(tags) else "no"
    oneway = tags.get("oneway", implied)
    forward, backward = oneway not in ("-1", "reverse"), oneway not in ("yes", "true", "1")
    total = _roads.lane_count(tags.get("lanes"))
    two_way = forward and backward
    usual = 2 if kind in TWO_LANE_CLASSES else 1
    share = (total + 1) // 2 if total and two_way else total or usual
    limit_mps = _roads.speed_mps(tags.get("maxspeed"))
    return _roads.Road(
        line=np.array([extract.lon_lat[node] for node in way.nodes[first : last + 1]]),
        from_id=from_id,
        to_id=to_id,
        forward_id=f"{way.id}/{from_id}/{to_id}" if forward else None,
        backward_id=f"{way.id}/{to_id}/{from_id}" if backward else None,
        forward_lanes=_roads.lane_count(tags.get("lanes:forward")) or share,
        backward_lanes=_roads.lane_count(tags.get("lanes:backward"))
        or (max(1, total // 2) if total and two_way else share),
        speed_limit_mps=limit_mps or DEFAULT_SPEED_KMH[kind] / _roads.KMH_PER_MPS,
        name=tags.get("name", tags.get("ref", "")),
        allows=_allowed(tags),
    )


def _is_roundabout(tags: Tags) -> bool:
    return tags.get("junction") in ("roundabout", "circular")


def _signal_heads(
    extract: Extract, roads: list[_roads.Road], segments: list[Segment]
) -> list[SignalHead]:
    by_id = {segment.id: segment for segment in segments}
    length_m = {segment.id: segment.length_m for segment in segments}
    arriving: dict[str, list[str]] = defaultdict(list)
    along_way: dict[str, str] = {}  # segment to "forward" or "backward"
    for road in roads:
        ends = (
            (road.forward_id, road.to_id, "forward"),
            (road.backward_id, road.from_id, "backward"),
        )
        for segment_id, node, direction in ends:
            if segment_id in by_id and segment_id is not None:
                arriving[node].append(segment_id)
                along_way[segment_id] = direction
    heads = []
    for node in sorted(extract.signals.keys() & arriving.keys()):
        approaches = sorted(arriving[node])
        stopped = _stopped(approaches, extract.signals[node], along_way, by_id, length_m)
        for group, segment_id in enumerate(approaches):
            if segment_id in stopped:
                heads += _heads_of(node, group, by_id[segment_id])
    return heads


def _stopped(
    approaches: list[str],
    direction: str,
    along_way: dict[str, str],
    by_id: dict[str, Segment],
    length_m: dict[str, float],
) -> set[str]:
    """Which approaches of a node its signal holds back."""
    onward = {other for name in approaches for other in by_id[name].successors}
    is_midway = len(approaches) == 2 == len(onward)
    if not is_midway or any(len(by_id[name].successors) != 1 for name in approaches):
        return set(approaches)  # a junction, or a one-way road
    if direction in ("forward", "backward"):
        return {name for name in approaches if along_way[name] == direction}
    if direction == "both":
        return set(approaches)
    # Mapped at the stop line: traffic towards the nearer junction stops.
    ahead_m = {
        name: min(length_m[after] for after in by_id[name].successors) for name in approaches
    }
    return {min(approaches, key=lambda name: (ahead_m[name], name))}


def _heads_of(node: str, group: int, segment: Segment) -> list[SignalHead]:
    return [
        SignalHead(
            intersection_id=node,
            signal_group=group,
            lat_deg=lane.coordinates[-1][1],
            lon_deg=lane.coordinates[-1][0],
            segment_id=segment.id,
            lane_index=lane.index,
        )
        for lane in segment.lanes
    ]


PLUGIN = OsmXml()
