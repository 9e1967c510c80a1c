"""A real cloud for tests: embedded database, the real application, uvicorn on a free port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from cloud.api.auth import parse_keys
from cloud.app import create_app
from cloud.pipeline import Pipeline
from cloud.service import DETECTORS, CloudServer
from cloud.store.pool import Pool
from openvrc.contracts.batch import Batch
from openvrc.contracts.plugins import discover
from openvrc.contracts.wire import CONTENT_TYPE, pack
from openvrc.settings import Settings
from tests.support.patience import PATIENCE_S
from tests.support.quick_database import quick_database
from tests.support.town import Town

VIEWER, OPERATOR, ADMIN = "viewer-key-for-tests", "operator-key-for-tests", "admin-key-for-tests"
KEYS = f"wall:viewer:{VIEWER},olga:operator:{OPERATOR},root:admin:{ADMIN}"
START_WITHIN_S = PATIENCE_S


@dataclass
class RunningCloud:
    """A cloud that answers, and a client for it."""

    url: str
    app: FastAPI
    client: httpx.Client
    _number: int = field(default=0)

    def get(self, path: str, key: str = VIEWER, **more: Any) -> httpx.Response:
        """GET as a viewer."""
        return self.client.get(path, headers=bearer(key) | more.pop("headers", {}), **more)

    def json(self, path: str, **more: Any) -> Any:
        """GET that must succeed."""
        response = self.get(path, **more)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: Any = None, key: str = OPERATOR) -> httpx.Response:
        """POST JSON as an operator."""
        return self.client.post(path, headers=bearer(key), json=body)

    def ingest(self, batches: Sequence[Batch], **headers: str) -> httpx.Response:
        """What an edge does with some batches."""
        self._number += 1
        given = {
            "Content-Type": CONTENT_TYPE,
            "X-VRC-Edge": "edge-t",
            "X-VRC-Batch": f"edge-t/e1/{self._number}",
        }
        return self.client.post(
            "/v1/ingest", headers=bearer(OPERATOR) | given | headers, content=pack(batches)
        )

    def send(self, batches: Sequence[Batch]) -> int:
        """Ingest that must succeed; the number of stored rows."""
        response = self.ingest(batches)
        assert response.status_code == 200, response.text
        stored: int = response.json()["stored"]
        return stored

    def drive(self, town: Town, seconds: range, *, per_body: int = 10) -> None:
        """Send seconds of a town, several in a body."""
        for first in range(seconds.start, seconds.stop, seconds.step * per_body):
            last = min(first + seconds.step * per_body, seconds.stop)
            self.send([batch for at in range(first, last, seconds.step) for batch in town.at(at)])


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def running_cloud(database_url: str, **settings: Any) -> Iterator[RunningCloud]:
    """The real application on a free port of this machine, in a thread."""
    chosen = Settings(database_url=database_url, cloud_api_keys=KEYS, **settings)
    pool = Pool(database_url)
    pipeline = Pipeline(chosen, discover(DETECTORS))
    app = create_app(chosen, parse_keys(KEYS), pipeline, pool)
    listener = socket.create_server(("127.0.0.1", 0))
    started = threading.Event()
    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws_per_message_deflate=False,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = CloudServer(config, on_started=started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert started.wait(START_WITHIN_S), "the cloud did not start"
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            yield RunningCloud(url, app, client)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        pool.close()
        listener.close()
    assert not thread.is_alive(), "the cloud did not stop"


@contextmanager
def temporary_cloud(**settings: Any) -> Iterator[RunningCloud]:
    """A cloud with a database of its own."""
    with quick_database() as url, running_cloud(url, **settings) as cloud:
        yield cloud
