"""Puts the built page into a wheel, so that whoever installs it needs no Node.

An editable install builds nothing: `make` does that beside it. A page that is built already (from
an sdist, or by the image's first stage) is taken as it is.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageBuildHook(BuildHookInterface[Any]):
    """`web/build.sh` before a wheel is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page unless it is there. Raises CalledProcessError where that fails."""
        del build_data
        root = Path(self.root)
        if version == "editable" or (root / "cloud" / "static" / "index.html").is_file():
            return
        subprocess.run(["/bin/sh", str(root / "web" / "build.sh"), sys.executable], check=True)
