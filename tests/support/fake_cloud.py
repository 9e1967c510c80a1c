"""A cloud that only takes batches in: `POST /v1/ingest` as docs/architecture.md describes it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openvrc.contracts.batch import Batch
from openvrc.contracts.wire import CONTENT_TYPE, WireError, unpack
from tests.support.patience import PATIENCE_S

KEY = "test-key"
Fault = Callable[[list[Batch]], int]
"""Status to answer for these batches instead of 200; 0 for none."""


class FakeCloud:
    """Keeps what it stored; a repeated batch id is a duplicate."""

    def __init__(self) -> None:
        self.stored: list[Batch] = []
        self.batch_ids: list[str] = []
        self.bodies: dict[str, set[bytes]] = {}
        self.answers: Counter[int] = Counter()
        self.ledger: dict[tuple[str, str, str, int], dict[str, Any]] = {}
        self.fault: Fault = lambda _batches: 0
        self.key = KEY
        self.retry_after_s = 0
        self.changed = threading.Condition()
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, said = cloud.ingest(dict(self.headers), body)
                text = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                if cloud.retry_after_s:
                    self.send_header("Retry-After", str(cloud.retry_after_s))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def ingest(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        with self.changed:
            status, said = self._ingest(headers, body)
            self.answers[status] += 1
            self.changed.notify_all()
        return status, said

    def _ingest(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        if headers.get("Authorization") != f"Bearer {self.key}":
            return 401, {"title": "unknown API key"}
        assert headers["Content-Type"] == CONTENT_TYPE
        try:
            batches = unpack(body)
        except WireError as error:
            return 400, {"title": "bad body", "detail": str(error)}
        if status := self.fault(batches):
            return status, {"title": "refused", "detail": "on purpose"}
        if all(batch.message == "source_ledger" for batch in batches):
            for batch in batches:
                self._take_ledger(batch)
            return 200, {"stored": 0, "is_duplicate": False}
        batch_id = headers["X-VRC-Batch"]
        assert batch_id.startswith(headers["X-VRC-Edge"] + "/")
        self.bodies.setdefault(batch_id, set()).add(body)
        if batch_id in self.batch_ids:
            return 200, {"stored": 0, "is_duplicate": True}
        self.batch_ids.append(batch_id)
        self.stored += batches
        return 200, {"stored": sum(b.n_rows for b in batches), "is_duplicate": False}

    def _take_ledger(self, batch: Batch) -> None:
        for row in batch.to_records():
            key = (batch.zone, batch.run_id, row["source_id"], row.get("session", -1))
            if row["version"] > self.ledger.get(key, {"version": -1})["version"]:
                self.ledger[key] = row

    def records(self, message: str) -> list[dict[str, Any]]:
        """Everything stored of one message, in order."""
        with self.changed:
            batches = [b for b in self.stored if b.message == message]
        return [record for batch in batches for record in batch.to_records()]

    def totals(self) -> dict[str, int]:
        """The terms of the accounting's sum over all account rows."""
        with self.changed:
            rows = list(self.ledger.values())
        names = ("sent", "received", "forwarded", "missing", "duplicates")
        rejected = sum(sum(json.loads(row["rejected"]).values()) for row in rows)
        return {name: sum(row[name] for row in rows) for name in names} | {"rejected": rejected}

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Until the condition holds; it is looked at after every request."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout_s), "the cloud waited in vain"
