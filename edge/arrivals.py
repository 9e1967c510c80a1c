"""Records on their way from the door to admit: columns, and when and how each row came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.group_log import Opening
from openvrc.contracts.batch import Batch, concat


@dataclass(frozen=True)
class Arrivals:
    """Rows that share message, zone, run and origin, in order of arrival."""

    batch: Batch
    received_at_ns: npt.NDArray[np.int64]
    """(n_rows,) wall clock of the edge."""
    topics: tuple[str, ...]
    topic_of_row: npt.NDArray[np.int32]
    """(n_rows,) place in `topics`."""
    openings: tuple[Opening, ...] = ()
    """The doors they came through."""

    @property
    def n_rows(self) -> int:
        """How many."""
        return self.batch.n_rows

    def topic(self, row: int) -> str:
        """The topic by which a row came."""
        return self.topics[int(self.topic_of_row[row])]

    def filter(self, mask: npt.NDArray[np.bool_]) -> Arrivals:
        """Rows where `mask` (n_rows,) is true."""
        return Arrivals(
            self.batch.filter(mask),
            self.received_at_ns[mask],
            self.topics,
            self.topic_of_row[mask],
            self.openings,
        )

    def doubt(self) -> None:
        """Not every record is admitted: their payloads have to be kept."""
        for opening in self.openings:
            opening.is_clean = False

    def became(self, batch: Batch) -> None:
        """All of them were admitted, as this batch."""
        for opening in self.openings:
            opening.batches.append(batch)


def of_batch(batch: Batch, received_at_ns: int, topic: str) -> Arrivals:
    """A batch that came as one."""
    n_rows = batch.n_rows
    received = np.full(n_rows, received_at_ns, np.int64)
    return Arrivals(batch, received, (topic,), np.zeros(n_rows, np.int32))


def of_admitted(batch: Batch) -> Arrivals:
    """An admitted batch as it came: its marks say when."""
    received = batch.column("edge_received_at_ns")
    return Arrivals(batch, received, ("",), np.zeros(batch.n_rows, np.int32))


def joined(parts: Sequence[Arrivals]) -> Arrivals:
    """All rows of parts that share message, zone, run and origin, in order."""
    if len(parts) == 1:
        return parts[0]
    topics: list[str] = []
    places = []
    for part in parts:
        places.append(part.topic_of_row + np.int32(len(topics)))
        topics += part.topics
    received = np.concatenate([part.received_at_ns for part in parts])
    batch = concat([part.batch for part in parts])
    places_of_rows = np.concatenate(places).astype(np.int32)
    openings = tuple(opening for part in parts for opening in part.openings)
    return Arrivals(batch, received, tuple(topics), places_of_rows, openings)
