"""What a SUMO network says beyond the road map: who may drive where, who waits, what signals show.

Format: https://sumo.dlr.de/docs/Networks/SUMO_Road_Networks.html. A movement is one
`<connection>` between lanes of normal edges with the lanes inside the junction that it runs over.
Requests give the right of way; in SUMO their bits count from the right. A `tlLogic` is a cycle of
phases whose letters belong to link indexes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from openvrc.contracts.maps import MapError
from openvrc.mapformats import _files


@dataclass(frozen=True)
class Movement:
    """From one lane to another over a junction."""

    from_lane: str
    to_lane: str
    via: tuple[str, ...]  # lanes inside the junction in order; none where the net has none
    signal: str = ""  # id of the tlLogic
    link_index: int = -1
    state: str = "M"
    """Right of way without a signal: M major, m minor, = equal, s stop, w allway stop, Z zipper."""


@dataclass(frozen=True)
class Program:
    """A fixed-time programme: (duration in s, letter of each link index) of each phase."""

    offset_s: float
    phases: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Junctions:
    """All movements of a network, their right of way and their signals."""

    movements: tuple[Movement, ...]
    yields: dict[str, frozenset[str]]
    """Lane inside a junction -> lanes inside it that go first."""
    foes: dict[str, frozenset[str]]
    """Lane inside a junction -> lanes it crosses or joins."""
    programs: dict[str, Program]  # by id
    lane_speed_mps: dict[str, float] = field(default_factory=dict)


def read_junctions(path: Path) -> Junctions:
    """Read a .net.xml or .net.xml.gz. Raises MapError."""
    try:
        return _read(path)
    except (KeyError, ValueError) as error:
        raise MapError(f"{path.name}: bad or missing attribute: {error}") from error


def _read(path: Path) -> Junctions:
    connections: list[dict[str, str]] = []
    onward: dict[str, tuple[str, str]] = {}  # inside lane -> (lane behind, its own via or "")
    speeds: dict[str, float] = {}
    junction: list[str] = []
    requests: list[tuple[list[str], dict[str, str]]] = []
    phases: dict[str, list[tuple[float, str]]] = defaultdict(list)
    offsets: dict[str, float] = {}
    signal = ""
    for tag, attributes in _files.xml_events(path):
        if tag == "lane":
            speeds[attributes["id"]] = float(attributes["speed"])
        elif tag == "connection":
            if attributes["from"].startswith(":"):
                lane = f"{attributes['from']}_{attributes['fromLane']}"
                onward[lane] = (
                    f"{attributes['to']}_{attributes['toLane']}",
                    attributes.get("via", ""),
                )
            else:
                connections.append(attributes)
        elif tag == "junction":
            junction = attributes.get("intLanes", "").split()
        elif tag == "request":
            requests.append((junction, attributes))
        elif tag == "tlLogic":
            signal = attributes["id"]
            is_first = signal not in offsets  # the first programme is the one SUMO starts with
            offsets.setdefault(signal, float(attributes.get("offset", 0.0)))
            signal = signal if is_first else ""
        elif tag == "phase" and signal:
            phases[signal].append((float(attributes["duration"]), attributes["state"]))
    return Junctions(
        movements=tuple(_movement(connection, onward) for connection in connections),
        yields=_named(requests, "response"),
        foes=_named(requests, "foes"),
        programs={
            name: Program(offset_s, tuple(phases[name]))
            for name, offset_s in offsets.items()
            if sum(duration_s for duration_s, _ in phases[name]) > 0
        },
        lane_speed_mps=speeds,
    )


def _movement(connection: dict[str, str], onward: dict[str, tuple[str, str]]) -> Movement:
    via: list[str] = []
    lane = connection.get("via", "")
    while lane and lane not in via:
        via.append(lane)
        lane = onward.get(lane, ("", ""))[1]
    return Movement(
        from_lane=f"{connection['from']}_{connection['fromLane']}",
        to_lane=f"{connection['to']}_{connection['toLane']}",
        via=tuple(via),
        signal=connection.get("tl", ""),
        link_index=int(connection.get("linkIndex", -1)),
        state=connection.get("state", "M"),
    )


def _named(
    requests: list[tuple[list[str], dict[str, str]]], attribute: str
) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for lanes, request in requests:
        number = int(request["index"])
        if number < len(lanes):  # those behind are pedestrian crossings
            bits = request[attribute][::-1]
            names = (name for name, bit in zip(lanes, bits, strict=False) if bit == "1")
            found[lanes[number]] = frozenset(names)
    return found
