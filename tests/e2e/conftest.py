"""The whole platform for end-to-end tests: real broker, database, edge and cloud processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from openvrc.cli.platform import Platform
from tests.support.platform_runs import RUN_TIMEOUT_S, Vrc


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One running platform per test module."""
    with Platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture(scope="module")
def vrc(platform: Platform) -> Vrc:
    """Run `vrc ARGUMENTS` against the platform and wait for its end."""

    def run(*arguments: str, timeout_s: float = RUN_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "openvrc.cli.main", *arguments]
        done = subprocess.run(
            argv,
            env=platform.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done

    return run
