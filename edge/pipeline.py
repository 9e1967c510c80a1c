"""Core and spool as one: whatever the core was given is durable before anybody is told so.

`restored` makes a core from the spool's checkpoint and journal; `commit` closes a group. Used by
the service's main loop and by tests; no network here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from edge import journal
from edge.core import EdgeCore, Group
from edge.journal import Input
from edge.spool import Spool
from edge.uplink import Done
from openvrc.contracts.batch import Batch
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.wire import pack
from openvrc.contracts.zone import Zone

LOG = logging.getLogger("edge.pipeline")

CHECKPOINT_EVERY_S = 5.0
CHECKPOINT_SHARE = 20.0
"""A checkpoint is taken no more often than its own duration times this: at most 5 % of the time,
however large the state; the journal in between grows a little instead."""

Zones = Mapping[str, tuple[Zone, RoadMap]]


class Pipeline:
    """Feeds the core and keeps the spool in step with it."""

    def __init__(self, spool: Spool, zones: Zones, edge_id: str, *, max_payload_bytes: int) -> None:
        """Restores the core: checkpoint first, then the inputs since."""
        self._spool = spool
        self._inputs: list[Input] = []
        self._checkpoint_due_s = time.monotonic() + CHECKPOINT_EVERY_S
        self._has_new_state = False
        self.core = EdgeCore(zones, edge_id, spool.epoch, max_payload_bytes=max_payload_bytes)
        self._recover()

    def _recover(self) -> None:
        state, blobs = self._spool.recover()
        if state is not None:
            self.core.restore(state)
        journal.replay(self.core, blobs)
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

    def commit(self, done: Sequence[Done], now_ns: int) -> Group:
        """Close the group durably, and forget entries the cloud has. Raises SpoolError."""
        inputs, self._inputs = self._inputs, []
        group = self.core.take_group(self._spool.pending_records)
        if inputs or done:
            blob = pack(group.batches) if group.batches else None
            self._spool.commit(
                blob=blob,
                n_records=group.n_records,
                journal=journal.write(inputs, group.steps, blob) if inputs else b"",
                confirmed=[entry.counter for entry in done],
                now_ns=now_ns,
            )
            self._has_new_state |= bool(inputs)
        return group

    def checkpoint_if_due(self, *, now: bool = False) -> None:
        """Write the state when its time has come; call it right after `commit`."""
        start_s = time.monotonic()
        if not self._has_new_state or (start_s < self._checkpoint_due_s and not now):
            return
        self._spool.checkpoint(self.core.snapshot())
        end_s = time.monotonic()
        pause_s = max(CHECKPOINT_EVERY_S, CHECKPOINT_SHARE * (end_s - start_s))
        self._checkpoint_due_s, self._has_new_state = end_s + pause_s, False

    def ledger(self, limit: int, now_ns: int) -> list[Batch]:
        """Accounts that changed, for the uplink; only what is committed."""
        assert not self._inputs, "accounts may not run ahead of the spool"
        return self.core.take_ledger(limit, now_ns)
