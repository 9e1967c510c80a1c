"""What vehicles say, or roadside units say for them: state, battery, profile."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le, Len

from openvrc.contracts.messages.record import EdgeMarks, Record
from openvrc.contracts.units import quantity

VehicleClass = Literal[
    "car", "truck", "bus", "motorcycle", "bicycle", "pedestrian", "tram", "emergency", "other"
]
ChargingState = Literal["not_charging", "parked_charging", "driving_charging", "charge_complete"]
Chemistry = Literal["nmc", "lfp", "nca", "lmo", "lto", "other"]

MAX_CELLS = 1000
MAX_PROBES = 500
Volt = Annotated[float, Ge(0.0), Le(60.0)]
DegreeCelsius = Annotated[float, Ge(-60.0), Le(300.0)]
CellVolts = Annotated[list[Volt | None], Len(0, MAX_CELLS)]
ProbeDegrees = Annotated[list[DegreeCelsius | None], Len(0, MAX_PROBES)]
"""null in a list keeps its place: cell 3 stays cell 3 when cell 2 is unavailable."""


class VehicleState(Record):
    """Position and motion of one vehicle; position is the centre of its front bumper."""

    lat_deg: float = quantity(
        "Latitude, WGS-84", unit="deg", low=-90, high=90, decimals=7, wide=True, privacy="personal"
    )
    lon_deg: float = quantity(
        "Longitude, WGS-84",
        unit="deg",
        low=-180,
        high=180,
        decimals=7,
        wide=True,
        privacy="personal",
    )
    altitude_m: float | None = quantity(
        "Height above the WGS-84 ellipsoid",
        unit="m",
        low=-500,
        high=9000,
        decimals=1,
        default=None,
    )
    speed_mps: float = quantity("Speed over ground", unit="m/s", low=0, high=150, decimals=2)
    heading_deg: float | None = quantity(
        "Course over ground, 0 north, clockwise",
        unit="deg",
        low=0,
        high=360,
        decimals=2,
        default=None,
    )
    accel_long_mps2: float | None = quantity(
        "Acceleration along the vehicle, positive forward",
        unit="m/s2",
        low=-100,
        high=100,
        decimals=2,
        default=None,
    )
    accel_lat_mps2: float | None = quantity(
        "Acceleration across the vehicle, positive to the right",
        unit="m/s2",
        low=-100,
        high=100,
        decimals=2,
        default=None,
    )
    yaw_rate_dps: float | None = quantity(
        "Yaw rate, positive clockwise seen from above",
        unit="deg/s",
        low=-360,
        high=360,
        decimals=2,
        default=None,
    )
    brake_on: bool | None = quantity("Brake light is on", default=None)
    left_blinker_on: bool | None = quantity("Left direction indicator is on", default=None)
    right_blinker_on: bool | None = quantity("Right direction indicator is on", default=None)
    hazard_lights_on: bool | None = quantity("Both indicators flash as a warning", default=None)
    vehicle_class: VehicleClass | None = quantity("Kind of road user", default=None)
    length_m: float | None = quantity("Length", unit="m", low=0, high=50, decimals=2, default=None)
    width_m: float | None = quantity("Width", unit="m", low=0, high=10, decimals=2, default=None)
    position_accuracy_m: float | None = quantity(
        "Standard deviation of the position per axis",
        unit="m",
        low=0,
        high=1000,
        decimals=2,
        default=None,
    )


class VehicleStateMarks(EdgeMarks):
    """Where on the zone's map the edge found the vehicle."""

    segment_id: str = quantity('Segment of the map, "" when off it', privacy="personal")
    lane_index: int = quantity("Lane from the right, 0-based; -1 unknown", low=-1, high=127)
    segment_offset_m: float | None = quantity(
        "Distance from the segment's start along it", unit="m", low=0, default=None
    )


class BatteryState(Record):
    """One frame of a battery-management system. Current is positive when discharging."""

    pack_voltage_v: float | None = quantity(
        "Pack voltage", unit="V", low=0, high=6000, decimals=2, default=None
    )
    pack_current_a: float | None = quantity(
        "Pack current, positive = discharge",
        unit="A",
        low=-5000,
        high=5000,
        decimals=2,
        default=None,
    )
    soc_ratio: float | None = quantity(
        "State of charge the BMS displays", unit="1", low=0, high=1, decimals=4, default=None
    )
    soh_ratio: float | None = quantity(
        "State of health the BMS displays", unit="1", low=0, high=1.2, decimals=4, default=None
    )
    cell_voltages_v: CellVolts = quantity(
        "Voltage of each cell, cell 1 first", unit="V", decimals=4, default=[]
    )
    probe_temperatures_degc: ProbeDegrees = quantity(
        "Temperature of each probe, probe 1 first",
        unit="degC",
        decimals=1,
        default=[],
    )
    insulation_ohm: float | None = quantity(
        "Insulation resistance of the high-voltage net to the chassis",
        unit="ohm",
        low=0,
        high=1e9,
        decimals=0,
        default=None,
    )
    charging_state: ChargingState | None = quantity("Whether and how it charges", default=None)
    odometer_m: float | None = quantity(
        "Distance the vehicle has driven",
        unit="m",
        low=0,
        high=1e10,
        decimals=0,
        wide=True,
        default=None,
    )
    vehicle_speed_mps: float | None = quantity(
        "Speed of the vehicle in the same frame",
        unit="m/s",
        low=0,
        high=150,
        decimals=2,
        default=None,
    )
    bms_alarm_level: int | None = quantity(
        "Highest alarm level of the BMS, 0 none to 4 thermal event", low=0, high=4, default=None
    )
    bms_alarm_bits: int | None = quantity(
        "Alarm bits of the BMS, bit 0 least significant", low=0, high=2**62, default=None
    )
    quality_bits: int | None = quantity(
        "What the sender's protocol says is wrong with this frame, see contracts/quality.py",
        low=0,
        high=2**62,
        default=None,
    )


class VehicleProfile(Record):
    """What does not change from second to second: model, pack layout, mass."""

    model: str | None = quantity("Model of the vehicle", max_length=96, default=None)
    chemistry: Chemistry | None = quantity("Cell chemistry", default=None)
    rated_capacity_ah: float | None = quantity(
        "Rated capacity of the pack", unit="A.h", low=0, high=10000, decimals=1, default=None
    )
    cells_in_series: int | None = quantity("Cells in series", low=1, high=2000, default=None)
    probe_count: int | None = quantity("Temperature probes", low=0, high=1000, default=None)
    mass_kg: float | None = quantity(
        "Mass ready to drive", unit="kg", low=0, high=100000, decimals=0, default=None
    )
    report_period_s: float | None = quantity(
        "Longest time between two reports of the driving vehicle that was agreed",
        unit="s",
        low=0.01,
        high=86400,
        decimals=2,
        default=None,
    )
    pack_codes: str | None = quantity(
        "Codes of the battery packs as the vehicle states them, comma separated",
        max_length=4000,
        default=None,
    )
