"""Records on their way from the door to admit, not yet columns.

Making columns of 50 records costs as much as of 600: what counts is the number of columns. So the
records of many JSON messages wait, validated, and become one Batch when their run is flushed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.codecs.base import Reject
from openvrc.contracts.codecs.json_codec import to_batches
from openvrc.contracts.messages.record import Record
from openvrc.contracts.topics import Topic


@runtime_checkable
class RecordCodec(Protocol):
    """A codec that can stop at validated records."""

    def read_records(self, topic: Topic, payload: bytes) -> tuple[list[Any], tuple[Reject, ...]]:
        """The payload's good records and its rejects."""
        ...


@dataclass(frozen=True, slots=True)
class Records:
    """Validated records that share message, zone, run and origin."""

    message: str
    zone: str
    run_id: str
    origin: str
    records: list[Record]

    @property
    def n_rows(self) -> int:
        """How many."""
        return len(self.records)


Taken = Batch | Records


def by_run(message: str, zone: str, records: Sequence[Record]) -> list[Records]:
    """Records of one payload by run and origin, in order of first appearance."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.run_id, record.origin), []).append(record)
    return [Records(message, zone, *key, members) for key, members in groups.items()]


def merged(parts: Sequence[Taken]) -> Batch:
    """One Batch of parts that share message, zone, run and origin, in order."""
    batches: list[Batch] = []
    for is_columns, members in groupby(parts, lambda part: isinstance(part, Batch)):
        if is_columns:
            batches += [part for part in members if isinstance(part, Batch)]
        else:
            rows = [r for part in members if isinstance(part, Records) for r in part.records]
            batches += to_batches(parts[0].message, parts[0].zone, rows)
    return concat(batches)
