"""A zone is a folder: `zone.toml` (name, datum, time zone, limits) and its map `map.geojson`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from openvrc.contracts.errors import SettingsError
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN

ZONE_FILE = "zone.toml"
MAP_FILE = "map.geojson"


class RsuPlace(BaseModel):
    """A roadside unit that the zone expects to hear from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rsu_id: str = Field(pattern=TOPIC_ID_PATTERN)
    lat_deg: float = Field(ge=-90, le=90)
    lon_deg: float = Field(ge=-180, le=180)
    range_m: float = Field(default=300.0, gt=0, le=10000)


ClocksPutRight = Literal["both", "ahead", "none"]


class Zone(BaseModel):
    """`zone.toml` as checked values."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=TOPIC_ID_PATTERN)
    time_zone: str = "UTC"
    datum: Literal["wgs84", "gcj02", "bd09"] = "wgs84"
    """Datum of the source map; the stored map is WGS-84."""
    rsus: tuple[RsuPlace, ...] = ()
    max_clock_ahead_s: float = Field(default=30.0, gt=0)
    """How far ahead of zone time a record may lie before it is rejected."""
    max_age_s: float = Field(default=604_800.0, gt=0)
    """How far back of zone time a record may lie: a link loss of a week is back-filled."""
    allowed_lateness_s: float = Field(default=2.0, ge=0)
    clocks_put_right: ClocksPutRight = "both"
    """Senders' clocks that are steadily off have their times moved: all, or only fast ones, where
    some senders have a way to the edge that takes seconds longer than that of others."""

    @field_validator("time_zone")
    @classmethod
    def _is_a_known_time_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is no IANA time zone such as Europe/Berlin") from error
        return value


def read_zone(folder: Path) -> tuple[Zone, RoadMap]:
    """A zone folder. Raises SettingsError that names the file and what it lacks."""
    path = folder / ZONE_FILE
    try:
        zone = Zone.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        document = json.loads((folder / MAP_FILE).read_text(encoding="utf-8"))
        return zone, RoadMap.from_geojson(document)
    except FileNotFoundError as error:
        raise SettingsError(f"{error.filename} is missing; make one with: vrc zone new") from error
    except (tomllib.TOMLDecodeError, ValidationError, ValueError) as error:
        raise SettingsError(f"zone folder {folder.name}: {error}") from error


def read_zones(zones_dir: Path) -> dict[str, tuple[Zone, RoadMap]]:
    """All zone folders below a directory, by name; an absent directory holds none."""
    if not zones_dir.is_dir():
        return {}
    folders = sorted(p.parent for p in zones_dir.glob(f"*/{ZONE_FILE}"))
    return {zone.name: (zone, road_map) for zone, road_map in map(read_zone, folders)}


def write_zone(folder: Path, zone: Zone, road_map: RoadMap) -> None:
    """Write a zone folder; an existing `zone.toml` is kept, the map is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    geojson = json.dumps(road_map.to_geojson(), separators=(",", ":"))
    (folder / MAP_FILE).write_text(geojson, encoding="utf-8")
    if not (folder / ZONE_FILE).exists():
        (folder / ZONE_FILE).write_text(_zone_toml(zone), encoding="utf-8")


def _zone_toml(zone: Zone) -> str:
    facts = zone.model_dump()
    rsus = facts.pop("rsus")
    lines = [f"{key} = {json.dumps(value)}" for key, value in facts.items()]
    for rsu in rsus:
        lines += ["", "[[rsus]]", *(f"{key} = {json.dumps(value)}" for key, value in rsu.items())]
    return "\n".join(lines) + "\n"
