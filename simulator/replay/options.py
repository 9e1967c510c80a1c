"""What a replay may be asked for, and the shape of a recording's reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from openvrc.contracts.errors import VrcError
from openvrc.contracts.units import ns_from_iso
from simulator.world import World

DEFAULT_EPOCH_NS = ns_from_iso("2026-01-01T00:00:00Z")
"""What time 0 of a recording with relative times means."""

OVERLAYS = ("wrongway", "misbehaviour")


class RecordingError(VrcError):
    """A recording that cannot be read: says which file, what it has and what was expected."""


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """How to replay. Shares and noise are drawn by hash of (`seed`, vehicle), see sampling."""

    zone: str
    run_id: str
    map_path: Path | None = None
    mapping: Path | None = None
    penetration: float = 1.0
    """Share of the recorded vehicles that are connected."""
    rsu_share: float = 0.8
    """Share of the vehicles that a roadside unit relays where one is within range."""
    seed: int = 1
    noise_m: float = 0.0
    """Standard deviation of white position noise per axis."""
    loss: float = 0.0
    """Share of records that are numbered but lost on the way."""
    overlay: tuple[str, ...] = ()
    epoch_ns: int = DEFAULT_EPOCH_NS
    time_zone: str = "UTC"
    of_zone: str = ""
    of_run: str = ""
    """Which zone and run of a recording of messages that holds several."""
    skip_s: float = 0.0
    """Recorded zone time left out at the beginning of a recording of messages."""
    play_s: float = 0.0
    """Recorded zone time that is played from there on; 0: all."""
    begin_at_ns: int | None = None
    """Zone time to begin such a replay at; None keeps the recorded times."""

    @property
    def winds(self) -> bool:
        """Whether another part or other times are asked for than the recorded ones."""
        return bool(self.skip_s or self.play_s or self.begin_at_ns is not None)

    def __post_init__(self) -> None:
        """Raises RecordingError for a share outside 0..1, negative noise or unknown overlay."""
        for name in ("penetration", "rsu_share", "loss"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise RecordingError(f"{name} is {value}, expected 0 to 1")
        if not self.noise_m >= 0.0:
            raise RecordingError(f"noise_m is {self.noise_m}, expected 0 or more")
        for name in ("skip_s", "play_s"):
            if not getattr(self, name) >= 0.0:
                raise RecordingError(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in self.overlay:
            if name not in OVERLAYS:
                raise RecordingError(f"overlay is {name!r}, expected of {', '.join(OVERLAYS)}")


class Reader(Protocol):
    """One format of recordings; the `PLUGIN` of its module."""

    name: str
    description: str

    def matches(self, path: Path, options: ReplayOptions) -> bool:
        """Whether this reader takes that path; must not raise for a path that exists."""
        ...

    def open(self, path: Path, options: ReplayOptions) -> World:
        """The recording as a world. Raises RecordingError or MapError."""
        ...
