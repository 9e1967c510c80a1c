"""Shorter copies of real recordings: the same files, fewer rows, for tests of a whole run."""

from __future__ import annotations

import zipfile
from itertools import islice
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq


def first_seconds(package: Path, until_s: float, folder: Path) -> Path:
    """A SUMO package whose vehicles end at `until_s` of its own time; all else is linked.

    It keeps the package's name, which names its zone and its segments' map.
    """
    cut = folder / package.name
    cut.mkdir()
    for path in package.iterdir():
        if path.name != "fcd.parquet":
            (cut / path.name).symlink_to(path)
    vehicles = pq.read_table(package / "fcd.parquet")
    pq.write_table(vehicles.filter(pc.field("time_s") <= until_s), cut / "fcd.parquet")
    return cut


def first_rows(log: Path, n_rows: int, folder: Path) -> Path:
    """A zipped CSV log with its head line and its first `n_rows` rows, under the same name."""
    cut = folder / log.name
    with zipfile.ZipFile(log) as whole, zipfile.ZipFile(cut, "w", zipfile.ZIP_DEFLATED) as part:
        name = whole.namelist()[0]
        with whole.open(name) as file:
            lines = list(islice(file, n_rows + 1))
        part.writestr(name, b"".join(lines))
    return cut
