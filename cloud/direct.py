"""JSON straight to the cloud, for a newcomer with curl: decoded and counted without an edge.

The sender is each record's own `source_id`; the records of a payload may come from several. What
cannot be read, or lies outside the zone's limits, becomes a dead letter, as at an edge; the
ledger's edge is called "cloud".
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from cloud.store.facts import SenderCount
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.base import Reject
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages import message_type
from openvrc.contracts.messages.record import ID_PATTERN, LATE_IN_ZONE, TOPIC_ID_PATTERN
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic, parse_topic
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.zone import Zone

ANONYMOUS = "anonymous"
"""Sender of a payload that names none."""
CLOUD_EDGE = "cloud"
LIVE = "live"

_TOPIC_ID = re.compile(TOPIC_ID_PATTERN)
_ID = re.compile(ID_PATTERN)

Decoded = tuple[list[Batch], list[SenderCount], tuple[Reject, ...]]


def decode_records(
    zone: str, message: str, payload: bytes, received_at_ns: int, limits: Zone | None
) -> Decoded:
    """Batches to store (dead letters included), counts for the ledger, and the rejects.

    `limits` are those of the zone, None for a zone nobody knows. Raises ContractError for a zone,
    or a message that is unknown or not for senders.
    """
    kind = message_type(message)
    if not kind.is_stored or not kind.is_numbered:
        raise ContractError("message", message, "one that vehicles, RSUs, signals or chargers send")
    topic = parse_topic(str(Topic(zone, kind.senders[0], ANONYMOUS, message)))
    batches: list[Batch] = []
    rejects: list[Reject] = []
    for source_id, part in _by_sender(payload):
        decoded = JsonCodec().decode(
            Topic(zone, topic.kind, source_id, message), part, received_at_ns
        )
        rejects += decoded.rejects
        for batch in decoded.batches:
            refused = _refusals(batch, received_at_ns, limits)
            rejects += [_reject(batch, row, *why) for row, why in sorted(refused.items())]
            keep = np.ones(batch.n_rows, np.bool_)
            keep[list(refused)] = False
            if keep.any():
                batches.append(_marked(batch.filter(keep), received_at_ns, limits))
    counts = _sender_counts(zone, batches, rejects)
    letters = _dead_letters(zone, message, rejects, received_at_ns)
    return batches + letters, counts, tuple(rejects)


def _refusals(
    batch: Batch, received_at_ns: int, limits: Zone | None
) -> dict[int, tuple[Reason, str]]:
    """Why rows may not be taken although they can be read, by row."""
    every_row = range(batch.n_rows)
    if limits is None:
        text = f"zone is {batch.zone!r}, expected one that was announced or made by vrc zone new"
        return dict.fromkeys(every_row, (Reason.UNKNOWN_ZONE, text))
    if (batch.run_id, batch.origin) != (LIVE, LIVE):
        text = f"run is {batch.run_id!r} ({batch.origin}), expected live: other runs need an edge"
        return dict.fromkeys(every_row, (Reason.UNKNOWN_RUN, text))
    ahead_s = (batch.column("sampled_at_ns") - received_at_ns) / NS_PER_S
    refused = {}
    for row in np.flatnonzero(ahead_s > limits.max_clock_ahead_s).tolist():
        text = f"{ahead_s[row]:.1f} s ahead of zone time, expected at most"
        text = f"sampled_at_ns is {text} {limits.max_clock_ahead_s}"
        refused[row] = (Reason.TOO_FAR_FUTURE, text)
    for row in np.flatnonzero(ahead_s < -limits.max_age_s).tolist():
        text = f"{-ahead_s[row]:.1f} s behind zone time, expected at most {limits.max_age_s}"
        refused[row] = (Reason.TOO_FAR_PAST, f"sampled_at_ns is {text}")
    return refused


def _reject(batch: Batch, row: int, reason: Reason, detail: str) -> Reject:
    record = batch.slice(row, 1).to_records()[0]
    return Reject(
        reason,
        detail,
        record["source_id"],
        subject_id=record["subject_id"],
        sampled_at_ns=record["sampled_at_ns"],
        run_id=batch.run_id,
        origin=batch.origin,
        payload=json.dumps(record).encode(),
    )


def _by_sender(payload: bytes) -> Iterable[tuple[str, bytes]]:
    """The payload, parted by the records' own source_id; whole if it cannot be read."""
    try:
        parsed = json.loads(payload)
    except (ValueError, RecursionError):
        return [(ANONYMOUS, payload)]
    records = parsed if isinstance(parsed, list) else [parsed]
    if not all(isinstance(record, dict) for record in records):
        return [(ANONYMOUS, payload)]
    parts: dict[str, list[Any]] = {}
    for record in records:
        source_id = record.get("source_id", record.get("subject_id", ANONYMOUS))
        is_id = isinstance(source_id, str) and _TOPIC_ID.match(source_id)
        parts.setdefault(source_id if is_id else ANONYMOUS, []).append(record)
    if len(parts) == 1:
        return [(next(iter(parts)), payload)]
    return [(source_id, json.dumps(part).encode()) for source_id, part in parts.items()]


def _marked(batch: Batch, received_at_ns: int, limits: Zone | None) -> Batch:
    """With the marks an edge would have set; nobody matched it onto a map."""
    assert limits is not None, "records of unknown zones are refused"
    # Nobody watches this sender's clock: what a clock may be off by is no lateness.
    allowed_s = limits.allowed_lateness_s + limits.max_clock_ahead_s
    age_s = (received_at_ns - batch.column("sampled_at_ns")) / NS_PER_S
    marks: dict[str, Any] = {
        "edge_received_at_ns": received_at_ns,
        "lateness": np.where(age_s > allowed_s, LATE_IN_ZONE, 0).astype(np.int64),
    }
    if batch.message == "vehicle_state":
        marks |= {"segment_id": "", "lane_index": -1}
    # An account by session needs the sender's own count, which an edge would keep.
    return batch.with_columns(marks | {"session": None, "seq": None})


def _sender_counts(
    zone: str, batches: Iterable[Batch], rejects: Iterable[Reject]
) -> list[SenderCount]:
    forwarded: Counter[tuple[str, str, str]] = Counter()
    rejected: dict[tuple[str, str, str], Counter[str]] = {}
    for batch in batches:
        for source_id in batch.texts("source_id"):
            forwarded[batch.run_id, batch.origin, source_id] += 1
    for reject in rejects:
        key = (reject.run_id, reject.origin, reject.source_id)
        rejected.setdefault(key, Counter())[str(reject.reason)] += 1
    return [
        SenderCount(zone, *key, forwarded=forwarded[key], rejected=dict(rejected.get(key, {})))
        for key in sorted(set(forwarded) | set(rejected))
    ]


def _dead_letters(
    zone: str, message: str, rejects: Iterable[Reject], received_at_ns: int
) -> list[Batch]:
    groups: dict[tuple[str, str], list[Reject]] = {}
    for reject in rejects:
        groups.setdefault((reject.run_id, reject.origin), []).append(reject)
    return [
        _letters_of(zone, message, members, run_id, origin, received_at_ns)
        for (run_id, origin), members in groups.items()
    ]


def _letters_of(
    zone: str, message: str, rejects: list[Reject], run_id: str, origin: str, received_at_ns: int
) -> Batch:
    columns = {
        "source_id": [r.source_id for r in rejects],
        # What was refused for its subject must not be refused again by the store.
        "subject_id": [r.subject_id if _ID.match(r.subject_id) else "" for r in rejects],
        "session": [r.session for r in rejects],
        "seq": [r.seq for r in rejects],
        "sampled_at_ns": [r.sampled_at_ns or received_at_ns for r in rejects],
        "topic": f"/v1/ingest?zone={zone}&message={message}",
        "reason": [str(r.reason) for r in rejects],
        "detail": [r.detail for r in rejects],
        "payload_base64": [base64.b64encode(r.payload[:4096]).decode() for r in rejects],
        "payload_bytes": [len(r.payload) for r in rejects],
        "records": 1,
        "edge_received_at_ns": received_at_ns,
        "lateness": 0,
        "id_kind": "permanent",
    }
    return from_columns(
        "dead_letter",
        zone=zone,
        run_id=run_id,
        origin=origin,
        columns=columns,
        n_rows=len(rejects),
    )
