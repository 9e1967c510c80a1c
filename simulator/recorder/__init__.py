"""Recordings of what was said over MQTT: every payload byte for byte, its topic and its time.

| file | what |
|---|---|
| `entries.py` | one message as recorded, and the shape of a format |
| `mcap_format.py`, `jsonl_format.py`, `parquet_format.py` | one format each |
| `decoding.py` | payloads as batches, many at once |
| `tape.py` | from a broker to a file |

`simulator/replay/message_log.py` reads them as a world.
"""

from __future__ import annotations

from pathlib import Path

from openvrc.contracts.plugins import discover
from simulator.recorder.entries import Format, TapeError


def formats() -> dict[str, Format]:
    """Every format by name, installed ones included."""
    return discover(__name__)


def format_of(path: Path) -> Format:
    """The format that a file's name asks for. Raises TapeError that names those known."""
    name = path.name.lower()
    for one in formats().values():
        if name.endswith(one.suffixes):
            return one
    known = ", ".join(suffix for one in formats().values() for suffix in one.suffixes)
    raise TapeError(f"{path.name}: expected a name that ends in one of {known}")
