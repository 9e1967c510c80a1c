"""`vrc inspect gbt32960`: every byte once, with its meaning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from openvrc.cli.main import cli
from openvrc.contracts.gbt32960.inspect import inspect
from tests.support.gbt32960 import (
    SIX,
    framed,
    full_2016,
    full_2025,
    heartbeat,
    hexed,
    login_frame,
    said,
)  # fmt: skip

FRAMES = [
    full_2016(),
    full_2025(),
    login_frame(codes=b"ABCDEFGHIJKL"),
    heartbeat(),
    framed("##", 2, SIX + hexed("04 01 0B B8 02 BC 0A 01 02")),
    framed("##", 2, SIX + hexed("08 01 01")),
    framed("##", 2, SIX + b"\x01", encryption=3),
    framed("$$", 0x90, SIX),
    b"junk" + heartbeat() + b"##",
]


@pytest.mark.parametrize("data", FRAMES)
def test_every_byte_is_told_exactly_once_and_in_order(data: bytes) -> None:
    lines = [line for piece in inspect(data) for line in piece]
    assert b"".join(bytes.fromhex(line.hex) for line in lines) == data
    at = 0
    for line in lines:
        assert line.offset == at
        at += len(bytes.fromhex(line.hex))


def meanings(data: bytes) -> dict[str, str]:
    return {line.field: f"{line.meaning} {line.unit}" for piece in inspect(data) for line in piece}


def test_values_are_told_with_their_unit_and_codes_by_name() -> None:
    told = meanings(said({"soc_ratio": 0xFF, "pack_voltage_v": 0xFFFE, "gear": 0x1D}))
    assert told["pack_current_a"] == "total current, positive discharges: 67.1 A"
    assert told["soc_ratio"] == "state of charge: invalid 1"
    assert told["pack_voltage_v"] == "total voltage: abnormal V"
    assert told["gear"] == "gear, braking and driving force: R, braking force "
    assert told["charging"] == "charging: not charging "
    assert told["time"] == "Beijing time: 2026-03-02T00:30:15.000Z "


def test_alarm_bits_are_told_by_name() -> None:
    told = meanings(framed("##", 2, SIX + hexed("07 03 00000803 00 00 00 00")))
    assert told["flags"].split(": ")[1] == (
        "temperature_difference, battery_over_temperature, insulation "
    )


def test_a_password_is_not_shown() -> None:
    unit = SIX + hexed("00 01") + b"platform-001" + b"secret".ljust(20) + hexed("01")
    shown = json.dumps(
        [line.to_json() for piece in inspect(framed("##", 5, unit)) for line in piece]
    )
    assert "secret" not in shown
    assert b"secret".hex(" ") not in shown


@pytest.mark.parametrize("form", ["hex", "spaced", "hex file", "bytes file"])
def test_the_command_takes_hex_and_files(form: str, tmp_path: Path) -> None:
    frame = full_2016()
    source = {"hex": frame.hex(), "spaced": frame.hex(" ")}.get(form) or str(tmp_path / "frame")
    if form == "hex file":
        (tmp_path / "frame").write_text(frame.hex(" ", 2) + "\n")
    elif form == "bytes file":
        (tmp_path / "frame").write_bytes(frame)
    result = CliRunner().invoke(cli, ["inspect", "gbt32960", source])
    assert result.exit_code == 0, result.output
    assert "cell voltage: 3.695 V" in result.output
    as_json = CliRunner().invoke(cli, ["inspect", "gbt32960", "--json", source])
    lines = [json.loads(line) for line in as_json.output.splitlines()]
    assert lines[0]["field"] == "start"


def test_bytes_without_a_frame_are_told_and_fail() -> None:
    result = CliRunner().invoke(cli, ["inspect", "gbt32960", "00 11 22"])
    assert result.exit_code == 1
    assert "bad_start" in result.output
    assert CliRunner().invoke(cli, ["inspect", "gbt32960", "no hex"]).exit_code == 2
