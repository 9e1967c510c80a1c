"""Listens to the stream of alerts as a page does, and notes when each arrives."""

from __future__ import annotations

import json
import threading
import time
from types import TracebackType
from typing import Any, Self

import httpx

RULE = "traffic.hard_braking"
OPEN_TIMEOUT_S = 10.0
SILENT_TIMEOUT_S = 60.0
"""The stream says something each second, and is never silent beyond its heartbeat of 10 s."""


class AlertWatch:
    """A context manager: connected on entry; `heard_ns` gives the arrivals so far."""

    def __init__(self, cloud_url: str, api_key: str, zone: str, run_id: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(base_url=cloud_url, headers=headers, timeout=SILENT_TIMEOUT_S)
        self._query = {"zone": zone, "run": run_id}
        self._heard_ns: dict[str, int] = {}
        self._is_open = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def heard_ns(self) -> dict[str, int]:
        """Wall time at which the first alert of each subject arrived."""
        return dict(self._heard_ns)

    def _follow(self) -> None:
        try:
            with self._http.stream("GET", "/v1/stream", params=self._query) as answer:
                answer.raise_for_status()
                self._is_open.set()
                name = ""
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ")
                    elif line.startswith("data: ") and name == "alert":
                        self._note(json.loads(line.removeprefix("data: ")), time.time_ns())
        except (httpx.HTTPError, OSError):
            return  # closed by us, or the cloud ended, which others notice

    def _note(self, alert: dict[str, Any], at_ns: int) -> None:
        if alert["rule"] == RULE:
            self._heard_ns.setdefault(alert["subject_id"], at_ns)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._is_open.wait(OPEN_TIMEOUT_S):
            raise TimeoutError("the cloud's stream did not open")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()
