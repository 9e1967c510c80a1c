"""GB/T 32960: what is written reads back, and what is read is written back byte for byte."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openvrc.contracts.gbt32960 import beijing
from openvrc.contracts.gbt32960.frame import Garbage, Scanner, split
from openvrc.contracts.gbt32960.message import command, read, reply, report, rewritten
from openvrc.contracts.gbt32960.units import BODIES, UNITS, Command, Edition, body_of
from openvrc.contracts.units import ABSENT_I64
from tests.support.gbt32960 import AT_NS, VIN, full_2016, full_2025, heartbeat, login_frame, trees

EVERY_BODY = [(e, k) for e in Edition for k in (*BODIES[e], 0x80, 0xFE)]
EVERY_COMMAND = [(edition, number) for edition in Edition for number in UNITS[edition]]
some = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(("edition", "kind"), EVERY_BODY, ids=str)
@some
@given(data=st.data())
def test_every_body_reads_back_what_was_written(edition: Edition, kind: int, data: Any) -> None:
    known = body_of(edition, kind)
    assert known is not None
    tree = data.draw(trees(known[1]))
    frame = report(edition, Command.REISSUE, VIN, AT_NS, [(kind, tree)])
    message = read(frame)
    assert message.stop is None
    assert message.bodies[0].tree == tree
    assert rewritten(message) == frame


@pytest.mark.parametrize(("edition", "number"), EVERY_COMMAND, ids=str)
@some
@given(data=st.data())
def test_every_command_reads_back_what_was_written(
    edition: Edition, number: int, data: Any
) -> None:
    tree = data.draw(trees(UNITS[edition][number]))
    frame = command(edition, number, VIN, tree)
    message = read(frame)
    assert (message.stop, message.tree) == (None, tree)
    assert rewritten(message) == frame


@some
@given(data=st.data(), edition=st.sampled_from(Edition))
def test_reports_of_any_bodies_in_any_order_come_back_byte_for_byte(
    data: Any, edition: Edition
) -> None:
    kinds = data.draw(st.lists(st.sampled_from([*BODIES[edition], 0x80]), max_size=6))
    bodies = [(kind, data.draw(trees((body_of(edition, kind) or ("", ()))[1]))) for kind in kinds]
    frame = report(edition, Command.REALTIME, VIN, AT_NS, bodies)
    assert rewritten(read(frame)) == frame
    assert split(frame) == [frame]


@given(st.integers(0, 100 * 366 * 86_400 - 1))
def test_beijing_times_come_back(seconds: int) -> None:
    at_ns = min(946_656_000 + seconds, 4_102_415_999) * 1_000_000_000  # 2000 to 2099 in Beijing
    six = beijing.to_bytes(at_ns)
    assert beijing.to_ns(six) == at_ns
    assert beijing.all_to_ns(np.frombuffer(six, np.uint8)[None, :]).tolist() == [at_ns]


@given(st.binary(min_size=6, max_size=6))
def test_many_times_at_once_are_judged_like_one(six: bytes) -> None:
    expected = beijing.to_ns(six)
    found = int(beijing.all_to_ns(np.frombuffer(six, np.uint8)[None, :])[0])
    assert found == (ABSENT_I64 if expected is None else expected)


@some
@given(cuts=st.lists(st.integers(0, 1400), max_size=12), noise=st.binary(max_size=30))
def test_a_stream_gives_the_same_frames_however_it_is_cut(cuts: list[int], noise: bytes) -> None:
    noise = noise.replace(b"#", b"x").replace(b"$", b"x")
    frames = [login_frame(), full_2016(), full_2025(), heartbeat()]
    stream = frames[0] + frames[1] + noise + frames[2] + frames[3]
    scanner, found = Scanner(), []
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        found += list(scanner.feed(stream[start:end]))
    found += list(scanner.finish())
    assert [piece for piece in found if isinstance(piece, bytes)] == frames
    garbage = b"".join(piece.data for piece in found if isinstance(piece, Garbage))
    assert garbage == noise


@pytest.mark.parametrize("frame", [login_frame(), full_2016(), full_2025()])
def test_a_reply_keeps_the_time_and_drops_the_rest(frame: bytes) -> None:
    answer = reply(frame, 1)
    assert len(answer) == 31
    message = read(answer)
    assert (message.head.response, message.head.vin, message.time_ns) == (1, VIN, AT_NS)
    assert not message.is_command


def test_a_reply_that_keeps_the_whole_unit_is_accepted_too() -> None:
    frame = login_frame(codes=b"ABCDEFGHIJKL")
    longer = bytearray(frame)
    longer[3] = 1
    longer[-1] ^= 0xFE ^ 1
    message = read(bytes(longer))
    assert (message.stop, message.time_ns, message.head.response) == (None, AT_NS, 1)
    assert rewritten(message) == bytes(longer)


def test_a_heartbeat_is_answered_without_a_unit_and_a_calibration_with_our_time() -> None:
    assert len(reply(heartbeat(), 1)) == 25
    assert read(reply(heartbeat(), 1, time_ns=AT_NS)).time_ns == AT_NS
