"""From a SUMO net's metres and grid headings to degrees, and the XML stream it is read from."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from openvrc.mapformats.sumo_net import meridian_convergence_deg
from simulator.replay.files import opened_bytes
from simulator.replay.options import RecordingError

CHUNK_BYTES = 1 << 18
FloatArray = NDArray[np.float64]
Element = tuple[str, dict[str, str]]


def elements(path: Path) -> Iterator[Element]:
    """Start tags with their attributes, as a stream; plain or gzip by the file's first bytes.

    Raises RecordingError for broken XML or gzip and for a document type declaration (the way
    entity bombs come in; SUMO writes none).
    """
    pending: list[Element] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: pending.append((tag, attributes))

    def refuse(*_: object) -> None:
        raise RecordingError(f"{path.name}: has a DOCTYPE declaration, refused")

    parser.StartDoctypeDeclHandler = refuse
    try:
        with opened_bytes(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                parser.Parse(chunk, False)
                yield from pending
                pending.clear()
        parser.Parse(b"", True)
    except (expat.ExpatError, EOFError, OSError, zlib.error) as error:
        raise RecordingError(f"{path.name}: cannot be read as XML: {error}") from error
    yield from pending


@dataclass(frozen=True)
class NetProjection:
    """Projection of one SUMO net."""

    transformer: Transformer
    offset_x_m: float
    offset_y_m: float

    def lat_lon_deg(self, x_m: FloatArray, y_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Latitude and longitude of points of the net."""
        lon_deg, lat_deg = self.transformer.transform(x_m - self.offset_x_m, y_m - self.offset_y_m)
        return np.asarray(lat_deg, np.float64), np.asarray(lon_deg, np.float64)

    def true_heading_deg(
        self, heading_deg: FloatArray, lat_deg: FloatArray, lon_deg: FloatArray
    ) -> FloatArray:
        """Headings from true north; SUMO writes them from the net's grid north."""
        turn_deg = meridian_convergence_deg(self.transformer.source_crs, lat_deg, lon_deg)
        return np.mod(heading_deg + turn_deg, 360.0)


def read_projection(net_path: Path) -> NetProjection:
    """The projection a SUMO net states. Raises RecordingError if it states none."""
    for tag, attributes in elements(net_path):
        if tag == "location":
            return _projection(net_path, attributes)
        if tag == "edge":
            break
    raise RecordingError(
        f"{net_path.name}: no <location> with a projection, expected a SUMO net; positions in "
        "metres need one (or record with --fcd-output.geo)"
    )


def _projection(net_path: Path, attributes: dict[str, str]) -> NetProjection:
    try:
        offset_x_m, offset_y_m = map(float, attributes["netOffset"].split(","))
        crs = CRS.from_user_input(attributes["projParameter"])
        transformer = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    except (KeyError, ValueError, ProjError) as error:
        raise RecordingError(f"{net_path.name}: <location> cannot be used: {error}") from error
    return NetProjection(transformer, offset_x_m, offset_y_m)
