"""What the platform says about itself: zone clock and map, ticks, windows, accounting."""

from __future__ import annotations

from typing import Literal

from openvrc.contracts.messages.record import Id, Record
from openvrc.contracts.units import quantity


class ZoneAnnounce(Record):
    """Who drives a zone's clock in this run, and the zone's map; retained at the broker.

    `subject_id` is the zone. A "wall" clock is UTC; a "driven" clock stands at the newest tick
    of its driver (a replay or a scenario), so a driver that waits makes zone time wait.
    """

    state: Literal["running", "ended"] = quantity("Whether the run goes on", privacy="public")
    clock: Literal["wall", "driven"] = quantity("Who moves zone time", privacy="public")
    rate_ratio: float = quantity(
        "Zone seconds per wall second that the driver intends",
        low=0,
        high=1e6,
        privacy="public",
        default=1.0,
    )
    time_zone: str = quantity(
        "IANA zone for days and hours", max_length=64, privacy="public", default="UTC"
    )
    title: str | None = quantity(
        "Name of the recording or scenario", max_length=200, privacy="public", default=None
    )
    map_version: str | None = quantity(
        "Version of the map", max_length=64, privacy="public", default=None
    )
    map_document: str | None = quantity(
        "The map as RoadMap.to_document() writes it",
        max_length=8_000_000,
        privacy="public",
        default=None,
    )


class Tick(Record):
    """Zone time has come to `sampled_at_ns`; `subject_id` is the zone.

    Every earlier record has been sent (a driver's tick) or put into the spool (an edge's).
    """

    watermark_ns: int | None = quantity(
        "Zone time less the allowed lateness (set by the edge)",
        unit="ns",
        low=0,
        privacy="public",
        default=None,
    )
    pending_records: int | None = quantity(
        "Records in the edge's spool not yet in the cloud", low=0, privacy="public", default=None
    )
    driver_state: Literal["running", "paused"] | None = quantity(
        "What a driver that takes commands does; absent where it takes none",
        privacy="public",
        default=None,
    )
    rate_ratio: float | None = quantity(
        "Zone seconds per wall second that such a driver intends, 0 as fast as it is taken",
        low=0,
        high=1e6,
        privacy="public",
        default=None,
    )
    can_seek: bool | None = quantity(
        "Whether such a driver can wind its run", privacy="public", default=None
    )


class SourceStatus(Record):
    """A sender's own count: how many records it has numbered in this session so far."""

    sent_count: int = quantity("Records sent, so the next seq", low=0, high=2**62)


class SegmentState(Record):
    """One window of one segment after Edie; `subject_id` is the segment, `sampled_at` its end."""

    window_start_ns: int = quantity(
        "Start of the window, UTC epoch", unit="ns", low=0, privacy="public"
    )
    window_s: float = quantity("Length of the window", unit="s", low=1, high=86400, decimals=0)
    revision: int = quantity(
        "Raised each time late data changes the window", low=0, high=1_000_000, privacy="public"
    )
    map_version: str = quantity("Map the segment belongs to", max_length=64, privacy="public")
    density_vpkm: float | None = quantity(
        "Vehicles per kilometre, all lanes", unit="1/km", low=0, decimals=3, default=None
    )
    flow_vph: float | None = quantity(
        "Vehicles per hour, all lanes", unit="1/h", low=0, decimals=2, default=None
    )
    speed_mps: float | None = quantity(
        "Space-mean speed; absent when nobody was there",
        unit="m/s",
        low=0,
        decimals=3,
        default=None,
    )
    vehicle_s: float = quantity("Time that vehicles spent in it", unit="s", low=0, decimals=2)
    distance_m: float = quantity("Distance that vehicles drove in it", unit="m", low=0, decimals=2)
    vehicle_count: int = quantity("Distinct vehicles seen in it", low=0, privacy="public")
    coverage_ratio: float = quantity(
        "Share of the window's seconds with at least one observation",
        unit="1",
        low=0,
        high=1,
        decimals=4,
    )
    speed_standard_error_mps: float | None = quantity(
        "Standard error of the space-mean speed from the spread between vehicles",
        unit="m/s",
        low=0,
        decimals=3,
        default=None,
    )


class DeadLetter(Record):
    """Something the platform would not take, kept with its reason; `subject_id` as far as known."""

    topic: str = quantity("Topic or path it came by", max_length=500)
    reason: str = quantity("Word from contracts.reasons", max_length=64, privacy="public")
    detail: str = quantity("What was wrong and what was expected", max_length=1000)
    payload_base64: str = quantity(
        "The first bytes of what came", max_length=8192, privacy="personal"
    )
    payload_bytes: int = quantity("Length of what came", unit="B", low=0)
    records: int = quantity("Records it counts as (1 for a payload nobody could read)", low=0)


class EdgeFinding(Record):
    """What a rule at the edge found about `subject_id`; the cloud makes alerts of it."""

    rule: str = quantity("Name of the rule", max_length=64, privacy="public")
    phase: Literal["raise", "clear", "unknown"] = quantity(
        "Whether it begins or goes on, ends, or nothing is known any more", privacy="public"
    )
    subject_type: Literal["vehicle", "segment", "rsu", "signal", "charger", "source", "zone"] = (
        quantity("What the subject is", privacy="public")
    )
    severity: Literal["info", "warning", "serious", "critical"] = quantity(
        "How bad", privacy="public"
    )
    component: str | None = quantity(
        "Lane, cell or probe", max_length=64, privacy="public", default=None
    )
    started_at_ns: int = quantity("When the condition began, UTC epoch", unit="ns", low=0)
    confidence_ratio: float = quantity("How sure the rule is", unit="1", low=0, high=1, decimals=3)
    segment_id: Id | None = quantity("Segment it lies on", default=None)
    lat_deg: float | None = quantity(
        "Latitude, WGS-84",
        unit="deg",
        low=-90,
        high=90,
        decimals=7,
        wide=True,
        privacy="personal",
        default=None,
    )
    lon_deg: float | None = quantity(
        "Longitude, WGS-84",
        unit="deg",
        low=-180,
        high=180,
        decimals=7,
        wide=True,
        privacy="personal",
        default=None,
    )
    evidence: str = quantity("What was measured against what limit, a JSON object", max_length=8000)
    is_late: bool | None = quantity("Found from late data", privacy="public", default=None)


class SourceLedger(Record):
    """The edge's account of one sender's session: cumulative, so the newest row is the truth.

    sent = forwarded + rejected + dropped + expired + thinned + missing (DESIGN rule 5; what is
    forwarded is pending or stored, which the cloud tells apart). `subject_id` is the sender.
    """

    edge_id: Id = quantity("Edge that keeps this account", privacy="public")
    edge_epoch: int = quantity("Spool epoch of that edge", low=0, privacy="public")
    version: int = quantity("Raised with every change of this row", low=0, privacy="public")
    is_sequenced: bool = quantity("Whether the sender numbers its records", privacy="public")
    sent: int = quantity("Records the sender numbered, plus payloads nobody could read", low=0)
    received: int = quantity("Distinct records and unreadable payloads received", low=0)
    forwarded: int = quantity("Records admitted and put into the spool", low=0)
    rejected: str = quantity("Counts by reason, a JSON object", max_length=4000)
    dropped: int = quantity("Records given up on purpose because the spool was full", low=0)
    expired: int = quantity("Records given up because they outlived the spool's age", low=0)
    thinned: int = quantity("Records left out by a stated thinning rule", low=0)
    missing: int = quantity("Numbers never received", low=0)
    duplicates: int = quantity("Records received again (not part of the sum)", low=0)
    gaps: str = quantity("First missing number ranges, a JSON array of [from, to]", max_length=4000)
    clock_offset_ms: float | None = quantity(
        "Sender's clock less true time, as its times are moved by now; absent while it is right",
        unit="ms",
        low=-1e8,
        high=1e8,
        decimals=0,
        default=None,
    )
