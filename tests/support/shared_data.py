"""Where the real test data lie; tests that need them skip with a printed reason without them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def shared_data(*parts: str) -> Path:
    """A file or folder of the shared data. Skips the calling test where it is absent."""
    default = REPOSITORY.parent / "shared" / "data"
    path = Path(os.environ.get("VRC_SHARED_DATA", default)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no test data at {path}")
    return path
