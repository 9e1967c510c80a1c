"""The injected events of a package of SUMO ground truth, and what a detector made of them."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Context, Detector, Finding
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from tests.support.fcd_marks import EPOCH_NS
from tests.support.shared_data import shared_data

ALLOWED_LATENESS_S = 2
METRES_PER_DEG = 111_320.0


@dataclass(frozen=True)
class Event:
    """One injected event and one vehicle of it."""

    id: str
    type: str
    start_s: float
    end_s: float
    segment_id: str
    vehicle: str
    lat_deg: float
    lon_deg: float


@functools.cache
def read_events(package: str, *types: str) -> tuple[Event, ...]:
    """Events of these types, one entry per vehicle."""
    text = shared_data("traffic", package, "events.json").read_text()
    return tuple(
        Event(e["id"], e["type"], e["start_t"], e["end_t"], e["edge"], vehicle, e["lat"], e["lon"])
        for e in json.loads(text)["events"]
        if e["type"] in types
        for vehicle in e["vehicles"]
    )


@dataclass(frozen=True)
class Run:
    """What came out of one recording."""

    findings: list[Finding]
    records: int
    cpu_s: float

    def raised(self) -> list[Finding]:
        """First raise of each episode."""
        first: dict[tuple[str, int], Finding] = {}
        for finding in self.findings:
            if finding.phase == "raise":
                first.setdefault((finding.subject_id, finding.started_at_ns), finding)
        return list(first.values())


def detect(
    detectors: Sequence[Detector],
    road_map: RoadMap,
    timed: Sequence[tuple[int, Batch]] | Iterator[tuple[int, Batch]],
) -> Run:
    """Fold batches with their time in s, a tick with the allowed lateness at each new second."""
    where = Context("test", "test", "replay", road_map)
    states = [d.initial(where) for d in detectors]
    findings: list[Finding] = []
    records, cpu_s, at_s = 0, 0.0, 0
    for at_s, batch in timed:
        records += batch.n_rows
        watermark_ns = EPOCH_NS + (at_s - ALLOWED_LATENESS_S) * NS_PER_S
        began_s = time.process_time()
        for place, detector in enumerate(detectors):
            if batch.message in detector.inputs:
                states[place], now = detector.update(states[place], batch)
                findings += now
            states[place], now = detector.advance(states[place], watermark_ns)
            findings += now
        cpu_s += time.process_time() - began_s
    for place, detector in enumerate(detectors):
        findings += detector.advance(states[place], EPOCH_NS + (at_s + 60) * NS_PER_S)[1]
    return Run(findings, records, cpu_s)


def second_of(finding: Finding) -> float:
    """Event time of a finding in the recording's seconds."""
    return (finding.at_ns - EPOCH_NS) / NS_PER_S


def found_at(event: Event, findings: Sequence[Finding]) -> Finding | None:
    """The first of these findings about the event's vehicle while it lasted."""
    mine = [
        f
        for f in findings
        if f.subject_id == event.vehicle and event.start_s <= second_of(f) <= event.end_s
    ]
    return min(mine, key=second_of, default=None)


def distance_m(event: Event, finding: Finding) -> float:
    """From where the event was to where the finding says."""
    position: Any = (finding.lat_deg, finding.lon_deg)
    north_m = (position[0] - event.lat_deg) * METRES_PER_DEG
    east_m = (position[1] - event.lon_deg) * METRES_PER_DEG * np.cos(np.radians(event.lat_deg))
    return float(np.hypot(north_m, east_m))
