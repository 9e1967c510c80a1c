"""One message as recorded, and what a format of recordings has to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from openvrc.contracts.errors import VrcError


class TapeError(VrcError):
    """A recording that cannot be written or read: says which and why."""


class Entry(NamedTuple):
    """One message."""

    at_ns: int
    """When the recorder received it, UTC epoch."""
    topic: str
    payload: bytes


class Sink(Protocol):
    """A file that is being written."""

    def write(self, entry: Entry) -> None:
        """Append; entries come in order of time. Raises TapeError for what it cannot hold."""
        ...

    def flush(self) -> None:
        """Let what was written survive the process, as far as the format can."""
        ...

    def close(self) -> None:
        """End the file. Called once."""
        ...


class Format(Protocol):
    """One format; the `PLUGIN` of its module."""

    name: str
    suffixes: tuple[str, ...]
    """How its files' names end, in small letters."""

    def create(self, path: Path) -> Sink:
        """A new file; one that exists is replaced. Raises TapeError."""
        ...

    def is_ours(self, path: Path) -> bool:
        """Whether the file is such a recording; must not raise for a file that exists."""
        ...

    def read(self, path: Path) -> Iterator[Entry]:
        """Entries in the file's order. Raises TapeError for a damaged file, at the damage."""
        ...
