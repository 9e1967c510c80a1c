"""Frames that others published, read whole and written back: what our own vectors cannot prove.

From public GitHub repositories: test samples of beidouchangxi/rtm_con (A), a log of a test terminal
in Sengezuidiao/GB32960Tool (B). Read as facts; none has a vehicle's position. Beside these, 700
recorded frames of real vehicles were read while this was written (docs/gbt32960.md).
"""

from __future__ import annotations

import pytest

from openvrc.contracts.codecs.gbt32960_codec import Gbt32960Codec
from openvrc.contracts.gbt32960.frame import split
from openvrc.contracts.gbt32960.message import Message, read, rewritten
from openvrc.contracts.quality import names_of
from openvrc.contracts.topics import Topic

A = "HAUV4BGN6S5002219"
LOGIN_2016 = (  # B: one pack, code of 24
    "232301fe574c475930303131363030303030303033010036150814093b080001383938363034313031313138343034"
    "3230383733011830324b504246443133323034334341355630303030303237d4"
)
LOGOUT_2016 = "232304fe574c475930303131363030303030303033010008150814093b330001ca"  # B
LOGIN_2025 = (  # A: two BMS with one pack and two packs
    "242401fe484155563442474e365335303032323139010067190a1b140202000c383938363039323437393030323331"
    "36363630360201023052"
    "4a50454130304841553041414631333130303139353530524a50454130304841553041414631333130303139353630"
    "524a504541303048415530414146313331303031393537c7"
)
VEHICLE_INVALID = (  # A: every value is the code "invalid"
    "232302fe484155563442474e36533530303232313901001b190a1b14020201ffffffffffffffffffffffffffffff3f"
    "ffffffff16"
)
MOTORS_CODES = (  # A: two motors, the second one without its number
    "232302fe484155563442474e365335303032323139010020190a1b1402020202fffffffffffffffffffffffffefefe"
    "fefefefefefefefefeec"
)
POSITION_INVALID = (
    "232302fe484155563442474e365335303032323139010010190a1b1402020507ffffffffffffffffde"
)
EXTREMES_INVALID = (
    "232302fe484155563442474e365335303032323139010015190a1b14020206ffffffffffffffffffffffffffffdf"
)
PROBES = "232302fe484155563442474e365335303032323139010013190a1b1402020902ff0000050005ffffffffffd4"
CUSTOM = (
    "232302fe484155563442474e365335303032323139010019190a1b140202800010fefefefefefefefefefefefefefe"
    "fefe45"
)
PLATFORM_LOGIN = (  # A
    "242405fe484155563442474e365335303032323139010029190a1b1402020802484155563442474e36533530484155"
    "563442474e365335303032323139484155018d"
)
ACTIVATION_FAILED = "24240afe48474c48334143463150413731343430380100020201a6"  # A
REPLY = "23230101484155563442474e365335303032323139010006190a1b14020236"  # A: six bytes
EVERY = [
    LOGIN_2016, LOGOUT_2016, LOGIN_2025, VEHICLE_INVALID, MOTORS_CODES, EXTREMES_INVALID, PROBES,
    CUSTOM, POSITION_INVALID, PLATFORM_LOGIN, ACTIVATION_FAILED, REPLY,
]  # fmt: skip


def message_of(text: str) -> Message:
    (piece,) = split(bytes.fromhex(text))
    assert isinstance(piece, bytes)
    return read(piece)


@pytest.mark.parametrize("text", EVERY)
def test_a_published_frame_is_read_whole_and_written_back(text: str) -> None:
    message = message_of(text)
    assert message.stop is None
    assert rewritten(message).hex() == text


def test_logins_and_their_logout() -> None:
    login, logout = message_of(LOGIN_2016), message_of(LOGOUT_2016)
    assert login.tree["codes"] == b"02KPBFD132043CA5V0000027"
    assert login.tree["serial"] == logout.tree["serial"] == 1
    newer = message_of(LOGIN_2025)
    assert (newer.tree["packs_of_bms"], newer.tree["serial"]) == ([1, 2], 12)
    assert newer.tree["codes"][48:] == b"0RJPEA00HAU0AAF131001957"


def test_every_value_invalid_is_told_of_every_signal() -> None:
    topic = Topic("z", "vehicle", A, "battery_state", "gbt32960")
    decoded = Gbt32960Codec().decode(topic, bytes.fromhex(VEHICLE_INVALID), 0)
    (record,) = decoded.batches[0].to_records()
    assert names_of(record["quality_bits"]) == [
        f"{signal}.invalid"
        for signal in (
            "pack_voltage_v", "pack_current_a", "soc_ratio", "insulation_ohm", "charging_state",
            "odometer_m", "vehicle_speed_mps",
        )
    ]  # fmt: skip


def test_codes_stand_for_what_has_no_number() -> None:
    first, second = message_of(MOTORS_CODES).bodies[0].tree["motors"]
    assert (first["number"], second["number"]) == (0xFF, 0xFE)
    packs = message_of(PROBES).bodies[0].tree["packs"]
    assert [(p["number"], p["probes_degc"]) for p in packs] == [(0xFF, []), (5, [0xFF] * 5)]
    assert message_of(ACTIVATION_FAILED).tree == {"status": 2, "info": 1}
