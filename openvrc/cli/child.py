"""A child process that is told to go and answers in JSON lines.

Its CPU is read from outside, so it must neither begin before it is told to nor end before it was
looked at: it says "ready", waits for a line, and lives until its standard input is closed.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from openvrc.contracts.errors import VrcError

READY_TIMEOUT_S = 60.0
END_TIMEOUT_S = 15.0
LOG_TAIL_BYTES = 2000


class ChildError(VrcError):
    """A child ended early or did not answer."""


class Child:
    """A context manager; leaving it closes the child's input and waits for its end."""

    def __init__(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str], log_path: Path
    ) -> None:
        self._name, self._log_path = name, log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(env),
                text=True,
            )
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def say(self, word: str) -> None:
        """Send one line. Raises ChildError when it has ended."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(f"{word}\n")
            self._popen.stdin.flush()
        except BrokenPipeError as error:
            raise self._error("has ended") from error

    def next(self, timeout_s: float) -> dict[str, Any]:
        """The next line. Raises ChildError."""
        try:
            said = self._said.get(timeout=timeout_s)
        except queue.Empty:
            raise self._error(f"said nothing for {timeout_s:.0f} s") from None
        if said["event"] == "end of output":
            raise self._error("ended early")
        return said

    def wait_for(self, event: str, timeout_s: float = READY_TIMEOUT_S) -> dict[str, Any]:
        """The next line with this `event`; others before it are skipped. Raises ChildError."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                said = self._said.get(timeout=max(deadline_s - time.monotonic(), 0.01))
            except queue.Empty:
                raise self._error(f"did not say {event!r} within {timeout_s:.0f} s") from None
            if said["event"] == event:
                return said
            if said["event"] == "end of output":
                raise self._error(f"ended before it said {event!r}")

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            if line.startswith("{"):
                self._said.put(json.loads(line))
        self._said.put({"event": "end of output"})

    def _error(self, text: str) -> ChildError:
        tail = self._log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        return ChildError(f"{self._name} {text}; its last words:\n{tail}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):  # it ended first
            self._popen.stdin.close()
        try:
            self._popen.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
