"""Channel `console`: a line for each alert on standard error, for a terminal or a log."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

from cloud.notify.base import Notification, known_options


class Console:
    """Writes to a stream; standard error unless given another."""

    name = "console"

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def check(self, options: Mapping[str, Any]) -> None:
        """It has no options."""
        known_options(options, needed=set(), others=set())

    def send(self, notification: Notification, options: Mapping[str, Any]) -> None:
        """Write the notification's title."""
        del options
        stream = self._stream or sys.stderr
        stream.write(f"alert {notification.event}: {notification.title}\n")
        stream.flush()


PLUGIN = Console()
