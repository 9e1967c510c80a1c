"""`run_cloud` as a process: it says where it is, stops in good order, and survives kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from cloud.service import run_cloud
from openvrc.contracts.errors import SettingsError
from openvrc.contracts.wire import CONTENT_TYPE, pack
from openvrc.settings import Settings
from tests.support.cloud_server import bearer
from tests.support.patience import PATIENCE_S
from tests.support.quick_database import quick_database
from tests.support.town import Town

KEY = "key-of-this-machine"
RUN = (
    "import sys; from cloud.service import run_cloud; from openvrc.settings import load_settings;"
    " sys.exit(run_cloud(load_settings()))"
)
STOP_WITHIN_S = PATIENCE_S


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    with quick_database() as url:
        yield url


@contextmanager
def cloud_process(database_url: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    environment = os.environ | {
        "VRC_DATABASE_URL": database_url,
        "VRC_CLOUD_PORT": "0",
        "VRC_API_KEY": KEY,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", RUN], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        ready = next(json.loads(line) for line in process.stderr if '"ready"' in line)
        page_url = httpx.URL(ready["page_url"])
        assert page_url.params["key"] == KEY
        url, headers = str(page_url.join("/")), bearer(KEY)
        with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def send(client: httpx.Client, town: Town, number: int) -> None:
    headers = {
        "Content-Type": CONTENT_TYPE,
        "X-VRC-Edge": "e",
        "X-VRC-Batch": f"e/1/{number}",
    }
    batches = [town.announce()] if number == 0 else town.at(number)
    response = client.post("/v1/ingest", headers=headers, content=pack(batches))
    assert response.status_code == 200, response.text


def state_of(client: httpx.Client) -> dict[str, Any]:
    paths = ("/v1/vehicles?limit=1000", "/v1/signals", "/v1/rsus", "/v1/traffic/segments")
    state = {path: client.get(path).json()["items"] for path in paths}
    alerts = client.get("/v1/alerts").json()["items"]
    return state | {"alerts": sorted((a["id"], a["state"], a["severity"]) for a in alerts)}


def test_the_latest_values_survive_kill_minus_nine(database_url: str) -> None:
    town = Town()
    with cloud_process(database_url) as (process, client):
        for number in range(25):
            send(client, town, number)
        before = state_of(client)
        process.send_signal(signal.SIGKILL)
        process.wait(STOP_WITHIN_S)
    assert before["/v1/vehicles?limit=1000"]
    assert before["alerts"]
    with cloud_process(database_url) as (_, client):
        assert state_of(client) == before


def test_a_stop_is_clean_even_while_a_page_listens(database_url: str) -> None:
    with cloud_process(database_url) as (process, client):
        with client.stream("GET", "/v1/stream") as stream:
            lines = stream.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass  # the service ends the stream itself
        assert process.wait(STOP_WITHIN_S) == 0


def test_it_refuses_to_listen_to_everybody_without_keys() -> None:
    with pytest.raises(SettingsError, match="VRC_CLOUD_API_KEYS"):
        run_cloud(Settings(cloud_host="0.0.0.0", database_url="postgresql://x/y"))
    with pytest.raises(SettingsError, match="VRC_DATABASE_URL"):
        run_cloud(Settings(database_url=""))
