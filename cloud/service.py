"""`vrc cloud`: the web application behind uvicorn, from settings to a clean stop."""

from __future__ import annotations

import json
import logging
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from urllib.parse import quote

import uvicorn

from cloud.api.auth import keys_from
from cloud.app import create_app
from cloud.pipeline import Pipeline
from cloud.store.pool import Pool
from openvrc.contracts.errors import SettingsError
from openvrc.contracts.plugins import chosen, discover
from openvrc.memory import collect_rarely, switch_threads_often, use_frugal_allocators
from openvrc.settings import Settings

log = logging.getLogger(__name__)

DETECTORS = "openvrc.detectors"
STOP_WITHIN_S = 5
"""Streams are told to end first; what still hangs after this is cut."""


@dataclass(frozen=True)
class CloudAddress:
    """Where a started cloud is found."""

    base_url: str
    page_url: str
    """With the key in it where this process made or was given the key itself; for a terminal."""


OnReady = Callable[[CloudAddress], None]


def run_cloud(settings: Settings, *, on_ready: OnReady | None = None) -> int:
    """Serve until SIGINT or SIGTERM; 0 after a clean stop, 1 when it could not start.

    Raises SettingsError for keys that are missing or malformed, for no database and for rules that
    do not exist. `on_ready` is called once requests are answered; without it the address is printed
    to stderr.
    """
    use_frugal_allocators()
    switch_threads_often()
    keys, page_key = keys_from(settings)
    if not settings.database_url:
        raise SettingsError("VRC_DATABASE_URL is empty, expected postgresql://...")
    every = discover(DETECTORS)
    detectors = chosen(every, settings.cloud_detectors)
    listener = _listen(settings.cloud_host, settings.cloud_port)
    address = _address(settings.cloud_host, listener.getsockname()[1], page_key)
    pipeline = Pipeline(settings, detectors, left_out=every.keys() - detectors.keys())
    pool = Pool(settings.database_url)
    app = create_app(settings, keys, pipeline, pool)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # a line per batch says nothing that /metrics does not
        ws_per_message_deflate=False,  # 17 ms/s of CPU a client for 26 % less traffic
        timeout_graceful_shutdown=STOP_WITHIN_S,
        server_header=False,
    )

    def on_started() -> None:
        collect_rarely()
        (on_ready or _announce)(address)

    server = CloudServer(config, on_started=on_started)
    try:
        server.run(sockets=[listener])
    except SystemExit:  # uvicorn's answer to a start-up that failed; the reason is in the log
        return 1
    finally:
        pool.close()
        listener.close()
    return 0


class CloudServer(uvicorn.Server):
    """uvicorn that says when it is ready, and ends streams before it waits for connections."""

    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in good order; a second Ctrl-C stops at once.

        uvicorn's own would raise the signal again after the stop, which ends the process as if it
        had been killed.
        """
        del frame
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, or the server would wait for pages that never leave."""
        self.config.app.state.parts.hub.close()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that port 0 has a number before the server starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"VRC_CLOUD_HOST:VRC_CLOUD_PORT is {host}:{port}, which cannot be listened on: {error}"
        ) from error
    return listener


def _address(host: str, port: int, page_key: str | None) -> CloudAddress:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - not a binding
    shown = f"[{shown}]" if ":" in shown else shown
    base_url = f"http://{shown}:{port}"
    page_url = f"{base_url}/?key={quote(page_key)}" if page_key else f"{base_url}/"
    return CloudAddress(base_url, page_url)


def _announce(address: CloudAddress) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"cloud is ready: {address.page_url}\n")
    else:
        facts = {"event": "ready", "part": "cloud", "page_url": address.page_url}
        sys.stderr.write(json.dumps(facts) + "\n")
    sys.stderr.flush()
