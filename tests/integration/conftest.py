"""Directories for servers that run under an account of their own when the tests run as root."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory everybody can reach. pytest's own `tmp_path` is closed to other accounts."""
    path = Path(tempfile.mkdtemp(prefix="openvrc-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
