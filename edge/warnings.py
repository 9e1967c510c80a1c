"""What rules at the edge found, as advisories to the vehicles they are about.

`vrc/v1/{zone}/vehicle/{id}/down/advisory`, QoS 0: a warning that comes late is none. A vehicle
whose id no topic can hold is not told; its alert goes to the cloud all the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from openvrc.contracts.batch import Batch
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN
from openvrc.contracts.topics import down_topic
from openvrc.contracts.units import NS_PER_S

VALID_NS = 5 * NS_PER_S
"""Of zone time; a collision course is over by then, one way or the other."""
_TOPIC_ID = re.compile(TOPIC_ID_PATTERN)


def advisories(batches: Iterable[Batch], edge_id: str) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of each warning in a group's `finding` batches."""
    for batch in batches:
        if batch.message != "finding":
            continue
        for row in batch.to_records():
            is_told = row["phase"] == "raise" and row["subject_type"] == "vehicle"
            if is_told and _TOPIC_ID.match(row["subject_id"]):
                yield _advisory(batch, row, edge_id)


def _advisory(batch: Batch, row: dict[str, object], edge_id: str) -> tuple[str, bytes]:
    vehicle, at_ns = str(row["subject_id"]), int(str(row["sampled_at_ns"]))
    text = json.loads(str(row["evidence"])).get("text", row["rule"])
    said = {
        "source_id": edge_id,
        "subject_id": vehicle,
        "origin": batch.origin,
        "run_id": batch.run_id,
        "sampled_at_ns": at_ns,
        "advisory_id": f"{str(row['rule'])[:40]}:{row['started_at_ns']}:{at_ns}",
        "kind": "warning",
        "text": text,
        "expires_at_ns": at_ns + VALID_NS,
    }
    topic = down_topic(batch.zone, "vehicle", vehicle, "advisory")
    return topic, json.dumps(said, separators=(",", ":")).encode()
