"""What the engine knows of a zone in a run, and of a run: clocks, maps, detector states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cloud.alerting import AlertBook
from openvrc.contracts.detection import Context
from openvrc.contracts.maps import RoadMap

States = dict[str, Any]
"""Detector name to its state."""


@dataclass
class ZoneRun:
    """One zone in one run."""

    zone: str
    watermark_ns: int | None = None
    ended_at_ns: int | None = None
    """Zone time at which the driver said that the run is over."""
    time_zone: str = "UTC"
    road_map: RoadMap | None = None
    map_document: str = ""
    states: States = field(default_factory=dict)

    def context(self, run_id: str, origin: str) -> Context:
        """What detectors of this zone may know."""
        return Context(self.zone, run_id, origin, self.road_map, self.time_zone)


@dataclass
class Run:
    """One run over all its zones."""

    run_id: str
    origin: str
    book: AlertBook
    zones: dict[str, ZoneRun] = field(default_factory=dict)
    states: States = field(default_factory=dict)
    """States of "vehicle" detectors: one per run."""
    watermark_ns: int | None = None
    """The least watermark of its zones, as far as vehicle detectors were advanced."""
    subject_zone: dict[str, str] = field(default_factory=dict)
    """Zone in which a subject was last heard; kept only when the run has several zones."""
    failed_at_ns: dict[str, int] = field(default_factory=dict)
    """ "zone/detector" to the event time of its newest failure."""

    def zone(self, name: str) -> ZoneRun:
        """The zone, made at its first mention."""
        if name not in self.zones:
            self.zones[name] = ZoneRun(name)
        return self.zones[name]

    def context(self) -> Context:
        """What vehicle detectors may know: they belong to no zone."""
        return Context("", self.run_id, self.origin)

    def least_watermark_ns(self) -> int | None:
        """The least watermark over zones that have ticked and not ended."""
        marks = [z.watermark_ns for z in self.zones.values() if z.watermark_ns is not None]
        return min(marks, default=None)

    def zone_of(self, subject_id: str) -> str:
        """Where a subject was last heard; the run's first zone for one never heard."""
        return self.subject_zone.get(subject_id) or min(self.zones, default="")
