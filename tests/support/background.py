"""A background map for tests: one blue tile of the whole world in a PMTiles file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import write

SIDE_PX = 256
BLUE = bytes((40, 90, 220))
CREDIT = '<a href="https://example.org">A map maker</a>'


def blue_png() -> bytes:
    """A PNG of one colour (ISO/IEC 15948: signature, IHDR, IDAT, IEND)."""
    rows = (b"\x00" + BLUE * SIDE_PX) * SIDE_PX
    header = struct.pack(">IIBBBBB", SIDE_PX, SIDE_PX, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_background(path: Path) -> None:
    """The file, raster tiles of zoom 0."""
    with write(str(path)) as writer:
        writer.write_tile(zxy_to_tileid(0, 0, 0), blue_png())
        writer.finalize(
            {
                "tile_type": TileType.PNG, "tile_compression": Compression.NONE,
                "min_zoom": 0, "max_zoom": 0, "center_zoom": 0,
                "min_lon_e7": -1_800_000_000, "min_lat_e7": -850_000_000,
                "max_lon_e7": 1_800_000_000, "max_lat_e7": 850_000_000,
                "center_lon_e7": 0, "center_lat_e7": 0,
            },
            {"attribution": CREDIT},
        )  # fmt: skip
