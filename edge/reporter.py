"""Tells the cloud how the edge is, once a second, by a connection of its own.

Data and accounts wait for a slow database; this does not, so that what waits is seen while it
waits. Nothing depends on it: a report that does not come through is not sent again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edge.ingest_client import IngestClient, Verdict
from openvrc.contracts.edge_status import EdgeStatus

LOG = logging.getLogger("edge.reporter")

REPORT_EVERY_S = 1.0
REPORT_TIMEOUT_S = 3.0


class Reporter(threading.Thread):
    """Start it; it reports what `newest` says."""

    def __init__(self, client: IngestClient, newest: Callable[[], EdgeStatus]) -> None:
        super().__init__(name="reporter", daemon=True)
        self._client, self._newest = client, newest
        self._stopping = threading.Event()
        self._has_failed = False

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.wait(REPORT_EVERY_S):
            answer = self._client.report(self._newest().model_dump_json().encode())
            is_well = answer.verdict is Verdict.STORED
            if not is_well and not self._has_failed:
                LOG.warning("cloud does not take reports: %s %s", answer.status, answer.detail)
            self._has_failed = not is_well
        self._client.close()

    def stop(self) -> None:
        """End after the report under way."""
        self._stopping.set()
        self.join(REPORT_TIMEOUT_S)
