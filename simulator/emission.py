"""From rows of a frame to numbered messages by sender.

Every sender numbers its records over all message types, from 0 without gaps; a record lost on the
way has a number too, which is how its loss shows. Values are rounded to the resolution of the
contract, so that each codec carries the same number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.columns import column_of
from openvrc.contracts.messages import message_type
from simulator.sampling import mixed, name_hash, uniform
from simulator.world import RECORDS_PER_MESSAGE, Frame, Origin, Outgoing

IntArray = NDArray[np.int64]
Subjects = tuple[NDArray[np.int32], list[str]]
"""What each row is about: codes (n_rows,) into words."""

_NOT_IN_TOPIC = re.compile(r"[^A-Za-z0-9_.:\-]")
_MAX_ID = 96


def topic_id(name: str) -> str:
    """A name as a topic level: other characters become "@" and two or more hex digits.

    >>> topic_id("bus 7#1")
    'bus@207@231'
    """
    safe = _NOT_IN_TOPIC.sub(lambda found: f"@{ord(found.group()):02x}", name)
    return safe if 0 < len(safe) <= _MAX_ID else f"id-{name_hash(0, 'topic', name):016x}"


def session_of(run_id: str) -> int:
    """The session of every sender of a run: the same for the same run, so a repeat is known."""
    return name_hash(0, "session", run_id) >> 16


@dataclass(frozen=True)
class Source:
    """One sender."""

    kind: str
    source_id: str


class Emitter:
    """Numbers the records of all senders of a run and cuts them into messages."""

    def __init__(
        self,
        *,
        zone: str,
        run_id: str,
        origin: Origin,
        seed: int = 0,
        loss: float = 0.0,
        session: int | None = None,
    ) -> None:
        """`loss` is the share of records that get a number and never arrive."""
        self._shared: dict[str, Any] = {"zone": zone, "run_id": run_id, "origin": origin}
        self._session = session_of(run_id) if session is None else session
        self._seed, self._loss = seed, loss
        self._sources: list[Source] = []
        self._numbers: dict[Source, int] = {}
        self._hashes = np.empty(64, np.uint64)
        self._silent = np.empty(0, np.int64)
        self._sent = np.zeros(64, np.int64)  # (capacity,) the next seq of each source
        self._reported = np.zeros(64, np.int64)  # (capacity,) the count last told

    def source(self, kind: str, source_id: str) -> int:
        """The number of a sender within this emitter, for `emit`."""
        source = Source(kind, source_id)
        number = self._numbers.get(source)
        if number is None:
            number = self._numbers[source] = len(self._sources)
            self._sources.append(source)
            if number == len(self._sent):
                self._sent, self._reported, self._hashes = (
                    np.concatenate([array, np.zeros_like(array)])
                    for array in (self._sent, self._reported, self._hashes)
                )
            self._hashes[number] = name_hash(self._seed, "loss", f"{kind}/{source_id}")
        return number

    def silence(self, kind: str, source_ids: Iterable[str]) -> None:
        """From now on exactly these say nothing: their rows get no number, so none is lost."""
        self._silent = np.array([self.source(kind, name) for name in source_ids], np.int64)

    def emit(
        self, message: str, sources: IntArray, subjects: Subjects, columns: Mapping[str, Any]
    ) -> list[Outgoing]:
        """Messages with these rows, by sender, each sender's rows in the given order.

        `sources` (n_rows,) holds numbers from `source`; `columns` is as for `from_columns`,
        without identities.
        """
        order = np.argsort(sources, kind="stable")
        if self._silent.size:
            order = order[~np.isin(sources[order], self._silent)]
        if not order.size:
            return []
        ordered = sources[order]
        seq, keep = self._number(ordered) if message_type(message).is_numbered else (None, None)
        whole = self._batch(message, columns, sources, subjects).take(order)
        if seq is not None:
            whole = whole.with_columns({"seq": seq})
        if keep is not None and not keep.all():
            whole, ordered = whole.filter(keep), ordered[keep]
        return list(self._messages(whole, ordered))

    def status(self, zone_time_ns: int) -> list[Outgoing]:
        """One `source_status` of every sender whose count has changed since the last call."""
        changed = np.flatnonzero(self._sent != self._reported)
        changed = changed[~np.isin(changed, self._silent)]
        if not changed.size:
            return []
        self._reported[changed] = self._sent[changed]
        return self.status_of(changed, self._sent[changed], zone_time_ns)

    def status_of(self, numbers: IntArray, counts: IntArray, zone_time_ns: int) -> list[Outgoing]:
        """`source_status` of these senders with these counts."""
        words = [self._sources[number].source_id for number in numbers]
        subjects = (np.arange(len(numbers), dtype=np.int32), words)
        columns = {
            "sampled_at_ns": np.full(len(numbers), zone_time_ns, np.int64),
            "sent_count": counts,
        }
        return self.emit("source_status", numbers, subjects, columns)

    def final_frame(self, zone_time_ns: int) -> Frame:
        """A frame in which every sender that has spoken states its final count.

        The silent too: accounts of the run cannot be closed without theirs.
        """
        self._silent = self._silent[:0]
        self._reported[:] = 0
        return Frame(zone_time_ns, tuple(self.status(zone_time_ns)))

    def _batch(
        self, message: str, columns: Mapping[str, Any], sources: IntArray, subjects: Subjects
    ) -> Batch:
        rounded = {name: quantised(message, name, values) for name, values in columns.items()}
        senders, sender_codes = np.unique(sources, return_inverse=True)
        names = [self._sources[number].source_id for number in senders.tolist()]
        used, subject_codes = np.unique(subjects[0], return_inverse=True)
        identity = {
            "session": self._session,
            "id_kind": columns.get("id_kind", "permanent"),
            "source_id": (sender_codes.astype(np.int32), names),
            "subject_id": (
                subject_codes.astype(np.int32),
                [subjects[1][code] for code in used.tolist()],
            ),
        }
        return from_columns(
            message, columns=rounded | identity, n_rows=len(sources), **self._shared
        )

    def _number(self, ordered: IntArray) -> tuple[IntArray, NDArray[np.bool_] | None]:
        """The seq of every row of ordered sources, and which rows arrive (None: all)."""
        numbers, starts, counts = np.unique(ordered, return_index=True, return_counts=True)
        rank = np.arange(len(ordered)) - np.repeat(starts, counts)
        seq = self._sent[ordered] + rank
        self._sent[numbers] += counts
        if self._loss <= 0:
            return seq, None
        return seq, uniform(mixed(self._hashes[ordered], seq)) >= self._loss

    def _messages(self, whole: Batch, sources: IntArray) -> Iterator[Outgoing]:
        """One sender's rows after the other's, in messages of bounded size."""
        starts = np.flatnonzero(np.diff(sources, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(sources)][: len(starts)], strict=True):
            source = self._sources[int(sources[start])]
            for first in range(start, end, RECORDS_PER_MESSAGE):
                last = min(end, first + RECORDS_PER_MESSAGE)
                yield Outgoing(source.kind, source.source_id, whole, first, last)


def quantised(message: str, name: str, values: Any) -> Any:
    """Values rounded to the contract's decimals; what has none passes unchanged."""
    decimals = column_of(message, name).decimals
    if decimals is None or values is None:
        return values
    if isinstance(values, tuple):
        flat, offsets = values
        return np.round(np.asarray(flat, np.float64), decimals), offsets
    return np.round(np.asarray(values, np.float64), decimals)[()]
