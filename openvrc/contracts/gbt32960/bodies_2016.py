"""Report bodies of the 2016 edition (start `##`), section 7.2.3 and annex B, by type byte."""

from __future__ import annotations

from openvrc.contracts.gbt32960 import shared_bodies as s
from openvrc.contracts.gbt32960.nodes import Field, Group, Node, Run

CELL_VOLTAGE = Field("cell_v", 2, "cell voltage", "V", high=60_000, over=1000)

VEHICLE: tuple[Node, ...] = (
    s.flag("status", "vehicle", s.STATUS),
    s.flag("charging", "charging", s.CHARGING),
    s.flag("mode", "running mode", s.MODE),
    s.speed_kmh(2200),
    s.ODOMETER,
    s.tenth_v("pack_voltage_v", "total voltage", 10_000),
    s.tenth_a("pack_current_a", "total current, positive discharges", 20_000, 1000),
    s.SOC,
    s.flag("dcdc", "DC-DC converter", s.ON_OFF),
    s.GEAR,
    # The 2016 text defines no codes here; senders use them all the same, and neither is a value.
    Field("insulation_ohm", 2, "insulation resistance", "ohm", high=60_000, times=1000),
    # Table 9 calls these two a reserved word; annex B, table B.4, names them.
    Field("accelerator_ratio", 1, "accelerator pedal", "1", high=100, over=100),
    # 0x65: pressed, of a pedal that has no travel value.
    Field("brake_ratio", 1, "brake pedal", "1", high=101, over=100),
)
MOTORS: tuple[Node, ...] = (
    Group(
        "motors",
        s.counted("count", 1, "number of drive motors", 253),
        (
            s.place("number", "number of the motor", 253),
            s.flag("state", "state of the motor", s.MOTOR_STATE),
            s.temperature("controller_degc", "temperature of the motor controller"),
            Field("motor_rpm", 2, "motor speed", "rpm", high=65_531, zero=20_000),
            Field("torque_nm", 2, "motor torque", "N.m", high=65_531, zero=20_000, over=10),
            s.temperature("motor_degc", "temperature of the motor"),
            s.tenth_v("controller_v", "input voltage of the motor controller", 60_000),
            s.tenth_a("bus_a", "current of the motor controller's bus", 20_000, 1000),
        ),
    ),
)
FUEL_CELL: tuple[Node, ...] = (
    s.tenth_v("stack_voltage_v", "voltage of the fuel cell", 20_000),
    Field("stack_current_a", 2, "current of the fuel cell", "A", high=20_000, over=10),
    Field("fuel_kg_per_100km", 2, "fuel consumption", "kg/100km", high=60_000, over=100),
    s.probes("probes_degc", 2, high=240),
    Field(
        "h2_highest_degc", 2, "highest temperature of the hydrogen system", "degC",
        high=2400, zero=400, over=10,
    ),
    Field("h2_hottest_probe", 1, "probe of that temperature", low=1, high=252),
    Field("h2_mgpkg", 2, "highest hydrogen concentration", "mg/kg", high=60_000),
    Field("h2_highest_sensor", 1, "sensor of that concentration", low=1, high=252),
    Field("h2_pressure_pa", 2, "highest hydrogen pressure", "Pa", high=1000, times=100_000),
    Field("h2_pressure_sensor", 1, "sensor of that pressure", low=1, high=252),
    s.flag("dcdc", "high-voltage DC-DC converter", s.ON_OFF),
)  # fmt: skip
ENGINE: tuple[Node, ...] = (
    s.flag("state", "engine", s.ON_OFF),
    Field("crank_rpm", 2, "crankshaft speed", "rpm", high=60_000),
    Field("fuel_l_per_100km", 2, "fuel consumption", "L/100km", high=60_000, over=100),
)
POSITION: tuple[Node, ...] = (s.POSITION_STATUS, s.LONGITUDE, s.LATITUDE)


def _extreme(what: str, value: Field) -> tuple[Field, Field, Field]:
    kind = "cell" if value.unit == "V" else "probe"
    return (
        s.place(f"{what}_pack", f"battery pack of the {what}", 250),
        s.place(f"{what}_{kind}", f"{kind} of the {what}", 250),
        value,
    )


EXTREMES: tuple[Node, ...] = (
    *_extreme(
        "highest_v", Field("highest_v", 2, "highest cell voltage", "V", high=15_000, over=1000)
    ),
    *_extreme("lowest_v", Field("lowest_v", 2, "lowest cell voltage", "V", high=15_000, over=1000)),
    *_extreme("highest_degc", s.temperature("highest_degc", "highest temperature")),
    *_extreme("lowest_degc", s.temperature("lowest_degc", "lowest temperature")),
)
ALARMS: tuple[Node, ...] = (
    s.flag("level", "highest alarm level", s.HIGHEST_LEVEL_2016),
    s.ALARM_FLAGS,
    *s.fault_lists(252),
)
CELLS: tuple[Node, ...] = (
    Group(
        "packs",
        s.counted("count", 1, "number of battery packs", 250),
        (
            s.place("number", "number of the pack", 250),
            s.tenth_v("voltage_v", "voltage of the pack", 10_000),
            s.tenth_a("current_a", "current of the pack, positive discharges", 20_000, 1000),
            s.place("total_cells", "cells of the pack", 65_531, 2),
            s.plain("first_cell", 2, "number of the frame's first cell", low=1, high=65_531),
            Run("cells_v", s.counted("count", 1, "cells in this frame", 200), CELL_VOLTAGE),
        ),
    ),
)
TEMPERATURES: tuple[Node, ...] = (
    Group(
        "packs",
        s.counted("count", 1, "number of battery packs", 250),
        (
            s.place("number", "number of the pack", 250),
            s.probes("probes_degc", 2),
        ),
    ),
)

BODIES: dict[int, tuple[str, tuple[Node, ...]]] = {
    0x01: ("vehicle", VEHICLE),
    0x02: ("motors", MOTORS),
    0x03: ("fuel_cell", FUEL_CELL),
    0x04: ("engine", ENGINE),
    0x05: ("position", POSITION),
    0x06: ("extremes", EXTREMES),
    0x07: ("alarms", ALARMS),
    0x08: ("cells", CELLS),
    0x09: ("temperatures", TEMPERATURES),
}
