"""How the edge is: looked at once a second by the main loop, told to whoever asks.

The look is a snapshot: Prometheus and the reporter to the cloud read it from their own threads.
"""

from __future__ import annotations

import time
from threading import Thread
from wsgiref.simple_server import WSGIServer

from edge.core import EdgeCore
from edge.ingest_client import IngestClient
from edge.intake import Intake
from edge.metrics import serve_metrics
from edge.reporter import REPORT_TIMEOUT_S, Down, Reporter
from edge.spool import Spool
from edge.uplink import Uplink
from openvrc.contracts.edge_status import EdgeStatus
from openvrc.contracts.units import NS_PER_S
from openvrc.settings import Settings

LOOK_EVERY_S = 1.0
MAX_PROBLEM = 600


class Health:
    """Made by the main loop, which alone may call its methods."""

    def __init__(
        self, settings: Settings, spool: Spool, core: EdgeCore, uplink: Uplink, intake: Intake
    ) -> None:
        self._settings = settings
        self._spool, self._core, self._uplink, self._intake = spool, core, uplink, intake
        self._acknowledged = 0
        self._due_s = 0.0
        self._newest = self._look("")
        self._server: tuple[WSGIServer, Thread] | None = None
        cloud = (settings.cloud_url, settings.api_key, settings.edge_id)
        client = IngestClient(*cloud, timeout_s=REPORT_TIMEOUT_S)
        self._reporter = Reporter(client, lambda: self._newest)

    def start(self) -> None:
        """Report, and answer on the port of the settings. Raises OSError for a taken port."""
        settings = self._settings
        if settings.edge_metrics_port:
            self._server = serve_metrics(
                settings.edge_metrics_port, lambda: self._newest, settings.edge_metrics_host
            )
        self._reporter.start()

    def stop(self) -> None:
        """End both."""
        self._reporter.stop()
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()

    def acknowledged(self, n_messages: int) -> None:
        """Count messages as acknowledged."""
        self._acknowledged += n_messages

    def look(self, problem: str = "") -> None:
        """Look again, if a second has passed; `problem` is what the uplink does not know of."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + LOOK_EVERY_S
            self._newest = self._look(problem)

    def take_asked(self) -> list[Down]:
        """What the cloud asked to be said to senders since the last call."""
        down = self._reporter.down
        return [down.popleft() for _ in range(len(down))]

    def _look(self, problem: str) -> EdgeStatus:
        now_ns = time.time_ns()
        oldest_ns = self._spool.oldest_ns()
        totals = self._core.totals()
        names = ("sent", "received", "forwarded", "dropped", "expired", "missing", "duplicates")
        return EdgeStatus(
            at_ns=now_ns,
            epoch=self._spool.epoch,
            zone=self._settings.edge_zone,
            queue_messages=self._intake.queued_messages,
            queue_limit=self._settings.edge_queue_messages,
            spool_records=self._spool.pending_records,
            spool_bytes=self._spool.n_bytes,
            spool_limit_bytes=self._spool.max_bytes,
            # A clock that was set back must not make it negative.
            spool_oldest_s=max(0.0, (now_ns - (oldest_ns or now_ns)) / NS_PER_S),
            is_full=self._spool.is_full or bool(problem),
            problem=(problem or self._uplink.last_problem)[:MAX_PROBLEM],
            acknowledged=self._acknowledged,
            rejected=dict(self._core.rejected()),
            **{name: totals[name] for name in names},
        )
