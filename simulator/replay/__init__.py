"""Recordings as worlds, one format a module; `open_recording` picks the reader that fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openvrc.contracts.plugins import discover
from simulator.replay.options import DEFAULT_EPOCH_NS, Reader, RecordingError, ReplayOptions
from simulator.world import World

__all__ = ["DEFAULT_EPOCH_NS", "RecordingError", "ReplayOptions", "open_recording", "readers"]


def readers() -> dict[str, Reader]:
    """Every reader of recordings by name, installed ones included."""
    return discover(__name__)


def open_recording(path: Path, *, zone: str, run_id: str, **options: Any) -> World:
    """The world in a recording. `options` are those of `ReplayOptions`.

    Raises RecordingError if there is no such file, no reader takes it, or it is damaged; MapError
    for a map that cannot be read.
    """
    asked = ReplayOptions(zone=zone, run_id=run_id, **options)
    if not path.exists():
        raise RecordingError(f"{path}: no such file or folder")
    for reader in readers().values():
        if reader.matches(path, asked):
            if asked.winds and not getattr(reader, "can_wind", False):
                raise RecordingError(
                    f"{path.name}: skipping, playing a part and other times need a recording by "
                    f"vrc record, this is a {reader.name}"
                )
            return reader.open(path, asked)
    known = "; ".join(f"{reader.name}: {reader.description}" for reader in readers().values())
    raise RecordingError(f"{path.name}: not a known recording, expected one of: {known}")
