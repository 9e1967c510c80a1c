"""A checkpoint's bytes: one JSON document and many named arrays in one zstd frame, no pickle.

Layout after decompression: uint32 little-endian length of the header, the header (JSON:
`meta`, and `arrays` as [name, dtype, shape]), then the arrays' bytes one after the other.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_SIZE = struct.Struct("<I")

UNREADABLE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OSError,  # of zstd
    MemoryError,  # a damaged length
    OverflowError,
    zipfile.BadZipFile,  # of states as they were once kept
    struct.error,
)
"""What a snapshot that is cut off, damaged or of another version raises when it is restored."""


def pack_snapshot(meta: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Bytes that `unpack_snapshot` reads. Arrays of numbers, bools or fixed-width text only."""
    listed, parts = [], []
    for name, array in arrays.items():
        plain = np.asarray(array)
        if plain.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects, expected plain values")
        listed.append([name, plain.dtype.str, list(plain.shape)])
        parts.append(plain.tobytes())  # C order
    header = json.dumps({"meta": meta, "arrays": listed}).encode()
    plain_bytes = b"".join([_SIZE.pack(len(header)), header, *parts])
    packed = pa.compress(plain_bytes, codec="zstd", asbytes=True)
    return _SIZE.pack(len(plain_bytes)) + bytes(packed)


def unpack_snapshot(data: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """`meta` and the arrays, each a writable copy."""
    (n_bytes,) = _SIZE.unpack_from(data)
    plain = pa.decompress(data[_SIZE.size :], n_bytes, codec="zstd", asbytes=True)
    (n_header,) = _SIZE.unpack_from(plain)
    place = _SIZE.size + n_header
    header = json.loads(plain[_SIZE.size : place])
    arrays = {}
    for name, dtype, shape in header["arrays"]:
        count = math.prod(shape)
        arrays[name] = np.frombuffer(plain, dtype, count, place).reshape(shape).copy()
        place += count * np.dtype(dtype).itemsize
    return header["meta"], arrays
