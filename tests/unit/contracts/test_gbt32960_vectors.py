"""GB/T 32960 bodies written out by hand: each value's arithmetic stands beside it."""

from __future__ import annotations

from typing import Any

import pytest

from openvrc.contracts import quality
from openvrc.contracts.codecs.gbt32960_codec import Gbt32960Codec
from openvrc.contracts.gbt32960.message import Message, read, rewritten
from openvrc.contracts.gbt32960.nodes import Field, Group, Run, Validity
from openvrc.contracts.gbt32960.units import Edition, body_of
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic
from tests.support.gbt32960 import AT_NS, NO_ALARM, SIX, VIN, framed, hexed

TIME = SIX.hex(" ")


def fields_of(start: str, kind: int) -> dict[str, Field]:
    """Every field of a body by its name, those of lists and groups too."""
    known = body_of(Edition.Y2016 if start == "##" else Edition.Y2025, kind)
    assert known is not None
    found: dict[str, Field] = {}
    nodes: list[Any] = list(known[1])
    for node in nodes:
        if isinstance(node, Field):
            found[node.name] = node
        elif isinstance(node, Run):
            found[node.name] = node.element
        else:
            assert isinstance(node, Group)
            nodes += node.nodes
    return found


def values(start: str, kind: int, tree: dict[str, Any]) -> dict[str, Any]:
    """Scaled values of a raw tree."""
    fields = fields_of(start, kind)

    def scaled(name: str, raw: Any) -> Any:
        if isinstance(raw, list):
            return [
                values(start, kind, item) if isinstance(item, dict) else scaled(name, item)
                for item in raw
            ]
        return fields[name].value(raw) if isinstance(raw, int) and name in fields else raw

    return {name: scaled(name, raw) for name, raw in tree.items()}


def one_body(start: str, kind: int, body: bytes) -> tuple[Message, dict[str, Any]]:
    frame = framed(start, 0x02, hexed(TIME) + bytes([kind]) + body)
    message = read(frame)
    assert message.stop is None
    assert rewritten(message) == frame
    assert len(message.bodies) == 1
    return message, values(start, kind, message.bodies[0].tree)


def test_head_and_time_are_read() -> None:
    message = read(framed("##", 0x02, hexed(TIME)))
    head = message.head
    assert (head.edition, head.command, head.response, head.vin) == ("2016", 2, 0xFE, VIN)
    assert (head.encryption, head.unit_bytes) == (1, 6)
    assert message.time_ns == AT_NS


def test_vehicle_2016() -> None:
    body = hexed(
        "01 03 01",
        "01 F4",  # speed 500 x 0.1 km/h = 50 km/h = 50 / 3.6 m/s
        "00 12 D6 87",  # 1,234,567 x 0.1 km = 123,456,700 m
        "0D AC",  # 3500 x 0.1 V
        "29 AF",  # (10,671 - 10,000) x 0.1 A = +67.1 A: discharge
        "37 01 2E",  # 55 %, DC-DC on, gear D with driving force
        "09 C4",  # 2500 kOhm
        "1E 65",  # accelerator 30 %; brake 0x65: pressed, no travel value
    )
    _, got = one_body("##", 0x01, body)
    assert got == {
        "status": 1, "charging": 3, "mode": 1, "speed_mps": pytest.approx(50 / 3.6),
        "odometer_m": 123_456_700, "pack_voltage_v": 350.0, "pack_current_a": 67.1,
        "soc_ratio": 0.55, "dcdc": 1, "gear": 0x2E, "insulation_ohm": 2.5e6,
        "accelerator_ratio": 0.30, "brake_ratio": 1.01,
    }  # fmt: skip


def test_vehicle_2025() -> None:
    body = hexed(
        "01 01 02",
        "13 88",  # 5000 x 0.1 km/h = 500 km/h = 138.9 m/s
        "00 98 96 7F",  # 9,999,999 x 0.1 km
        "EA 60",  # 60,000 x 0.1 V = 6000 V
        "00 00",  # (0 - 30,000) x 0.1 A = -3000 A: charging
        "64 02 0F",
        "00 01",  # 1 kOhm
    )
    _, got = one_body("$$", 0x01, body)
    assert got["pack_current_a"] == -3000.0
    assert got["speed_mps"] == pytest.approx(500 / 3.6)
    assert got["odometer_m"] == 999_999_900
    assert (got["pack_voltage_v"], got["insulation_ohm"], got["soc_ratio"]) == (6000.0, 1e3, 1.0)


def test_motors_2016() -> None:
    body = hexed(
        "02",
        "01 01 64 4E 20 4E 20 50 0D AC 29 AF",
        # (100-40) C; (20,000-20,000) rpm; (20,000-20,000)/10 Nm; (80-40) C; 350 V; +67.1 A
        "02 02 FE 59 D8 4E 84 FF FF FE FF FF",
        # abnormal; (23,000-20,000) rpm; (20,100-20,000)/10 Nm; invalid; abnormal; invalid
    )
    _, got = one_body("##", 0x02, body)
    first, second = got["motors"]
    assert first == {
        "number": 1, "state": 1, "controller_degc": 60, "motor_rpm": 0, "torque_nm": 0.0,
        "motor_degc": 40, "controller_v": 350.0, "bus_a": 67.1,
    }  # fmt: skip
    assert (second["motor_rpm"], second["torque_nm"]) == (3000, 10.0)
    assert second["controller_degc"] is second["motor_degc"] is second["controller_v"] is None


def test_motors_2025() -> None:
    body = hexed("01", "01 04 28 7D 00 00 03 0D 41 29")
    # (40-40) C; (32,000-32,000) rpm; (200,001-200,000)/10 Nm = 0.1 Nm; (41-40) C
    _, got = one_body("$$", 0x02, body)
    assert got["motors"] == [
        {"number": 1, "state": 4, "controller_degc": 0, "motor_rpm": 0, "torque_nm": 0.1,
         "motor_degc": 1}
    ]  # fmt: skip


def test_fuel_cell_2016() -> None:
    body = hexed(
        "0B B8",  # 3000 x 0.1 V
        "03 E8",  # 1000 x 0.1 A
        "00 64",  # 100 x 0.01 kg/100km
        "00 02 6E 78",  # two probes: 110-40 and 120-40 C
        "03 E8 01",  # 1000 x 0.1 - 40 = 60 C, probe 1
        "00 C8 02",  # 200 mg/kg, sensor 2
        "01 5E 03",  # 350 x 0.1 MPa = 35 MPa, sensor 3
        "01",
    )
    _, got = one_body("##", 0x03, body)
    assert got == {
        "stack_voltage_v": 300.0, "stack_current_a": 100.0, "fuel_kg_per_100km": 1.0,
        "probes_degc": [70, 80], "h2_highest_degc": 60.0, "h2_hottest_probe": 1,
        "h2_mgpkg": 200, "h2_highest_sensor": 2, "h2_pressure_pa": 35e6,
        "h2_pressure_sensor": 3, "dcdc": 1,
    }  # fmt: skip


def test_fuel_cell_2025() -> None:
    body = hexed(
        "00 64 01",  # 100 - 40 = 60 C, one degree a step
        "00 C8 02",  # 200 x 0.0001 % = 0.02 % = 0.0002
        "01 5E 03 02",  # 35 MPa, sensor 3, DC-DC off
        "32 46",  # 50 % left, 70-40 C
    )
    _, got = one_body("$$", 0x03, body)
    assert got == {
        "h2_highest_degc": 60, "h2_hottest_probe": 1, "h2_ratio": 0.0002,
        "h2_highest_sensor": 2, "h2_pressure_pa": 35e6, "h2_pressure_sensor": 3, "dcdc": 2,
        "h2_left_ratio": 0.5, "dcdc_degc": 30,
    }  # fmt: skip


def test_engine_of_both_editions() -> None:
    _, old = one_body("##", 0x04, hexed("01 0B B8 02 BC"))  # on, 3000 rpm, 700 x 0.01 L/100km
    assert old == {"state": 1, "crank_rpm": 3000, "fuel_l_per_100km": 7.0}
    _, new = one_body("$$", 0x04, hexed("0B B8"))
    assert new == {"crank_rpm": 3000}


def test_position_of_both_editions() -> None:
    place = "06 F0 16 48 02 61 10 6F"  # 116,397,640 and 39,915,631 x 1e-6 deg, longitude first
    _, old = one_body("##", 0x05, hexed("06", place))  # bit 1 south, bit 2 west
    assert old == {"status": 6, "lon_deg": 116.397640, "lat_deg": 39.915631}
    _, new = one_body("$$", 0x05, hexed("00 02", place))
    assert new == {"status": 0, "datum": 2, "lon_deg": 116.397640, "lat_deg": 39.915631}


def test_extremes_2016() -> None:
    body = hexed("01 5F 10 68", "01 03 0E 10", "01 05 53", "02 06 00")
    # cell 95: 4200 mV; cell 3: 3600 mV; probe 5: 83-40 C; pack 2, probe 6: 0-40 C
    _, got = one_body("##", 0x06, body)
    assert (got["highest_v"], got["highest_v_cell"]) == (4.2, 95)
    assert (got["lowest_v"], got["lowest_v_cell"]) == (3.6, 3)
    assert (got["highest_degc"], got["lowest_degc"], got["lowest_degc_pack"]) == (43, -40, 2)


def test_alarms_2016_bit_0_is_least_significant() -> None:
    body = hexed("03", "00 00 08 03", "02 00 00 00 01 00 00 00 02", "00", "01 AA BB CC DD", "00")
    message, got = one_body("##", 0x07, body)  # 0x0803 = bits 0, 1 and 11
    assert got["level"] == 3
    assert message.bodies[0].tree["flags"] == (1 << 0) | (1 << 1) | (1 << 11)
    assert got["storage_faults"] == [1, 2]
    assert (got["motor_faults"], got["engine_faults"]) == ([], [0xAABBCCDD])
    assert got["other_faults"] == []


def test_alarms_2025_have_a_level_each() -> None:
    body = hexed("04", "00 80 00 10", "00 00 00 00", "02", "17 04", "04 01")
    # 0x00800010 = bits 23 (thermal event, level 4) and 4 (SOC low, level 1)
    _, got = one_body("$$", 0x06, body)
    assert got["level"] == 4
    assert got["levels"] == [{"bit": 23, "level": 4}, {"bit": 4, "level": 1}]


def test_cells_2016() -> None:
    body = hexed("01", "01 0D AC 29 AF 00 60 00 03", "03 0E 10 FF FE FF FF")
    # 350 V, +67.1 A, 96 cells in all, this frame from cell 3: 3.6 V, abnormal, invalid
    message, got = one_body("##", 0x08, body)
    (pack,) = got["packs"]
    assert pack == {
        "number": 1, "voltage_v": 350.0, "current_a": 67.1, "total_cells": 96, "first_cell": 3,
        "cells_v": [3.6, None, None],
    }  # fmt: skip
    cell = fields_of("##", 0x08)["cells_v"]
    raws = message.bodies[0].tree["packs"][0]["cells_v"]
    assert [cell.validity(raw) for raw in raws] == [
        Validity.VALID,
        Validity.ABNORMAL,
        Validity.INVALID,
    ]


def test_cells_2025_have_no_first_cell_and_another_current() -> None:
    body = hexed("02", "01 0D AC 75 30 00 02 0E 10 0E 11", "02 0D AC 77 CF 00 01 0E 12")
    # (30,000 - 30,000)/10 = 0 A; (30,671 - 30,000)/10 = 67.1 A
    _, got = one_body("$$", 0x07, body)
    assert [pack["current_a"] for pack in got["packs"]] == [0.0, 67.1]
    assert [pack["cells_v"] for pack in got["packs"]] == [[3.6, 3.601], [3.602]]


def test_temperatures_of_both_editions() -> None:
    body = hexed("02", "01 00 03 3C FE FF", "02 00 00")  # 60-40 C, abnormal, invalid; none at all
    for start, kind in (("##", 0x09), ("$$", 0x08)):
        _, got = one_body(start, kind, body)
        assert [pack["probes_degc"] for pack in got["packs"]] == [[20, None, None], []]


def test_stacks_2025() -> None:
    body = hexed("01", "01 0B B8 03 E8 07 D0 05 DC 41 00 01 6E")
    # 300 V, 100 A, 2000 x 0.1 - 100 kPa = 100 kPa, 1500 -> 50 kPa, 65-40 C, probe 110-40 C
    _, got = one_body("$$", 0x30, body)
    assert got["stacks"] == [
        {"number": 1, "voltage_v": 300.0, "current_a": 100.0, "h2_inlet_pa": 100e3,
         "air_inlet_pa": 50e3, "air_inlet_degc": 25, "probes_degc": [70]}
    ]  # fmt: skip


def test_supercapacitor_2025() -> None:
    body = hexed("01 0B B8 75 30", "00 02 09 C4 0A 28", "00 01 41")
    _, got = one_body("$$", 0x31, body)
    assert got == {
        "number": 1, "voltage_v": 300.0, "current_a": 0.0, "cells_v": [2.5, 2.6],
        "probes_degc": [25],
    }  # fmt: skip


def test_supercapacitor_extremes_2025_number_cells_with_two_bytes() -> None:
    body = hexed("01 01 2C 0A 8C", "01 00 02 09 C4", "01 00 03 50", "01 01 00 3C")
    _, got = one_body("$$", 0x32, body)
    assert (got["highest_v_cell"], got["highest_v"]) == (300, 2.7)
    assert (got["lowest_v"], got["highest_degc"], got["lowest_degc"]) == (2.5, 40, 20)
    assert got["lowest_degc_probe"] == 256


@pytest.mark.parametrize("start", ["##", "$$"])
def test_a_custom_body_is_kept_as_bytes(start: str) -> None:
    message, _ = one_body(start, 0x80, hexed("00 03 DE AD 00"))
    assert message.bodies[0].tree == {"content": b"\xde\xad\x00"}
    message, _ = one_body(start, 0xFE, hexed("00 00"))
    assert message.bodies[0].tree == {"content": b""}


def test_a_signature_2025_covers_what_stands_before_it() -> None:
    body = hexed("02", "00 04 01 02 03 04", "00 00")
    frame = framed("$$", 0x02, SIX + hexed("04 0B B8 FF") + body)
    message = read(frame)
    assert [b.name for b in message.bodies] == ["engine", "signature"]
    assert message.bodies[1].tree == {"algorithm": 2, "r": b"\x01\x02\x03\x04", "s": b""}
    assert frame[24 : message.bodies[1].offset] == SIX + hexed("04 0B B8")


def test_types_6_7_and_8_follow_the_edition() -> None:
    names = {
        edition: [(body_of(edition, kind) or ("none",))[0] for kind in (6, 7, 8, 9)]
        for edition in Edition
    }
    assert names[Edition.Y2016] == ["extremes", "alarms", "cells", "temperatures"]
    assert names[Edition.Y2025] == ["alarms", "cells", "temperatures", "none"]


@pytest.mark.parametrize("start", ["##", "$$"])
@pytest.mark.parametrize("kind", [0x0A, 0x2F, 0x33, 0x7F])
def test_an_unknown_body_keeps_what_was_read_and_says_where_it_stopped(
    start: str, kind: int
) -> None:
    first = hexed("04 01 0B B8 02 BC") if start == "##" else hexed("04 0B B8")
    message = read(framed(start, 0x02, SIX + first + bytes([kind]) + b"\x01\x02\x03"))
    assert [body.name for body in message.bodies] == ["engine"]
    assert message.stop is not None
    assert (message.stop.reason, message.stop.offset) == (Reason.UNKNOWN_BODY, 30 + len(first))


def test_login_2016() -> None:
    unit = SIX + hexed("00 07") + b"89860012345678901234" + hexed("02 04") + b"AAAABBBB"
    message = read(framed("##", 0x01, unit))
    assert message.stop is None
    assert message.tree == {
        "time": SIX, "serial": 7, "iccid": b"89860012345678901234", "packs": 2,
        "code_length": 4, "codes": b"AAAABBBB",
    }  # fmt: skip


def test_login_2016_without_codes() -> None:
    unit = SIX + hexed("00 01") + b"0" * 20 + hexed("01 00")
    assert read(framed("##", 0x01, unit)).tree["codes"] == b""


def test_login_2025_has_codes_of_24_bytes_for_each_pack_of_each_bms() -> None:
    codes = b"A" * 24 + b"B" * 24 + b"C" * 24
    unit = SIX + hexed("00 01") + b"0" * 20 + hexed("02 01 02") + codes
    message = read(framed("$$", 0x01, unit))
    assert message.stop is None
    assert (message.tree["packs_of_bms"], message.tree["codes"]) == ([1, 2], codes)


@pytest.mark.parametrize("command", [0x04, 0x06])
def test_logout_repeats_the_serial(command: int) -> None:
    assert read(framed("##", command, SIX + hexed("01 02"))).tree == {"time": SIX, "serial": 258}


def test_platform_login_is_41_bytes() -> None:
    unit = SIX + hexed("00 01") + b"platform-001" + b"secret".ljust(20) + hexed("01")
    assert len(unit) == 41
    tree = read(framed("##", 0x05, unit)).tree
    assert (tree["user"], tree["password"], tree["encryption"]) == (
        b"platform-001", b"secret".ljust(20), 1,
    )  # fmt: skip


def test_key_exchange_and_activation_2025() -> None:
    key = framed("$$", 0x0B, hexed("05 00 02 AB CD") + SIX + bytes([27, 3, 2, 0, 0, 0]))
    assert read(key).tree == {
        "kind": 5, "key": b"\xab\xcd", "valid_from": SIX, "valid_to": bytes([27, 3, 2, 0, 0, 0]),
    }  # fmt: skip
    unit = SIX + b"C" * 16 + hexed("00 02 01 02") + VIN.encode() + hexed("01 00 01 AA 00 01 BB")
    tree = read(framed("$$", 0x09, unit)).tree
    assert (tree["chip_id"], tree["public_key"], tree["vin"]) == (
        b"C" * 16, b"\x01\x02", VIN.encode(),
    )  # fmt: skip
    assert (tree["algorithm"], tree["r"], tree["s"]) == (1, b"\xaa", b"\xbb")
    assert read(framed("$$", 0x0A, hexed("02 01"))).tree == {"status": 2, "info": 1}


def test_an_activation_2025_has_no_mark_before_its_signature() -> None:
    """Table B.3 ends in the block of table 8, and a terminal's recorded frame agrees: 561 bytes."""
    unit = SIX + b"1234567821345678" + hexed("01 03") + bytes(259) + VIN.encode()
    unit += hexed("02 01 00") + bytes(256) + hexed("00 00")
    assert len(unit) == 0x231
    tree = read(framed("$$", 0x09, unit)).tree
    assert (tree["algorithm"], len(tree["public_key"]), len(tree["r"]), tree["s"]) == (
        2, 259, 256, b"",
    )  # fmt: skip


def test_queries_settings_and_controls() -> None:
    query = read(framed("##", 0x80, SIX + hexed("02 02 09")))
    assert query.tree == {"time": SIX, "parameters": [2, 9]}
    unit = SIX + hexed("04", "02 00 1E", "04 03", "05") + b"abc" + hexed("07") + b"V1.00"
    listed = [
        {"parameter": 2, "value": 30}, {"parameter": 4, "value": 3},
        {"parameter": 5, "value": b"abc"}, {"parameter": 7, "value": b"V1.00"},
    ]  # fmt: skip
    for command, response in ((0x81, 0xFE), (0x80, 1)):  # a setting; the answer to a query
        message = read(framed("##", command, unit, response=response))
        assert (message.stop, message.tree) == (None, {"time": SIX, "parameters": listed})
    newer = read(framed("$$", 0x81, SIX + hexed("01 02 1E"))).tree  # one byte in 2025
    assert newer["parameters"] == [{"parameter": 2, "value": 30}]
    control = read(framed("##", 0x82, SIX + hexed("06 03 AA")))
    assert control.tree == {"time": SIX, "control": 6, "content": b"\x03\xaa"}


def test_a_parameter_without_a_stated_length_stops_the_reading() -> None:
    stop = read(framed("##", 0x81, SIX + hexed("02 02 00 1E 80 01"))).stop
    assert stop is not None
    assert (stop.reason, stop.offset) == (Reason.UNKNOWN_BODY, 35)


@pytest.mark.parametrize(("code", "state"), [(0xFE, "abnormal"), (0xFF, "invalid")])
def test_a_code_in_the_place_of_a_count_means_no_list(code: int, state: str) -> None:
    two = f"{code:02X}"
    cases = [
        ("##", 0x02, two, {"motors": code}),
        ("##", 0x07, f"00 00 00 00 00 {two} 00 {two} 01 00 00 00 07", NO_ALARM | {
            "storage_faults": code, "engine_faults": code, "other_faults": [7]}),
        ("##", 0x08, two, {"packs": code}),
        ("##", 0x09, f"01 01 FF {two}", {"packs": [
            {"number": 1, "probes_degc": 0xFF00 | code}]}),
        ("$$", 0x07, f"01 01 0D AC 75 30 FF {two}", {"packs": [
            {"number": 1, "voltage_v": 3500, "current_a": 30_000, "cells_v": 0xFF00 | code}]}),
        ("$$", 0x30, two, {"stacks": code}),
    ]  # fmt: skip
    for start, kind, body, tree in cases:
        message, _ = one_body(start, kind, hexed(body))
        assert message.bodies[0].tree == tree
    (batch,) = Gbt32960Codec().decode(
        Topic("z", "vehicle", VIN, "battery_state", "gbt32960"),
        framed("##", 2, SIX + hexed("08", two)), 0,
    ).batches  # fmt: skip
    assert quality.names_of(batch.to_records()[0]["quality_bits"]) == [f"cell_voltages_v.{state}"]


@pytest.mark.parametrize("command", [0x07, 0x08])
def test_heartbeat_and_time_calibration_are_empty(command: int) -> None:
    message = read(framed("##", command, b""))
    assert (message.tree, message.stop) == ({}, None)


@pytest.mark.parametrize("command", [0x0C, 0x7F, 0x83, 0xC0, 0xFE])
def test_a_command_nobody_defined_is_told(command: int) -> None:
    stop = read(framed("$$", command, b"\x01")).stop
    assert stop is not None
    assert stop.reason is Reason.UNKNOWN_COMMAND
