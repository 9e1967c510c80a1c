"""A TCP proxy that cuts connections, and counts what passes: a network that fails on purpose."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

CHUNK_BYTES = 65_536


class CutProxy:
    """Listens on loopback and forwards to one port; `cut` ends every connection without a word."""

    def __init__(self, target_port: int) -> None:
        self.n_connections = 0
        self.bytes_down = 0
        """Bytes from the target to the client."""
        self.bytes_up = 0
        """Bytes from the client that the target's socket has taken."""
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections; new ones are accepted."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        """End everything."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            self.n_connections += 1
            with self._lock:
                self._sockets += [client, server]
            for source, sink, is_down in ((client, server, False), (server, client, True)):
                arguments = (source, sink, is_down)
                threading.Thread(target=self._forward, args=arguments, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, is_down: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                sink.sendall(chunk)
                if is_down:
                    self.bytes_down += len(chunk)
                else:
                    self.bytes_up += len(chunk)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
