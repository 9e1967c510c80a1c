"""Opening recordings: plain or gzip by the file's first bytes, whatever its name."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, cast

GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def opened_bytes(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked."""
    with path.open("rb") as raw:
        is_packed = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        raw.seek(0)
        if not is_packed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield cast("BinaryIO", unpacked)


@contextmanager
def opened_text(path: Path) -> Iterator[TextIOWrapper]:
    """The file's text in UTF-8, with or without a byte order mark, unpacked."""
    with opened_bytes(path) as raw, TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        yield text


def csv_rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file as dicts."""
    with opened_text(path) as file:
        yield from csv.DictReader(file)
