"""Report bodies of the 2025 edition (start `$$`), section 7.2.4, by type byte.

Types 06, 07 and 08 are other bodies than in 2016: never look one up without its edition.
"""

from __future__ import annotations

from openvrc.contracts.gbt32960 import shared_bodies as s
from openvrc.contracts.gbt32960.nodes import Field, Group, Node, Run

CELL_VOLTAGE = Field("cell_v", 2, "voltage of a parallel unit", "V", high=60_000, over=1000)
_MAX_PACKS = 50

VEHICLE: tuple[Node, ...] = (
    s.flag("status", "vehicle", s.STATUS),
    s.flag("charging", "charging", s.CHARGING),
    s.flag("mode", "running mode", s.MODE),
    s.speed_kmh(5000),
    s.ODOMETER,
    s.tenth_v("pack_voltage_v", "total voltage", 60_000),
    s.tenth_a("pack_current_a", "total current, positive discharges", 60_000, 3000),
    s.SOC,
    s.flag("dcdc", "DC-DC converter", s.ON_OFF),
    s.GEAR,
    Field("insulation_ohm", 2, "lesser insulation resistance", "ohm", high=60_000, times=1000),
)
MOTORS: tuple[Node, ...] = (
    Group(
        "motors",
        s.counted("count", 1, "number of drive motors", 253),
        (
            s.place("number", "number of the motor", 253),
            s.flag("state", "state of the motor", s.MOTOR_STATE),
            s.temperature("controller_degc", "temperature of the motor controller"),
            Field("motor_rpm", 2, "motor speed", "rpm", high=65_531, zero=32_000),
            Field("torque_nm", 4, "motor torque", "N.m", high=400_000, zero=200_000, over=10),
            s.temperature("motor_degc", "temperature of the motor"),
        ),
    ),
)
FUEL_CELL: tuple[Node, ...] = (
    Field(
        "h2_highest_degc", 2, "highest temperature of the hydrogen system", "degC",
        high=250, zero=40,
    ),
    Field("h2_hottest_probe", 1, "probe of that temperature", low=1, high=253),
    Field("h2_ratio", 2, "highest hydrogen concentration", "1", high=60_000, over=1_000_000),
    Field("h2_highest_sensor", 1, "sensor of that concentration", low=1, high=253),
    Field("h2_pressure_pa", 2, "highest hydrogen pressure", "Pa", high=1000, times=100_000),
    Field("h2_pressure_sensor", 1, "sensor of that pressure", low=1, high=253),
    s.flag("dcdc", "high-voltage DC-DC converter", s.ON_OFF),
    Field("h2_left_ratio", 1, "hydrogen left", "1", high=100, over=100),
    s.temperature("dcdc_degc", "temperature of the DC-DC converter"),
)  # fmt: skip
ENGINE: tuple[Node, ...] = (Field("crank_rpm", 2, "crankshaft speed", "rpm", high=60_000),)
POSITION: tuple[Node, ...] = (
    s.POSITION_STATUS,
    Field(
        "datum", 1, "coordinate system", words={1: "WGS-84", 2: "GCJ-02", 3: "other"},
        has_codes=False,
    ),
    s.LONGITUDE,
    s.LATITUDE,
)  # fmt: skip
ALARMS: tuple[Node, ...] = (
    s.flag("level", "highest alarm level", s.HIGHEST_LEVEL_2025),
    s.ALARM_FLAGS,
    *s.fault_lists(253),
    Group(
        "levels",
        s.counted("count", 1, "number of alarms with a level", 253),
        (
            s.plain("bit", 1, "number of the flag", high=31),
            s.flag("level", "level of this alarm", s.HIGHEST_LEVEL_2025),
        ),
    ),
)
CELLS: tuple[Node, ...] = (
    Group(
        "packs",
        s.counted("count", 1, "number of battery packs", _MAX_PACKS),
        (
            s.place("number", "number of the pack", _MAX_PACKS),
            s.tenth_v("voltage_v", "voltage of the pack", 60_000),
            s.tenth_a("current_a", "current of the pack, positive discharges", 60_000, 3000),
            Run("cells_v", s.counted("count", 2, "parallel units of the pack"), CELL_VOLTAGE),
        ),
    ),
)
TEMPERATURES: tuple[Node, ...] = (
    Group(
        "packs",
        s.counted("count", 1, "number of battery packs", _MAX_PACKS),
        (
            s.place("number", "number of the pack", _MAX_PACKS),
            s.probes("probes_degc", 2),
        ),
    ),
)


def _inlet(name: str, title: str) -> Field:
    """0.1 kPa a step from -100 to 400 kPa."""
    return Field(name, 2, title, "Pa", high=5000, zero=1000, times=100)


STACKS: tuple[Node, ...] = (
    Group(
        "stacks",
        s.counted("count", 1, "number of fuel-cell stacks", 253),
        (
            s.place("number", "number of the stack", 253),
            s.tenth_v("voltage_v", "voltage of the stack", 20_000),
            Field("current_a", 2, "current of the stack", "A", high=20_000, over=10),
            _inlet("h2_inlet_pa", "hydrogen pressure at the inlet"),
            _inlet("air_inlet_pa", "air pressure at the inlet"),
            s.temperature("air_inlet_degc", "air temperature at the inlet"),
            s.probes("probes_degc", 2, "cooling water temperature"),
        ),
    ),
)
SUPERCAP: tuple[Node, ...] = (
    s.place("number", "number of the supercapacitor system", 253),
    s.tenth_v("voltage_v", "voltage of the supercapacitor", 10_000),
    s.tenth_a("current_a", "current of the supercapacitor", 60_000, 3000),
    Run("cells_v", s.counted("count", 2, "number of single capacitors"), CELL_VOLTAGE),
    s.probes("probes_degc", 2),
)


def _extreme(what: str, value: Field) -> tuple[Field, Field, Field]:
    kind = "cell" if value.unit == "V" else "probe"
    return (
        s.place(f"{what}_pack", f"supercapacitor system of the {what}", 253),
        s.place(f"{what}_{kind}", f"{kind} of the {what}", 65_531, 2),
        value,
    )


SUPERCAP_EXTREMES: tuple[Node, ...] = (
    *_extreme("highest_v", Field("highest_v", 2, "highest voltage", "V", high=60_000, over=1000)),
    *_extreme("lowest_v", Field("lowest_v", 2, "lowest voltage", "V", high=60_000, over=1000)),
    *_extreme("highest_degc", s.temperature("highest_degc", "highest temperature")),
    *_extreme("lowest_degc", s.temperature("lowest_degc", "lowest temperature")),
)

BODIES: dict[int, tuple[str, tuple[Node, ...]]] = {
    0x01: ("vehicle", VEHICLE),
    0x02: ("motors", MOTORS),
    0x03: ("fuel_cell", FUEL_CELL),
    0x04: ("engine", ENGINE),
    0x05: ("position", POSITION),
    0x06: ("alarms", ALARMS),
    0x07: ("cells", CELLS),
    0x08: ("temperatures", TEMPERATURES),
    0x30: ("stacks", STACKS),
    0x31: ("supercap", SUPERCAP),
    0x32: ("supercap_extremes", SUPERCAP_EXTREMES),
    0xFF: ("signature", s.SIGNATURE),
}
