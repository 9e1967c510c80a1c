"""What every record carries: who says it, about whom, in which run, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from openvrc.contracts.units import quantity

ID_PATTERN = r"^[A-Za-z0-9_.:@#/\-]{1,96}$"
"""Ids travel in topics, URLs and SQL: no spaces, no MQTT wildcards alone, at most 96 characters.

`#` and `/` occur in SUMO edge ids ("43145235#2") and OpenStreetMap segment ids; only subjects may
use them, a topic level may not (see topics.py)."""

TOPIC_ID_PATTERN = r"^[A-Za-z0-9_.:@\-]{1,96}$"
NANOSECONDS_1970_TO_2200 = (0.0, 7_258_118_400_000_000_000.0)

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
TopicId = Annotated[str, StringConstraints(pattern=TOPIC_ID_PATTERN)]
Origin = Literal["live", "replay", "simulated"]
IdKind = Literal["permanent", "pseudonym"]


class Frozen(BaseModel):
    """Strict and immutable: "2" is no number, NaN is no value, an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Record(Frozen):
    """Identity and times of one record. `source_id` sends, `subject_id` is spoken about."""

    source_id: TopicId = quantity("Sender; equals the topic's id", privacy="personal")
    subject_id: Id = quantity("What the record is about", privacy="personal")
    session: int | None = quantity(
        "Sender's start, new at each start (for example its start time in ms)",
        low=0,
        high=2**62,
        default=None,
    )
    seq: int | None = quantity(
        "Number of this record within the sender's session, from 0 without gaps",
        low=0,
        high=2**62,
        default=None,
    )
    id_kind: IdKind = quantity(
        "Whether subject_id is lasting or a changing pseudonym", default="permanent"
    )
    origin: Origin = quantity(
        "Whether this comes from the world, a recording or a model", default="live"
    )
    run_id: TopicId = quantity("Run the identity is unique within", default="live")
    sampled_at_ns: int = quantity(
        "When the described state was true, UTC epoch",
        unit="ns",
        low=NANOSECONDS_1970_TO_2200[0],
        high=NANOSECONDS_1970_TO_2200[1],
        privacy="personal",
    )
    published_at_ns: int | None = quantity(
        "When the sender handed the record to its network, wall clock, UTC epoch",
        unit="ns",
        low=NANOSECONDS_1970_TO_2200[0],
        high=NANOSECONDS_1970_TO_2200[1],
        default=None,
    )


class EdgeMarks(Frozen):
    """What the edge adds to every record it admits; a sender may not set these."""

    edge_received_at_ns: int = quantity(
        "Wall clock of the edge at receipt, UTC epoch", unit="ns", low=0
    )
    lateness: int = quantity(
        "Bit 0: behind the zone's watermark; bit 1: older than the newest admitted of its subject; "
        "bit 2: the sender's clock was steadily off, its times were moved by as much",
        low=0,
        high=7,
    )


LATE_IN_ZONE = 1
LATE_IN_SUBJECT = 2
CLOCK_CORRECTED = 4
