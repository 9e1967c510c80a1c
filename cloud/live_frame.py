"""The binary wire of live positions: a header and 16 bytes a vehicle, little-endian.

Header, 32 B: magic `VRCL`, version u8, kind u8, 2 B zero, n u32, frame number u32,
server time f64 (ms, UTC epoch), origin x and y u32.
Vehicle, 16 B: slot u32, x u32, y u32 (Web Mercator of WGS-84 in 2^-32 of the world, 9 mm at the
equator, y downwards), heading u16 (2^16 a turn, 0 north, clockwise), speed u8 (km/h, 255 absent),
flags u8 (bits 0-3 class, 15 unknown; bit 4 brake; bit 5 heading absent; bit 6 perceived by the
road and not connected, its slot counted from OBJECT_SLOTS).
A frame is a full snapshot of the viewport: a lost one heals with the next.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.latest import RunLatest
from cloud.latest_objects import Seen

MAGIC = b"VRCL"
VERSION = 1
KIND_VEHICLES = 1
HEADER = struct.Struct("<4sBBHIIdII")
VEHICLE = np.dtype(
    [
        ("slot", "<u4"),
        ("x", "<u4"),
        ("y", "<u4"),
        ("heading", "<u2"),
        ("speed_kmh", "u1"),
        ("flags", "u1"),
    ]
)
WORLD = 2**32
MAX_LAT_DEG = 85.05112878
"""Web Mercator's edge, where the world is a square."""
CLASS_UNKNOWN = 15
FLAG_BRAKE = 1 << 4
FLAG_NO_HEADING = 1 << 5
FLAG_PERCEIVED = 1 << 6
OBJECT_SLOTS = 1 << 31
"""Slots from here on are of perceived road users; vehicles never reach so far."""
SPEED_ABSENT_KMH = 255
KMH_PER_MPS = 3.6

Bounds = tuple[float, float, float, float]
"""West, south, east, north in degrees."""


def mercator(
    lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Web Mercator of WGS-84 positions in 2^-32 of the world; x east, y south, each (n,).

    EPSG:3857 as in OGC 17-083r2, annex D, scaled to the unit square.
    """
    lat = np.radians(np.clip(np.asarray(lat_deg, np.float64), -MAX_LAT_DEG, MAX_LAT_DEG))
    x = (np.asarray(lon_deg, np.float64) + 180.0) / 360.0
    y = 0.5 - np.arcsinh(np.tan(lat)) / (2.0 * np.pi)
    return _scaled(x), _scaled(y)


def _scaled(ratio: npt.NDArray[np.float64]) -> npt.NDArray[np.uint32]:
    return np.clip(np.rint(ratio * WORLD), 0, WORLD - 1).astype(np.uint32)


@dataclass(frozen=True)
class Positions:
    """All present vehicles of a run, ready for the wire; made once per tick for all clients."""

    rows: npt.NDArray[np.void]  # (n,) of VEHICLE

    def view(self, bounds: Bounds) -> npt.NDArray[np.void]:
        """Those inside the bounds, by four integer comparisons."""
        west, south, east, north = bounds
        (x0, x1), (y0, y1) = mercator([north, south], [west, east])
        x, y = self.rows["x"], self.rows["y"]
        inside: npt.NDArray[np.void] = self.rows[(x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)]
        return inside


@dataclass(frozen=True)
class Present:
    """Copies of a run's columns: who still reports, and who is seen on the road."""

    vehicle_slots: npt.NDArray[np.int64]
    vehicles: dict[str, npt.NDArray[Any]]
    seen: Seen
    """Who else is on the road, as roadside units see it."""


def present_of(run: RunLatest) -> Present:
    """What `positions_of` needs, taken under the run's lock."""
    slots = run.vehicles.present(run.zone_time_ns)
    vehicles = {name: values[slots] for name, values in run.vehicles.columns.items()}
    return Present(slots, vehicles, run.objects.seen(run.zone_time_ns))


def positions_of(present: Present) -> Positions:
    """Wire rows of the vehicles that still report, then of who else is seen on the road."""
    vehicles, seen = present.vehicles, present.seen
    rows = _rows(vehicles, present.vehicle_slots, vehicles["vehicle_class"])
    rows["flags"] |= np.where(vehicles["brake_on"] == 1, FLAG_BRAKE, 0).astype(np.uint8)
    if not len(seen.slots):
        return Positions(rows)
    others = _rows(seen.columns, OBJECT_SLOTS + seen.slots % OBJECT_SLOTS,
                   seen.columns["object_class"])  # fmt: skip
    others["flags"] |= FLAG_PERCEIVED
    return Positions(np.concatenate([rows, others]))


def _rows(
    column: Mapping[str, npt.NDArray[Any]],
    slots: npt.NDArray[np.int64],
    kinds: npt.NDArray[np.int8],
) -> npt.NDArray[np.void]:
    rows = np.zeros(len(slots), VEHICLE)
    heading, speed = column["heading_deg"], column["speed_mps"]
    rows["slot"] = slots
    rows["x"], rows["y"] = mercator(column["lat_deg"], column["lon_deg"])
    turn = np.nan_to_num(heading) / 360.0
    rows["heading"] = np.rint(turn * 2**16).astype(np.int64) & 0xFFFF
    kmh = np.clip(np.rint(speed * KMH_PER_MPS), 0, SPEED_ABSENT_KMH - 1)
    rows["speed_kmh"] = np.where(np.isnan(speed), SPEED_ABSENT_KMH, np.nan_to_num(kmh))
    flags = np.where(kinds < 0, CLASS_UNKNOWN, kinds)
    rows["flags"] = flags | np.where(np.isnan(heading), FLAG_NO_HEADING, 0)
    return rows


def encode(
    rows: npt.NDArray[np.void], *, number: int, server_time_ms: float, bounds: Bounds
) -> bytes:
    """One frame; its origin is the viewport's north-west corner."""
    west, _, _, north = bounds
    (x0,), (y0,) = mercator([north], [west])
    number &= 0xFFFFFFFF
    return (
        HEADER.pack(
            MAGIC, VERSION, KIND_VEHICLES, 0, len(rows), number, server_time_ms, int(x0), int(y0)
        )
        + rows.tobytes()
    )
