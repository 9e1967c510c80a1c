"""The uplink: the spool's entries to the cloud, in order, each until it is stored or refused.

A thread. It reads the spool and changes nothing in it: what the cloud confirmed goes to the main
loop, which deletes it with its next commit. A crash between the two sends an entry once more,
byte for byte, under the same id, and the cloud says "duplicate".
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from edge.halving import halves, n_rows
from edge.ingest_client import Answer, IngestClient, Verdict
from edge.spool import Entry, SpoolReader
from openvrc.contracts.batch import Batch
from openvrc.contracts.wire import pack, unpack

LOG = logging.getLogger("edge.uplink")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 10.0
"""Back-off: a restart of the cloud costs a second, an outage one try each ten."""
FORBIDDEN_WAIT_S = 5.0
"""A wrong key or a second edge is a person's to mend; asked again often enough to notice."""
LEDGER_ROWS = 2_000
"""Account rows of one request, and a second's worth of them while there are records to send."""
LEDGER_EVERY_S = 1.0
LEDGER_IDLE_EVERY_S = 0.25
"""While there is nothing else to send; rows cost the main loop 15 us each, so not at every turn."""
POLL_S = 1.0
"""The main loop wakes the thread; this is only for a wake-up that got lost."""


@dataclass(frozen=True)
class Done:
    """One entry the cloud has: which records of it were refused for good, and why."""

    counter: int
    refused: tuple[tuple[Batch, str], ...] = ()


class Uplink(threading.Thread):
    """Start it, `wake` it after each commit, collect what is `done`."""

    def __init__(self, spool_path: Path, epoch: int, client: IngestClient, edge_id: str) -> None:
        super().__init__(name="uplink", daemon=True)
        self._spool_path, self._client = spool_path, client
        self._id = f"{edge_id}/{epoch}"
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._done: deque[Done] = deque()
        self._ledger: list[Batch] = []
        self._ledger_lock = threading.Lock()
        self._ledger_posted_s = -LEDGER_EVERY_S
        self._is_idle = True
        self.last_problem = ""
        """What keeps it from sending now, "" while all is well."""

    def wake(self) -> None:
        """There is something new in the spool."""
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """End after the request under way."""
        self._stopping.set()
        self._wake.set()
        self.join(timeout_s)

    def take_done(self) -> list[Done]:
        """Entries confirmed since the last call."""
        return [self._done.popleft() for _ in range(len(self._done))]

    @property
    def wants_ledger(self) -> bool:
        """Whether account rows would be sent now: at once when idle, else once a second."""
        with self._ledger_lock:
            if self._ledger:
                return False
        return self._is_ledger_due()

    def _is_ledger_due(self) -> bool:
        pause_s = LEDGER_IDLE_EVERY_S if self._is_idle else LEDGER_EVERY_S
        return time.monotonic() >= self._ledger_posted_s + pause_s

    def offer_ledger(self, batches: list[Batch]) -> None:
        """Account rows to post; kept until the cloud has them."""
        with self._ledger_lock:
            self._ledger = batches
        self._wake.set()

    @property
    def has_ledger(self) -> bool:
        """Whether account rows are still on their way."""
        with self._ledger_lock:
            return bool(self._ledger)

    def run(self) -> None:
        """Until `stop`. A fault of our own is logged, and the entry tried again."""
        reader = SpoolReader(self._spool_path)
        sent_to = 0
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                entry = reader.after(sent_to)
                self._is_idle = entry is None
                self._post_ledger_if_due()
                if entry is None:
                    self._wake.wait(LEDGER_IDLE_EVERY_S if self.has_ledger else POLL_S)
                elif self._deliver(entry):
                    sent_to = entry.counter
            # The outermost loop of the thread: without it one fault would end all sending.
            except Exception:
                LOG.exception("uplink failed on its own; going on")
                self._stopping.wait(FORBIDDEN_WAIT_S)
        reader.close()
        self._client.close()

    def _deliver(self, entry: Entry) -> bool:
        """Send an entry until it is stored or refused; False if stopped before."""
        batch_id = f"{self._id}/{entry.counter}"
        answer = self._post(entry.blob, batch_id)
        if answer is None:
            return False
        refused: list[tuple[Batch, str]] = []
        if answer.verdict is Verdict.REFUSED:
            LOG.warning("cloud refused batch %s (%s), halving", batch_id, answer.detail)
            if not self._halve(unpack(entry.blob), batch_id, answer.detail, refused):
                return False
        self._done.append(Done(entry.counter, tuple(refused)))
        return True

    def _halve(
        self, batches: list[Batch], batch_id: str, detail: str, refused: list[tuple[Batch, str]]
    ) -> bool:
        if n_rows(batches) <= 1:
            refused += [(batch, detail) for batch in batches if batch.n_rows]
            return True
        for place, half in enumerate(halves(batches)):
            half_id = f"{batch_id}/{place}"
            answer = self._post(pack(half), half_id)
            if answer is None:
                return False
            is_refused = answer.verdict is Verdict.REFUSED
            if is_refused and not self._halve(half, half_id, answer.detail, refused):
                return False
        return True

    def _post(self, body: bytes, batch_id: str | None) -> Answer | None:
        """Post until the cloud has decided; None if stopped before."""
        wait_s = FIRST_WAIT_S
        while not self._stopping.is_set():
            answer = self._client.post(body, batch_id)
            if answer.verdict in (Verdict.STORED, Verdict.REFUSED):
                self._note("")
                return answer
            self._note(f"{answer.status} {answer.detail}")
            if answer.verdict is Verdict.RETRY:
                # Jitter keeps many edges from asking a restarted cloud all at once.
                pause_s = max(answer.retry_after_s, wait_s) * random.uniform(0.5, 1.5)  # noqa: S311
                wait_s = min(2.0 * wait_s, LONGEST_WAIT_S)
            else:
                pause_s = FORBIDDEN_WAIT_S
            self._stopping.wait(pause_s)
        return None

    def _note(self, problem: str) -> None:
        if problem and problem != self.last_problem:
            LOG.warning("cloud does not take batches: %s", problem)
        elif self.last_problem and not problem:
            LOG.info("cloud takes batches again")
        self.last_problem = problem

    def _post_ledger_if_due(self) -> None:
        with self._ledger_lock:
            batches = self._ledger
        if not batches or not self._is_ledger_due():
            return
        self._ledger_posted_s = time.monotonic()
        answer = self._post(pack(batches), None)
        if answer is None:
            return
        if answer.verdict is Verdict.REFUSED:
            LOG.error("cloud refused account rows: %s", answer.detail)
        with self._ledger_lock:
            self._ledger = []
