"""Core and spool as one: whatever the core was given is durable before anybody is told so.

`restored` makes a core from the spool's checkpoint and journal; `commit` closes a group. Used by
the service's main loop and by tests; no network here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edge import giving_up, journal
from edge.core import EdgeCore, Group
from edge.giving_up import DROPPED, EXPIRED, Policy
from edge.halving import n_rows
from edge.journal import Input
from edge.rules import NO_RULES
from edge.spool import Spool, SpoolWriteError
from edge.state_file import pack_state
from edge.uplink import Done
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Detector
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.wire import pack, unpack
from openvrc.contracts.zone import Zone

LOG = logging.getLogger("edge.pipeline")

CHECKPOINT_EVERY_S = 5.0
CHECKPOINT_SHARE = 20.0
"""A checkpoint is taken no more often than its own duration times this: at most 5 % of a core,
however large the state; the journal in between grows a little instead."""
AGE_EVERY_S = 1.0
"""How often the spool is looked through for what is too old."""

Zones = Mapping[str, tuple[Zone, RoadMap]]
NO_POLICY = Policy()


@dataclass(frozen=True)
class _Writing:
    """A checkpoint on its way to disk."""

    journal_number: int
    file: Future[Path]
    began_s: float


class Pipeline:
    """Feeds the core and keeps the spool in step with it."""

    def __init__(
        self,
        spool: Spool,
        zones: Zones,
        edge_id: str,
        *,
        max_payload_bytes: int,
        policy: Policy = NO_POLICY,
        detectors: Mapping[str, Detector] = NO_RULES,
        warn: Callable[[Group], None] | None = None,
    ) -> None:
        """Restores the core: checkpoint first, then the inputs since.

        `warn` gets each group before it is written: a warning does not wait for the disk. What it
        says may be lost with the process; it is not said again.
        """
        self._warn = warn
        self._spool = spool
        self._policy = policy
        self._inputs: list[Input] = []
        self._gone: list[int] = []
        self._kept: list[tuple[int, bytes]] = []
        self._write: Callable[[], Group] | None = None
        """A group that the disk would not take."""
        self._checkpoint_due_s = time.monotonic() + CHECKPOINT_EVERY_S
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: _Writing | None = None
        self._age_due_s = 0.0
        self._has_new_state = False
        self.core = EdgeCore(
            zones,
            edge_id,
            spool.epoch,
            max_payload_bytes=max_payload_bytes,
            detectors=detectors,
        )
        self._recover()

    def _recover(self) -> None:
        state, blobs = self._spool.recover()
        if state is not None:
            self.core.restore(state)
            for name, why in self.core.unread_rules().items():
                LOG.warning("the checkpoint of %s cannot be read (%s); it begins anew", name, why)
        journal.replay(self.core, blobs)
        self._has_new_state = bool(blobs)  # or a full spool would never shrink its journal
        if state is not None or blobs:
            totals = dict(self.core.totals())
            LOG.info("went on from the spool: %d groups folded again, %s", len(blobs), totals)

    def give(self, entry: Input) -> None:
        """One input for the core, to be committed with the group."""
        self._inputs.append(entry)
        entry.apply(self.core, len(self._inputs) - 1)

    def give_refused(self, done: Sequence[Done], now_ns: int) -> None:
        """Records the cloud refused become dead letters, one by one."""
        for batch, detail in (pair for entry in done for pair in entry.refused):
            LOG.error("cloud refused one %s of %s: %s", batch.message, batch.run_id, detail)
            self.give(Input(journal.REFUSED, now_ns, detail, pack([batch])))

    @property
    def must_give_up(self) -> bool:
        """Whether it is time to look for entries to give up."""
        if self._policy.is_none:
            return False
        is_full = self._policy.drops_oldest and self._spool.is_full
        return is_full or (self._policy.max_age_ns > 0 and time.monotonic() >= self._age_due_s)

    def give_up(self, held_to: int, now_ns: int) -> None:
        """Choose entries behind `held_to` that go unsent with the next commit, counted."""
        self._age_due_s = time.monotonic() + AGE_EVERY_S
        spool, policy = self._spool, self._policy
        waiting = spool.waiting(held_to, giving_up.MOST_AT_ONCE)
        old = policy.too_old(waiting, now_ns)
        young = [entry for entry in waiting if entry.counter not in set(old)]
        self._lose(EXPIRED, old, now_ns)
        self._lose(DROPPED, policy.too_many(young, spool.n_bytes, spool.max_bytes), now_ns)

    def _lose(self, cause: str, counters: Sequence[int], now_ns: int) -> None:
        gone = [batch for counter in counters for batch in unpack(self._spool.blob(counter))]
        kept = giving_up.kept(gone)
        if len(counters) == 1 and kept and n_rows(kept) == n_rows(gone):
            return  # all that is left of those given up before
        if kept:
            self._kept.append((counters[-1], pack(kept)))
        self._gone += counters[:-1] if kept else counters
        lost = giving_up.losses(gone)
        if lost:
            self.give(Input(journal.GIVEN_UP, now_ns, cause, giving_up.losses_to(lost)))
            n_records = sum(loss.n_records for loss in lost)
            LOG.warning("spool: %d records of %d senders %s", n_records, len(lost), cause)

    def commit(self, done: Sequence[Done], now_ns: int) -> Group:
        """Close the group durably, and forget entries the cloud has.

        Raises SpoolWriteError: the group waits, call `write_again`; SpoolError.
        """
        inputs, self._inputs = self._inputs, []
        gone = [counter for entry in done for counter in entry.counters] + self._gone
        kept, self._kept, self._gone = self._kept, [], []
        group = self.core.take_group(self._spool.pending_records)
        if self._warn is not None:
            self._warn(group)
        if not (inputs or gone or kept):
            return group
        blob = pack(group.batches) if group.batches else None
        inputs_blob = journal.write(inputs, group.steps, blob) if inputs else b""

        def write() -> Group:
            self._spool.commit(
                blob=blob,
                n_records=group.n_records,
                journal=inputs_blob,
                gone=gone,
                kept=kept,
                now_ns=now_ns,
            )
            return group

        self._has_new_state |= bool(inputs)
        self._write = write
        return self._written()

    def _written(self) -> Group:
        assert self._write is not None
        group, self._write = self._write(), None
        return group

    def write_again(self, done: Sequence[Done]) -> Group:
        """Try the group again that the disk would not take.

        First forgets what the cloud has (`done`, nothing refused among it), which makes room.
        Raises SpoolWriteError as long as it does not work, SpoolError.
        """
        self._spool.make_room([counter for entry in done for counter in entry.counters])
        return self._written()

    def checkpoint_if_due(self, *, now: bool = False) -> None:
        """Write the state when its time has come; call it right after `commit`.

        Only the copy of the state is made here; it is packed and written beside the groups that
        follow, and adopted behind one of them. With `now` all of it is done on return.
        """
        if self._writing is not None and (now or self._writing.file.done()):
            self._adopt(self._writing)
        is_due = now or time.monotonic() >= self._checkpoint_due_s
        if self._writing is not None or not self._has_new_state or not is_due:
            return
        number, tree = self._spool.journal_number, self.core.state_tree()
        file = self._writer.submit(lambda: self._spool.write_state(pack_state(tree), number))
        self._has_new_state = False
        self._writing = _Writing(number, file, time.monotonic())
        if now:
            self._adopt(self._writing)

    def _adopt(self, writing: _Writing) -> None:
        self._writing = None
        try:
            self._spool.adopt(writing.file.result(), writing.journal_number)
        except SpoolWriteError as error:
            self._has_new_state = True
            LOG.warning("checkpoint is put off, the journal goes on: %s", error)
        end_s = time.monotonic()
        pause_s = max(CHECKPOINT_EVERY_S, CHECKPOINT_SHARE * (end_s - writing.began_s))
        self._checkpoint_due_s = end_s + pause_s

    def ledger(self, limit: int, now_ns: int) -> list[Batch]:
        """Accounts that changed, for the uplink; only what is committed."""
        assert not self._inputs, "accounts may not run ahead of the spool"
        return self.core.take_ledger(limit, now_ns)
