"""OpenStreetMap extracts as protocol buffers (.osm.pbf), read by osmium: as the XML, a tenth of it.

Format: https://wiki.openstreetmap.org/wiki/PBF_Format. The library (BSD, 2 MB, kept by the authors
of libosmium) is optional: `.venv/bin/pip install osmium`. Roads are those of `osm`. The file is
read three times, ways first, so that only nodes on roads are kept; turn restrictions last.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from openvrc.contracts.maps import MapError, RoadMap
from openvrc.mapformats.osm import SIGNAL_DIRECTION, Extract, Way, is_road, is_signal, road_map_of
from openvrc.mapformats.osm_restrictions import Relation, restriction_of

HEADER_WORD = b"OSMHeader"
KINDS = {"n": "node", "w": "way", "r": "relation"}
HEADER_WITHIN_BYTES = 32
"""A file begins with the length of a blob header and the header, whose type is this word."""


class OsmPbf:
    """The OpenStreetMap PBF format."""

    name = "osm_pbf"
    description = "OpenStreetMap PBF extract (.osm.pbf; .venv/bin/pip install osmium)"

    def matches(self, path: Path) -> bool:
        """True by name, or for a file that begins as such."""
        if path.name.lower().endswith(".pbf"):
            return True
        try:
            with path.open("rb") as file:
                return HEADER_WORD in file.read(HEADER_WITHIN_BYTES)
        except OSError:
            return False

    def read(self, path: Path) -> RoadMap:
        """The extract's roads as a road map. Raises MapError, also where osmium is missing."""
        if importlib.util.find_spec("osmium") is None:
            raise MapError(
                f"{path.name}: reading .osm.pbf needs osmium, which is not installed: "
                ".venv/bin/pip install osmium (or convert it: osmium cat FILE -o FILE.osm)"
            )
        try:
            return road_map_of(_parse(path))
        except MapError as error:
            raise MapError(f"{path.name}: {error}") from error
        except (RuntimeError, ValueError, OSError) as error:  # what osmium raises
            raise MapError(f"{path.name}: cannot be read as OpenStreetMap PBF: {error}") from error


def _parse(path: Path) -> Extract:
    import osmium  # noqa: PLC0415  optional

    # Its own word for the format: a file of another name is no error.
    file = osmium.io.File(str(path), "pbf")
    extract = Extract()
    for way in osmium.FileProcessor(file, osmium.osm.WAY):
        tags = _tags(way)
        if isinstance(way, osmium.osm.Way) and is_road(tags):
            nodes = [str(node.ref) for node in way.nodes]
            extract.ways.append(Way(str(way.id), nodes, tags))
    used = {node for way in extract.ways for node in way.nodes}
    for node in osmium.FileProcessor(file, osmium.osm.NODE):
        name = str(node.id)
        if not isinstance(node, osmium.osm.Node) or name not in used or not node.location.valid():
            continue
        extract.lon_lat[name] = (node.location.lon, node.location.lat)
        tags = _tags(node)
        if is_signal(tags):
            extract.signals[name] = tags.get(SIGNAL_DIRECTION, "")
    for thing in osmium.FileProcessor(file, osmium.osm.RELATION):
        if isinstance(thing, osmium.osm.Relation):
            found = restriction_of(_relation(thing))
            if found is not None:
                extract.restrictions.append(found)
    return extract


def _relation(thing: Any) -> Relation:
    relation = Relation(_tags(thing))
    if relation.tags.get("type") == "restriction":
        for member in thing.members:
            relation.members[member.role].append((KINDS[member.type], str(member.ref)))
    return relation


def _tags(thing: Any) -> dict[str, str]:
    return {tag.k: tag.v for tag in thing.tags}


PLUGIN = OsmPbf()
