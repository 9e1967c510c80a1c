"""Road maps of the zones for the API: the announced one, else the one in the zone's folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cloud.store import reads
from openvrc.contracts.errors import SettingsError
from openvrc.contracts.zone import ZONE_FILE, Zone, read_zone

Feature = dict[str, Any]


@dataclass(frozen=True)
class ZoneMap:
    """A zone's map as canonical GeoJSON (WGS-84)."""

    zone: str
    map_version: str
    geojson: dict[str, Any]

    @cached_property
    def segments(self) -> dict[str, Feature]:
        """Segment features by id."""
        features = self.geojson.get("features", [])
        return {
            str(f["properties"]["segment_id"]): f
            for f in features
            if f["properties"].get("kind") == "segment"
        }


class ZoneMaps:
    """Reads a zone's map once per version; called from worker threads."""

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[reads.Connection]],
        zones_dir: Path,
    ) -> None:
        self._connect = connect
        self._zones_dir = zones_dir
        self._known: dict[str, ZoneMap] = {}
        self._limits: dict[str, Zone] = {}
        self._lock = threading.Lock()

    def of_zone(self, zone: str, *, version: str | None = None) -> ZoneMap | None:
        """The zone's map, read again when `version` is another than the known one's."""
        with self._lock:
            known = self._known.get(zone)
            if known is None or (version and known.map_version != version):
                known = self._announced(zone) or self._in_folder(zone) or known
                if known is not None:
                    self._known[zone] = known
            return known

    def limits_of(self, zone: str) -> Zone | None:
        """What records of this zone must keep to; None for a zone nobody announced or made."""
        if zone not in self._limits:
            found = self._limits_in_folder(zone)
            if found is None:
                with self._connect() as connection:
                    is_known = any(r.zone == zone for r in reads.zones(connection, with_map=False))
                found = Zone(name=zone) if is_known else None
            if found is None:
                return None
            self._limits[zone] = found
        return self._limits[zone]

    def _limits_in_folder(self, zone: str) -> Zone | None:
        folder = self._zones_dir / zone
        if not (folder / ZONE_FILE).is_file():
            return None
        try:
            return read_zone(folder)[0]
        except SettingsError:
            return None  # as below

    def _announced(self, zone: str) -> ZoneMap | None:
        with self._connect() as connection:
            rows = reads.zones(connection, with_map=True)
        row = next((row for row in rows if row.zone == zone), None)
        if row is None or not row.geojson:
            return None
        return ZoneMap(zone, row.map_version or "", row.geojson)

    def _in_folder(self, zone: str) -> ZoneMap | None:
        folder = self._zones_dir / zone
        if not (folder / ZONE_FILE).is_file():
            return None
        try:
            _, road_map = read_zone(folder)
        except SettingsError:
            return None  # `vrc zone` and the edge say what is wrong with it
        return ZoneMap(zone, road_map.map_version, road_map.to_geojson())
