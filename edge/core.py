"""EdgeCore: payloads in, batches out. Pure: no clock, network or disk; times are passed in.

The same inputs in the same order give the same outputs and state, however they are divided into
groups: that is what a restart relies on (spool.py) and why `vrc analyse` gives a live run's
alerts. Inputs: `on_payload` (or `on_batch` for a ready Batch), `on_wall_clock`, `on_refused`.
Outputs: `take_group`, and `take_ledger` for the accounts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge import dead_letters
from edge.dead_letters import Letter, letter_batches, row_letter, topic_id
from edge.ledger import NO_SESSION, Ledger, ledger_batches, totals
from edge.run import Output
from edge.runs import Runs
from edge.state_file import StateError, pack_state, unpack_state
from edge.taken import RecordCodec, Taken, by_run, merged
from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Codec, Reject
from openvrc.contracts.errors import ContractError
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.plugins import discover
from openvrc.contracts.reasons import REASON_TEXT, Reason
from openvrc.contracts.topics import Topic, parse_topic
from openvrc.contracts.units import ABSENT_I64
from openvrc.contracts.zone import Zone

CODECS = "openvrc.contracts.codecs"
DEFAULT_MAX_PAYLOAD_BYTES = 4_000_000
MAX_ANNOUNCE_BYTES = 16_000_000
"""A zone_announce carries the map; a city's is larger than any batch of records may be."""
MAX_LEDGERS = 1000
"""Accounts are kept for this many (zone, run); those of further unknown ones go to one."""
_CONTROL = ("zone_announce", "tick", "source_status")
STATE_VERSION = 1
Opened = tuple[Sequence[Taken], Sequence[Reject]]
"""What was in a payload: what can be used, and what cannot."""


@dataclass(frozen=True)
class Group:
    """Everything made since the last take.

    `batches` stand in order of processing: records before the tick that covers them.
    """

    batches: list[Batch] = field(default_factory=list)
    n_records: int = 0
    """Numbered records among them: what counts as pending until the cloud has it."""

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
    ) -> None:
        """`zones` are those of folders, by name; others come by announcement."""
        self._edge_id, self._edge_epoch = edge_id, edge_epoch
        self._max_payload_bytes = max_payload_bytes
        self._codecs = dict(codecs) if codecs is not None else discover(CODECS)
        # Asking a protocol "are you one?" costs 30 us, as much as decoding a record: once each.
        self._readers = {n: c for n, c in self._codecs.items() if isinstance(c, RecordCodec)}
        self._ledgers: dict[tuple[str, str], Ledger] = {}
        self._runs = Runs(zones, edge_id, self._ledger)
        self._out = Output()
        self._freed: list[tuple[str, str]] = []
        """Runs that are over, whose accounts wait for their last row to go up."""

    def on_payload(self, topic_text: str, payload: bytes, received_at_ns: int) -> None:
        """One MQTT message. Whatever is wrong with it becomes a dead letter; raises nothing."""
        try:
            topic = parse_topic(topic_text)
        except ContractError as error:
            self._reject_unparsed(topic_text, payload, str(error), received_at_ns)
            return
        if topic.kind == "edge" and topic.message != "road_event":
            if topic.message != "tick":  # ticks are our own, or another edge's
                text = f"{topic.message} is said by edges to the cloud, not by MQTT"
                self._reject_unparsed(topic_text, payload, text, received_at_ns)
            return
        if topic.message == "zone_announce" and not payload:
            return  # MQTT's way of taking a retained message back, not a statement
        taken, rejects = self._decode(topic, payload, received_at_ns)
        for part in taken:
            self._take(part, received_at_ns, topic_text)
        for reject in rejects:
            self._reject(topic, topic_text, reject, len(payload), received_at_ns)

    def _decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Opened:
        limit = MAX_ANNOUNCE_BYTES if topic.message == "zone_announce" else self._max_payload_bytes
        if len(payload) > limit:
            text = f"payload has {len(payload)} bytes, expected at most {limit}"
            return _whole(topic, payload, Reason.TOO_LARGE, text)
        codec = self._codecs.get(topic.codec)
        if codec is None:
            text = f"codec is {topic.codec!r}, expected one of {', '.join(self._codecs)}"
            return _whole(topic, payload, Reason.UNKNOWN_CODEC, text)
        try:
            reader = self._readers.get(topic.codec)
            if reader is not None and topic.message not in _CONTROL:
                records, rejects = reader.read_records(topic, payload)
                return by_run(topic.message, topic.zone, records), rejects
            decoded = codec.decode(topic, payload, received_at_ns)
        # A codec is a plug-in, often somebody else's: its fault costs one message, not the edge.
        except Exception as error:  # noqa: BLE001
            text = f"codec {topic.codec} raised {type(error).__name__}: {error}"
            return _whole(topic, payload, Reason.CODEC_FAILED, text)
        if any((b.message, b.zone) != (topic.message, topic.zone) for b in decoded.batches):
            text = f"codec {topic.codec} made a batch of another message or zone"
            return _whole(topic, payload, Reason.CODEC_FAILED, text)
        return decoded.batches, decoded.rejects

    def on_batch(self, batch: Batch, received_at_ns: int, topic_text: str = "") -> None:
        """Records that need no decoding (`vrc analyse`, tests); the door behind `on_payload`."""
        text = topic_text or f"vrc/v1/{batch.zone}/batch/{batch.message}"
        self._take(batch, received_at_ns, text)

    def _take(self, taken: Taken, received_at_ns: int, topic_text: str) -> None:
        if not taken.n_rows:
            return
        if taken.message in _CONTROL:
            self._on_control(merged([taken]), received_at_ns, topic_text)
            return
        run = self._runs.find(taken.zone, taken.run_id, taken.origin, received_at_ns, self._out)
        if run is None:
            self._reject_homeless(merged([taken]), received_at_ns, topic_text)
        else:
            run.add(taken, received_at_ns, topic_text)

    def _on_control(self, batch: Batch, received_at_ns: int, topic_text: str) -> None:
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
            account = ledger.account(source_id, session, batch.origin, received_at_ns)
            account.state_count(sent_count)

    def on_wall_clock(self, now_ns: int) -> None:
        """The wall clock has come to `now_ns`: tick the runs that live by it, forget ended ones."""
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
        if not MESSAGES[batch.message].is_numbered:
            return  # our own word about others: nothing of theirs is lost with it
        ledger = self._ledger(batch.zone, batch.run_id)
        sources, sessions = batch.texts("source_id"), batch.column("session").tolist()
        for row, (source_id, session) in enumerate(zip(sources, sessions, strict=True)):
            account = ledger.account(source_id, session, batch.origin, now_ns)
            account.refuse(Reason.REFUSED_BY_STORE)
            reason = Reason.REFUSED_BY_STORE
            self._out.letters.append(row_letter(batch, row, reason, detail, now_ns, "v1/ingest"))

    def take_group(self, pending_records: int | None = None) -> Group:
        """Process what was taken in and hand out everything made since the last take.

        `pending_records` is what the edge's ticks say is still on its way to the cloud.
        """
        self._runs.flush(self._out)
        out, self._out = self._out, Output()
        batches = out.batches + letter_batches(out.letters)
        if pending_records is not None:
            batches = [
                b.with_columns({"pending_records": pending_records}) if b.message == "tick" else b
                for b in batches
            ]
        numbered = (b.n_rows for b in batches if MESSAGES[b.message].is_numbered)
        return Group(batches, sum(numbered))

    def take_ledger(self, limit: int, now_ns: int) -> list[Batch]:
        """At most `limit` accounts that changed, as `source_ledger` batches."""
        batches: list[Batch] = []
        # The run that was asked first comes last next time, so that none waits for ever.
        for zone, run_id in list(self._ledgers):
            ledger = self._ledgers.pop((zone, run_id))
            self._ledgers[zone, run_id] = ledger
            rows = ledger.take_changed(limit - sum(b.n_rows for b in batches))
            batches += ledger_batches(
                zone,
                run_id,
                rows,
                edge_id=self._edge_id,
                edge_epoch=self._edge_epoch,
                now_ns=now_ns,
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
        return totals(a for ledger in self._ledgers.values() for a in ledger.accounts.values())

    def _ledger(self, zone: str, run_id: str) -> Ledger:
        key = (zone, run_id)
        if key not in self._ledgers and len(self._ledgers) >= MAX_LEDGERS:
            key = (dead_letters.UNKNOWN, "live")
        return self._ledgers.setdefault(key, Ledger())

    def _reject_homeless(self, batch: Batch, received_at_ns: int, topic_text: str) -> None:
        is_known = self._runs.knows_zone(batch.zone)
        reason = Reason.UNKNOWN_RUN if is_known else Reason.UNKNOWN_ZONE
        found = batch.run_id if is_known else batch.zone
        detail = f"{found!r}: {REASON_TEXT[reason]}"
        receipt = self._ledger(batch.zone, batch.run_id).receive(batch, received_at_ns)
        for row in receipt.is_new.nonzero()[0].tolist():
            receipt.reject(row, reason)
            letter = row_letter(batch, row, reason, detail, received_at_ns, topic_text)
            self._out.letters.append(letter)

    def _reject_unparsed(
        self, topic_text: str, payload: bytes, detail: str, received_at_ns: int
    ) -> None:
        levels = topic_text.split("/")
        zone = topic_id(levels[2]) if len(levels) > 2 else dead_letters.UNKNOWN
        source_id = topic_id(levels[4]) if len(levels) > 4 else dead_letters.UNKNOWN
        reason = Reason.UNKNOWN_TOPIC
        whole = Reject(reason, detail, source_id, payload=payload, is_whole=True)
        topic = Topic(zone, "vehicle", source_id, "vehicle_state")
        self._reject(topic, topic_text, whole, len(payload), received_at_ns)

    def _reject(
        self, topic: Topic, topic_text: str, reject: Reject, n_bytes: int, received_at_ns: int
    ) -> None:
        run_id = reject.run_id if topic_id(reject.run_id) == reject.run_id else "live"
        source_id = topic_id(reject.source_id)
        if MESSAGES[topic.message].is_numbered:
            session = NO_SESSION if reject.session is None else reject.session
            seq = ABSENT_I64 if reject.seq is None else reject.seq
            ledger = self._ledger(topic.zone, run_id)
            account = ledger.account(source_id, session, reject.origin, received_at_ns)
            if not account.receive_one(seq):
                return
            account.reject(reject.reason)
        self._out.letters.append(
            Letter(
                zone=topic.zone,
                run_id=run_id,
                origin=reject.origin,
                source_id=source_id,
                subject_id=reject.subject_id or source_id,
                session=reject.session,
                seq=reject.seq,
                sampled_at_ns=_plausible_ns(reject.sampled_at_ns, received_at_ns),
                received_at_ns=received_at_ns,
                topic=topic_text,
                reason=str(reject.reason),
                detail=reject.detail,
                payload=reject.payload,
                payload_bytes=n_bytes if reject.is_whole else len(reject.payload),
            )
        )

    def snapshot(self) -> bytes:
        """The whole state, for a checkpoint; take it right after `take_group`."""
        ledgers = [[*key, ledger.snapshot()] for key, ledger in self._ledgers.items()]
        tree = {
            "version": STATE_VERSION,
            "ledgers": ledgers,
            "freed": self._freed,
            "runs": self._runs.snapshot(),
        }
        return pack_state(tree)

    def restore(self, data: bytes) -> None:
        """Go on from a checkpoint. Raises StateError."""
        tree = unpack_state(data)
        if tree.get("version") != STATE_VERSION:
            found = tree.get("version")
            raise StateError(f"checkpoint has version {found!r}, this edge reads {STATE_VERSION}")
        self._ledgers = {(zone, run): Ledger.restore(rows) for zone, run, rows in tree["ledgers"]}
        self._freed = [(zone, run) for zone, run in tree["freed"]]
        self._runs.restore(tree["runs"])


def _whole(topic: Topic, payload: bytes, reason: Reason, detail: str) -> Opened:
    kept = payload[: dead_letters.MAX_PAYLOAD_BYTES]
    return (), (Reject(reason, detail, topic.source_id, payload=kept, is_whole=True),)


def _plausible_ns(sampled_at_ns: int | None, received_at_ns: int) -> int:
    """Event time of a dead letter: a record's own may be what is wrong with it."""
    is_usable = sampled_at_ns is not None and 0 <= sampled_at_ns < 7_258_118_400_000_000_000
    return sampled_at_ns if is_usable and sampled_at_ns is not None else received_at_ns
