"""One connection's conversation with the GB/T 32960 server."""

from __future__ import annotations

import os
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from edge.gbt32960.rules import Outcome, Rules
from edge.gbt32960.session import Session
from edge.gbt32960.vault import ANYBODY, Keys, Vault, encrypt_blocks
from openvrc.contracts.gbt32960.frame import Garbage, bcc, build, split
from openvrc.contracts.gbt32960.message import read, report
from openvrc.contracts.gbt32960.units import Command, Edition, Encryption
from openvrc.contracts.reasons import Reason
from tests.support.gbt32960 import (
    AT_NS,
    SIX,
    VEHICLE_2016,
    VIN,
    cells_2016,
    framed,
    full_2016,
    full_2025,
    heartbeat,
    hexed,
    login_frame,
    probes,
)  # fmt: skip

OTHER = "LTESTVEH000000002"
USER = hexed("00 01") + b"platform-001" + b"secret".ljust(20) + hexed("01")


def session(vault: Vault | None = None, **rules: Any) -> Session:
    return Session(Rules(users={"platform-001": "secret"}, **rules), vault or Vault())


def logged_in(vault: Vault | None = None, **rules: Any) -> Session:
    made = session(vault, **rules)
    made.on_frame(login_frame(), AT_NS)
    return made


def flag(outcome: Outcome) -> int | None:
    return read(outcome.reply).head.response if outcome.reply else None


def refused(outcome: Outcome) -> list[str]:
    return [
        payload.split(b"\n")[0].decode()
        for _, codec, payload in outcome.deliveries
        if codec == "refused"
    ]


def test_a_login_is_answered_with_six_bytes_and_goes_on() -> None:
    outcome = session().on_frame(login_frame(), AT_NS)
    assert (flag(outcome), len(outcome.reply), outcome.logged_in) == (1, 31, VIN)
    assert outcome.deliveries == [(VIN, "gbt32960", login_frame())]


@pytest.mark.parametrize(
    "frame",
    [
        framed("##", 1, SIX + hexed("00 01") + b"0" * 20 + hexed("02 04") + b"AAAA"),
        framed("##", 1, bytes(6) + hexed("00 01") + b"0" * 20 + hexed("00 00")),
        login_frame(vin="not a vin at all!"),
    ],
)
def test_a_bad_login_is_ignored_and_goes_on_to_be_told(frame: bytes) -> None:
    outcome = session().on_frame(frame, AT_NS)
    assert (outcome.reply, outcome.logged_in) == (b"", "")
    assert len(outcome.deliveries) == 1


@pytest.mark.parametrize("frame", [full_2016(), full_2025(), full_2016(command=3)])
def test_a_valid_report_is_not_answered(frame: bytes) -> None:
    outcome = logged_in().on_frame(frame, AT_NS)
    assert (outcome.reply, outcome.deliveries) == (b"", [(VIN, "gbt32960", frame)])


def test_a_report_before_its_login_is_answered_with_an_error_and_kept() -> None:
    for made in (session(), logged_in()):
        outcome = made.on_frame(full_2016(vin=OTHER), AT_NS)
        assert (flag(outcome), refused(outcome)) == (2, ["not_logged_in"])
    assert session(needs_login=False).on_frame(full_2016(), AT_NS).reply == b""


@pytest.mark.parametrize(
    ("start", "unit", "expected"),
    [
        ("##", SIX + hexed("08 01 01"), 2),
        ("$$", SIX + hexed("07 01 01"), 6),
        ("##", SIX + hexed("0A 01"), 2),
        ("##", bytes(6) + hexed("04 01 0B B8 02 BC"), 2),
        ("##", b"", 2),
    ],
)
def test_an_invalid_report_is_answered_with_an_error_and_goes_on(
    start: str, unit: bytes, expected: int
) -> None:
    outcome = logged_in().on_frame(framed(start, 2, unit), AT_NS)
    assert flag(outcome) == expected
    assert [codec for _, codec, _ in outcome.deliveries] == ["gbt32960"]


def test_a_reply_is_never_answered() -> None:
    for flagged in (1, 2, 3):
        frame = build(Edition.Y2016, Command.QUERY, VIN, SIX, response=flagged)
        assert logged_in().on_frame(frame, AT_NS) == Outcome()


def test_heartbeat_and_time_calibration_are_answered_and_go_no_further() -> None:
    outcome = logged_in().on_frame(heartbeat(), AT_NS)
    assert (flag(outcome), len(outcome.reply), outcome.deliveries) == (1, 25, [])
    outcome = logged_in().on_frame(framed("##", 8, b""), AT_NS)
    assert read(outcome.reply).time_ns == AT_NS


def test_logout_ends_the_vehicles_session() -> None:
    made = logged_in()
    outcome = made.on_frame(framed("##", 4, SIX + hexed("00 01")), AT_NS)
    assert (flag(outcome), outcome.logged_out) == (1, VIN)
    assert flag(made.on_frame(full_2016(), AT_NS)) == 2
    assert flag(made.on_frame(framed("##", 4, SIX + hexed("00 01")), AT_NS)) == 2


def test_a_platform_logs_in_and_speaks_for_many_vehicles() -> None:
    made = session()
    outcome = made.on_frame(framed("##", 5, SIX + USER, vin="PLATFORM-000001  "), AT_NS)
    assert (flag(outcome), outcome.deliveries) == (1, [])
    for number in range(50):
        vin = f"LTESTVEH{number:09d}"
        assert made.on_frame(login_frame(vin=vin), AT_NS).logged_in == vin
        assert made.on_frame(full_2016(vin=vin), AT_NS).reply == b""
    assert flag(made.on_frame(framed("##", 6, SIX + hexed("00 01")), AT_NS)) == 1


def test_a_wrong_platform_password_is_ignored_and_kept_nowhere() -> None:
    wrong = USER.replace(b"secret", b"guessd")
    outcome = session().on_frame(framed("##", 5, SIX + wrong), AT_NS)
    assert (outcome.reply, outcome.deliveries, outcome.close) == (b"", [], "")
    made = session()
    encrypted = made.on_frame(framed("##", 5, SIX + USER, encryption=4), AT_NS)
    assert b"secret" not in encrypted.deliveries[0][2]


def test_a_flood_of_logins_ends_the_connection() -> None:
    made = session()
    outcomes = [made.on_frame(login_frame(), AT_NS) for _ in range(21)]
    assert [bool(outcome.close) for outcome in outcomes] == [False] * 20 + [True]
    made = session()
    bad = login_frame(vin="no vin, no login!")
    assert [bool(made.on_frame(bad, AT_NS).close) for _ in range(21)][-1]


def test_a_second_vehicle_on_a_vehicles_connection_ends_it() -> None:
    assert logged_in().on_frame(login_frame(vin=OTHER), AT_NS).close
    assert not logged_in(max_vehicles=2).on_frame(login_frame(vin=OTHER), AT_NS).close


def test_garbage_is_told_and_too_much_of_it_ends_the_connection() -> None:
    made = logged_in()
    outcome = made.on_garbage(Garbage(Reason.BAD_CHECKSUM, "why", b"##junk"))
    assert (outcome.deliveries[0][:2], refused(outcome)) == ((VIN, "refused"), ["bad_checksum"])
    assert outcome.close == ""
    assert made.on_garbage(Garbage(Reason.BAD_START, "why", bytes(65_536))).close
    assert session().on_garbage(Garbage(Reason.BAD_START, "why", b"GET / HTTP/1.1")).close


def test_frames_of_one_moment_go_on_in_one_payload() -> None:
    def part(first: int, count: int, at_ns: int = AT_NS) -> bytes:
        bodies = [(1, VEHICLE_2016), cells_2016([3600] * count, total_cells=260, first_cell=first)]
        return report(Edition.Y2016, 2, VIN, at_ns, bodies)

    made = logged_in()
    assert made.on_frame(part(1, 200), AT_NS).deliveries == []
    both = part(1, 200) + part(201, 60)
    assert made.on_frame(part(201, 60), AT_NS).deliveries == [(VIN, "gbt32960", both)]
    made.on_frame(part(1, 200), AT_NS)
    later = part(1, 200, AT_NS + 10**9)
    assert made.on_frame(later, AT_NS).deliveries == [(VIN, "gbt32960", part(1, 200))]
    assert made.on_frame(heartbeat(), AT_NS).deliveries == [(VIN, "gbt32960", later)]
    made.on_frame(part(1, 200), AT_NS)
    assert made.flush().deliveries == [(VIN, "gbt32960", part(1, 200))]


def test_parts_that_never_end_are_bounded() -> None:
    made = logged_in()
    bodies = [cells_2016([3600] * 200, total_cells=60_000, first_cell=1)]
    frame = report(Edition.Y2016, 2, VIN, AT_NS, bodies)
    sizes = [
        len(payload)
        for _ in range(1000)
        for _, _, payload in made.on_frame(frame, AT_NS).deliveries
    ]
    assert max(sizes) < 201_000


@pytest.mark.parametrize("mode", ["ecb", "cbc"])
@pytest.mark.parametrize("rule", [Encryption.AES, Encryption.SM4])
def test_units_encrypted_by_a_block_cipher_are_read(rule: Encryption, mode: Any) -> None:
    key = bytes(range(16))
    vault = Vault({ANYBODY: Keys({rule: key})}, mode)
    plain = full_2016()
    vector = os.urandom(16) if mode == "cbc" else b""
    unit = encrypt_blocks(plain[24:-1], rule, key, mode, vector)
    frame = build(Edition.Y2016, 2, VIN, unit, encryption=rule)
    assert logged_in(vault).on_frame(frame, AT_NS).deliveries == [(VIN, "gbt32960", plain)]
    outcome = logged_in().on_frame(frame, AT_NS)
    assert (flag(outcome), refused(outcome)) == (2, ["encrypted"])
    wrong = Vault({ANYBODY: Keys({rule: bytes(16)})}, mode)
    assert logged_in(wrong).on_frame(frame, AT_NS).refused is not None


def test_sm4_is_the_cipher_of_its_standard() -> None:
    """GB/T 32907, appendix A.1: this key, this block."""
    key = bytes.fromhex("0123456789abcdeffedcba9876543210")
    assert encrypt_blocks(key, Encryption.SM4, key, "ecb")[:16].hex() == (
        "681edf34d206965e86b3e94f536e4246"
    )


def test_a_unit_encrypted_by_rsa_is_read_block_by_block() -> None:
    private = rsa.generate_private_key(65537, 2048)
    vault = Vault({VIN: Keys(private=private)})
    unit = login_frame(codes=b"ABCDEFGHIJKL")[24:-1]
    blocks = [
        private.public_key().encrypt(unit[at : at + 30], padding.PKCS1v15())
        for at in range(0, len(unit), 30)
    ]
    frame = build(Edition.Y2016, 1, VIN, b"".join(blocks), encryption=Encryption.RSA)
    outcome = session(vault).on_frame(frame, AT_NS)
    assert outcome.deliveries == [(VIN, "gbt32960", login_frame(codes=b"ABCDEFGHIJKL"))]


@pytest.mark.parametrize("rule", [Encryption.SM2, Encryption.ABNORMAL, Encryption.INVALID])
def test_what_no_library_offers_is_refused_and_says_so(rule: Encryption) -> None:
    frame = build(Edition.Y2025, 2, VIN, b"x" * 96, encryption=rule)
    outcome = logged_in().on_frame(frame, AT_NS)
    assert (flag(outcome), refused(outcome)) == (7, ["encrypted"])
    assert f"{rule.name} is not supported".encode() in outcome.deliveries[0][2]


def test_a_key_that_was_exchanged_opens_later_units() -> None:
    key = bytes(range(16, 32))
    made = logged_in()
    exchange = framed("$$", 0x0B, hexed("05 00 10") + key + SIX + SIX)
    assert flag(made.on_frame(exchange, AT_NS)) == 1
    unit = encrypt_blocks(full_2025()[24:-1], Encryption.SM4, key, "ecb")
    frame = build(Edition.Y2025, 2, VIN, unit, encryption=Encryption.SM4)
    assert made.on_frame(frame, AT_NS).deliveries == [(VIN, "gbt32960", full_2025())]
    assert flag(session().on_frame(exchange, AT_NS)) == 2


def signed(algorithm: int, r: bytes, s: bytes) -> bytes:
    unit = full_2025()[24:-1]
    parts = (bytes([0xFF, algorithm]), len(r).to_bytes(2, "big"), r, len(s).to_bytes(2, "big"), s)
    return build(Edition.Y2025, 2, VIN, unit + b"".join(parts))


def test_signatures_are_checked_over_time_to_the_byte_before_them() -> None:
    unit = full_2025()[24:-1]
    private = rsa.generate_private_key(65537, 2048)
    good = private.sign(unit, padding.PKCS1v15(), hashes.SHA256())
    vault = Vault({VIN: Keys(signer=private.public_key())})
    assert logged_in(vault).on_frame(signed(2, good, b""), AT_NS).refused is None
    outcome = logged_in(vault).on_frame(signed(2, bytes(256), b""), AT_NS)
    assert (flag(outcome), refused(outcome)) == (5, ["bad_signature"])
    curve = ec.generate_private_key(ec.SECP256R1())
    r, s = decode_dss_signature(curve.sign(unit, ec.ECDSA(hashes.SHA256())))
    vault = Vault({VIN: Keys(signer=curve.public_key())})
    frame = signed(3, r.to_bytes(32, "big"), s.to_bytes(32, "big"))
    assert logged_in(vault).on_frame(frame, AT_NS).refused is None


def test_a_signature_that_cannot_be_checked_counts_only_where_one_is_needed() -> None:
    for frame in (signed(2, b"x", b""), signed(1, b"x", b"y")):
        assert logged_in().on_frame(frame, AT_NS).refused is None
        made = logged_in(needs_signature=True)
        assert made.on_frame(frame, AT_NS).refused is Reason.BAD_SIGNATURE
    assert logged_in(needs_signature=True).on_frame(full_2025(), AT_NS).refused is not None
    assert logged_in(needs_signature=True).on_frame(full_2016(), AT_NS).refused is None


def test_both_editions_on_one_connection_are_understood() -> None:
    made = logged_in()
    outcomes = [made.on_frame(frame, AT_NS) for frame in (full_2016(), full_2025())]
    assert [o.refused for o in outcomes] == [None, None]


def test_probes_alone_are_a_report_too() -> None:
    frame = report(Edition.Y2016, 2, VIN, AT_NS, [probes(9, [60])])
    assert logged_in().on_frame(frame, AT_NS).deliveries == [(VIN, "gbt32960", frame)]


def activation(private: Any, vin: str = VIN, named: str = VIN) -> bytes:
    unit = SIX + b"CHIP-00000000001" + hexed("00 02 AB CD") + named.encode()
    good = private.sign(unit, padding.PKCS1v15(), hashes.SHA256())
    return framed("$$", 9, unit + b"\x02" + len(good).to_bytes(2, "big") + good + b"\0\0", vin)


def test_a_chip_is_activated_under_the_key_that_is_registered_for_its_vehicle() -> None:
    private, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    vault = Vault({VIN: Keys(signer=private.public_key())})
    cases = [
        (activation(private), 1, []),
        (activation(other), 2, ["bad_signature"]),
        (activation(private, named=OTHER), 2, ["bad_signature"]),
        (activation(private, vin=OTHER, named=OTHER), 2, ["bad_signature"]),
        (activation(private)[:-40] + bytes(40), 2, ["bad_signature"]),
    ]
    for frame, status, reasons in cases:
        whole = frame[:-1] + bytes([bcc(frame[2:-1])])
        outcome = session(vault).on_frame(whole, AT_NS)
        reply = read(outcome.reply)
        assert (reply.head.command, reply.tree) == (0x0A, {"status": status, "info": 0})
        assert refused(outcome) == reasons


@pytest.mark.parametrize("command", [0x80, 0x81, 0x82])
@pytest.mark.parametrize("start", ["##", "$$"])
def test_commands_that_go_down_to_terminals_are_refused_and_say_so(
    start: str, command: int
) -> None:
    outcome = logged_in().on_frame(framed(start, command, SIX + b"\0"), AT_NS)
    assert (flag(outcome), refused(outcome)) == (2, ["unknown_command"])
    assert b"from a platform to terminals" in outcome.deliveries[0][2]


@pytest.mark.parametrize(("kind", "length"), [(2, 16), (4, 16), (3, 15), (5, 32)])
def test_a_key_that_cannot_be_used_is_refused_without_being_kept(kind: int, length: int) -> None:
    unit = bytes([kind]) + length.to_bytes(2, "big") + b"K" * length + SIX + SIX
    outcome = logged_in().on_frame(framed("$$", 0x0B, unit), AT_NS)
    assert (flag(outcome), refused(outcome)) == (2, ["encrypted"])
    assert b"KKK" not in outcome.reply + outcome.deliveries[0][2]


def test_a_terminal_is_asked_for_its_period_and_its_answer_goes_on() -> None:
    made = session(asks_period=True)
    outcome = made.on_frame(login_frame(start="$$"), AT_NS)
    login, query = (p for p in split(outcome.reply) if isinstance(p, bytes))
    assert read(login).head.response == 1
    assert read(query).tree == {"time": SIX, "parameters": [2]}
    answer = framed("$$", 0x80, SIX + hexed("01 02 0A"), response=1)
    assert made.on_frame(answer, AT_NS) == Outcome(deliveries=[(VIN, "gbt32960", answer)])
    assert session().on_frame(answer, AT_NS) == Outcome(), "nobody logged in"
