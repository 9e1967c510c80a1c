"""A checkpoint as bytes: a tree of dicts, lists, plain values and numpy arrays.

Layout: magic b"VRCS", uint64 length of the rest before compression, zstd frame of (uint32 header
length, JSON tree with `{"__array__": [dtype, shape, offset]}` for arrays, their raw bytes).
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openvrc.contracts.errors import VrcError

MAGIC = b"VRCS"
_ARRAY = "__array__"


class StateError(VrcError):
    """Bytes that are no checkpoint."""


def pack_state(tree: Any) -> bytes:
    """The tree as bytes. Dict keys must be strings; arrays must hold numbers or bools.

    The arrays stream into the compressor as they stand: joined first, those of 100,000 vehicles
    would take their size twice more.
    """
    arrays: list[npt.NDArray[Any]] = []
    header = json.dumps(_plain(tree, arrays), separators=(",", ":")).encode()
    n_bytes = sum(array.nbytes for array in arrays)
    sink = pa.BufferOutputStream()
    sink.write(MAGIC + struct.pack("<Q", 4 + len(header) + n_bytes))
    with pa.CompressedOutputStream(sink, "zstd") as out:  # level 1
        out.write(struct.pack("<I", len(header)) + header)
        for array in arrays:
            out.write(pa.py_buffer(array))
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _plain(node: Any, arrays: list[npt.NDArray[Any]]) -> Any:
    """The node as JSON has it; its arrays are added to the list, in the order of their bytes.

    No closure: one that calls itself is a cycle, which would keep every checkpoint's arrays.
    """
    if isinstance(node, np.ndarray):
        place = sum(array.nbytes for array in arrays)
        arrays.append(np.ascontiguousarray(node))
        return {_ARRAY: [node.dtype.str, list(node.shape), place]}
    if isinstance(node, dict):
        return {key: _plain(value, arrays) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return node if _is_flat(node) else [_plain(value, arrays) for value in node]
    return node


def _is_flat(node: Any) -> bool:
    return not any(isinstance(value, dict | list | tuple | np.ndarray) for value in node)


def unpack_state(data: bytes) -> Any:
    """What `pack_state` was given (tuples come back as lists). Raises StateError."""
    if data[:4] != MAGIC:
        raise StateError(f"checkpoint starts with {data[:4]!r}, expected {MAGIC!r}")
    try:
        (length,) = struct.unpack("<Q", data[4:12])
        body = pa.Codec("zstd").decompress(data[12:], length, asbytes=True)
        (n_header,) = struct.unpack("<I", body[:4])
        tree = json.loads(body[4 : 4 + n_header])
        return _with_arrays(tree, body, 4 + n_header)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        raise StateError(f"checkpoint cannot be read: {error}") from error


def _with_arrays(node: Any, body: bytes, start: int) -> Any:
    if isinstance(node, dict):
        if _ARRAY in node:
            dtype, shape, offset = node[_ARRAY]
            count = int(np.prod(shape))
            flat = np.frombuffer(body, np.dtype(dtype), count, start + offset)
            return flat.reshape(shape).copy()
        return {key: _with_arrays(value, body, start) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_arrays(value, body, start) for value in node]
    return node
