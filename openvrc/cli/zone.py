"""`vrc zone new NAME --map FILE`: a zone folder from a SUMO net, GeoJSON or OpenStreetMap file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from openvrc.contracts.geo import Datum
from openvrc.contracts.geo import to_wgs84 as positions_to_wgs84
from openvrc.contracts.maps import MapError, RoadMap
from openvrc.contracts.zone import MAP_FILE, ZONE_FILE, RsuPlace, Zone, write_zone
from openvrc.mapformats import read_map
from openvrc.settings import load_settings


@click.group()
def zone() -> None:
    """Make and look at zones."""


@zone.command()
@click.argument("name")
@click.option(
    "--map",
    "map_file",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="SUMO .net.xml[.gz], GeoJSON or OpenStreetMap .osm[.gz]",
)
@click.option("--time-zone", default="UTC", show_default=True, help="IANA zone for days and hours")
@click.option(
    "--datum",
    type=click.Choice(["wgs84", "gcj02", "bd09"]),
    default="wgs84",
    show_default=True,
    help="Datum of the map file; it is stored as WGS-84",
)
@click.option(
    "--rsu",
    "rsus",
    multiple=True,
    metavar="ID,LAT,LON[,RANGE_M]",
    help="A roadside unit the zone expects; repeatable",
)
@click.option("--zones-dir", type=click.Path(path_type=Path), help="Folder of zone folders")
def new(
    name: str,
    map_file: Path,
    time_zone: str,
    datum: str,
    rsus: tuple[str, ...],
    zones_dir: Path | None,
) -> None:
    """Make the zone NAME; edges that use the same zones folder serve it when they start."""
    settings = load_settings(zones_dir=zones_dir)
    try:
        road_map = to_wgs84(read_map(map_file), datum)
        made = Zone(
            name=name,
            time_zone=time_zone,
            datum=datum,
            rsus=tuple(map(parse_rsu, rsus)),
        )
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise click.UsageError("; ".join(faults)) from error
    except (MapError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    folder = settings.zones_dir / name
    if (folder / ZONE_FILE).exists():
        raise click.UsageError(f"{folder / ZONE_FILE} exists; remove the folder to make it anew")
    write_zone(folder, made, road_map)
    click.echo(
        f"wrote {folder / ZONE_FILE} and {MAP_FILE}: {len(road_map.segment_ids)} segments, "
        f"{len(road_map.signal_heads)} signal heads, map version {road_map.map_version}"
    )


def parse_rsu(text: str) -> RsuPlace:
    """`ID,LAT,LON[,RANGE_M]` as a place. Raises ValueError that says what was expected."""
    parts = text.split(",")
    if len(parts) not in (3, 4):
        raise ValueError(f"--rsu {text!r}, expected ID,LAT,LON or ID,LAT,LON,RANGE_M")
    lat_deg, lon_deg = float(parts[1]), float(parts[2])
    facts: dict[str, Any] = {"rsu_id": parts[0], "lat_deg": lat_deg, "lon_deg": lon_deg}
    if len(parts) == 4:
        facts["range_m"] = float(parts[3])
    return RsuPlace(**facts)


def to_wgs84(road_map: RoadMap, datum: str) -> RoadMap:
    """The same roads with coordinates moved from a Chinese datum to WGS-84."""
    if datum == "wgs84":
        return road_map

    def moved(node: Any) -> Any:
        if isinstance(node, list) and len(node) == 2 and all(isinstance(v, float) for v in node):
            lat_deg, lon_deg = positions_to_wgs84(node[1], node[0], Datum(datum))
            return [float(lon_deg), float(lat_deg)]
        if isinstance(node, list):
            return [moved(item) for item in node]
        if isinstance(node, dict):
            return {key: moved(value) for key, value in node.items()}
        return node

    return RoadMap.from_geojson(moved(json.loads(json.dumps(road_map.to_geojson()))))
