"""GB/T 32960 frames as the platform's messages: packs, split lists, codes, contradictions."""

from __future__ import annotations

from typing import Any

import pytest

from openvrc.contracts import geo
from openvrc.contracts.codecs.gbt32960_codec import Gbt32960Codec
from openvrc.contracts.gbt32960 import alarms
from openvrc.contracts.gbt32960.message import report
from openvrc.contracts.gbt32960.units import Command, Edition
from openvrc.contracts.quality import names_of
from openvrc.contracts.topics import Topic
from tests.support.gbt32960 import (
    AT_NS,
    NO_ALARM,
    SIX,
    VEHICLE_2016,
    VEHICLE_2025,
    VIN,
    cells_2016,
    framed,
    full_2016,
    full_2025,
    hexed,
    login_frame,
    position,
    probes,
    said,
)  # fmt: skip

CODEC = Gbt32960Codec()


def rows(payload: bytes, message: str = "battery_state", kind: str = "vehicle") -> Any:
    source = VIN if kind == "vehicle" else "gateway-1"
    decoded = CODEC.decode(Topic("z", kind, source, message, "gbt32960"), payload, 0)
    return [record for batch in decoded.batches for record in batch.to_records()]


def frame_of(*bodies: tuple[int, dict[str, Any]], edition: Edition = Edition.Y2016) -> bytes:
    return report(edition, Command.REALTIME, VIN, AT_NS, bodies)


def quality(record: dict[str, Any]) -> list[str]:
    return names_of(record["quality_bits"])


@pytest.mark.parametrize("frame", [full_2016(), full_2025()], ids=["2016", "2025"])
def test_a_report_becomes_a_battery_state(frame: bytes) -> None:
    (row,) = rows(frame)
    assert (row["source_id"], row["subject_id"], row["sampled_at_ns"]) == (VIN, VIN, AT_NS)
    assert (row["pack_voltage_v"], row["pack_current_a"]) == (350.0, 67.1)
    assert (row["soc_ratio"], row["insulation_ohm"]) == (0.55, 2.5e6)
    assert row["odometer_m"] == 123_456_700
    assert row["vehicle_speed_mps"] == 10.0  # 360 x 0.1 km/h = 36 km/h
    assert row["charging_state"] == "not_charging"
    assert row["cell_voltages_v"] == [round(3.6 + i / 1000, 3) for i in range(96)]
    assert row["probe_temperatures_degc"] == [20.0 + i for i in range(24)]
    assert (row["bms_alarm_level"], row["bms_alarm_bits"]) == (0, 0)
    assert quality(row) == []


@pytest.mark.parametrize("frame", [full_2016(), full_2025()], ids=["2016", "2025"])
def test_a_report_becomes_a_vehicle_state(frame: bytes) -> None:
    (row,) = rows(frame, "vehicle_state")
    assert (row["lat_deg"], row["lon_deg"], row["speed_mps"]) == (39.916527, 116.397128, 10.0)


def test_a_gateway_speaks_for_its_vehicles() -> None:
    (row,) = rows(full_2016(), kind="rsu")
    assert (row["source_id"], row["subject_id"]) == ("gateway-1", VIN)


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("pack_voltage_v", (0xFFFE, 0xFFFF, 10_001)),
        ("pack_current_a", (0xFFFE, 0xFFFF, 20_001)),
        ("soc_ratio", (0xFE, 0xFF, 101)),
        ("insulation_ohm", (0xFFFE, 0xFFFF, 60_001)),
        ("charging", (0xFE, 0xFF, 5)),
        ("odometer_m", (0xFFFFFFFE, 0xFFFFFFFF, 10_000_000)),
        ("speed_mps", (0xFFFE, 0xFFFF, 2201)),
    ],
)
def test_abnormal_invalid_and_out_of_range_are_kept_apart(
    name: str, codes: tuple[int, int, int]
) -> None:
    signal = {"charging": "charging_state", "speed_mps": "vehicle_speed_mps"}.get(name, name)
    for raw, state in zip(codes, ("abnormal", "invalid", "out_of_range"), strict=True):
        (row,) = rows(said({name: raw}))
        assert signal not in row
        assert quality(row) == [f"{signal}.{state}"]
    (row,) = rows(frame_of(probes(9, [60])))
    assert signal not in row, "missing is neither"
    assert quality(row) == []


def test_codes_in_lists_keep_the_places_of_their_neighbours() -> None:
    (row,) = rows(frame_of(cells_2016([3600, 0xFFFE, 3602]), probes(9, [60, 0xFF, 251, 61])))
    assert row["cell_voltages_v"] == [3.6, None, 3.602]
    assert row["probe_temperatures_degc"] == [20.0, None, None, 21.0]
    assert quality(row) == [
        "cell_voltages_v.abnormal",
        "probe_temperatures_degc.invalid",
        "probe_temperatures_degc.out_of_range",
    ]


@pytest.mark.parametrize(("raw", "level"), [(0, 0), (3, 3), (4, None), (0xFE, None), (0xFF, None)])
def test_alarm_level_of_2016(raw: int, level: int | None) -> None:
    (row,) = rows(frame_of((7, NO_ALARM | {"level": raw, "flags": 0x803})))
    assert row.get("bms_alarm_level") == level
    assert row["bms_alarm_bits"] == 0x803
    assert alarms.names_of(row["bms_alarm_bits"], False) == [
        "temperature_difference", "battery_over_temperature", "insulation",
    ]  # fmt: skip


def test_a_thermal_event_is_level_4_of_2025() -> None:
    body = NO_ALARM | {"level": 4, "flags": 1 << 23, "levels": [{"bit": 23, "level": 4}]}
    (row,) = rows(frame_of((6, body), edition=Edition.Y2025))
    assert row["bms_alarm_level"] == 4
    assert alarms.names_of(row["bms_alarm_bits"], True) == ["storage_thermal_event"]


def test_packs_are_subjects_of_their_own() -> None:
    one, two = cells_2016([3600, 3601])[1]["packs"][0], cells_2016([3700])[1]["packs"][0]
    two |= {"number": 2, "voltage_v": 3510, "current_a": 10_100}
    both = {"packs": [one, two]}
    temperatures = {"packs": [{"number": n, "probes_degc": [60 + n]} for n in (1, 2)]}
    first, second = rows(frame_of((1, VEHICLE_2016), (8, both), (9, temperatures)))
    assert (first["subject_id"], second["subject_id"]) == (VIN, f"{VIN}#2")
    assert (first["source_id"], second["source_id"]) == (VIN, VIN)
    assert (first["cell_voltages_v"], second["cell_voltages_v"]) == ([3.6, 3.601], [3.7])
    assert (first["pack_voltage_v"], second["pack_voltage_v"]) == (350.0, 351.0)
    assert (first["pack_current_a"], second["pack_current_a"]) == (67.1, 10.0)
    assert (first["probe_temperatures_degc"], second["probe_temperatures_degc"]) == ([21.0], [22.0])
    assert "insulation_ohm" in first
    assert "insulation_ohm" not in second, "the vehicle has one, the packs do not"


def test_cells_split_over_frames_of_one_payload_come_together() -> None:
    parts = [
        cells_2016(range(3000, 3200), total_cells=260),
        cells_2016(range(3200, 3260), total_cells=260, first_cell=201),
    ]
    payload = frame_of((1, VEHICLE_2016), parts[0]) + frame_of(parts[1], probes(9, [60]))
    (row,) = rows(payload)
    assert row["cell_voltages_v"] == [round(i / 1000, 3) for i in range(3000, 3260)]
    assert (row["pack_voltage_v"], row["probe_temperatures_degc"]) == (350.0, [20.0])
    (swapped,) = rows(frame_of(parts[1]) + frame_of((1, VEHICLE_2016), parts[0]))
    assert swapped["cell_voltages_v"] == row["cell_voltages_v"]
    (split_in_one,) = rows(frame_of((1, VEHICLE_2016), *parts))
    assert split_in_one["cell_voltages_v"] == row["cell_voltages_v"]


def test_a_part_alone_leaves_the_places_before_it_empty() -> None:
    (row,) = rows(frame_of(cells_2016([3200], total_cells=4, first_cell=3)))
    assert row["cell_voltages_v"] == [None, None, 3.2]


@pytest.mark.parametrize("first_cell", [0, 1001, 65_535])
def test_cells_that_have_no_place_are_left_out_and_told(first_cell: int) -> None:
    (row,) = rows(frame_of((1, VEHICLE_2016), cells_2016([3600], first_cell=first_cell)))
    assert "cell_voltages_v" not in row
    assert quality(row) == ["list_misplaced"]


def extremes(**changed: int) -> tuple[int, dict[str, Any]]:
    good = {
        "highest_v_pack": 1, "highest_v_cell": 2, "highest_v": 3601,
        "lowest_v_pack": 1, "lowest_v_cell": 1, "lowest_v": 3600,
        "highest_degc_pack": 1, "highest_degc_probe": 2, "highest_degc": 61,
        "lowest_degc_pack": 1, "lowest_degc_probe": 1, "lowest_degc": 60,
    }  # fmt: skip
    return 6, good | changed


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"highest_v": 3602}, []),  # one step of 1 mV between two readings
        ({"highest_v": 4200}, ["cell_extremes_disagree"]),
        ({"lowest_v": 4200}, ["cell_extremes_disagree"]),
        ({"lowest_degc": 58}, ["probe_extremes_disagree"]),
        ({"highest_v": 0xFFFF, "lowest_v": 0xFFFE}, []),  # nothing said, nothing contradicted
    ],
)
def test_extremes_are_checked_against_the_lists(
    changed: dict[str, int], expected: list[str]
) -> None:
    (row,) = rows(frame_of(extremes(**changed), cells_2016([3600, 3601]), probes(9, [60, 61])))
    assert quality(row) == expected


def test_voltages_of_vehicle_and_pack_that_differ_are_told() -> None:
    (row,) = rows(frame_of((1, VEHICLE_2016), cells_2016([3600], voltage_v=3000)))
    assert quality(row) == ["pack_voltages_disagree"]
    assert row["pack_voltage_v"] == 350.0


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (position(status=1), "position_invalid"),
        (position(lon=0, lat=0), "position_invalid"),
        (position(lon=180_000_001), "position_out_of_range"),
        (position(lat=0xFFFFFFFF), "position_out_of_range"),
    ],
)
def test_a_position_that_is_none_makes_no_vehicle_state(
    body: tuple[int, dict[str, Any]], told: str
) -> None:
    frame = frame_of((1, VEHICLE_2016), body)
    assert rows(frame, "vehicle_state") == []
    assert quality(rows(frame)[0]) == [told]


def test_south_and_west_are_negative() -> None:
    (row,) = rows(frame_of((1, VEHICLE_2016), position(status=6)), "vehicle_state")
    assert (row["lat_deg"], row["lon_deg"]) == (-39.916527, -116.397128)


@pytest.mark.parametrize("datum", [1, 2, 3])
def test_the_datum_of_2025_is_honoured(datum: int) -> None:
    lat, lon = geo.gcj02_from_wgs84(39.9, 116.4)
    place = (39.9, 116.4) if datum == 1 else (float(lat), float(lon))
    body = {
        "status": 0, "datum": datum, "lon_deg": round(place[1] * 1e6),
        "lat_deg": round(place[0] * 1e6),
    }  # fmt: skip
    frame = frame_of((1, VEHICLE_2025), (5, body), edition=Edition.Y2025)
    found = rows(frame, "vehicle_state")
    if datum == 3:
        assert found == []
        assert quality(rows(frame)[0]) == ["datum_unknown"]
    else:
        assert (found[0]["lat_deg"], found[0]["lon_deg"]) == pytest.approx((39.9, 116.4), abs=2e-6)


def test_a_login_becomes_a_profile_with_the_packs_codes_and_says_no_period() -> None:
    (row,) = rows(login_frame(codes=b"ABCDEFGHIJKL"), "vehicle_profile")
    assert row["pack_codes"] == "ABCDEFGHIJKL"
    assert "report_period_s" not in row
    (row,) = rows(login_frame(codes=b"A" * 24 + b"B" * 24, start="$$"), "vehicle_profile")
    assert row["pack_codes"] == "A" * 24 + "," + "B" * 24
    assert rows(login_frame()) == rows(login_frame(), "vehicle_state") == []


@pytest.mark.parametrize(("start", "period"), [("##", "00 0A"), ("$$", "0A")])
def test_a_terminals_answer_to_a_query_becomes_the_agreed_period(start: str, period: str) -> None:
    unit = SIX + hexed("03", "09 3C", "02", period, "10 02")  # heartbeat 60 s, period 10 s
    (row,) = rows(framed(start, Command.QUERY, unit, response=1), "vehicle_profile")
    assert row["report_period_s"] == 10.0
    assert "pack_codes" not in row
    invalid = SIX + hexed("01", "02", "FF" * (len(period) // 2 + len(period) // 4))
    assert rows(framed(start, Command.QUERY, invalid, response=1), "vehicle_profile") == []
    assert rows(framed(start, Command.QUERY, unit, response=2), "vehicle_profile") == []
    assert rows(framed(start, Command.SET, unit), "vehicle_profile") == [], "not yet agreed to"


def test_the_rest_of_a_report_that_stops_is_told_in_its_row() -> None:
    whole = frame_of((1, VEHICLE_2016), probes(9, [60]))
    from openvrc.contracts.gbt32960.frame import build

    frame = build(Edition.Y2016, 2, VIN, whole[24:-1] + b"\x0a\x01\x02")
    (row,) = rows(frame)
    assert row["probe_temperatures_degc"] == [20.0]
    assert quality(row) == ["rest_unread"]


def test_legal_nonsense_as_vehicles_in_the_field_send_it_is_read_as_it_stands() -> None:
    """Cells at 0 V but one, -1000 A with the ignition off, probes at -40: no reserved code used."""
    cells = [0] * 21 + [4200]
    low = extremes(highest_v=4200, lowest_v=4200, highest_degc=210, lowest_degc=0)
    body = VEHICLE_2016 | {"status": 2, "pack_current_a": 0}
    (row,) = rows(frame_of((1, body), low, cells_2016(cells), probes(9, [210, 0, 0, 0])))
    assert row["pack_current_a"] == -1000.0
    assert row["cell_voltages_v"] == [0.0] * 21 + [4.2]
    assert row["probe_temperatures_degc"] == [170.0, -40.0, -40.0, -40.0]
    assert quality(row) == ["cell_extremes_disagree"]


@pytest.mark.parametrize("edition", Edition)
def test_records_written_as_frames_come_back(edition: Edition) -> None:
    codec = Gbt32960Codec(edition)
    topic = Topic("z", "vehicle", VIN, "battery_state", "gbt32960")
    (batch,) = codec.decode(topic, full_2016(), 0).batches
    again = codec.decode(topic, codec.encode(batch), 0)
    assert again.rejects == ()
    (sent,), (got,) = batch.to_records(), again.batches[0].to_records()
    if edition is Edition.Y2025:  # which has no body for extremes
        sent = {name: v for name, v in sent.items() if not name.startswith(("highest", "lowest"))}
    assert got == sent
