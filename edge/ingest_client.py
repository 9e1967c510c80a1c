"""The edge's requests to the cloud over one kept-open connection, and what its answers mean.

http.client on purpose: 118 us for a 90 kB request where httpx takes 560.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote, urlsplit

from openvrc.contracts.errors import SettingsError
from openvrc.contracts.wire import CONTENT_TYPE

PATH = "/v1/ingest"
REPORT_PATH = "/v1/edges"
TIMEOUT_S = 60.0
"""A commit of a large group on a busy database; a cloud that hangs is tried anew after it."""


class Verdict(Enum):
    """What to do after an answer."""

    STORED = "stored"
    REFUSED = "refused"
    """The content: halve it."""
    FORBIDDEN = "forbidden"
    """The key: wait, somebody must act."""
    CONFLICT = "conflict"
    """Another edge of this name is active."""
    RETRY = "retry"


_VERDICTS = {
    200: Verdict.STORED,
    400: Verdict.REFUSED,
    413: Verdict.REFUSED,
    422: Verdict.REFUSED,
    401: Verdict.FORBIDDEN,
    403: Verdict.FORBIDDEN,
    409: Verdict.CONFLICT,
}


@dataclass(frozen=True)
class Answer:
    """An answer, or the lack of one (status 0)."""

    verdict: Verdict
    status: int
    detail: str
    retry_after_s: float = 0.0
    body: bytes = b""


class IngestClient:
    """One connection to the cloud; used by one thread."""

    def __init__(
        self, cloud_url: str, api_key: str, edge_id: str, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Connects at the first `post`. Raises SettingsError for a URL of another kind."""
        parts = urlsplit(cloud_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"cloud_url is {cloud_url!r}, expected http[s]://host[:port]")
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        self._connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout_s)
        root = parts.path.rstrip("/")
        self._path, self._report_path = root + PATH, f"{root}{REPORT_PATH}/{quote(edge_id)}"
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "Content-Type": CONTENT_TYPE,
            "X-VRC-Edge": edge_id,
        }

    def post(self, body: bytes, batch_id: str | None) -> Answer:
        """Send one body; `batch_id` None is an idempotent one without an id. Raises nothing."""
        headers = self._headers | ({"X-VRC-Batch": batch_id} if batch_id else {})
        return self._send(self._path, body, headers)

    def report(self, status: bytes) -> Answer:
        """Tell how this edge is: an `EdgeStatus` as JSON. Raises nothing."""
        headers = self._headers | {"Content-Type": "application/json"}
        return self._send(self._report_path, status, headers)

    def _send(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            self._connection.request("POST", path, body, headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Answer(Verdict.RETRY, 0, f"{type(error).__name__}: {error}")
        verdict = _VERDICTS.get(response.status, Verdict.RETRY)
        detail = _detail(text)
        retry_after_s = _seconds(response.getheader("Retry-After"))
        return Answer(verdict, response.status, detail, retry_after_s, text)

    def close(self) -> None:
        """Close the connection; a further `post` opens another."""
        self._connection.close()


def _detail(text: bytes) -> str:
    """The `detail` or `title` of a problem document, else the text's beginning."""
    try:
        said = json.loads(text)
        found = said.get("detail") or said.get("title") or ""
    except (ValueError, AttributeError):
        found = text[:200].decode("utf-8", "replace")
    return str(found)[:500]


def _seconds(text: str | None) -> float:
    return min(float(text), 60.0) if text and text.isdecimal() else 0.0
