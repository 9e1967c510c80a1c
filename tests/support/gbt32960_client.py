"""A blocking socket that speaks frames, for tests of the server."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

from openvrc.contracts.gbt32960.frame import Scanner
from openvrc.contracts.gbt32960.message import Message, read
from tests.support.patience import PATIENCE_S

TIMEOUT_S = PATIENCE_S


class Client:
    """One connection."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        self._scanner = Scanner()
        self._replies: list[Message] = []

    def send(self, *frames: bytes) -> None:
        self._socket.sendall(b"".join(frames))

    def reply(self) -> Message | None:
        """The next reply; None when the server has closed."""
        while not self._replies:
            try:
                data = self._socket.recv(65_536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._replies += [read(p) for p in self._scanner.feed(data) if isinstance(p, bytes)]
        return self._replies.pop(0)

    def ask(self, frame: bytes) -> Message:
        self.send(frame)
        answer = self.reply()
        assert answer is not None, "the server closed instead of answering"
        return answer

    def is_closed_by_server(self) -> bool:
        while self.reply() is not None:
            pass
        return True

    def close(self) -> None:
        self._socket.close()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Until a condition holds."""
    until_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < until_s, f"waited in vain for {what}"
        time.sleep(0.01)
