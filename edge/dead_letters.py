"""What was rejected, kept as `dead_letter` records with its reason."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.messages.record import ID_PATTERN, TOPIC_ID_PATTERN
from openvrc.contracts.reasons import Reason
from openvrc.contracts.units import ABSENT_I64

MAX_PAYLOAD_BYTES = 4096
"""Enough to see what a payload was; the whole of a 10 MB one would fill the store."""
MAX_DETAIL = 1000
MAX_TOPIC = 500
_ID = re.compile(ID_PATTERN)
_TOPIC_ID = re.compile(TOPIC_ID_PATTERN)

UNKNOWN = "unknown"
"""Stands for a zone, run or sender that cannot be read from what came."""


def topic_id(text: str) -> str:
    """The text if it can be a topic level, else `UNKNOWN`."""
    return text if _TOPIC_ID.match(text) else UNKNOWN


def clean(text: str, most: int) -> str:
    """Text that Arrow, JSON and PostgreSQL all take: no lone surrogates, no NUL, not too long."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")[:most]


@dataclass(frozen=True)
class Letter:
    """One rejected unit."""

    zone: str
    run_id: str
    origin: str
    source_id: str
    subject_id: str
    session: int | None
    seq: int | None
    sampled_at_ns: int
    received_at_ns: int
    topic: str
    reason: str
    detail: str
    payload: bytes
    payload_bytes: int


def record_payload(batch: Batch, row: int) -> bytes:
    """One record as JSON."""
    return json.dumps(batch.slice(row, 1).to_records()[0], separators=(",", ":")).encode()


def letter_batches(letters: list[Letter]) -> list[Batch]:
    """Letters as Batches, one per zone, run and origin, in order of first appearance."""
    groups: dict[tuple[str, str, str], list[Letter]] = {}
    for letter in letters:
        groups.setdefault((letter.zone, letter.run_id, letter.origin), []).append(letter)
    return [
        from_columns(
            "dead_letter",
            zone=zone,
            run_id=run_id,
            origin=origin,
            columns=_columns(members),
            n_rows=len(members),
        )
        for (zone, run_id, origin), members in groups.items()
    ]


def _columns(letters: list[Letter]) -> dict[str, Any]:
    return {
        "source_id": [topic_id(x.source_id) for x in letters],
        "subject_id": [
            x.subject_id if _ID.match(x.subject_id) else topic_id(x.source_id) for x in letters
        ],
        "session": [x.session for x in letters],
        "seq": [x.seq for x in letters],
        "id_kind": "permanent",
        "sampled_at_ns": [x.sampled_at_ns for x in letters],
        "topic": [clean(x.topic, MAX_TOPIC) or UNKNOWN for x in letters],
        "reason": [x.reason for x in letters],
        "detail": [clean(x.detail, MAX_DETAIL) or x.reason for x in letters],
        "payload_base64": [
            base64.b64encode(x.payload[:MAX_PAYLOAD_BYTES]).decode() for x in letters
        ],
        "payload_bytes": [x.payload_bytes for x in letters],
        "records": [1] * len(letters),
        "edge_received_at_ns": [x.received_at_ns for x in letters],
        "lateness": 0,
    }


def row_letter(
    batch: Batch, row: int, reason: Reason, detail: str, received_at_ns: int, topic: str
) -> Letter:
    """One row of a batch as a dead letter."""
    one = batch.slice(row, 1)
    payload = record_payload(batch, row)
    session, seq = (int(one.column(name)[0]) for name in ("session", "seq"))
    return Letter(
        zone=batch.zone,
        run_id=batch.run_id,
        origin=batch.origin,
        source_id=one.texts("source_id")[0],
        subject_id=one.texts("subject_id")[0],
        session=None if session == ABSENT_I64 else session,
        seq=None if seq == ABSENT_I64 else seq,
        sampled_at_ns=int(one.column("sampled_at_ns")[0]),
        received_at_ns=received_at_ns,
        topic=topic,
        reason=str(reason),
        detail=detail,
        payload=payload,
        payload_bytes=len(payload),
    )
