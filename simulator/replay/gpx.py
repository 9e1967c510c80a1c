"""GPX tracks: one vehicle a track, as navigation devices, telephones and fleet trackers write them.

Points need a position and a UTC time. Speed and course are taken where a point has them (GPX 1.0,
or `speed` and `course` in the extensions of 1.1), else they are those of the way from the point
before, within its segment. A vehicle that does not move keeps its course. Heights are left out.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from openvrc.contracts.units import ns_from_iso
from openvrc.mapformats import read_map
from simulator.replay.files import opened_bytes
from simulator.replay.motion import motion
from simulator.replay.options import RecordingError, ReplayOptions
from simulator.replay.traffic_world import TrafficWorld
from simulator.replay.vehicles import TrafficRows, Vehicles, joined, steps_of
from simulator.rsus import place_rsus

CHUNK_BYTES = 1 << 18
MAX_TEXT = 200
Floats = npt.NDArray[np.float64]


class Gpx:
    """The reader of such files."""

    name = "gpx"
    description = "GPX tracks (.gpx, also .gz)"

    def matches(self, path: Path, options: ReplayOptions) -> bool:
        """See Reader."""
        name = path.name.lower().removesuffix(".gz")
        return options.mapping is None and path.is_file() and name.endswith(".gpx")

    def open(self, path: Path, options: ReplayOptions) -> TrafficWorld:
        """See Reader."""
        tracks = [track for track in _tracks(path) if track.points]
        if not tracks:
            raise RecordingError(f"{path.name}: holds no track point with a time, expected one")
        vehicles = Vehicles(options)
        stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
        rows = joined([
            _rows(track, vehicles.number_of(_id_of(track, number, stem, len(tracks))))
            for number, track in enumerate(tracks, 1)
        ])  # fmt: skip
        rows = rows.take(np.argsort(rows.time_ns, kind="stable"))
        road_map = read_map(options.map_path) if options.map_path else None
        return TrafficWorld(
            options=options,
            title=path.name,
            road_map=road_map,
            rsus=place_rsus(road_map),
            vehicles=vehicles,
            start_ns=int(rows.time_ns[0]),
            steps=lambda: steps_of(rows),
        )


@dataclass
class _Point:
    lat_deg: float
    lon_deg: float
    segment: int
    time: str = ""
    speed_mps: float = np.nan
    course_deg: float = np.nan


@dataclass
class _Track:
    name: str = ""
    points: list[_Point] = field(default_factory=list)
    segments: int = 0


class _Handler:
    """Tags and texts of a GPX file, whatever their namespaces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.tracks: list[_Track] = []
        self._tags: list[str] = []
        self._text = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rsplit(":", 1)[-1]
        self._tags.append(name)
        self._text = ""
        if name == "trk":
            self.tracks.append(_Track())
        elif name == "trkseg" and self.tracks:
            self.tracks[-1].segments += 1
        elif name == "trkpt" and self.tracks:
            self.tracks[-1].points.append(self._point(attributes))

    def _point(self, attributes: dict[str, str]) -> _Point:
        try:
            lat_deg, lon_deg = float(attributes["lat"]), float(attributes["lon"])
        except (KeyError, ValueError) as error:
            raise RecordingError(f"{self._path.name}: trkpt {attributes}: {error!r}") from error
        if not (abs(lat_deg) <= 90 and abs(lon_deg) <= 180):
            raise RecordingError(f"{self._path.name}: trkpt at {lat_deg}, {lon_deg} is nowhere")
        return _Point(lat_deg, lon_deg, self.tracks[-1].segments)

    def text(self, text: str) -> None:
        if len(self._text) < MAX_TEXT:
            self._text += text

    def end(self, _tag: str) -> None:
        name, text = self._tags.pop(), self._text.strip()
        self._text = ""
        if "trk" not in self._tags or not self.tracks:
            return
        track = self.tracks[-1]
        if name == "name" and self._tags[-1] == "trk":
            track.name = text
        elif "trkpt" in self._tags and track.points:
            self._of_point(track.points[-1], name, text)

    def _of_point(self, point: _Point, name: str, text: str) -> None:
        if name == "time":
            point.time = text
        elif name in ("speed", "course"):
            try:
                value = float(text)
            except ValueError:
                return  # it is then derived
            setattr(point, "speed_mps" if name == "speed" else "course_deg", value)


def _tracks(path: Path) -> list[_Track]:
    """Raises RecordingError for broken XML or gzip, and for a DOCTYPE (entity bombs)."""
    handler, parser = _Handler(path), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.text

    def refuse(*_: object) -> None:
        raise RecordingError(f"{path.name}: has a DOCTYPE declaration, refused")

    parser.StartDoctypeDeclHandler = refuse
    try:
        with opened_bytes(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, EOFError, OSError, zlib.error) as error:
        raise RecordingError(f"{path.name}: cannot be read as XML: {error}") from error
    for track in handler.tracks:
        track.points = [point for point in track.points if point.time]
    return handler.tracks


def _id_of(track: _Track, number: int, stem: str, n_tracks: int) -> str:
    """The track's name; the file's where there is none, with the track's number if several."""
    return track.name or (stem if n_tracks == 1 else f"{stem}-{number}")


def _rows(track: _Track, vehicle: int) -> TrafficRows:
    """A track's points in order of time."""
    try:
        times = np.array([ns_from_iso(point.time) for point in track.points], np.int64)
    except ValueError as error:
        raise RecordingError(f"track {track.name!r}: {error}") from error
    order = np.argsort(times, kind="stable")
    points = [track.points[place] for place in order.tolist()]
    times = times[order]
    lat_deg = np.array([point.lat_deg for point in points])
    lon_deg = np.array([point.lon_deg for point in points])
    segment = np.array([point.segment for point in points])
    speed_mps, heading_deg = motion(times, lat_deg, lon_deg, segment)
    said_mps = np.array([point.speed_mps for point in points])
    said_deg = np.array([point.course_deg for point in points])
    return TrafficRows(
        time_ns=times,
        vehicle=np.full(len(points), vehicle, np.int32),
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        speed_mps=np.where(np.isnan(said_mps), speed_mps, said_mps),
        heading_deg=np.mod(np.where(np.isnan(said_deg), heading_deg, said_deg), 360.0),
        accel_long_mps2=np.full(len(points), np.nan),
        lights=np.full(len(points), -1, np.int32),
    )


PLUGIN = Gpx()
