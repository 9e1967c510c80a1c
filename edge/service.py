"""`vrc edge`: wires intake, core, spool and uplink.

intake thread > main loop (drain, core, group commit, acknowledge, publish ticks) > uplink thread.
The main loop is the only one that touches the core and writes the spool.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from edge.core import Group
from edge.gbt32960.intake import with_terminals
from edge.giving_up import Policy
from edge.health import Health
from edge.inbox import Delivery
from edge.ingest_client import IngestClient
from edge.intake import Intake, open_intake
from edge.journal import WALL_CLOCK, Input
from edge.json_log import log_to_stderr
from edge.pipeline import Pipeline
from edge.sessions import settle_sessions
from edge.spool import Spool, SpoolWriteError
from edge.uplink import CLAIM_TIMEOUT_S, LEDGER_ROWS, Done, NameTakenError, Uplink, claim_name
from edge.warnings import advisories
from edge.worker_pool import WorkerPool
from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.detection import Detector, runs_at_edge
from openvrc.contracts.errors import VrcError
from openvrc.contracts.plugins import chosen, discover
from openvrc.contracts.topics import Topic
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.zone import read_zones
from openvrc.memory import collect_rarely, switch_threads_often, use_frugal_allocators
from openvrc.settings import Settings

LOG = logging.getLogger("edge")

IDLE_WAIT_S = 0.2
"""How long the main loop waits for a message; bounds the delay of everything else it does."""
LEAST_GATHER_S = 0.02
"""An edge with little to do waits so long for the rest of a burst: half a group costs as much."""
MAX_GROUP_MESSAGES = 1_000
"""Messages of one group: 50,000 records of RSU batches, well below the cloud's largest body."""
MAX_GROUP_BYTES = 2_000_000
"""Payload bytes of one group: 4,000 records in JSON, 14,000 in Arrow. Larger ones cost no less per
record and take five times their bytes while they are decoded."""
STATUS_EVERY_S = 10.0
REPEAT_TICKS_EVERY_S = 1.0
"""A driver waits for the edge's tick; one lost to a restart must not make it wait for ever."""
LAST_UPLINK_S = 3.0
"""After a request to stop, the uplink gets this long for what is left; the rest stays spooled."""
DISK_RETRY_S = 0.5
"""A full disk is tried again after this; each try costs a sync."""
SPOOL_FILE = "spool.sqlite"


def run_edge(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop, 1 if the edge cannot go on."""
    log_to_stderr()
    use_frugal_allocators()
    switch_threads_often()
    stopping = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        LOG.info("%s: stopping", signal.Signals(number).name)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        service = EdgeService(settings)
        collect_rarely()
        service.run(stopping)
    except VrcError as error:
        LOG.error("edge cannot go on: %s", error)
        return 1
    return 0


def _rules_of(settings: Settings) -> dict[str, Detector]:
    """The rules switched on. Raises SettingsError for a name that means none."""
    if not settings.edge_rules:
        return {}
    every = discover("openvrc.detectors")
    able = {name: rule for name, rule in every.items() if runs_at_edge(rule)}
    return chosen(able, settings.edge_rules)


class EdgeService:
    """One edge process."""

    def __init__(self, settings: Settings) -> None:
        """Opens the spool and restores the state. Raises SpoolError, SettingsError, StateError."""
        self._edge_id = settings.edge_id
        self._commit_every_s = settings.edge_commit_every_ms / 1000.0
        self._gather_s = self._commit_every_s
        path = settings.data_dir / f"edge-{settings.edge_id}" / SPOOL_FILE
        self._spool = Spool(path, settings.edge_id, settings.edge_spool_max_bytes)
        if self._spool.moved_aside:
            LOG.error("spool was damaged; moved to %s, a new one begun", self._spool.moved_aside)
        self._pipeline = Pipeline(
            self._spool,
            read_zones(settings.zones_dir),
            settings.edge_id,
            max_payload_bytes=settings.edge_max_payload_bytes,
            policy=Policy(
                drops_oldest=settings.edge_spool_when_full == "drop_oldest",
                max_age_ns=int(settings.edge_spool_max_age_s * NS_PER_S),
            ),
            detectors=_rules_of(settings),
            warn=self._publish_warnings if settings.edge_rules else None,
        )
        cloud = (settings.cloud_url, settings.api_key, settings.edge_id)
        self._claimer = IngestClient(*cloud, timeout_s=CLAIM_TIMEOUT_S)
        self._uplink = Uplink(path, self._spool.epoch, IngestClient(*cloud), settings.edge_id)
        self._intake = self._open_intake(settings, path.parent)
        self._health = Health(
            settings, self._spool, self._pipeline.core, self._uplink, self._intake
        )
        self._is_full = False
        self._stopping = threading.Event()
        self._wall_second = 0
        self._ticks_due_s = self._status_due_s = 0.0
        self._last_status: dict[str, object] = {}

    def _open_intake(self, settings: Settings, folder: Path) -> Intake:
        try:
            settle_sessions(settings, folder)
        except VrcError:
            self._spool.close()
            raise
        is_shared = settings.edge_workers > 0
        mqtt = WorkerPool(settings, folder) if is_shared else open_intake(settings)
        return with_terminals(mqtt, settings)

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping`; then commit, acknowledge, checkpoint.

        Raises SpoolError, NameTakenError.
        """
        self._stopping = stopping
        try:
            claim_name(self._claimer, self._edge_id, self._spool.epoch, stopping)
        except NameTakenError:
            self._spool.close()
            raise
        self._uplink.start()
        self._health.start()
        self._intake.start()
        LOG.info("edge %s runs, spool epoch %d", self._edge_id, self._spool.epoch)
        try:
            while not stopping.is_set():
                self._turn()
            self._finish()
        finally:
            self._intake.stop()
            self._health.stop()
            self._uplink.stop(LAST_UPLINK_S)
            self._spool.close()

    def _turn(self) -> None:
        """One group: drain, fold, commit, acknowledge, tell."""
        deliveries = [] if self._waits_for_room() else self._drain()
        now_ns = time.time_ns()
        began_s = time.monotonic()
        for delivery in deliveries:
            self._pipeline.give(
                Input(delivery.kind, delivery.received_at_ns, delivery.topic, delivery.payload)
            )
        if now_ns // NS_PER_S > self._wall_second and not self._is_full:
            self._wall_second = now_ns // NS_PER_S
            self._pipeline.give(Input(WALL_CLOCK, now_ns))
        self._commit(deliveries, self._uplink.take_done(), now_ns)
        # As long as a group takes, so that a busy edge makes larger ones and an idle one is quick.
        busy_s = time.monotonic() - began_s
        self._gather_s = min(max(busy_s, LEAST_GATHER_S), self._commit_every_s)
        self._repeat_ticks(now_ns)
        self._log_status()

    def _drain(self) -> list[Delivery]:
        return self._intake.drain(IDLE_WAIT_S, self._gather_s, MAX_GROUP_MESSAGES, MAX_GROUP_BYTES)

    def _waits_for_room(self) -> bool:
        """Full: nothing more is taken or acknowledged, the broker keeps it."""
        if self._spool.is_full and self._spool.pending_records == 0:
            self._pipeline.checkpoint_if_due(now=True)  # only the journal is left to shrink
            with suppress(SpoolWriteError):  # the next group says so
                self._spool.forget_covered()
        is_full = self._spool.is_full
        if is_full != self._is_full:
            state = "full: acknowledging nothing" if is_full else "has room again"
            LOG.warning("spool of %d bytes %s", self._spool.n_bytes, state)
        self._is_full = is_full
        if is_full:
            time.sleep(self._commit_every_s)
        return is_full

    def _commit(self, deliveries: list[Delivery], done: list[Done], now_ns: int) -> None:
        self._pipeline.give_refused(done, now_ns)
        group = self._committed(done, now_ns)
        self._intake.ack(deliveries)
        self._health.acknowledged(sum(delivery.n_messages for delivery in deliveries))
        self._health.look()
        self._say_what_was_asked()
        self._publish(group.ticks)
        if self._uplink.wants_ledger:
            rows = self._pipeline.ledger(LEDGER_ROWS, now_ns)
            if rows:
                self._uplink.offer_ledger(rows)
        if group.batches:
            self._uplink.wake()
        # A journal that is no longer needed makes room before anything else has to.
        self._pipeline.checkpoint_if_due(now=self._spool.is_full)

    def _say_what_was_asked(self) -> None:
        """Commands and other messages that the cloud has for senders."""
        for topic, payload in self._health.take_asked():
            self._intake.publish(topic, payload)

    def _committed(self, done: list[Done], now_ns: int) -> Group:
        try:
            if not self._pipeline.must_give_up:
                return self._pipeline.commit(done, now_ns)
            with self._uplink.holding() as held_to:
                if held_to is not None:
                    self._pipeline.give_up(held_to, now_ns)
                return self._pipeline.commit(done, now_ns)
        except SpoolWriteError as error:
            return self._once_written(error)

    def _once_written(self, error: SpoolWriteError) -> Group:
        """Wait until the disk takes the group; nothing is taken in or acknowledged meanwhile."""
        LOG.error("acknowledging nothing until this can be written: %s", error)
        while not self._stopping.wait(DISK_RETRY_S):
            self._health.look(str(error))
            self._say_what_was_asked()
            try:
                group = self._pipeline.write_again(self._uplink.take_done(is_plain=True))
            except SpoolWriteError as again:
                error = again
            else:
                LOG.warning("the spool can be written again")
                return group
        raise error

    def _publish_warnings(self, group: Group) -> None:
        for topic, payload in advisories(group.batches, self._edge_id):
            self._intake.publish(topic, payload)

    def _publish(self, ticks: list[Batch]) -> None:
        codec = JsonCodec()
        for tick in ticks:
            topic = Topic(tick.zone, "edge", self._edge_id, "tick")
            self._intake.publish(str(topic), codec.encode(tick))

    def _repeat_ticks(self, now_ns: int) -> None:
        if time.monotonic() < self._ticks_due_s:
            return
        self._ticks_due_s = time.monotonic() + REPEAT_TICKS_EVERY_S
        pending = self._spool.pending_records
        ticks = self._pipeline.core.ticks_now(now_ns)
        self._publish([tick.with_columns({"pending_records": pending}) for tick in ticks])

    def _log_status(self) -> None:
        if time.monotonic() < self._status_due_s:
            return
        self._status_due_s = time.monotonic() + STATUS_EVERY_S
        status: dict[str, object] = {
            **self._pipeline.core.totals(),
            "pending_records": self._spool.pending_records,
            "spool_bytes": self._spool.n_bytes,
            "uplink_problem": self._uplink.last_problem,
        }
        if status != self._last_status:
            LOG.info("status %s", status)
        self._last_status = status

    def _finish(self) -> None:
        """What was taken in is committed and acknowledged; the uplink gets a moment to end."""
        self._intake.stop_reading()
        while deliveries := self._intake.drain(0.0, 0.0, MAX_GROUP_MESSAGES, MAX_GROUP_BYTES):
            for delivery in deliveries:
                self._pipeline.give(
                    Input(delivery.kind, delivery.received_at_ns, delivery.topic, delivery.payload)
                )
            self._commit(deliveries, self._uplink.take_done(), time.time_ns())
        until_s = time.monotonic() + LAST_UPLINK_S
        while time.monotonic() < until_s and not self._uplink.last_problem:
            self._commit([], self._uplink.take_done(), time.time_ns())
            is_told = not (self._uplink.has_ledger or self._pipeline.core.has_changed_accounts)
            if is_told and not self._spool.pending_records:
                break
            time.sleep(self._commit_every_s)
        self._pipeline.checkpoint_if_due(now=True)
        LOG.info("stopped, %d records stay spooled", self._spool.pending_records)
