"""A small client of the cloud's API for the commands."""

from __future__ import annotations

from typing import Any

import httpx

from openvrc.contracts.errors import VrcError

READY_WITHIN_S = 5.0
"""How long one question for readiness may take: a service that starts on a busy machine is slow."""


class ApiError(VrcError):
    """The API did not give what was asked for."""


class Api:
    """GET requests with the right key; problems become `ApiError` in the API's own words."""

    def __init__(self, base_url: str, api_key: str, timeout_s: float = 30.0) -> None:
        self.base_url = base_url.rstrip("/")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(base_url=self.base_url, headers=headers, timeout=timeout_s)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """Parsed JSON. Raises ApiError for no connection and for 4xx and 5xx answers."""
        try:
            answer = self._http.get(path, params={k: v for k, v in query.items() if v is not None})
        except httpx.HTTPError as error:
            raise ApiError(f"{self.base_url}{path} cannot be reached: {error}") from error
        if answer.status_code >= 400:
            raise ApiError(f"{path} answered {answer.status_code}: {answer.text[:500]}")
        return answer.json()

    def is_ready(self) -> bool:
        """Whether the service says that it is ready."""
        return self._is_well("/readyz")

    def is_ready_for_us(self) -> bool:
        """Whether it is ready and takes our key: one that does not is somebody else's."""
        return self.is_ready() and self._is_well("/v1/zones")

    def _is_well(self, path: str) -> bool:
        try:
            return self._http.get(path, timeout=READY_WITHIN_S).status_code == 200
        except httpx.HTTPError:
            return False
