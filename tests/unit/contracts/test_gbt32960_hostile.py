"""GB/T 32960: damage of every kind becomes a reject with its reason and costs only itself."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openvrc.contracts.codecs.base import Decoded
from openvrc.contracts.codecs.gbt32960_codec import Gbt32960Codec
from openvrc.contracts.gbt32960.frame import MAX_FRAME_BYTES, Garbage, Scanner, bcc, split
from openvrc.contracts.gbt32960.message import report
from openvrc.contracts.gbt32960.units import Command, Edition
from openvrc.contracts.ranges import require_in_range
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic
from tests.support.gbt32960 import (
    AT_NS,
    NO_ALARM,
    SIX,
    VIN,
    cells_2016,
    cells_2025,
    framed,
    full_2016,
    full_2025,
    hexed,
    login_frame,
    probes,
)  # fmt: skip

CODEC = Gbt32960Codec()
SHORT_2016 = report(
    Edition.Y2016, Command.REALTIME, VIN, AT_NS,
    [(7, NO_ALARM | {"motor_faults": [9]}), cells_2016([3600, 3601, 3602]), probes(9, [60, 61])],
)  # fmt: skip
SHORT_2025 = report(
    Edition.Y2025, Command.REISSUE, VIN, AT_NS,
    [(6, NO_ALARM | {"levels": [{"bit": 1, "level": 2}]}), cells_2025([3600]), probes(8, [60])],
)  # fmt: skip
LOGIN_2025 = login_frame(codes=b"C" * 48, start="$$")
VECTORS = [SHORT_2016, SHORT_2025, login_frame(codes=b"ABCDEFGHIJKL"), LOGIN_2025]


def topic(message: str = "battery_state") -> Topic:
    return Topic("z", "vehicle", VIN, message, "gbt32960")


def decode(payload: bytes, message: str = "battery_state") -> Decoded:
    decoded = CODEC.decode(topic(message), payload, 0)
    for batch in decoded.batches:
        batch.data.validate(full=True)
        require_in_range(batch)
    for reject in decoded.rejects:
        assert reject.reason in Reason
        assert reject.detail
    return decoded


def with_check(frame: bytes) -> bytes:
    """The frame with its check byte made right again."""
    return frame[:-1] + bytes([bcc(frame[2:-1])])


@pytest.mark.parametrize("frame", VECTORS, ids=["2016", "2025", "login 2016", "login 2025"])
def test_every_flipped_byte_is_found(frame: bytes) -> None:
    for place in range(len(frame)):
        for change in (0x01, 0x80):
            damaged = bytearray(frame)
            damaged[place] ^= change
            decoded = decode(bytes(damaged))
            assert decoded.batches == ()
            assert decoded.rejects, f"byte {place} changed by {change:02X} passes"
            reasons = {Reason.BAD_CHECKSUM, Reason.BAD_START, Reason.TRUNCATED}
            assert {reject.reason for reject in decoded.rejects} <= reasons


@pytest.mark.parametrize("frame", VECTORS, ids=["2016", "2025", "login 2016", "login 2025"])
def test_every_truncation_is_found_and_costs_no_neighbour(frame: bytes) -> None:
    for length in range(len(frame)):
        assert decode(frame[:length]).batches == ()
        assert decode(frame[:length]).rejects
        joined = frame[:length] + SHORT_2016
        if length >= 24 and len(joined) >= len(frame) and bcc(joined[2 : len(frame)]) == 0:
            continue  # one check byte of 256 fits by chance: the two frames are then one
        behind = decode(joined)
        assert sum(batch.n_rows for batch in behind.batches) == 1
        assert bool(behind.rejects) == (length > 0)


@pytest.mark.parametrize("frame", VECTORS, ids=["2016", "2025", "login 2016", "login 2025"])
def test_every_byte_of_every_value_with_the_check_byte_right_crashes_nothing(frame: bytes) -> None:
    for place in range(2, len(frame) - 1):
        for value in (0x00, 0xC8, 0xFE, 0xFF):
            damaged = bytearray(frame)
            damaged[place] = value
            for message in CODEC.messages:
                decode(with_check(bytes(damaged)), message)


@pytest.mark.parametrize("claimed", [0, 1, 5, 6, 7, 40, 300, 65_531, 65_535])
def test_a_length_that_lies_costs_no_frame_behind_it(claimed: int) -> None:
    lying = bytearray(SHORT_2016)
    if claimed == len(lying) - 25:
        return
    lying[22:24] = claimed.to_bytes(2, "big")
    decoded = decode(bytes(lying) + SHORT_2016)
    assert [batch.n_rows for batch in decoded.batches] == [1]
    assert decoded.rejects


@pytest.mark.parametrize(
    ("body", "stopped"),
    [
        ("08 FA", "cells"),  # 250 packs announced, none there
        ("08 01 01 0D AC 29 AF FF FF 00 01 C8 0E 10", "cells"),  # 200 cells announced, one there
        ("09 01 01 FF FD 3C", "temperatures"),
        ("07 00 00 00 00 00 FC 00", "alarms"),
        ("03 0B B8 03 E8 00 64 FF FD 3C", "fuel_cell"),
        ("02 FD 01", "motors"),
        ("80 FF FF 01", "custom"),
        ("01 01", "vehicle"),
    ],
)
def test_counts_that_lie_inside_a_right_check_byte_stop_at_their_body(
    body: str, stopped: str
) -> None:
    decoded = decode(framed("##", 2, SIX + hexed("04 01 0B B8 02 BC", body)))
    (reject,) = decoded.rejects
    assert reject.reason is Reason.TRUNCATED
    assert stopped in reject.detail
    assert reject.sampled_at_ns == AT_NS


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (framed("##", 2, SIX, vin="ltest000000000001"), Reason.BAD_VIN),
        (framed("##", 2, SIX, vin=" " * 17), Reason.BAD_VIN),
        (framed("##", 2, SIX, vin="\0" * 17), Reason.BAD_VIN),
        (framed("##", 2, SIX, vin="LTESTVEH000000002"), Reason.ID_MISMATCH),
        (framed("##", 2, bytes([26, 13, 1, 0, 0, 0])), Reason.BAD_TIME),
        (framed("##", 2, bytes([26, 2, 29, 0, 0, 0])), Reason.BAD_TIME),
        (framed("##", 2, bytes(6)), Reason.BAD_TIME),
        (framed("##", 2, b""), Reason.TRUNCATED),
        (framed("##", 2, SIX[:5]), Reason.TRUNCATED),
        (framed("##", 2, SIX, encryption=3), Reason.ENCRYPTED),
        (framed("##", 2, SIX, encryption=0xFE), Reason.ENCRYPTED),
        (framed("##", 0x0A, SIX), Reason.UNKNOWN_COMMAND),
        (framed("$$", 0x90, SIX), Reason.UNKNOWN_COMMAND),
        (framed("##", 4, SIX + b"\0\1\2"), Reason.TRAILING_BYTES),
        (framed("##", 1, SIX + b"\0\1" + b"0" * 20 + b"\x02\x04AAAA"), Reason.TRUNCATED),
        (b"hello", Reason.BAD_START),
        (b"", Reason.TRUNCATED),
    ],
)
def test_each_kind_of_bad_frame_has_its_reason(frame: bytes, reason: Reason) -> None:
    assert [reject.reason for reject in decode(frame).rejects] == [reason]


def test_two_editions_in_one_payload_are_both_read() -> None:
    decoded = decode(full_2016() + full_2025(at_ns=AT_NS + 10**9))
    (batch,) = decoded.batches
    assert batch.n_rows == 2
    assert decoded.rejects == ()
    assert batch.column("pack_current_a").round(1).tolist() == pytest.approx([67.1, 67.1])


def test_two_editions_at_one_moment_are_each_read_as_they_are_alone() -> None:
    """Found by fuzzing: the second frame's edition was taken for the first one's fields."""
    broken = report(Edition.Y2025, Command.REALTIME, VIN, AT_NS, [cells_2025([3600])])
    for one, other in ((full_2016(), broken), (broken, full_2016()), (full_2016(), full_2025())):
        alone = [decode(frame).batches[0].to_records()[0] for frame in (one, other)]
        (batch,) = decode(one + other).batches
        assert batch.to_records() == alone


def test_frames_cut_out_of_noise_are_all_found() -> None:
    noise = random.Random(1)
    stream, n_frames = b"", 40
    for number in range(n_frames):
        stream += noise.randbytes(noise.randrange(60)) + full_2016(at_ns=AT_NS + number * 10**9)
    pieces = split(stream)
    assert len([p for p in pieces if isinstance(p, bytes)]) == n_frames
    assert any(isinstance(p, Garbage) for p in pieces)


def test_a_scanner_holds_no_more_than_one_longest_frame() -> None:
    scanner = Scanner()
    longest = framed("##", 2, bytes(65_531))
    announced = longest[:24]
    for _ in range(200):
        for _piece in scanner.feed(announced * 100):
            pass
        assert scanner.held_bytes <= MAX_FRAME_BYTES


def test_a_scanner_gives_up_a_frame_above_its_bound_at_once() -> None:
    scanner = Scanner(max_unit_bytes=1000)
    pieces = list(scanner.feed(framed("##", 2, bytes(1001))[:30] + SHORT_2016))
    assert pieces[-1] == SHORT_2016
    assert isinstance(pieces[0], Garbage)


def test_hostile_lists_take_no_memory_out_of_proportion() -> None:
    pack = bytes.fromhex("01 0DAC 29AF FFFF 03E8 01 0E10".replace(" ", ""))  # cell 1000 alone
    packs = b"".join(bytes([number]) + pack[1:] for number in range(250))
    decoded = decode(framed("##", 2, SIX + b"\x08\xfa" + packs))
    n_bytes = sum(batch.data.nbytes for batch in decoded.batches)
    assert n_bytes < 200_000
    bits = [r["quality_bits"] for batch in decoded.batches for r in batch.to_records()]
    assert all(bit & (1 << 33) for bit in bits[1:])


@cache
def random_frames(seed: int) -> list[bytes]:
    noise = random.Random(seed)
    frames = []
    for _ in range(60):
        frame = bytearray(noise.choice([*VECTORS, full_2016(), full_2025()]))
        for _ in range(noise.randrange(4)):
            frame[noise.randrange(2, len(frame))] = noise.randrange(256)
        frames.append(with_check(bytes(frame)) if noise.random() < 0.8 else bytes(frame))
    return frames


@pytest.mark.parametrize("message", CODEC.messages)
@pytest.mark.parametrize("seed", range(4))
def test_many_damaged_frames_at_once_give_what_each_gives_alone(message: str, seed: int) -> None:
    from tests.support.bulk import assert_same_as_one_by_one

    frames = random_frames(seed)
    assert_same_as_one_by_one(Gbt32960Codec(), [topic(message)] * len(frames), frames)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=400))
def test_nonsense_behind_a_right_head_never_raises(unit: bytes) -> None:
    for start in ("##", "$$"):
        for command in (1, 2, 5, 9, 0x0B):
            decode(framed(start, command, unit))
            decode(framed(start, command, SIX + unit))
