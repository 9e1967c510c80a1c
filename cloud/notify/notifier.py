"""From committed alerts to channels: a thread that decides, one thread a channel that sends.

The pipeline's subscriber only puts alerts into a bounded queue; a channel that is slow or away
holds up nobody but itself. Every attempt is written down and counted. What does not go out after
MAX_ATTEMPTS, or what a queue has no room for, is written down as failed or dropped: the alert stays
open on the page, and routes repeat it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import psycopg

from cloud.alerting import AlertTransition
from cloud.api import present
from cloud.notify.base import (
    Channel,
    Event,
    Notification,
    NotifyError,
    PermanentError,
    RetryableError,
)
from cloud.notify.config import ChannelConfig, NotifyConfig, read_config
from cloud.notify.figures import Figures
from cloud.notify.routing import RANK, Notice, Router, Silence
from cloud.store import notices, reads
from cloud.store.reads import Connection
from openvrc.contracts.batch import Batch
from openvrc.contracts.errors import SettingsError
from openvrc.contracts.plugins import discover
from openvrc.contracts.units import NS_PER_S, ns_from_iso
from openvrc.settings import Settings

log = logging.getLogger(__name__)

Connect = Callable[[], AbstractContextManager[Connection]]

ROUND_S = 0.5
"""Alerts are routed within this; a person is told within `group_wait_s` more."""
QUEUED_ALERTS = 10_000
QUEUED_NOTIFICATIONS = 200
"""Of one channel; grouping makes few of them, so more means that the channel is away."""
MAX_ATTEMPTS = 5
FIRST_PAUSE_S = 2.0
PAUSE_FACTOR = 4.0
"""2, 8, 32 and 128 s between attempts: a receiver's restart lies within it."""
STOP_WITHIN_S = 5.0
SILENCES_EVERY_S = 5.0


class Notifier:
    """All channels and routes of one process."""

    def __init__(
        self, config: NotifyConfig, channels: Mapping[str, Channel], connect: Connect
    ) -> None:
        self.figures = Figures()
        self._connect = connect
        self._router = Router(config)
        self._taken: queue.Queue[dict[str, Any]] = queue.Queue(QUEUED_ALERTS)
        self._stop = threading.Event()
        self._silences: list[Silence] = []
        self._silences_read_s = float("-inf")
        self._senders = {
            c.name: _Sender(c, channels[c.type], self._write, self._stop) for c in config.channel
        }
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def on_commit(self, _batches: Sequence[Batch], transitions: Sequence[AlertTransition]) -> None:
        """A subscriber of the pipeline: called in its thread, never waits."""
        for transition in transitions:
            self.take(present.alert(transition.alert))

    def take(self, alert: Mapping[str, Any]) -> None:
        """An alert as the API shows it, after a change or after what somebody did."""
        try:
            self._taken.put_nowait(dict(alert))
        except queue.Full:
            self.figures.leave_out(alert)

    def start(self) -> None:
        """Begin; open alerts of before count as told."""
        self._thread.start()
        for sender in self._senders.values():
            sender.thread.start()

    def stop(self) -> None:
        """End; what is being sent has STOP_WITHIN_S."""
        self._stop.set()
        for thread in [self._thread, *(sender.thread for sender in self._senders.values())]:
            if thread.is_alive():
                thread.join(STOP_WITHIN_S)

    def _run(self) -> None:
        self._router.know(self._open_alerts(), time.time())
        while not self._stop.wait(ROUND_S):
            try:
                self._round(time.time())
            except Exception:
                # The outermost loop: a fault in one round must not silence all that come.
                log.exception("a round of the notifier failed")

    def _round(self, now_s: float) -> None:
        self._tell_left_out()
        while not self._taken.empty():
            self._router.take(_with_snooze(self._taken.get_nowait()), now_s)
        for notice in self._router.advance(now_s, self._silences_at(now_s)):
            self._hand_over(notice, now_s)

    def _tell_left_out(self) -> None:
        n, alerts = self.figures.take_left_out()
        if not n:
            return
        log.error("notifications: %d alerts waited already, %d were left out", QUEUED_ALERTS, n)
        worst_first = sorted(alerts, key=lambda alert: -RANK[alert["severity"]])
        told = Notification(uuid.uuid4().hex, "raised", "", tuple(worst_first), time.time())
        self._write("", told, 0, "dropped", f"{QUEUED_ALERTS} alerts wait, {n} are left out")

    def _hand_over(self, notice: Notice, now_s: float) -> None:
        for name in notice.channels:
            told = Notification(uuid.uuid4().hex, notice.event, notice.route, notice.alerts, now_s)
            self._senders[name].take(told)

    def _silences_at(self, now_s: float) -> list[Silence]:
        if now_s - self._silences_read_s >= SILENCES_EVERY_S:
            self._silences_read_s = now_s
            try:
                with self._connect() as connection:
                    rows = notices.silences(connection)
            except (psycopg.Error, TimeoutError):
                return self._silences  # those known still hold while the database is away
            self._silences = [
                Silence(
                    row["begins_ns"] / NS_PER_S, row["ends_ns"] / NS_PER_S,
                    row["zone"], row["rule"], row["subject"],
                )
                for row in rows
            ]  # fmt: skip
        return self._silences

    def _open_alerts(self) -> list[dict[str, Any]]:
        try:
            with self._connect() as connection:
                page = reads.alerts(connection, reads.AlertFilter(state="open"), limit=1000)
        except (psycopg.Error, TimeoutError):
            return []
        return [_with_snooze(present.alert_view(view)) for view in page.items]

    def _write(
        self, channel: str, told: Notification, attempt: int, outcome: str, detail: str
    ) -> None:
        self.figures.attempted(channel, outcome)
        facts = {
            "route": told.route, "channel": channel, "event": told.event,
            "alert_ids": [alert["id"] for alert in told.alerts],
            "severity": RANK[told.alerts[0]["severity"]], "attempt": attempt,
            "outcome": outcome, "detail": detail[:500],
        }  # fmt: skip
        try:
            with self._connect() as connection:
                notices.add_delivery(connection, facts)
        except (psycopg.Error, TimeoutError) as error:
            log.error(
                "notification %s by %s: %s, not written: %s", told.id, channel, outcome, error
            )


class _Sender:
    """One channel's queue and thread."""

    def __init__(
        self,
        config: ChannelConfig,
        channel: Channel,
        write: Callable[[str, Notification, int, str, str], None],
        stop: threading.Event,
    ) -> None:
        self._config, self._channel, self._write, self._stop = config, channel, write, stop
        self._queue: queue.Queue[Notification] = queue.Queue(QUEUED_NOTIFICATIONS)
        self.thread = threading.Thread(target=self._run, name=f"notify {config.name}", daemon=True)

    def take(self, told: Notification) -> None:
        """Queue it, or write down that there was no room."""
        try:
            self._queue.put_nowait(told)
        except queue.Full:
            self._write(self._config.name, told, 0, "dropped", "the channel's queue is full")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                told = self._queue.get(timeout=ROUND_S)
            except queue.Empty:
                continue
            self._send(told)

    def _send(self, told: Notification) -> None:
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, MAX_ATTEMPTS + 1):
            outcome, detail = self._attempt(told, is_last=attempt == MAX_ATTEMPTS)
            self._write(self._config.name, told, attempt, outcome, detail)
            if outcome != "retry" or self._stop.wait(pause_s):
                return
            pause_s *= PAUSE_FACTOR

    def _attempt(self, told: Notification, *, is_last: bool) -> tuple[str, str]:
        try:
            self._channel.send(told, self._config.options)
        except RetryableError as error:
            return "failed" if is_last else "retry", str(error)
        except NotifyError as error:
            return "failed", str(error)
        except Exception as error:
            # A channel may be anybody's plug-in: its fault is its own.
            log.exception("channel %s failed", self._config.name)
            return "failed", f"{type(error).__name__}: {error}"
        return "sent", ""


def notifier_of(settings: Settings, connect: Connect) -> Notifier | None:
    """The notifier that the settings ask for. Raises SettingsError for a file that cannot work."""
    if settings.notify_file is None:
        return None
    config = read_config(settings.notify_file)
    channels: dict[str, Channel] = discover("cloud.notify")
    for channel in config.channel:
        where = f"VRC_NOTIFY_FILE is {settings.notify_file}: channel {channel.name!r}"
        if channel.type not in channels:
            raise SettingsError(f"{where} is of type {channel.type!r}, expected {sorted(channels)}")
        try:
            channels[channel.type].check(channel.options)
        except PermanentError as error:
            raise SettingsError(f"{where}: {error}") from error
    return Notifier(config, channels, connect)


def _with_snooze(alert: dict[str, Any]) -> dict[str, Any]:
    if "snoozed_until_at" not in alert:
        return alert
    until = alert["snoozed_until_at"]
    return alert | {"snoozed_until_s": ns_from_iso(until) / NS_PER_S if until else 0.0}


__all__ = ["Event", "Notifier", "notifier_of"]
