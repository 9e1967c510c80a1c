"""Signals and induction loops recorded beside the vehicles: spat, tls_links, e1, detectors.

A signal controller says each change of a group at its time and repeats all groups every few
seconds. It does not know the recorded next change (it may be actuated), so no end times are given.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from simulator.emission import Emitter, topic_id
from simulator.replay.files import csv_rows
from simulator.replay.options import RecordingError
from simulator.replay.sumo_words import PHASE_OF_LETTER
from simulator.rsus import Rsus
from simulator.world import Outgoing

SIGNAL_REFRESH_S = 5
LOOPS_WITHOUT_RSU = "loops"
"""Roadside unit that reports the loops of a recording whose map has no units."""


class SignalFeed:
    """Signal states of a recording, as its controllers would say them."""

    def __init__(self, path: Path, epoch_ns: int) -> None:
        """Raises RecordingError for a missing column, a bad number or a letter SUMO lacks."""
        try:
            self._changes = sorted(
                (epoch_ns + round(float(row["time_s"]) * NS_PER_S), row["tls"], row["state"])
                for row in csv_rows(path)
            )
        except (KeyError, ValueError) as error:
            raise RecordingError(f"{path.name}: {error}, expected time_s, tls, state") from error
        letters = {letter for _, _, state in self._changes for letter in state}
        if unknown := letters - PHASE_OF_LETTER.keys():
            raise RecordingError(f"{path.name}: signal letters {sorted(unknown)} are unknown")
        self._next = 0
        self._shown: dict[str, str] = {}
        self._refreshed: int | None = None

    def messages(self, emitter: Emitter, zone_time_ns: int) -> list[Outgoing]:
        """See Feed."""
        rows: list[tuple[int, str, int, str]] = []
        is_first = self._refreshed is None
        while self._next < len(self._changes) and self._changes[self._next][0] <= zone_time_ns:
            at_ns, tls, state = self._changes[self._next]
            before = self._shown.get(tls, "")
            if not is_first:  # what changed before the recording is not news
                rows += [
                    (at_ns, tls, group, letter)
                    for group, letter in enumerate(state)
                    if before[group : group + 1] != letter
                ]
            self._shown[tls] = state
            self._next += 1
        slot = zone_time_ns // (SIGNAL_REFRESH_S * NS_PER_S)
        if slot != self._refreshed:
            self._refreshed = slot
            just_said = {(tls, group) for at_ns, tls, group, _ in rows if at_ns == zone_time_ns}
            rows += [
                (zone_time_ns, tls, group, letter)
                for tls, state in self._shown.items()
                for group, letter in enumerate(state)
                if (tls, group) not in just_said
            ]
        return signal_messages(emitter, rows)


def signal_messages(emitter: Emitter, rows: list[tuple[int, str, int, str]]) -> list[Outgoing]:
    """`signal_state` of rows (time_ns, intersection, group, letter), from their controllers."""
    if not rows:
        return []
    times, intersections, groups, letters = zip(*rows, strict=True)
    sources = np.array([emitter.source("signal", topic_id(name)) for name in intersections])
    words = [f"{name}:{group}" for name, group in zip(intersections, groups, strict=True)]
    columns = {
        "sampled_at_ns": np.array(times, np.int64),
        "intersection_id": list(intersections),
        "signal_group": np.array(groups, np.int64),
        "phase": [PHASE_OF_LETTER[letter] for letter in letters],
    }
    subjects = (np.arange(len(rows), dtype=np.int32), words)
    return emitter.emit("signal_state", sources, subjects, columns)


class LoopFeed:
    """Counts of induction loops, each said at its period's end by the nearest roadside unit."""

    def __init__(
        self, counts: Path, detectors: Path, epoch_ns: int, road_map: RoadMap | None, rsus: Rsus
    ) -> None:
        """Raises RecordingError for a missing column or a detector without a place."""
        try:
            places = {row["id"]: row for row in csv_rows(detectors) if row["kind"] == "E1"}
            self._rows = sorted(csv_rows(counts), key=lambda row: float(row["end_s"]))
            self._lanes = [places[row["detector"]]["lane"] for row in self._rows]
            lat_deg = np.array([float(places[r["detector"]]["lat"]) for r in self._rows])
            lon_deg = np.array([float(places[r["detector"]]["lon"]) for r in self._rows])
            self._numbers = {
                name: np.array([float(row[name]) for row in self._rows])
                for name in ("begin_s", "end_s", "n_veh", "occupancy_pct", "speed_ms")
            }
        except (KeyError, ValueError) as error:
            raise RecordingError(f"{counts.name}: {error} is missing or no number") from error
        self._end_ns = epoch_ns + np.round(self._numbers["end_s"] * NS_PER_S).astype(np.int64)
        self._rsus = _nearest_names(lat_deg, lon_deg, road_map, rsus)
        self._next: int | None = None

    def messages(self, emitter: Emitter, zone_time_ns: int) -> list[Outgoing]:
        """See Feed. Periods that ended before the first call are not news."""
        end = int(np.searchsorted(self._end_ns, zone_time_ns, side="right"))
        start = self._next if self._next is not None else end
        self._next = end
        rows = slice(start, end)
        if start == end:
            return []
        sources = np.array([emitter.source("rsu", name) for name in self._rsus[rows]])
        ids = [row["detector"] for row in self._rows[rows]]
        numbers = {name: values[rows] for name, values in self._numbers.items()}
        speed_mps = numbers["speed_ms"]
        columns = {
            "sampled_at_ns": self._end_ns[rows],
            "segment_id": [lane.rsplit("_", 1)[0] for lane in self._lanes[rows]],
            "lane_index": np.array([int(lane.rsplit("_", 1)[1]) for lane in self._lanes[rows]]),
            "period_s": numbers["end_s"] - numbers["begin_s"],
            "count": numbers["n_veh"].astype(np.int64),
            "speed_mps": np.where(speed_mps < 0, np.nan, speed_mps),  # -1: nobody came
            "occupancy_ratio": numbers["occupancy_pct"] / 100.0,
        }
        subjects = (np.arange(len(ids), dtype=np.int32), ids)
        return emitter.emit("loop_counts", sources, subjects, columns)


def _nearest_names(
    lat_deg: NDArray[np.float64],
    lon_deg: NDArray[np.float64],
    road_map: RoadMap | None,
    rsus: Rsus,
) -> list[str]:
    if road_map is None or not rsus.ids:
        return [LOOPS_WITHOUT_RSU] * len(lat_deg)
    x_m, y_m = road_map.frame.to_xy_m(lat_deg, lon_deg)
    away_m = np.hypot(x_m[:, None] - rsus.xy_m[:, 0], y_m[:, None] - rsus.xy_m[:, 1])
    return [rsus.ids[number] for number in np.argmin(away_m, axis=1)]
