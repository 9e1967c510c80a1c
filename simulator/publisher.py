"""Drives a run: publishes a world's frames over MQTT, with the zone's clock, as fast as is asked.

announce (retained, with the map) > wait for an edge > for each frame: its messages, all
acknowledged, then the tick > final tick > "ended" > the retained announce is cleared.

The edge's own tick follows ours. Where it falls behind, or holds too many records for the cloud,
we wait: the replay slows down and drops nothing, and an edge or a broker that is killed and comes
back only pauses it. Only `published_at_ns` differs between two runs of the same world.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.base import Codec
from openvrc.contracts.errors import ContractError, SettingsError, VrcError
from openvrc.contracts.plugins import discover
from openvrc.contracts.topics import (
    PREFIX,
    TOPICS_KEPT,
    Topic,
    down_topic,
    is_down,
    parse_topic,
)
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.settings import Settings
from simulator.gbt32960.fleet import TerminalFleet
from simulator.link import LinkMaker, Stopped
from simulator.mqtt_link import MqttLink
from simulator.world import Frame, World, merged, unpaced

DRIVER_ID = "driver"
EDGE_WAIT_S = 30.0
"""How long an edge may take to answer an announcement before we say there is none."""
MAX_TICKS_AHEAD = 10
"""Ticks we may be ahead of the edge: enough to keep it busy, little to redo after a crash."""
TICK_EVERY_NS = NS_PER_S // 10
"""Of zone time. Edge and rules turn once more at each tick, so a frame that stands for a hundredth
of a second has none of its own: neither a rule nor a person tells more than ten a second apart."""
MAX_TICK_RECORDS = 5_000
"""After so many records one is due all the same: they are what we may be ahead of the edge by."""
MAX_PENDING_RECORDS = 100_000
"""Records the edge may hold for the cloud: a minute of a busy zone."""
REMIND_EVERY_S = 1.0
"""An edge's tick has QoS 0 and may be lost; repeating ours makes it say its own again."""
MIN_FRAME_S = 0.02
"""Wall time a frame should stand for; faster ones are merged."""
LONG_GAP_S = 60.0
"""A longer hole in a recording (a night's parking) is jumped, not waited for."""
FORGIVEN_S = 1.0
"""When we are further behind the wall clock than this, zone time lags instead of racing."""
PAUSE_POLL_S = 0.1

log = logging.getLogger(__name__)


class PublishError(VrcError):
    """A run that cannot be driven: says what is missing."""


@dataclass
class Progress:
    """Where a run stands; also its summary in the end."""

    zone_time_ns: int
    frames: int = 0
    messages: int = 0
    records: Counter[str] = field(default_factory=Counter)
    """Records sent by message."""
    slowed_s: float = 0.0
    """Time spent waiting for the edge."""
    waiting_for: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "zone_time": iso_from_ns(self.zone_time_ns),
            "frames": self.frames,
            "messages": self.messages,
            "records": dict(sorted(self.records.items())),
            "slowed_s": round(self.slowed_s, 3),
            "waiting_for": self.waiting_for,
        }


OnProgress = Callable[[Progress], None]
OnLine = Callable[[str], str]
"""Obeys one command and says what came of it; called on the network thread."""


def announce_batch(
    world: World,
    state: Literal["running", "ended"],
    rate_ratio: float,
    zone_time_ns: int | None = None,
) -> Batch:
    """The driver's `zone_announce`; zone time is the world's start unless given."""
    road_map = world.road_map
    columns = {
        "sampled_at_ns": world.start_ns if zone_time_ns is None else zone_time_ns,
        "state": state,
        "clock": "driven",
        "rate_ratio": float(min(max(rate_ratio, 0.0), 1e6)),
        "time_zone": world.time_zone,
        "title": world.title[:200],
        "map_version": road_map.map_version if road_map else None,
        "map_document": road_map.to_document() if road_map and state == "running" else None,
    }
    return _driver_batch(world, "zone_announce", columns)


def tick_batch(world: World, zone_time_ns: int, **steered: Any) -> Batch:
    """The driver's `tick`: every record up to this zone time has been sent.

    `steered` is what a driver that takes commands says of itself.
    """
    return _driver_batch(world, "tick", {"sampled_at_ns": zone_time_ns} | steered)


def _driver_batch(world: World, message: str, columns: dict[str, Any]) -> Batch:
    identity = {"source_id": DRIVER_ID, "subject_id": world.zone, "id_kind": "permanent"}
    return from_columns(
        message,
        zone=world.zone,
        run_id=world.run_id,
        origin=world.origin,
        columns=identity | columns,
        n_rows=1,
    )


class Publisher:
    """Drives one run; make one, call `run` once."""

    def __init__(
        self,
        world: World,
        settings: Settings,
        *,
        speed: float = 1.0,
        codec: str = "json",
        edge_wait_s: float = EDGE_WAIT_S,
        on_progress: OnProgress = lambda _progress: None,
        make_link: LinkMaker = MqttLink,
        terminals: TerminalFleet | None = None,
        on_line: OnLine | None = None,
    ) -> None:
        """`speed` is zone seconds per second; 0 or less: as fast as the pipeline takes it.

        `on_line` obeys commands for this run that come by MQTT; without it there are none.
        Raises SettingsError for an unknown codec.
        """
        codecs: dict[str, Codec] = discover("openvrc.contracts.codecs")
        if codec not in codecs:
            raise SettingsError(f"codec {codec!r}, expected one of {', '.join(codecs)}")
        self._world, self._speed = world, speed
        self._codec, self._json = codecs[codec], codecs["json"]
        self._edge_wait_s = edge_wait_s
        self._on_progress = on_progress
        self._terminals = terminals
        self._on_line = on_line
        self._said_s = time.monotonic()
        self._ending, self._halt = threading.Event(), threading.Event()
        self._paused = threading.Event()
        self._edge = _EdgeWatch(world.run_id, self._json)
        self._link = make_link(
            settings.broker_url,
            subscription=self._filters(on_line is not None),
            on_message=self._on_message,
            is_stopped=self._halt.is_set,
        )
        self._progress = Progress(world.start_ns)
        self._topics: dict[tuple[str, str, str], str] = {}
        self._ticks_ns: list[int] = []
        self._ticked_ns = world.start_ns
        self._n_unticked = 0
        self._wall_offset_s: float | None = None
        self._paced_speed = speed
        self._wound_to_ns = 0

    def stop(self) -> None:
        """End the run cleanly after the current frame: final counts, final tick, "ended"."""
        self._world.stop()
        self._ending.set()

    def abort(self) -> None:
        """Give up every wait; the run ends without its end being said."""
        self.stop()
        self._halt.set()

    def pause(self, is_paused: bool = True) -> None:
        """Hold zone time, or let it go on. May be called from another thread."""
        if is_paused:
            self._paused.set()
        else:
            self._paused.clear()

    @property
    def speed(self) -> float:
        """Zone seconds per second; 0: as fast as the pipeline takes it."""
        return self._speed

    def set_speed(self, speed: float) -> None:
        """From now on. May be called from another thread."""
        self._speed = speed  # what follows from it is the pacing thread's

    @property
    def is_stopped(self) -> bool:
        """Whether somebody ended the run before its world did."""
        return self._ending.is_set()

    @property
    def zone_time_ns(self) -> int:
        """How far the run has come."""
        return self._progress.zone_time_ns

    @property
    def can_seek(self) -> bool:
        """Whether its world can leave out what it says."""
        return hasattr(self._world, "seek")

    def seek(self, zone_time_ns: int) -> None:
        """Leave out what the world says before a zone time. May be called from another thread.

        Raises PublishError for a time that is past and for a world that cannot leave out.
        """
        seek: Callable[[int], None] | None = getattr(self._world, "seek", None)
        if seek is None:
            raise PublishError(f"{self._world.title} cannot be wound, expected a recording")
        if zone_time_ns < self.zone_time_ns:
            raise PublishError(
                f"{iso_from_ns(zone_time_ns)} is past, zone time is "
                f"{iso_from_ns(self.zone_time_ns)}: a run does not go back, start another"
            )
        self._wound_to_ns = zone_time_ns  # first, so that the pacing knows before a frame comes
        seek(zone_time_ns)

    def run(self) -> dict[str, Any]:
        """Publish the whole world; the summary.

        Raises LinkError if the broker cannot be reached, PublishError if no edge answers.
        """
        self._link.open()
        try:
            self._announce("running", self._world.start_ns)
            self._await_first_tick()
            for frame in self._frames():
                self._pace(frame)
                self._publish(frame)
                self._follow_edge()
            self._say_the_end()
        except Stopped:
            log.warning("stopped before the run's end was said")
        finally:
            if self._terminals is not None:
                self._terminals.close(self._progress.zone_time_ns)
            self._link.close()
        return self._progress.to_json()

    def _filters(self, takes_commands: bool) -> list[str]:
        zone = self._world.zone
        commands = [down_topic(zone, "zone", DRIVER_ID, "run_control")] if takes_commands else []
        return [f"{PREFIX}/{zone}/edge/+/tick", *commands]

    def _on_message(self, topic: str, payload: bytes) -> None:
        """On the network thread."""
        if not is_down(topic):
            self._edge.on_message(topic, payload)
        elif self._on_line is not None and (line := _command_of(payload, self._world.run_id)):
            log.info("told %r: %s", line, self._on_line(line))

    def _frames(self) -> Iterator[Frame]:
        if self._speed <= 0:
            return unpaced(self._world)
        return merged(self._world.frames(), MIN_FRAME_S * self._speed)

    def _announce(self, state: Literal["running", "ended"], zone_time_ns: int) -> None:
        batch = announce_batch(self._world, state, self._speed, zone_time_ns)
        self._send(batch, retain=True)
        self._link.drain()

    def _await_first_tick(self) -> None:
        deadline = time.monotonic() + self._edge_wait_s
        while self._edge.zone_time_ns is None:
            if time.monotonic() > deadline:
                self._clear_announce()
                raise PublishError(
                    f"no edge serves zone {self._world.zone!r} on this broker: none answered "
                    f"within {self._edge_wait_s:g} s; start one with: vrc edge"
                )
            if self._ending.is_set():
                self._clear_announce()
                raise Stopped
            self._waits_for("an edge to serve the zone")
            self._tick(self._world.start_ns)  # before any record, for the edge to answer
            self._edge.wait(REMIND_EVERY_S)
        self._waits_for("")

    def _pace(self, frame: Frame) -> None:
        """Sleep until the frame's time has come on the wall clock, and while we are paused."""
        while self._paused.is_set() and not self._ending.wait(PAUSE_POLL_S):
            self._wall_offset_s = None
            if not self._progress.waiting_for or time.monotonic() > self._said_s + REMIND_EVERY_S:
                self._tick(self._progress.zone_time_ns)  # it says that we are paused
            self._waits_for("somebody to end the pause")
        if self._progress.waiting_for:
            self._waits_for("")
        speed = self._speed  # read once: another thread may set it
        if speed != self._paced_speed:
            self._paced_speed, self._wall_offset_s = speed, None
        is_jump = self._is_jump(frame)
        if speed <= 0:
            return
        due_s = frame.zone_time_ns / NS_PER_S / speed
        now_s = time.monotonic()
        if (
            self._wall_offset_s is None
            or is_jump
            or now_s - due_s - self._wall_offset_s > FORGIVEN_S
        ):
            self._wall_offset_s = now_s - due_s
        wound_to_ns = self._wound_to_ns
        while (rest_s := due_s + self._wall_offset_s - time.monotonic()) > 0:
            if self._ending.wait(min(rest_s, PAUSE_POLL_S)):
                return
            if self._speed != speed or self._wound_to_ns != wound_to_ns:
                return  # the frame at hand is not worth a wait by what no longer holds

    def _is_jump(self, frame: Frame) -> bool:
        """Whether zone time leaps to a frame: somebody wound us there, or nothing was for long."""
        if 0 < self._wound_to_ns <= frame.zone_time_ns:
            self._wound_to_ns = 0
            return True
        gap_ns = frame.zone_time_ns - self._progress.zone_time_ns
        return self._progress.frames > 0 and gap_ns > LONG_GAP_S * NS_PER_S

    def _publish(self, frame: Frame) -> None:
        if self._terminals is not None:  # vehicles speak for themselves
            frame = Frame(frame.zone_time_ns, self._terminals.take(frame))
        topics, records = self._topics, self._progress.records
        outbox = []
        for outgoing, payload in zip(frame.messages, self._encoded(frame), strict=True):
            key = (outgoing.kind, outgoing.source_id, outgoing.message)
            topic = topics.get(key) or self._topic(key)
            outbox.append((topic, payload))
            records[key[2]] += outgoing.n_rows
        self._link.publish_all(outbox)
        self._progress.messages += len(frame.messages)
        self._n_unticked += sum(outgoing.n_rows for outgoing in frame.messages)
        if self._is_tick_due(frame.zone_time_ns):
            self._tick(frame.zone_time_ns)
            self._ticks_ns.append(frame.zone_time_ns)
        self._progress.zone_time_ns = frame.zone_time_ns
        self._progress.frames += 1
        self._on_progress(self._progress)

    def _topic(self, key: tuple[str, str, str]) -> str:
        """The topic of a kind, sender and message; making its text costs 5 us, so it is kept."""
        if len(self._topics) >= TOPICS_KEPT:
            self._topics.clear()
        return self._topics.setdefault(key, str(Topic(self._world.zone, *key, self._codec.name)))

    def _encoded(self, frame: Frame) -> list[bytes]:
        """Payloads of a frame's messages, in order; many senders' rows are encoded at once."""
        payloads = [b""] * len(frame.messages)
        places: dict[int, list[int]] = {}
        for place, outgoing in enumerate(frame.messages):
            places.setdefault(id(outgoing.whole), []).append(place)
        for mine in places.values():
            stamp = {"published_at_ns": time.time_ns()}
            stamped = frame.messages[mine[0]].whole.with_columns(stamp)
            bounds = [frame.messages[place].bounds for place in mine]
            parts = self._codec.encode_parts(stamped, bounds)
            for place, payload in zip(mine, parts, strict=True):
                damage = frame.messages[place].damage
                payloads[place] = damage.mangle(payload) if damage else payload
        return payloads

    def _is_tick_due(self, zone_time_ns: int) -> bool:
        is_later = zone_time_ns // TICK_EVERY_NS > self._ticked_ns // TICK_EVERY_NS
        return is_later or self._n_unticked >= MAX_TICK_RECORDS

    def _tick(self, zone_time_ns: int) -> None:
        self._ticked_ns, self._n_unticked = zone_time_ns, 0
        self._said_s = time.monotonic()
        self._link.drain()
        self._send(tick_batch(self._world, zone_time_ns, **self._steered()))

    def _steered(self) -> dict[str, Any]:
        if self._on_line is None:
            return {}
        return {
            "driver_state": "paused" if self._paused.is_set() else "running",
            "rate_ratio": min(max(self._speed, 0.0), 1e6),
            "can_seek": self.can_seek,
        }

    def _follow_edge(self) -> None:
        """Wait while the edge is too far behind us or the cloud behind the edge."""
        began = time.monotonic()
        while (reason := self._too_far_ahead()) and not self._ending.is_set():
            if not self._progress.waiting_for:
                log.info("slowing down: %s", reason)
            self._waits_for(reason)
            if not self._edge.wait(REMIND_EVERY_S):
                self._tick(self._progress.zone_time_ns)
        if self._progress.waiting_for:
            self._progress.slowed_s += time.monotonic() - began
            self._waits_for("")

    def _too_far_ahead(self) -> str:
        reached_ns = self._edge.zone_time_ns or self._world.start_ns
        del self._ticks_ns[: bisect_right(self._ticks_ns, reached_ns)]
        if len(self._ticks_ns) > MAX_TICKS_AHEAD:
            return f"the edge is {len(self._ticks_ns)} ticks behind"
        if self._edge.pending_records > MAX_PENDING_RECORDS:
            return f"the edge holds {self._edge.pending_records} records for the cloud"
        return ""

    def _say_the_end(self) -> None:
        self._tick(self._progress.zone_time_ns)
        self._link.drain()
        self._announce("ended", self._progress.zone_time_ns)
        self._clear_announce()
        self._on_progress(self._progress)

    def _clear_announce(self) -> None:
        """An empty retained message removes the retained one (MQTT 3.1.1, 3.3.1.3)."""
        topic = Topic(self._world.zone, "zone", DRIVER_ID, "zone_announce")
        self._link.publish(str(topic), b"", retain=True)
        self._link.drain()

    def _send(self, batch: Batch, *, retain: bool = False) -> None:
        """A control message of the driver, always JSON."""
        topic = Topic(batch.zone, "zone", DRIVER_ID, batch.message)
        stamped = batch.with_columns({"published_at_ns": time.time_ns()})
        self._link.publish(str(topic), self._json.encode(stamped), retain=retain)

    def _waits_for(self, reason: str) -> None:
        self._progress.waiting_for = reason
        self._on_progress(self._progress)


def _command_of(payload: bytes, run_id: str) -> str:
    """The line of a command for this run; "" for another run's, and, said so, for anything else."""
    try:
        said = json.loads(payload)
        line: str = str(said["line"])[:200] if said["run_id"] == run_id else ""
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning(
            "command %r is none (%s), expected JSON with run_id and line", payload[:80], error
        )
        return ""
    return line


class _EdgeWatch:
    """The newest tick any edge has said for our run. Written on the network thread."""

    def __init__(self, run_id: str, codec: Codec) -> None:
        self.zone_time_ns: int | None = None
        self.pending_records = 0
        self._run_id, self._codec = run_id, codec
        self._heard = threading.Event()

    def on_message(self, topic: str, payload: bytes) -> None:
        """Take in a tick; what is no tick of our run is not for us."""
        try:
            decoded = self._codec.decode(parse_topic(topic), payload, 0)
        except ContractError:  # somebody else's topic below ours
            return
        for batch in decoded.batches:
            if batch.run_id != self._run_id:
                continue
            for record in batch.to_records():
                newest_ns = max(self.zone_time_ns or 0, record["sampled_at_ns"])
                self.zone_time_ns = newest_ns
                self.pending_records = record.get("pending_records", 0)
                self._heard.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the next tick of the edge; False if none came in time."""
        was_heard = self._heard.wait(timeout_s)
        self._heard.clear()
        return was_heard
