"""A PostgreSQL for tests that need no durability: nothing is ever forced to the disk.

A server that many tests made databases on took half a minute to write them all at its end. Tests of
what survives a crash of the server start one of their own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from openvrc.embedded import database

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


@contextmanager
def quick_database() -> Iterator[str]:
    """The URL of an empty embedded database, which goes when the block ends."""
    # pytest's tmp_path is closed to the account that the server runs under when we are root.
    folder = Path(tempfile.mkdtemp(prefix="openvrc-test-db-"))
    folder.chmod(0o755)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in DURABILITY:
                patch.setitem(database.SETTINGS, name, "off")
            running = database.start_database(folder / "db")
        try:
            yield running.url
        finally:
            running.stop(delete_files=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
