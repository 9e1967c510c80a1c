"""A platform beside strangers: ports that somebody else listens on."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from openvrc.cli.platform import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


class Stranger(BaseHTTPRequestHandler):
    """Another cloud: it is ready, and does not know our key."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 401)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def stranger(port: int) -> HTTPServer:
    server = HTTPServer(("127.0.0.1", port), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def end(server: HTTPServer) -> None:
    server.shutdown()
    server.server_close()


def test_a_platform_moves_off_ports_that_strangers_took(tmp_path: Path) -> None:
    first = stranger(0)
    try:
        with Platform(tmp_path, cloud_port=first.server_port) as platform:
            assert platform.cloud_port != first.server_port
            assert platform.api.get("/v1/zones")["items"] == []
            platform.kill_part("cloud")
            second = stranger(platform.cloud_port)
            try:
                platform.restart_part("cloud")
                assert platform.cloud_port != second.server_port
                assert platform.api.get("/v1/accounting")["totals"]["sent"] == 0
                assert platform.environment["VRC_CLOUD_URL"] == platform.cloud_url
                assert platform.processes["edge"].is_running
            finally:
                end(second)
    finally:
        end(first)
