"""Where tests keep their files: in memory, where there is room for all of them.

A run makes some hundred databases and deletes them again; on a disk that is told of every freed
block that took up to four minutes of ten. A process that is killed loses nothing in memory either,
so what the tests say of crashes stays as true as it was. `TMPDIR` says otherwise.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

IN_MEMORY = Path("/dev/shm")
LEAST_BYTES = 8_000_000_000
"""Four times what a run of all tests has at once."""


def use_memory() -> None:
    """Call it before anything asks for a temporary file; processes started later follow."""
    if "TMPDIR" in os.environ or not os.access(IN_MEMORY, os.W_OK):
        return
    if min(shutil.disk_usage(IN_MEMORY).free, _available_bytes()) >= LEAST_BYTES:
        os.environ["TMPDIR"] = str(IN_MEMORY)
        tempfile.tempdir = None  # what was found so far


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
