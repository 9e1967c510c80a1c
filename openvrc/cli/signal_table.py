"""signals.csv: how signals ran over a whole recording, and how long vehicles waited for them.

One row a segment before a signal and signal group: shares of green, amber and red, mean cycle, mean
green of a cycle, whole cycles; mean delay of a pass of the segment, its level of service, and
passes seen (connected vehicles only). Empty where too little was seen.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.maps import RoadMap
from openvrc.traffic.completion import CELL_S
from openvrc.traffic.segment_model import Seen, roads_of
from openvrc.traffic.service_level import LEVELS, SIGNAL_DELAY_S
from openvrc.traffic.signals import GroupShares, SignalTimes, pass_delays

COLUMNS = (
    "recording", "segment_id", "intersection_id", "group_id", "green_ratio", "amber_ratio",
    "red_ratio", "cycle_s", "green_s", "cycles", "delay_s", "level_of_service", "seen_vehicles",
)  # fmt: skip
_DIGITS = {"cycle_s": 1, "green_s": 1, "cycles": 0}


@dataclass
class SignalTable:
    """One recording."""

    times: SignalTimes = field(default_factory=lambda: SignalTimes(memory_s=math.inf))
    windows: dict[tuple[str, int], tuple[int, float, float]] = field(default_factory=dict)
    """Segment and start of a window to revision, vehicle-seconds and metres; the newest counts."""

    def take(self, batches: Iterable[Batch]) -> None:
        """Fold the edge's output, in order."""
        for batch in batches:
            if batch.message == "signal_state":
                self.times.take(batch)
            elif batch.message == "segment_state":
                self._take_windows(batch)

    def _take_windows(self, batch: Batch) -> None:
        names = ("window_start_ns", "revision", "vehicle_s", "distance_m")
        columns = [batch.column(name).tolist() for name in names]
        segment_ids = batch.texts("subject_id")
        for row in np.flatnonzero(batch.column("window_s") == CELL_S).tolist():
            start_ns, revision, time_s, distance_m = (column[row] for column in columns)
            known = self.windows.get((segment_ids[row], start_ns))
            if known is None or known[0] <= revision:
                self.windows[segment_ids[row], start_ns] = (revision, time_s, distance_m)

    def rows(self, recording: str, road_map: RoadMap) -> list[dict[str, Any]]:
        """By segment and group, of groups that were heard."""
        seen = np.zeros((2, road_map.n_segments))
        for (segment_id, _), (_, time_s, distance_m) in self.windows.items():
            if segment_id in road_map:
                seen[:, road_map.index_of(segment_id)] += (time_s, distance_m)
        delays = pass_delays(roads_of(road_map), Seen(*seen))
        heads = {(h.segment_id, h.intersection_id, h.signal_group) for h in road_map.signal_heads}
        rows = []
        for segment_id, intersection, number in sorted(heads):
            group_id = f"{intersection}:{number}"
            shares = self.times.shares(group_id)
            if shares is None:
                continue
            segment = road_map.index_of(segment_id)
            names = {"recording": recording, "segment_id": segment_id}
            names |= {"intersection_id": intersection, "group_id": group_id}
            delay_s, passes = float(delays.delay_s[segment]), float(delays.passes[segment])
            rows.append(names | _shares(shares) | _delay(delay_s, passes))
        return rows


def _shares(shares: GroupShares) -> dict[str, Any]:
    return {name: round(v, _DIGITS.get(name, 3)) for name, v in shares._asdict().items()}


def _delay(delay_s: float, passes: float) -> dict[str, Any]:
    told: dict[str, Any] = {
        "delay_s": "",
        "level_of_service": "",
        "seen_vehicles": round(passes, 1),
    }
    if math.isfinite(delay_s):
        told["delay_s"] = round(delay_s, 1)
        told["level_of_service"] = LEVELS[int(np.searchsorted(SIGNAL_DELAY_S, delay_s))]
    return told


def write_signals(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """signals.csv; only its header where no signal was heard."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
