"""Reading map files safely: plain or gzip, bounded, XML as a stream without DTDs or entities."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast
from xml.parsers import expat

from openvrc.contracts.maps import MapError

CHUNK_BYTES = 1 << 18
# A country's net is below 2 GB; more out of a small file is a decompression bomb.
MAX_UNPACKED_BYTES = 2 << 30
GZIP_MAGIC = b"\x1f\x8b"

Event = tuple[str, dict[str, str]]  # "tag" at its start, "/tag" at its end


def chunks(path: Path, limit_bytes: int = MAX_UNPACKED_BYTES) -> Iterator[bytes]:
    """The file's bytes, unpacked if it is gzip, whatever its name. Raises MapError."""
    total = 0
    try:
        with _open(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                total += len(chunk)
                if total > limit_bytes:
                    raise MapError(f"{path.name}: unpacks to over {limit_bytes} bytes, refused")
                yield chunk
    except EOFError as error:
        raise MapError(f"{path.name}: gzip data is truncated") from error
    except (OSError, zlib.error) as error:
        raise MapError(f"{path.name}: cannot be read: {error}") from error


def xml_events(path: Path) -> Iterator[Event]:
    """Start tags with their attributes, and end tags, as a stream.

    Raises MapError for XML that is not well-formed and for a document type declaration, the
    way entity bombs and reads of foreign files come in; map formats use none.
    """
    pending: list[Event] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: pending.append((tag, attributes))
    parser.EndElementHandler = lambda tag: pending.append((f"/{tag}", {}))

    def refuse(*_: object) -> None:
        raise MapError(f"{path.name}: has a DOCTYPE or ENTITY declaration, refused")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        for chunk in chunks(path):
            parser.Parse(chunk, False)
            yield from pending
            pending.clear()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise MapError(f"{path.name}: not well-formed XML: {error}") from error
    yield from pending


def root_tag(path: Path) -> str:
    """The XML file's root element, or "" if it is not XML."""
    try:
        return next(xml_events(path), ("", {}))[0]
    except MapError:
        return ""


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if packed else path.open("rb")
