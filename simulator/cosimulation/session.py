"""The stepping process seen from here: started, read report by report, ended."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from simulator.cosimulation.stepper import LENGTH, Header, Report
from simulator.scenarios import ScenarioError

ENDS_WITHIN_S = 20.0
"""A step of a large network may take seconds before SUMO sees that nobody reads any more."""
TOLD_CHARACTERS = 600
"""Of SUMO's own words at the end of a failed run."""


def is_installed() -> bool:
    """Whether libsumo is there; asked without importing it."""
    return importlib.util.find_spec("libsumo") is not None


@dataclass
class Session:
    """A running SUMO. `header` is what it said first."""

    header: Header
    _out: IO[bytes]
    _said: IO[bytes]
    _process: subprocess.Popen[bytes]

    def reports(self) -> Iterator[Report]:
        """Report by report until SUMO ends. Raises ScenarioError if it fails."""
        while (body := _message(self._out)) is not None:
            yield msgspec.msgpack.decode(body, type=Report)
        if self._process.wait(ENDS_WITHIN_S) != 0:
            raise ScenarioError(f"SUMO failed: {_words(self._said)}")


@contextmanager
def opened(config: Path, seed: int) -> Iterator[Session]:
    """SUMO on a configuration. Raises ScenarioError where it cannot start."""
    command = [sys.executable, "-m", "simulator.cosimulation.stepper", str(config), str(seed)]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        assert process.stdout is not None
        try:
            body = _message(process.stdout)
            if body is None:
                process.wait(ENDS_WITHIN_S)
                raise ScenarioError(f"SUMO did not start with {config}: {_words(said)}")
            header = msgspec.msgpack.decode(body, type=Header)
            yield Session(header, process.stdout, said, process)
        finally:
            process.stdout.close()  # the stepper ends with its next report
            try:
                process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _message(out: IO[bytes]) -> bytes | None:
    head = out.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = out.read(length)
    return body if len(body) == length else None


def _words(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace").strip()[-TOLD_CHARACTERS:] or "it said nothing"
