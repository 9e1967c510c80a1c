"""Tells the cloud how the edge is, once a second, by a connection of its own.

Data and accounts wait for a slow database; this does not, so that what waits is seen while it
waits. Nothing depends on it: a report that does not come through is not sent again. The answer may
ask for messages to be said to senders, such as commands for a run's driver.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable

from edge.ingest_client import IngestClient, Verdict
from openvrc.contracts.edge_status import EdgeStatus
from openvrc.contracts.topics import is_down

LOG = logging.getLogger("edge.reporter")

REPORT_EVERY_S = 1.0
REPORT_TIMEOUT_S = 3.0
MAX_DOWN = 1000
"""More than that unpublished: the oldest are given up, as what is said down has no warranty."""
Down = tuple[str, bytes]
"""Topic and payload."""


class Reporter(threading.Thread):
    """Start it; it reports what `newest` says."""

    def __init__(self, client: IngestClient, newest: Callable[[], EdgeStatus]) -> None:
        super().__init__(name="reporter", daemon=True)
        self._client, self._newest = client, newest
        self.down: deque[Down] = deque(maxlen=MAX_DOWN)
        """What the cloud asks to be said to senders; whoever publishes it takes it from here."""
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
            if is_well:
                self.down.extend(_down_of(answer.body))
        self._client.close()

    def stop(self) -> None:
        """End after the report under way."""
        self._stopping.set()
        self.join(REPORT_TIMEOUT_S)


def _down_of(body: bytes) -> list[Down]:
    """Messages of an answer, at most `MAX_DOWN`; nothing but topics of what is said down."""
    try:
        said = json.loads(body)["down"]
        found = [(str(one["topic"]), json.dumps(one["payload"]).encode()) for one in said]
    except (ValueError, KeyError, TypeError):  # a cloud that has nothing to say, or an older one
        return []
    return [one for one in found[:MAX_DOWN] if is_down(one[0])]
