"""What the road says: perceived objects, loops, signals, geometry, events, chargers."""

from __future__ import annotations

from typing import Any, Literal

from openvrc.contracts.messages.record import Id, Record
from openvrc.contracts.messages.vehicle import VehicleClass
from openvrc.contracts.units import quantity

SignalPhase = Literal["red", "red_amber", "green", "green_permissive", "amber", "flashing", "off"]
SensorKind = Literal["camera", "radar", "lidar", "fused", "other"]
RoadEventKind = Literal[
    "roadworks",
    "accident",
    "breakdown",
    "congestion",
    "weather",
    "obstacle",
    "wrong_way",
    "emergency_vehicle",
    "lane_closed",
    "speed_limit",
    "other",
]
RsuHealth = Literal["ok", "degraded", "failed"]
ConnectorState = Literal["available", "occupied", "charging", "reserved", "faulted", "offline"]


def _degrees(description: str, limit_deg: int) -> Any:
    return quantity(
        description,
        unit="deg",
        low=-limit_deg,
        high=limit_deg,
        decimals=7,
        wide=True,
        privacy="personal",
    )


class RsuObject(Record):
    """One road user that a roadside unit perceives; `subject_id` is the unit's track id."""

    object_class: VehicleClass | None = quantity("Kind of road user", default=None)
    lat_deg: float = _degrees("Latitude, WGS-84", 90)
    lon_deg: float = _degrees("Longitude, WGS-84", 180)
    speed_mps: float | None = quantity(
        "Speed over ground", unit="m/s", low=0, high=150, decimals=2, default=None
    )
    heading_deg: float | None = quantity(
        "Course, 0 north, clockwise", unit="deg", low=0, high=360, decimals=2, default=None
    )
    length_m: float | None = quantity("Length", unit="m", low=0, high=50, decimals=2, default=None)
    width_m: float | None = quantity("Width", unit="m", low=0, high=10, decimals=2, default=None)
    confidence_ratio: float | None = quantity(
        "Detection confidence", unit="1", low=0, high=1, decimals=3, default=None
    )
    sensor: SensorKind | None = quantity("Sensor that perceived it", default=None)


class LoopCount(Record):
    """What an induction loop counted over one period; `subject_id` is the detector."""

    segment_id: Id | None = quantity("Segment the loop lies in", privacy="public", default=None)
    lane_index: int = quantity("Lane from the right, 0-based", low=0, high=32, privacy="public")
    period_s: float = quantity(
        "Length of the period that ends at sampled_at", unit="s", low=0.1, high=86400, decimals=1
    )
    count: int = quantity("Vehicles counted", low=0, high=100000, privacy="public")
    speed_mps: float | None = quantity(
        "Mean speed of the counted; absent when none",
        unit="m/s",
        low=0,
        high=150,
        decimals=2,
        default=None,
    )
    occupancy_ratio: float | None = quantity(
        "Share of the period in which the loop was covered",
        unit="1",
        low=0,
        high=1,
        decimals=4,
        default=None,
    )


class SignalState(Record):
    """Phase of one signal group (SPaT); `subject_id` is "{intersection_id}:{signal_group}"."""

    intersection_id: Id = quantity("Intersection", privacy="public")
    signal_group: int = quantity("Signal group", low=0, high=65535, privacy="public")
    phase: SignalPhase = quantity("What the head shows", privacy="public")
    min_end_ns: int | None = quantity(
        "Earliest end of this phase, UTC epoch", unit="ns", low=0, default=None
    )
    max_end_ns: int | None = quantity(
        "Latest end of this phase, UTC epoch", unit="ns", low=0, default=None
    )
    likely_end_ns: int | None = quantity(
        "Likely end of this phase, UTC epoch", unit="ns", low=0, default=None
    )


class IntersectionMap(Record):
    """Geometry of one intersection (MAP); `subject_id` is the intersection."""

    lat_deg: float = _degrees("Latitude, WGS-84", 90)
    lon_deg: float = _degrees("Longitude, WGS-84", 180)
    geometry_geojson: str = quantity(
        "Lanes and stop lines as a GeoJSON FeatureCollection, WGS-84",
        privacy="public",
        max_length=1_000_000,
    )


class RoadEvent(Record):
    """An event on the road (RSI, DENM, TIM); `subject_id` is the event."""

    kind: RoadEventKind = quantity("What happened", privacy="public")
    lat_deg: float = _degrees("Latitude, WGS-84", 90)
    lon_deg: float = _degrees("Longitude, WGS-84", 180)
    radius_m: float | None = quantity(
        "Reach around the position", unit="m", low=0, high=100000, decimals=0, default=None
    )
    segment_id: Id | None = quantity("Segment it lies on", privacy="public", default=None)
    valid_from_ns: int | None = quantity(
        "Start of validity, UTC epoch", unit="ns", low=0, default=None
    )
    valid_to_ns: int | None = quantity("End of validity, UTC epoch", unit="ns", low=0, default=None)
    cause: str | None = quantity("Cause in words", max_length=500, privacy="public", default=None)
    advised_speed_mps: float | None = quantity(
        "Advised speed", unit="m/s", low=0, high=150, decimals=2, default=None
    )


class RsuStatus(Record):
    """Heartbeat of a roadside unit: where it stands, how it is, how its clock runs."""

    lat_deg: float = _degrees("Latitude, WGS-84", 90)
    lon_deg: float = _degrees("Longitude, WGS-84", 180)
    range_m: float | None = quantity(
        "Radio or sensor range", unit="m", low=0, high=10000, decimals=0, default=None
    )
    health: RsuHealth = quantity("Health", privacy="public")
    clock_offset_ms: float | None = quantity(
        "Own clock less reference", unit="ms", low=-1e9, high=1e9, decimals=1, default=None
    )
    vehicles_in_range: int | None = quantity(
        "Vehicles it currently relays", low=0, high=100000, privacy="public", default=None
    )


class ChargerState(Record):
    """One connector of a charging or swap station; `subject_id` is "{station}:{connector}"."""

    station_id: Id = quantity("Station", privacy="public")
    lat_deg: float = _degrees("Latitude, WGS-84", 90)
    lon_deg: float = _degrees("Longitude, WGS-84", 180)
    state: ConnectorState = quantity("State of the connector", privacy="public")
    power_w: float | None = quantity(
        "Power into the vehicle", unit="W", low=-2e6, high=2e6, decimals=0, default=None
    )
    energy_j: float | None = quantity(
        "Energy of this session", unit="J", low=0, high=1e12, decimals=0, wide=True, default=None
    )
    fault_text: str | None = quantity(
        "Fault in words", max_length=500, privacy="public", default=None
    )


class Advisory(Record):
    """What edge or cloud tells a vehicle, an RSU or a zone; `subject_id` is the addressee."""

    advisory_id: Id = quantity("Identity for the acknowledgement", privacy="public")
    kind: Literal["warning", "speed_advice", "detour", "message"] = quantity(
        "What is advised", privacy="public"
    )
    text: str | None = quantity("In words", max_length=500, privacy="public", default=None)
    advised_speed_mps: float | None = quantity(
        "Advised speed", unit="m/s", low=0, high=150, decimals=2, default=None
    )
    expires_at_ns: int = quantity("Not valid after, UTC epoch", unit="ns", low=0, privacy="public")
