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

DriveUnit = Literal["vehicle", "motor", "engine", "fuel_cell", "stack", "supercapacitor"]
DriveUnitState = Literal["consuming", "generating", "off", "ready", "on"]
VehicleStatus = Literal["started", "off", "other"]
RunningMode = Literal["electric", "hybrid", "fuel"]
Gear = Literal["N", "1", "2", "3", "4", "5", "6", "R", "D", "P"]

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
    highest_cell_v: float | None = quantity(
        "Highest cell voltage that the sender states beside or instead of the list",
        unit="V",
        low=0,
        high=60,
        decimals=4,
        default=None,
    )
    lowest_cell_v: float | None = quantity(
        "Lowest cell voltage that the sender states", unit="V", low=0, high=60, decimals=4,
        default=None,
    )  # fmt: skip
    highest_probe_degc: float | None = quantity(
        "Highest temperature that the sender states", unit="degC", low=-60, high=300, decimals=1,
        default=None,
    )  # fmt: skip
    lowest_probe_degc: float | None = quantity(
        "Lowest temperature that the sender states", unit="degC", low=-60, high=300, decimals=1,
        default=None,
    )  # fmt: skip
    bms_alarm_levels: str | None = quantity(
        "Level of each alarm as name:level, comma separated", max_length=2000, default=None
    )
    bms_fault_codes: str | None = quantity(
        "The maker's own fault codes as part:code in hex, comma separated",
        max_length=4000,
        default=None,
    )


class DriveState(Record):
    """One unit of a drive at one moment: a motor, an engine, a fuel cell; or the vehicle's own.

    A unit is a subject of its own, such as `VIN#motor1`, `VIN#stack2`, `VIN#engine`.
    """

    unit_kind: DriveUnit = quantity("What kind of unit the record is about")
    unit_state: DriveUnitState | None = quantity("What it does", default=None)
    speed_rpm: float | None = quantity(
        "Speed of the motor or crankshaft", unit="rpm", low=-1e6, high=1e6, decimals=0, default=None
    )
    torque_nm: float | None = quantity(
        "Torque of the motor", unit="N.m", low=-1e6, high=1e6, decimals=1,
        default=None,
    )  # fmt: skip
    temperature_degc: float | None = quantity(
        "Temperature of the motor, or of the air at a stack's inlet", unit="degC", low=-60,
        high=300, decimals=1, default=None,
    )  # fmt: skip
    controller_degc: float | None = quantity(
        "Temperature of the unit's controller or converter", unit="degC", low=-60, high=300,
        decimals=1, default=None,
    )  # fmt: skip
    voltage_v: float | None = quantity(
        "Voltage of the unit or at its controller's input", unit="V", low=0, high=10_000,
        decimals=1, default=None,
    )  # fmt: skip
    current_a: float | None = quantity(
        "Current of the unit or its controller's bus", unit="A", low=-10_000, high=10_000,
        decimals=1, default=None,
    )  # fmt: skip
    probe_temperatures_degc: ProbeDegrees = quantity(
        "Temperature of each probe of the unit", unit="degC", decimals=1, default=[]
    )
    cell_voltages_v: CellVolts = quantity(
        "Voltage of each single capacitor", unit="V", decimals=4, default=[]
    )
    fuel_l_per_100km: float | None = quantity(
        "Fuel consumption of the engine", unit="L/100km", low=0, high=1000, decimals=2, default=None
    )
    hydrogen_kg_per_100km: float | None = quantity(
        "Fuel consumption of the fuel cell", unit="kg/100km", low=0, high=1000, decimals=2,
        default=None,
    )  # fmt: skip
    hydrogen_highest_degc: float | None = quantity(
        "Highest temperature of the hydrogen system", unit="degC", low=-60, high=300, decimals=1,
        default=None,
    )  # fmt: skip
    hydrogen_mg_per_kg: float | None = quantity(
        "Highest hydrogen concentration by mass", unit="mg/kg", low=0, high=1e6, decimals=0,
        default=None,
    )  # fmt: skip
    hydrogen_ratio: float | None = quantity(
        "Highest hydrogen concentration by volume", unit="1", low=0, high=1, decimals=6,
        default=None,
    )  # fmt: skip
    hydrogen_pressure_pa: float | None = quantity(
        "Highest hydrogen pressure", unit="Pa", low=0, high=2e8, decimals=0, default=None
    )
    hydrogen_left_ratio: float | None = quantity(
        "Hydrogen left", unit="1", low=0, high=1, decimals=2, default=None
    )
    hydrogen_inlet_pa: float | None = quantity(
        "Hydrogen pressure at the inlet above the air's", unit="Pa", low=-1e6, high=1e7, decimals=0,
        default=None,
    )  # fmt: skip
    air_inlet_pa: float | None = quantity(
        "Air pressure at the inlet above the air's", unit="Pa", low=-1e6, high=1e7, decimals=0,
        default=None,
    )  # fmt: skip
    dcdc_on: bool | None = quantity("The DC-DC converter works", default=None)
    vehicle_status: VehicleStatus | None = quantity(
        "Of the vehicle: whether it is on", default=None
    )
    running_mode: RunningMode | None = quantity("Of the vehicle: what drives it", default=None)
    gear: Gear | None = quantity("Of the vehicle: gear, N, 1 to 6, R, D or P", default=None)
    accelerator_ratio: float | None = quantity(
        "Of the vehicle: travel of the accelerator pedal", unit="1", low=0, high=1, decimals=2,
        default=None,
    )  # fmt: skip
    brake_ratio: float | None = quantity(
        "Of the vehicle: travel of the brake pedal", unit="1", low=0, high=1, decimals=2,
        default=None,
    )  # fmt: skip
    brake_on: bool | None = quantity("Of the vehicle: the brake pedal is pressed", default=None)
    marked_values: str | None = quantity(
        "Values that the sender calls abnormal or invalid, or sent out of range, as name.state, "
        "comma separated",
        max_length=2000,
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
