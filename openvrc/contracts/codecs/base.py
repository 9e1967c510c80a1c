"""The shape of a codec, and what decoding yields: batches and rejects, never an exception.

Two ways in: `decode` takes one payload, `decode_many` all that came of one message and zone. What
costs per payload (columns, range checks, dictionaries) is paid once per call in the second. Both
give the same rows and rejects; `bulk.decode_many` offers the second for every codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic


@dataclass(frozen=True)
class Reject:
    """One record, or one whole payload nobody could read, that was not taken.

    `session` and `seq` are given when they could still be read: the record is then accounted
    under its own number; `is_whole` marks a payload of which not even the records are known.
    """

    reason: Reason
    detail: str
    source_id: str
    subject_id: str = ""
    session: int | None = None
    seq: int | None = None
    sampled_at_ns: int | None = None
    run_id: str = "live"
    origin: str = "live"
    payload: bytes = b""
    is_whole: bool = False


@dataclass(frozen=True)
class Decoded:
    """What came out of one payload; records keep their order within each batch."""

    batches: tuple[Batch, ...] = ()
    rejects: tuple[Reject, ...] = field(default=())


class Codec(Protocol):
    """Bytes to batches and back. `name` is the topic's codec level and the plug-in's name."""

    name: str
    content_type: str

    def decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:
        """Batches of the topic's message; the edge's marks are left absent.

        Never raises for what a payload holds: everything bad becomes a `Reject` with its reason.
        """
        ...

    def encode_parts(self, batch: Batch, bounds: Sequence[tuple[int, int]]) -> list[bytes]:
        """One payload for each range of rows [start, end): what many senders say at once.

        A sender's row range must hold that sender's rows only.
        """
        ...

    def encode(self, batch: Batch) -> bytes:
        """The payload of one MQTT message with all records of the batch."""
        ...


@dataclass(frozen=True)
class Part:
    """The rows of one run out of many payloads, in the payloads' order."""

    batch: Batch
    payload_of_row: npt.NDArray[np.int32]
    """(n_rows,) place of the payload each row came from; never falls."""


@dataclass(frozen=True)
class Bulk:
    """What came out of many payloads: one Part for each (run_id, origin), and the rejects."""

    parts: tuple[Part, ...] = ()
    """In order of first appearance; none is empty."""
    rejects: tuple[tuple[int, Reject], ...] = ()
    """Each with the place of its payload, in the order that decoding one by one gives."""
    fault: str = ""
    """Why the codec's own `decode_many` could not be used, so that each was decoded by itself."""


class BulkCodec(Codec, Protocol):
    """A codec that reads many payloads cheaper than one by one; this is optional."""

    def decode_many(
        self, topics: Sequence[Topic], payloads: Sequence[bytes], received_at_ns: Sequence[int]
    ) -> Bulk:
        """The same rows and rejects as `decode` of each, in order; (n_payloads,) each.

        All topics have one message and one zone. One bad payload or record costs only itself.
        """
        ...


class ForeignCodec(Codec, Protocol):
    """A codec of a protocol whose one frame speaks of several of our messages; optional.

    `decode` gives the rows of its topic's message; an edge asks for each of `messages`, whichever
    of them the topic names, and takes the rejects of the first.
    """

    messages: tuple[str, ...]
