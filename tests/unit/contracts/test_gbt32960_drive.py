"""Motors, engines, fuel cells, stacks, supercapacitors and alarm lists of GB/T 32960 as records."""

from __future__ import annotations

from typing import Any

import pytest

from openvrc.contracts.codecs.gbt32960_codec import Gbt32960Codec
from openvrc.contracts.errors import ContractError
from openvrc.contracts.gbt32960.message import report
from openvrc.contracts.gbt32960.units import Command, Edition
from openvrc.contracts.ranges import require_in_range
from openvrc.contracts.topics import Topic
from tests.support.gbt32960 import (
    AT_NS,
    NO_ALARM,
    SIX,
    VEHICLE_2016,
    VIN,
    cells_2016,
    framed,
    full_2016,
    hexed,
)  # fmt: skip

CODEC = Gbt32960Codec()


def rows(payload: bytes, message: str = "drive_state") -> dict[str, Any]:
    """Records by what stands behind the VIN in their subject."""
    decoded = CODEC.decode(Topic("z", "vehicle", VIN, message, "gbt32960"), payload, 0)
    found = {}
    for batch in decoded.batches:
        batch.data.validate(full=True)
        require_in_range(batch)
        for record in batch.to_records():
            assert (record["source_id"], record["sampled_at_ns"]) == (VIN, AT_NS)
            found[record["subject_id"].removeprefix(VIN)] = record
    return found


def said(record: dict[str, Any], *names: str) -> list[Any]:
    return [record.get(name) for name in names]


MOTOR = ("unit_kind", "unit_state", "speed_rpm", "torque_nm", "temperature_degc",
         "controller_degc", "voltage_v", "current_a")  # fmt: skip


def test_each_motor_is_a_subject_of_its_own() -> None:
    body = "02 02 01 01 64 59 D8 4E 84 50 0D AC 29 AF 02 03 FE 4E 20 4E 20 FF FF FE FF FF"
    # 100-40 C; 23,000-20,000 rpm; (20,100-20,000)/10 Nm; 80-40 C; 350 V; +67.1 A
    found = rows(framed("##", 2, SIX + hexed(body)))
    assert said(found["#motor1"], *MOTOR) == [
        "motor", "consuming", 3000, 10.0, 40.0, 60.0, 350.0, 67.1,
    ]  # fmt: skip
    second = found["#motor2"]
    assert said(second, *MOTOR) == ["motor", "off", 0, 0.0, None, None, None, None]
    assert second["marked_values"] == (
        "controller_degc.abnormal,temperature_degc.invalid,voltage_v.abnormal,current_a.invalid"
    )
    assert "marked_values" not in found["#motor1"]
    newer = rows(framed("$$", 2, SIX + hexed("02 01 01 04 28 7D 64 00 03 0D 41 29")))
    assert said(newer["#motor1"], "speed_rpm", "torque_nm") == [100, 0.1]


def test_the_vehicles_own_row_comes_with_its_units() -> None:
    vehicle = VEHICLE_2016 | {"brake_ratio": 101}
    motor = {
        "number": 1, "state": 2, "controller_degc": 60, "motor_rpm": 21_000, "torque_nm": 19_000,
        "motor_degc": 61, "controller_v": 3500, "bus_a": 9000,
    }  # fmt: skip
    frame = report(
        Edition.Y2016, Command.REALTIME, VIN, AT_NS, [(1, vehicle), (2, {"motors": [motor]})]
    )
    own = rows(frame)[""]
    assert said(
        own, "unit_kind", "vehicle_status", "running_mode", "gear", "dcdc_on",
        "accelerator_ratio", "brake_on", "brake_ratio",
    ) == ["vehicle", "started", "electric", "D", True, 0.3, True, None]  # fmt: skip
    assert rows(full_2016()) == {}, "a frame without a drive's unit has no such row"


def test_fuel_cells_engines_stacks_and_supercapacitors_are_read() -> None:
    old = rows(framed("##", 2, SIX + hexed(
        "03 0B B8 03 E8 00 64 00 02 6E 78 03 E8 01 00 C8 02 01 5E 03 01",
        "04 01 0B B8 02 BC")))  # fmt: skip
    assert said(
        old["#fuel_cell"], "voltage_v", "current_a", "hydrogen_kg_per_100km",
        "probe_temperatures_degc", "hydrogen_highest_degc", "hydrogen_mg_per_kg",
        "hydrogen_pressure_pa", "dcdc_on",
    ) == [300.0, 100.0, 1.0, [70.0, 80.0], 60.0, 200, 35e6, True]  # fmt: skip
    engine = ("unit_state", "speed_rpm", "fuel_l_per_100km")
    assert said(old["#engine"], *engine) == ["on", 3000, 7.0]
    new = rows(framed("$$", 2, SIX + hexed(
        "03 00 64 01 00 C8 02 01 5E 03 02 32 46",
        "30 01 02 0B B8 03 E8 07 D0 05 DC 41 00 01 6E",
        "31 01 0B B8 75 30 00 02 09 C4 0A 28 00 01 41")))  # fmt: skip
    assert said(new["#fuel_cell"], "hydrogen_ratio", "hydrogen_left_ratio", "controller_degc") == [
        0.0002, 0.5, 30.0,
    ]  # fmt: skip
    stack = ("voltage_v", "hydrogen_inlet_pa", "air_inlet_pa", "temperature_degc",
             "probe_temperatures_degc")  # fmt: skip
    assert said(new["#stack2"], *stack) == [300.0, 100e3, 50e3, 25.0, [70.0]]
    supercap = ("voltage_v", "current_a", "cell_voltages_v", "probe_temperatures_degc")
    assert said(new["#supercapacitor1"], *supercap) == [300.0, 0.0, [2.5, 2.6], [25.0]]


def test_a_unit_that_a_report_repeats_is_told_once_as_it_was_last() -> None:
    body = hexed("04 01 0B B8 02 BC", "04 02 00 00 00 00")
    assert rows(framed("##", 2, SIX + body))["#engine"]["unit_state"] == "off"


def test_levels_of_alarms_and_the_makers_codes_reach_the_battery() -> None:
    body = NO_ALARM | {
        "level": 4, "flags": 1 << 23 | 1 << 11, "storage_faults": [0x177E], "other_faults": [7],
        "levels": [{"bit": 23, "level": 4}, {"bit": 11, "level": 1}, {"bit": 30, "level": 0xFF}],
    }  # fmt: skip
    frame = report(Edition.Y2025, Command.REALTIME, VIN, AT_NS, [(6, body)])
    own = rows(frame, "battery_state")[""]
    assert own["bms_alarm_levels"] == "storage_thermal_event:4,insulation:1,bit_30:invalid"
    assert own["bms_fault_codes"] == "storage:0000177E,other:00000007"
    topic = Topic("z", "vehicle", VIN, "battery_state", "gbt32960")
    again = Gbt32960Codec(Edition.Y2025).encode(CODEC.decode(topic, frame, 0).batches[0])
    assert rows(again, "battery_state")[""]["bms_alarm_levels"] == own["bms_alarm_levels"]
    assert rows(again, "battery_state")[""]["bms_fault_codes"] == own["bms_fault_codes"]
    plain = rows(full_2016(), "battery_state")[""]
    assert "bms_alarm_levels" not in plain
    assert "bms_fault_codes" not in plain


def test_very_many_fault_codes_are_cut_behind_a_whole_one() -> None:
    body = NO_ALARM | {f"{p}_faults": list(range(252)) for p in ("storage", "motor", "other")}
    frame = report(Edition.Y2016, Command.REALTIME, VIN, AT_NS, [(7, body)])
    text = rows(frame, "battery_state")[""]["bms_fault_codes"]
    assert len(text) <= 4000
    assert all(len(word.split(":")[1]) == 8 for word in text.split(","))


def test_stated_extremes_stand_beside_the_lists() -> None:
    own = rows(full_2016(), "battery_state")[""]
    names = ("highest_cell_v", "lowest_cell_v", "highest_probe_degc", "lowest_probe_degc")
    assert said(own, *names) == [3.695, 3.6, 43.0, 20.0]
    alone = report(Edition.Y2016, Command.REALTIME, VIN, AT_NS, [cells_2016([3600])])
    assert said(rows(alone, "battery_state")[""], *names) == [None] * 4


def test_units_are_read_only() -> None:
    decoded = CODEC.decode(
        Topic("z", "vehicle", VIN, "drive_state", "gbt32960"),
        framed("##", 2, SIX + hexed("04 01 0B B8 02 BC")), 0,
    )  # fmt: skip
    with pytest.raises(ContractError, match="expected one of"):
        CODEC.encode(decoded.batches[0])
