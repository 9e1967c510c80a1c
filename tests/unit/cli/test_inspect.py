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
    full_2016()[:-1] + b"\x00",
    full_2016()[:-1] + b"\x00" + b"more behind it",
    full_2025()[:300],
    full_2025()[:24],
    full_2025()[:25],
    framed("##", 0x81, SIX + hexed("02 02 00 1E 80 01")),
    framed("##", 0x08, hexed("")),
    framed("##", 2, SIX + hexed("02 FF", "08 FE", "09 01 01 FF FF")),
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


def test_a_damaged_frame_is_told_field_by_field_with_what_is_wrong() -> None:
    (lines,) = inspect(full_2016()[:-1] + b"\x00")
    assert lines[0].meaning.startswith("bad_checksum")
    assert lines[-1].field == "check byte"
    assert f"{full_2016()[-1]:02X}" in lines[-1].meaning
    told = meanings(full_2016()[:120])
    assert told["pack_voltage_v"] == "total voltage: 350 V"
    assert told["unread"].startswith("truncated: cells")


@pytest.mark.parametrize(
    "text",
    [
        "0x{}".format(", 0x".join(f"{b:02X}" for b in full_2016())),
        "".join(f"\\x{b:02x}" for b in full_2016()),
        full_2016().hex(":"),
        f"2026-03-02 08:30:16,LTESTVEH000000001,{full_2016().hex(' ').upper()} ok",
        f'"frame": "{full_2016().hex()}",\n"frame": "{full_2016().hex()}"',
        "\n".join([full_2016().hex(), "", full_2016().hex(" ")]),
    ],
)
def test_hex_is_found_in_dumps_sources_and_logs(text: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text)
    result = CliRunner().invoke(cli, ["inspect", "gbt32960", str(tmp_path / "log")])
    assert result.exit_code == 0, result.output
    n_frames = text.lower().replace(" ", "").count(full_2016()[4:21].hex()) or 1
    assert f"piece {n_frames} of {n_frames}" in result.output


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
