"""Where the shared recordings are; tests that need them skip with the reason where they are not."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    root = Path(__file__).resolve().parents[3]
    path = Path(os.environ.get("VRC_SHARED_DATA", root.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no shared data at {path} (VRC_SHARED_DATA names another place)")
    return path
