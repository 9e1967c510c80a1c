"""The uplink: the spool's parcels to the cloud, in order, each until it is stored or refused.

A thread, with one request at a time: the next parcel goes when the cloud has this one, so order
survives every failure, and a slow cloud or a long way makes parcels larger, not the queue longer.
What the cloud confirmed goes to the main loop, which deletes it with its next commit. A crash
between the two sends a parcel once more, byte for byte, under the same id, and the cloud says
"duplicate".
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.halving import halves, n_rows
from edge.ingest_client import Answer, IngestClient, Verdict
from edge.spool_reader import Parcel, SpoolReader
from openvrc.contracts.batch import Batch
from openvrc.contracts.errors import VrcError
from openvrc.contracts.wire import pack, unpack

LOG = logging.getLogger("edge.uplink")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""Back-off: a restart of the cloud costs a second, an outage one try each five at most."""
FORBIDDEN_WAIT_S = 5.0
"""A wrong key or a second edge is a person's to mend; asked again often enough to notice."""
CLAIM_SLACK_S = 3.0
"""The cloud says for how long the edge that has the name counts as active. If that has not become
less after so many seconds it lives; a predecessor of ours with another spool only runs out."""
CLAIM_EVERY_S = 1.0
CLAIM_TIMEOUT_S = 3.0
"""A cloud that hangs decides nothing either."""
LEDGER_ROWS = 2_000
"""Account rows of one request, and a second's worth of them while there are records to send."""
LEDGER_EVERY_S = 1.0
LEDGER_IDLE_EVERY_S = 0.25
"""While there is nothing else to send; rows cost the main loop 15 us each, so not at every turn."""
POLL_S = 1.0
"""The main loop wakes the thread; this is only for a wake-up that got lost."""


class NameTakenError(VrcError):
    """Another edge of this name is active."""


def claim_name(client: IngestClient, edge_id: str, epoch: int, stopping: threading.Event) -> None:
    """Ask the cloud for this edge's name before anything is taken from the broker.

    Two edges of one name would take turns at the broker, each throwing the other out. A cloud that
    is away decides nothing. Closes the client. Raises NameTakenError.
    """
    runs_out_s: float | None = None
    while not stopping.is_set():
        answer = client.post(pack([]), f"{edge_id}/{epoch}/0")
        client.close()
        if answer.verdict is not Verdict.CONFLICT:
            return
        active_until_s = time.monotonic() + answer.retry_after_s
        if runs_out_s is None:
            LOG.warning("waiting for the name %r: %s", edge_id, answer.detail)
            runs_out_s = active_until_s
        if active_until_s > runs_out_s + CLAIM_SLACK_S:
            raise NameTakenError(answer.detail)
        stopping.wait(CLAIM_EVERY_S)


@dataclass(frozen=True)
class Done:
    """Entries the cloud has: which records of them were refused for good, and why."""

    counters: tuple[int, ...]
    refused: tuple[tuple[Batch, str], ...] = ()


class Uplink(threading.Thread):
    """Start it, `wake` it after each commit, collect what is `done`."""

    def __init__(self, spool_path: Path, epoch: int, client: IngestClient, edge_id: str) -> None:
        super().__init__(name="uplink", daemon=True)
        self._spool_path, self._client = spool_path, client
        self._id = f"{edge_id}/{epoch}"
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._done: deque[Done] = deque()
        self._hand = threading.Lock()
        self._held_to: int | None = None
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

    def take_done(self, *, is_plain: bool = False) -> list[Done]:
        """Entries confirmed since the last call; `is_plain`: up to the first with a refusal."""
        taken = []
        while self._done and not (is_plain and self._done[0].refused):
            taken.append(self._done.popleft())
        return taken

    @contextmanager
    def holding(self) -> Iterator[int | None]:
        """The newest entry that has left the spool, or may have; none leaves meanwhile.

        None: the uplink has not looked yet, and anything may have left before the last crash.
        """
        with self._hand:
            yield self._held_to

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
                with self._hand:
                    parcel = reader.after(sent_to)
                    self._held_to = parcel.number if parcel else sent_to
                self._is_idle = parcel is None
                if parcel is not None and self._deliver(parcel):
                    sent_to = parcel.number
                # Behind the records: accounts can wait for them, not they for accounts.
                self._post_ledger_if_due()
                if parcel is None:
                    self._wake.wait(LEDGER_IDLE_EVERY_S if self.has_ledger else POLL_S)
            # The outermost loop of the thread: without it one fault would end all sending.
            except Exception:
                LOG.exception("uplink failed on its own; going on")
                self._stopping.wait(FORBIDDEN_WAIT_S)
        reader.close()
        self._client.close()

    def _deliver(self, parcel: Parcel) -> bool:
        """Send a parcel until it is stored or refused; False if stopped before."""
        batch_id = f"{self._id}/{parcel.number}"
        answer = self._post(parcel.body, batch_id)
        if answer is None:
            return False
        refused: list[tuple[Batch, str]] = []
        if answer.verdict is Verdict.REFUSED:
            LOG.warning("cloud refused batch %s (%s), halving", batch_id, answer.detail)
            if not self._halve(unpack(parcel.body), batch_id, answer.detail, refused):
                return False
        self._done.append(Done(parcel.counters, tuple(refused)))
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
                pause_s = max(answer.retry_after_s, wait_s) * random.uniform(0.5, 1.0)  # noqa: S311
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
