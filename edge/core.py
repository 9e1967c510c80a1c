"""EdgeCore: payloads in, batches out. Pure: no clock, network or disk; times are passed in.

The same inputs in the same order give the same outputs and state, however they are divided into
groups: that is what a restart relies on (spool.py) and why `vrc analyse` gives a live run's
alerts. Inputs: `on_payload` (or `on_batch` for a ready Batch), `on_wall_clock`, `on_refused`,
`on_given_up`.
Outputs: `take_group`, and `take_ledger` for the accounts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edge import dead_letters
from edge.arrivals import Arrivals, of_admitted, of_batch
from edge.dead_letters import letter_batches, row_letter
from edge.doors import Doors, Payload
from edge.giving_up import Loss
from edge.group_log import UNNUMBERED, GroupLog, Step
from edge.ledger import Ledger
from edge.ledger_rows import ledger_batches
from edge.refuser import Refuser, whole
from edge.rules import NO_RULES
from edge.run import Output
from edge.runs import Runs
from edge.state_file import StateError, pack_state, unpack_state
from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Codec, Reject
from openvrc.contracts.codecs.bulk import decode_one
from openvrc.contracts.detection import Detector
from openvrc.contracts.errors import ContractError
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.plugins import discover
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic, is_down, parse_topic
from openvrc.contracts.zone import Zone

CODECS = "openvrc.contracts.codecs"
DEFAULT_MAX_PAYLOAD_BYTES = 4_000_000
MAX_ANNOUNCE_BYTES = 16_000_000
"""A zone_announce carries the map; a city's is larger than any batch of records may be."""
MAX_LEDGERS = 1000
"""Accounts are kept for this many (zone, run); those of further unknown ones go to one."""
_CONTROL = ("zone_announce", "tick", "source_status")
STATE_VERSION = 2
MAX_KNOWN_TOPICS = 200_000
"""Parsed topics kept: one for each of 100,000 vehicles that send two kinds of messages."""


@dataclass(frozen=True)
class Group:
    """Everything made since the last take.

    `batches` stand in order of processing: records before the tick that covers them.
    """

    batches: list[Batch] = field(default_factory=list)
    n_records: int = 0
    """Numbered records among them: what counts as pending until the cloud has it."""
    steps: list[Step] = field(default_factory=list)
    """What of the inputs, and of `batches`, a journal has to keep."""

    @property
    def ticks(self) -> list[Batch]:
        """The edge's ticks, to be published as well."""
        return [batch for batch in self.batches if batch.message == "tick"]


class EdgeCore:
    """One edge: all its zones and runs."""

    def __init__(
        self,
        zones: Mapping[str, tuple[Zone, RoadMap]],
        edge_id: str,
        edge_epoch: int,
        *,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        codecs: Mapping[str, Codec] | None = None,
        detectors: Mapping[str, Detector] = NO_RULES,
    ) -> None:
        """`zones` are those of folders, by name; others come by announcement.

        `detectors` are the rules that run at this edge.
        """
        self._edge_id, self._edge_epoch = edge_id, edge_epoch
        self._max_payload_bytes = max_payload_bytes
        self._codecs = dict(codecs) if codecs is not None else discover(CODECS)
        self._doors = Doors(self._codecs)
        self._topics: dict[str, Topic] = {}
        self._ledgers: dict[tuple[str, str], Ledger] = {}
        self._runs = Runs(zones, edge_id, self._ledger, detectors)
        self._out = Output()
        self._log = GroupLog()
        self._refuser = Refuser(self._ledger)
        self._freed: list[tuple[str, str]] = []
        """Runs that are over, whose accounts wait for their last row to go up."""

    def on_payload(
        self, topic_text: str, payload: bytes, received_at_ns: int, number: int = UNNUMBERED
    ) -> bool:
        """One MQTT message. Whatever is wrong with it becomes a dead letter; raises nothing.

        False if it waits to be decoded with its like; `number` is its place in the group's inputs.
        """
        topic = self._topics.get(topic_text) or self._learn_topic(topic_text)
        if topic is not None and len(payload) <= self._max_payload_bytes:
            self._doors.add(Payload(topic, topic_text, payload, received_at_ns, number))
            return False
        self._on_other(topic_text, payload, received_at_ns)
        return True

    def _learn_topic(self, topic_text: str) -> Topic | None:
        """The topic of records that we can decode; None for every other."""
        try:
            topic = parse_topic(topic_text)
        except ContractError:
            return None
        is_edge = topic.kind == "edge" and topic.message != "road_event"
        if is_edge or topic.message in _CONTROL or topic.codec not in self._codecs:
            return None
        if len(self._topics) >= MAX_KNOWN_TOPICS:
            self._topics.clear()
        self._topics[topic_text] = topic
        return topic

    def _on_other(self, topic_text: str, payload: bytes, received_at_ns: int) -> None:
        """Control messages, and what cannot be decoded."""
        if is_down(topic_text):
            return  # what is said to senders, by us or another edge
        try:
            topic = parse_topic(topic_text)
        except ContractError as error:
            self._refuser.unparsed(topic_text, payload, str(error), received_at_ns, self._out)
            return
        if topic.kind == "edge" and topic.message != "road_event":
            if topic.message != "tick":  # ticks are our own, or another edge's
                text = f"{topic.message} is said by edges to the cloud, not by MQTT"
                self._refuser.unparsed(topic_text, payload, text, received_at_ns, self._out)
            return
        if topic.message == "zone_announce" and not payload:
            return  # MQTT's way of taking a retained message back, not a statement
        given = Payload(topic, topic_text, payload, received_at_ns)
        problem = self._problem(given)
        if problem is not None:
            self._refuser.payload(given, problem, self._out)
        else:
            self._on_control_payload(given)

    def on_folded(self, batch: Batch) -> None:
        """Records that were admitted before, after a crash (`Group.steps`)."""
        self._take(of_admitted(batch))

    def note(self, number: int) -> None:
        """The input of this place in the group has taken effect."""
        self._log.input(number)

    def _problem(self, given: Payload) -> Reject | None:
        """Why a payload is not even looked into."""
        topic, n_bytes = given.topic, len(given.data)
        limit = MAX_ANNOUNCE_BYTES if topic.message == "zone_announce" else self._max_payload_bytes
        if n_bytes > limit:
            text = f"payload has {n_bytes} bytes, expected at most {limit}"
            return whole(given, Reason.TOO_LARGE, text)
        if topic.codec not in self._codecs:
            text = f"codec is {topic.codec!r}, expected one of {', '.join(self._codecs)}"
            return whole(given, Reason.UNKNOWN_CODEC, text)
        return None

    def _on_control_payload(self, given: Payload) -> None:
        codec = self._codecs[given.topic.codec]
        decoded = decode_one(codec, given.topic, given.data, given.received_at_ns)
        for batch in decoded.batches:
            if batch.n_rows:
                self._on_control(batch, given.received_at_ns, given.topic_text)
        for reject in decoded.rejects:
            self._refuser.payload(given, reject, self._out)

    def _open_doors(self, zone: str | None = None) -> None:
        """Decode what waits, and hand it to its runs."""
        if self._doors.is_empty:
            return
        opened = self._doors.open(self._log, zone)
        for arrivals in opened.arrivals:
            self._take(arrivals)
        for given, reject in opened.rejects:
            self._refuser.payload(given, reject, self._out)

    def on_batch(self, batch: Batch, received_at_ns: int, topic_text: str = "") -> None:
        """Records that need no decoding (`vrc analyse`, tests); the door behind `on_payload`."""
        self.on_batches([batch], received_at_ns, topic_text)

    def on_batches(
        self,
        batches: Sequence[Batch],
        received_at_ns: int,
        topic_text: str = "",
        number: int = UNNUMBERED,
    ) -> None:
        """Several at once, as one input of the group; do not `note` its number."""
        openings = () if number == UNNUMBERED else (self._log.opening([number]),)
        for batch in batches:
            text = topic_text or f"vrc/v1/{batch.zone}/batch/{batch.message}"
            if batch.n_rows and batch.message in _CONTROL:
                for opening in openings:
                    opening.is_clean = False
                self._on_control(batch, received_at_ns, text)
            elif batch.n_rows:
                self._open_doors(batch.zone)  # what came before comes first
                self._take(replace(of_batch(batch, received_at_ns, text), openings=openings))

    def _take(self, arrivals: Arrivals) -> None:
        batch, at_ns = arrivals.batch, int(arrivals.received_at_ns[0])
        run = self._runs.find(batch.zone, batch.run_id, batch.origin, at_ns, self._out)
        if run is None:
            arrivals.doubt()
            is_known = self._runs.knows_zone(batch.zone)
            self._refuser.homeless(arrivals, is_known, self._out)
        else:
            run.add(arrivals)

    def _on_control(self, batch: Batch, received_at_ns: int, topic_text: str) -> None:
        if batch.message != "source_status":
            self._open_doors(batch.zone)  # records before the tick that covers them
        if batch.message == "zone_announce":
            problem = self._runs.on_announce(batch, received_at_ns, self._out)
        elif batch.message == "tick":
            problem = self._runs.on_tick(batch, received_at_ns, self._out)
        else:
            problem = None
            self._state_counts(batch, received_at_ns)
        if problem is not None:
            letter = row_letter(batch, 0, problem[0], problem[1], received_at_ns, topic_text)
            self._out.letters.append(letter)

    def _state_counts(self, batch: Batch, received_at_ns: int) -> None:
        ledger = self._ledger(batch.zone, batch.run_id)
        rows = zip(
            batch.texts("source_id"),
            batch.column("session").tolist(),
            batch.column("sent_count").tolist(),
            strict=True,
        )
        for source_id, session, sent_count in rows:
            slot = ledger.slot(source_id, session, batch.origin, received_at_ns)
            ledger.state_count(slot, sent_count)

    def on_wall_clock(self, now_ns: int) -> None:
        """The wall clock has come to `now_ns`: tick the runs that live by it, forget ended ones."""
        self._open_doors()
        self._freed += self._runs.on_wall_clock(now_ns, self._out)
        # An account goes only after its last row went up: a cloud that is away delays it.
        kept = [key for key in self._freed if self._has_news(key)]
        for key in self._freed:
            if key not in kept and not self._runs.has(*key):
                self._ledgers.pop(key, None)
        self._freed = kept

    def _has_news(self, key: tuple[str, str]) -> bool:
        ledger = self._ledgers.get(key)
        return ledger is not None and ledger.has_changed

    def on_refused(self, batch: Batch, detail: str, now_ns: int) -> None:
        """The store refused these forwarded records for good: they become dead letters."""
        if MESSAGES[batch.message].is_numbered:  # else our own word about others: nothing is lost
            self._refuser.by_store(batch, detail, now_ns, self._out)

    def on_given_up(self, losses: Sequence[Loss], cause: str, now_ns: int) -> None:
        """Forwarded records left the spool unsent; `cause` is "dropped" or "expired"."""
        for loss in losses:
            ledger = self._ledger(loss.zone, loss.run_id)
            slot = ledger.slot(loss.source_id, loss.session, loss.origin, now_ns)
            ledger.give_up(slot, cause, loss.n_records)

    def take_group(self, pending_records: int | None = None) -> Group:
        """Process what was taken in and hand out everything made since the last take.

        `pending_records` is what the edge's ticks say is still on its way to the cloud.
        """
        self._open_doors()
        self._runs.flush(self._out)
        out, self._out = self._out, Output()
        log, self._log = self._log, GroupLog()
        batches = out.batches + letter_batches(out.letters)
        steps = log.steps(batches)
        if pending_records is not None:
            batches = [
                b.with_columns({"pending_records": pending_records}) if b.message == "tick" else b
                for b in batches
            ]
        numbered = (b.n_rows for b in batches if MESSAGES[b.message].is_numbered)
        return Group(batches, sum(numbered), steps)

    def take_ledger(self, limit: int, now_ns: int) -> list[Batch]:
        """At most `limit` accounts that changed, as `source_ledger` batches."""
        batches: list[Batch] = []
        # The run that was asked first comes last next time, so that none waits for ever.
        for zone, run_id in list(self._ledgers):
            ledger = self._ledgers.pop((zone, run_id))
            self._ledgers[zone, run_id] = ledger
            slots = ledger.take_changed(limit - sum(b.n_rows for b in batches))
            batches += ledger_batches(
                zone,
                run_id,
                ledger,
                slots,
                edge_id=self._edge_id,
                edge_epoch=self._edge_epoch,
                now_ns=now_ns,
                skew=self._runs.skew_of(zone, run_id),
            )
            if sum(b.n_rows for b in batches) >= limit:
                break
        return batches

    @property
    def has_changed_accounts(self) -> bool:
        """Whether `take_ledger` has anything to give."""
        return any(ledger.has_changed for ledger in self._ledgers.values())

    def ticks_now(self, now_ns: int) -> list[Batch]:
        """The newest tick of each driven run once more: its driver may have missed it."""
        return self._runs.ticks_now(now_ns)

    def totals(self) -> Mapping[str, int]:
        """The terms of the accounting's sum over everything, for the log."""
        each = [ledger.totals() for ledger in (Ledger(), *self._ledgers.values())]
        return {name: sum(totals[name] for totals in each) for name in each[0]}

    def rejected(self) -> Mapping[str, int]:
        """Rejected units by reason over everything."""
        counts: Counter[str] = Counter()
        for ledger in self._ledgers.values():
            for reasons in ledger.rejected.values():
                counts.update(reasons)
        return dict(sorted(counts.items()))

    def _ledger(self, zone: str, run_id: str) -> Ledger:
        key = (zone, run_id)
        if key not in self._ledgers and len(self._ledgers) >= MAX_LEDGERS:
            key = (dead_letters.UNKNOWN, "live")
        return self._ledgers.setdefault(key, Ledger())

    def snapshot(self) -> bytes:
        """The whole state, for a checkpoint; take it right after `take_group`."""
        return pack_state(self.state_tree())

    def state_tree(self) -> dict[str, Any]:
        """The whole state as a copy that `pack_state` takes, also in another thread."""
        ledgers = [[*key, ledger.snapshot()] for key, ledger in self._ledgers.items()]
        return {
            "version": STATE_VERSION,
            "ledgers": ledgers,
            "freed": list(self._freed),
            "runs": self._runs.snapshot(),
        }

    def restore(self, data: bytes) -> None:
        """Go on from a checkpoint. Raises StateError."""
        tree = unpack_state(data)
        if tree.get("version") != STATE_VERSION:
            found = tree.get("version")
            raise StateError(f"checkpoint has version {found!r}, this edge reads {STATE_VERSION}")
        self._ledgers = {(zone, run): Ledger.restore(rows) for zone, run, rows in tree["ledgers"]}
        self._freed = [(zone, run) for zone, run in tree["freed"]]
        self._runs.restore(tree["runs"])

    def unread_rules(self) -> Mapping[str, str]:
        """Rules that begin anew as they could not read their part of the checkpoint, and why."""
        return self._runs.unread_rules()
