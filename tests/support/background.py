"""Background maps for tests: one tile of the whole world in a PMTiles file, blue or with a name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import write

SIDE_PX = 256
EXTENT = 4096
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


def named_place(name: str) -> bytes:
    """A vector tile (Mapbox Vector Tile 2.1) of a layer `places` with one point in its middle."""
    middle = EXTENT // 2 * 2  # zigzag
    point = _field(2, bytes((0, 0))) + _number(3, 1) + _field(4, b"\x09" + 2 * _varint(middle))
    layer = (
        _number(15, 2) + _field(1, b"places") + _field(2, point) + _field(3, b"name")
        + _field(4, _field(1, name.encode())) + _number(5, EXTENT)
    )  # fmt: skip
    return _field(3, layer)


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes((*parts, value))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def write_background(path: Path) -> None:
    """Raster tiles of zoom 0."""
    _write(path, blue_png(), TileType.PNG, {"attribution": CREDIT})


def write_named_background(path: Path, name: str) -> None:
    """Vector tiles of zoom 0 with one named place at 0 N, 0 E."""
    _write(path, named_place(name), TileType.MVT, {"vector_layers": [{"id": "places"}]})


def _write(path: Path, tile: bytes, kind: TileType, metadata: dict[str, Any]) -> None:
    with write(str(path)) as writer:
        writer.write_tile(zxy_to_tileid(0, 0, 0), tile)
        writer.finalize(
            {
                "tile_type": kind, "tile_compression": Compression.NONE,
                "min_zoom": 0, "max_zoom": 0, "center_zoom": 0,
                "min_lon_e7": -1_800_000_000, "min_lat_e7": -850_000_000,
                "max_lon_e7": 1_800_000_000, "max_lat_e7": 850_000_000,
                "center_lon_e7": 0, "center_lat_e7": 0,
            },
            metadata,
        )  # fmt: skip
