"""Units that are not taken: booked in their sender's account, and kept as dead letters."""

from __future__ import annotations

from collections.abc import Callable

from edge import dead_letters
from edge.arrivals import Arrivals
from edge.dead_letters import Letter, row_letter, topic_id
from edge.doors import Payload
from edge.ledger import NO_SESSION, Ledger
from edge.run import Output
from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Reject
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.reasons import REASON_TEXT, Reason
from openvrc.contracts.topics import Topic
from openvrc.contracts.units import ABSENT_I64


class Refuser:
    """Books and keeps what is refused. Pure, like the core that uses it."""

    def __init__(self, ledger_of: Callable[[str, str], Ledger]) -> None:
        """`ledger_of(zone, run_id)` is where a sender's account is."""
        self._ledger_of = ledger_of

    def homeless(self, arrivals: Arrivals, is_known: bool, out: Output) -> None:
        """Records of a zone, or of a run of a zone that is known, that nobody announced."""
        batch = arrivals.batch
        reason = Reason.UNKNOWN_RUN if is_known else Reason.UNKNOWN_ZONE
        found = batch.run_id if is_known else batch.zone
        detail = f"{found!r}: {REASON_TEXT[reason]}"
        at_ns = arrivals.received_at_ns
        receipt = self._ledger_of(batch.zone, batch.run_id).receive(batch, int(at_ns[0]))
        for row in receipt.is_new.nonzero()[0].tolist():
            receipt.reject(row, reason)
            topic = arrivals.topic(row)
            out.letters.append(row_letter(batch, row, reason, detail, int(at_ns[row]), topic))

    def unparsed(
        self, topic_text: str, payload: bytes, detail: str, received_at_ns: int, out: Output
    ) -> None:
        """A message by a topic that makes no sense."""
        levels = topic_text.split("/")
        zone = topic_id(levels[2]) if len(levels) > 2 else dead_letters.UNKNOWN
        source_id = topic_id(levels[4]) if len(levels) > 4 else dead_letters.UNKNOWN
        topic = Topic(zone, "vehicle", source_id, "vehicle_state")
        given = Payload(topic, topic_text, payload, received_at_ns)
        whole = Reject(Reason.UNKNOWN_TOPIC, detail, source_id, payload=payload, is_whole=True)
        self.payload(given, whole, out)

    def payload(self, given: Payload, reject: Reject, out: Output) -> None:
        """A record of a payload, or all of it."""
        topic, received_at_ns = given.topic, given.received_at_ns
        run_id = reject.run_id if topic_id(reject.run_id) == reject.run_id else "live"
        source_id = topic_id(reject.source_id)
        if MESSAGES[topic.message].is_numbered:
            session = NO_SESSION if reject.session is None else reject.session
            seq = ABSENT_I64 if reject.seq is None else reject.seq
            ledger = self._ledger_of(topic.zone, run_id)
            slot = ledger.slot(source_id, session, reject.origin, received_at_ns)
            if not ledger.receive_one(slot, seq):
                return
            ledger.reject(slot, reject.reason)
        out.letters.append(
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
                topic=given.topic_text,
                reason=str(reject.reason),
                detail=reject.detail,
                payload=reject.payload,
                payload_bytes=len(given.data) if reject.is_whole else len(reject.payload),
            )
        )

    def by_store(self, batch: Batch, detail: str, now_ns: int, out: Output) -> None:
        """Forwarded records that the store refused for good."""
        ledger = self._ledger_of(batch.zone, batch.run_id)
        sources, sessions = batch.texts("source_id"), batch.column("session").tolist()
        for row, (source_id, session) in enumerate(zip(sources, sessions, strict=True)):
            reason = Reason.REFUSED_BY_STORE
            ledger.refuse(ledger.slot(source_id, session, batch.origin, now_ns), reason)
            out.letters.append(row_letter(batch, row, reason, detail, now_ns, "v1/ingest"))


def whole(given: Payload, reason: Reason, detail: str) -> Reject:
    """A payload of which nothing is taken."""
    kept = given.data[: dead_letters.MAX_PAYLOAD_BYTES]
    return Reject(reason, detail, given.topic.source_id, payload=kept, is_whole=True)


def _plausible_ns(sampled_at_ns: int | None, received_at_ns: int) -> int:
    """Event time of a dead letter: a record's own may be what is wrong with it."""
    is_usable = sampled_at_ns is not None and 0 <= sampled_at_ns < 7_258_118_400_000_000_000
    return sampled_at_ns if is_usable and sampled_at_ns is not None else received_at_ns
