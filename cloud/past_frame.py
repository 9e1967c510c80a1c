"""The binary wire of past positions: a header, 20 bytes a sample, and the vehicles' names.

Little-endian. Header, 24 B: magic `VRCP`, version u8, 3 B zero, n u32, bytes of names u32, 8 B of
zero. Sample, 20 B: vehicle u32 (place in the names), ms u32 after the span's start, x u32, y u32
(Web Mercator in 2^-32 of the world), heading u16 (2^16 a turn), speed u8 (km/h, 255 absent), flags
u8 as in live_frame.py. Samples are ordered by vehicle and
time. Names: a JSON array of texts in UTF-8.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

import numpy as np

from cloud.live_frame import (
    CLASS_UNKNOWN,
    FLAG_BRAKE,
    FLAG_NO_HEADING,
    KMH_PER_MPS,
    SPEED_ABSENT_KMH,
    mercator,
)
from cloud.store.read_past import Position

MAGIC = b"VRCP"
VERSION = 1
HEADER = struct.Struct("<4sB3xII8x")
SAMPLE = np.dtype(
    [
        ("vehicle", "<u4"),
        ("at_ms", "<u4"),
        ("x", "<u4"),
        ("y", "<u4"),
        ("heading", "<u2"),
        ("speed_kmh", "u1"),
        ("flags", "u1"),
    ]
)


def encode_past(rows: Sequence[Position]) -> bytes:
    """Samples of a span, ordered by vehicle and time, as one message."""
    names: dict[str, int] = {}
    samples = np.zeros(len(rows), SAMPLE)
    if rows:
        ids, at_ms, lat, lon, heading, speed, kind, brake = zip(*rows, strict=True)
        samples["vehicle"] = [names.setdefault(name, len(names)) for name in ids]
        samples["at_ms"] = at_ms
        samples["x"], samples["y"] = mercator(lat, lon)
        turns = np.array(heading, np.float64) / 360.0
        samples["heading"] = np.rint(np.nan_to_num(turns) * 2**16).astype(np.int64) & 0xFFFF
        kmh = np.rint(np.array(speed, np.float64) * KMH_PER_MPS)
        known = np.clip(np.nan_to_num(kmh), 0, SPEED_ABSENT_KMH - 1)
        samples["speed_kmh"] = np.where(np.isnan(kmh), SPEED_ABSENT_KMH, known)
        samples["flags"] = [
            (CLASS_UNKNOWN if c is None else c) | (FLAG_BRAKE if b == 1 else 0)
            for c, b in zip(kind, brake, strict=True)
        ]
        samples["flags"] |= np.where(np.isnan(turns), FLAG_NO_HEADING, 0).astype(np.uint8)
    text = json.dumps(list(names), ensure_ascii=False).encode()
    return HEADER.pack(MAGIC, VERSION, len(rows), len(text)) + samples.tobytes() + text
