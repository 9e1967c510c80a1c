"""Fuzzing of GB/T 32960.3: codec, scanner, session and inspector with damaged frames, by the clock.

    python -m tests.fuzz.fuzz_gbt32960 [--seconds 600] [--seed N]

Good frames are damaged (flips, cuts, splices, lengths that lie), and often the check byte is made
right again; `atheris_gbt32960.py` lets coverage guide the bytes instead.
Every input must come out as records within their contract and rejects with reasons, the same at
once as one by one; the inspector must tell every byte once. The first failure is printed as hex.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from typing import Any

from edge.gbt32960.rules import Rules
from edge.gbt32960.session import Session
from edge.gbt32960.vault import Vault
from openvrc.contracts.codecs.gbt32960_codec import Gbt32960Codec
from openvrc.contracts.gbt32960.frame import Scanner, bcc
from openvrc.contracts.gbt32960.inspect import inspect
from openvrc.contracts.ranges import require_in_range
from openvrc.contracts.topics import Topic
from tests.support.bulk import assert_same_as_one_by_one
from tests.support.gbt32960 import (
    AT_NS,
    SIX,
    VIN,
    framed,
    full_2016,
    full_2025,
    heartbeat,
    hexed,
    login_frame,
)

SEEDS = [
    full_2016(), full_2025(), login_frame(codes=b"ABCDEFGHIJKL"),
    login_frame(codes=b"C" * 48, start="$$"), heartbeat(),
    framed("##", 2, SIX + hexed(
        "02 01 01 01 64 59 D8 4E 84 50 0D AC 29 AF", "04 01 0B B8 02 BC",
        "03 0B B8 03 E8 00 64 00 02 6E 78 03 E8 01 00 C8 02 01 5E 03 01", "80 00 01 AA")),
    framed("$$", 2, SIX + hexed(
        "02 01 01 04 28 7D 64 00 03 0D 41 29", "30 01 02 0B B8 03 E8 07 D0 05 DC 41 00 01 6E",
        "31 01 0B B8 75 30 00 02 09 C4 0A 28 00 01 41",
        "06 04 00 80 08 00 01 00 00 17 7E 00 00 00 02 17 04 0B 01", "FF 02 00 01 AA 00 00")),
    framed("##", 0x81, SIX + hexed("03 02 00 1E 04 01 05 61")),
    framed("$$", 0x80, SIX + hexed("01 02 0A"), response=1),
    framed("$$", 0x0B, hexed("05 00 10") + bytes(16) + SIX + SIX),
    framed("$$", 0x09, SIX + bytes(16) + hexed("00 01 AA") + VIN.encode() + hexed(
        "02 00 01 AA 00 00")),
]  # fmt: skip
CODEC = Gbt32960Codec()
MAX_BATCH_BYTES_PER_BYTE = 400
"""Memory of what comes out against the bytes that went in, apart from a fixed part."""
FIXED_BYTES = 100_000


def damaged(draw: random.Random) -> bytes:
    """Some frames, each perhaps damaged."""
    parts = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        frame = bytearray(draw.choice(SEEDS))
        for _ in range(draw.choice((0, 1, 1, 2, 4, 8))):
            _damage(frame, draw)
        if draw.random() < 0.3 and len(frame) > 25:
            frame[22:24] = min(len(frame) - 25, 65_535).to_bytes(2, "big")
        if draw.random() < 0.7 and len(frame) > 25:
            frame[-1] = bcc(bytes(frame[2:-1]))
        parts.append(bytes(frame))
    return b"".join(parts)


def _damage(frame: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(frame)) if frame else 0
    kind = draw.randrange(5)
    if kind == 0 and frame:
        frame[at] = draw.choice((0, 1, 0x7F, 0xFE, 0xFF, draw.randrange(256)))
    elif kind == 1:
        del frame[at : at + draw.randrange(1, 9)]
    elif kind == 2:
        frame[at:at] = draw.randbytes(draw.randrange(1, 9))
    elif kind == 3:
        other = draw.choice(SEEDS)
        start = draw.randrange(len(other))
        frame[at:at] = other[start : start + draw.randrange(60)]
    elif len(frame) > 24:
        frame[22:24] = draw.randbytes(2)


def check(data: bytes) -> Counter[str]:
    """One input through everything; the reasons of its rejects. Raises for what must not be."""
    told: Counter[str] = Counter()
    for message in CODEC.messages:
        topic = Topic("z", "vehicle", VIN, message, "gbt32960")
        bulk = assert_same_as_one_by_one(Gbt32960Codec(), [topic] * 2, [data, SEEDS[0]])
        for part in bulk.parts:
            require_in_range(part.batch)
            limit = FIXED_BYTES + MAX_BATCH_BYTES_PER_BYTE * len(data)
            assert part.batch.data.nbytes < limit, part.batch.data.nbytes
        told.update(str(reject.reason) for _, reject in bulk.rejects)
    session, scanner = Session(Rules(), Vault()), Scanner()
    session.on_frame(login_frame(), AT_NS)
    half = len(data) // 2
    pieces = [*scanner.feed(data[:half]), *scanner.feed(data[half:]), *scanner.finish()]
    for piece in pieces:
        if isinstance(piece, bytes):
            session.on_frame(piece, AT_NS)
        else:
            session.on_garbage(piece)
    lines = [line for lines in inspect(data) for line in lines]
    shown = b"".join(bytes.fromhex(line.hex) for line in lines if "*" not in line.hex)
    assert "*" in "".join(line.hex for line in lines) or shown == data
    return told


def run_random(seconds: float, seed: int) -> dict[str, Any]:
    """Until the time is over; the count of inputs and reasons."""
    draw, told, n, until = random.Random(seed), Counter[str](), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        data = damaged(draw)
        try:
            told += check(data)
        except Exception:
            print(f"input {n} of seed {seed}: {data.hex()}", file=sys.stderr)  # noqa: T201
            raise
        n += 1
    return {"inputs": n, "seed": seed, "rejects": dict(sorted(told.items()))}


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    given = parser.parse_args()
    print(json.dumps(run_random(given.seconds, given.seed)))  # noqa: T201


if __name__ == "__main__":
    main()
