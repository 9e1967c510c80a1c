"""A world: whatever yields, step by step of zone time, the messages its senders say.

A recording and a scenario have the same shape, so the publisher (MQTT) and `vrc analyse` (no
network at all) take either. A world is deterministic: the same arguments, seed and run give the
same frames byte for byte; it has no clock and never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa

from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S, iso_from_ns

Origin = Literal["replay", "simulated"]

RECORDS_PER_MESSAGE = 50
"""Records a sender puts into one message: the measured knee of the costs per record."""


@dataclass(frozen=True)
class Damage:
    """What is wrong with a message's payload."""

    mangle: Callable[[bytes], bytes]
    """The payload as it is sent, of the sound one."""
    is_readable: bool
    """Whether records can still be told apart: then each is rejected by its number."""


@dataclass(frozen=True)
class Outgoing:
    """One MQTT message to be: records of one message type by one sender.

    `kind` is the topic's kind (vehicle, rsu, signal, charger). The records are rows `start` to
    `end` (None: all) of `whole`, a batch that many senders of a frame share: cutting it up costs
    more than making it, so that is left to who needs it. `session` and `seq` are filled,
    `published_at_ns` is absent.
    """

    kind: str
    source_id: str
    whole: Batch
    start: int = 0
    end: int | None = None
    damage: Damage | None = None

    @property
    def message(self) -> str:
        """Name of the message type."""
        return self.whole.message

    @property
    def bounds(self) -> tuple[int, int]:
        """Its rows of `whole`, [first, last)."""
        return self.start, self.whole.n_rows if self.end is None else self.end

    @property
    def n_rows(self) -> int:
        """How many records it holds."""
        start, end = self.bounds
        return end - start

    @cached_property
    def batch(self) -> Batch:
        """Its records alone."""
        return self.whole if self.n_rows == self.whole.n_rows else cut(self.whole, *self.bounds)


@dataclass(frozen=True)
class Frame:
    """All messages up to a zone time and after the frame before."""

    zone_time_ns: int
    messages: tuple[Outgoing, ...]

    def batches(self) -> list[Batch]:
        """One Batch per message type, senders one after the other; for readers without topics.

        Damaged messages are left out: whoever reads batches reads no payloads.
        """
        groups: dict[str, list[Outgoing]] = {}
        for outgoing in self.messages:
            if outgoing.damage is not None:
                continue
            groups.setdefault(outgoing.message, []).append(outgoing)
        return [concat(list(_rejoined(members))) for members in groups.values()]


def _rejoined(messages: list[Outgoing]) -> Iterator[Batch]:
    """The messages' rows in order, neighbours in one batch where they come from one."""
    place = 0
    while place < len(messages):
        whole, (start, end) = messages[place].whole, messages[place].bounds
        place += 1
        while (
            place < len(messages)
            and messages[place].whole is whole
            and messages[place].bounds[0] == end
        ):
            end = messages[place].bounds[1]
            place += 1
        yield whole if end - start == whole.n_rows else cut(whole, start, end)


@dataclass(frozen=True)
class TruthEvent:
    """Something that truly happens in a world, for judging alerts.

    `rule` is the alert that should find it; `to_ns` is None for what lasts beyond the run.
    """

    rule: str
    subject_id: str
    from_ns: int
    to_ns: int | None = None
    segment_id: str = ""
    component: str = ""
    lat_deg: float | None = None
    lon_deg: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values with ISO times: what, who, where, from, to."""
        plain = asdict(self)
        plain["from"] = iso_from_ns(plain.pop("from_ns"))
        to_ns = plain.pop("to_ns")
        plain["to"] = None if to_ns is None else iso_from_ns(to_ns)
        return plain


class World(Protocol):
    """What the publisher and `vrc analyse` need to know of a recording or a scenario."""

    @property
    def zone(self) -> str:
        """Zone the messages belong to."""
        ...

    @property
    def run_id(self) -> str:
        """Run that the identities are unique within."""
        ...

    @property
    def origin(self) -> Origin:
        """Whether this is a recording or a model."""
        ...

    @property
    def title(self) -> str:
        """Name of the recording or scenario, for people."""
        ...

    @property
    def time_zone(self) -> str:
        """IANA zone that the zone's days and hours are counted in."""
        ...

    @property
    def start_ns(self) -> int:
        """Zone time at which it begins: no later than its first record's."""
        ...

    @property
    def road_map(self) -> RoadMap | None:
        """The zone's roads; None where nothing moves on a map (a battery log)."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Every frame in order of zone time; the last one holds each sender's final count.

        May be iterated once. An endless scenario goes on until `stop`.
        """
        ...

    def stop(self) -> None:
        """Make `frames` end with its next frame. May be called from another thread."""
        ...

    def ground_truth(self) -> list[TruthEvent]:
        """What truly happened up to the newest frame, in order of time."""
        ...


LOG_STEP_S = 600.0
"""Zone time taken at once from a battery log when nobody paces it: battery rules judge record by
record, and a tick for each of a log's frames would cost fifty times the records."""


def unpaced(world: World) -> Iterator[Frame]:
    """The world's frames as fast as they can be taken: a log's in its steps, others as they are.

    A world that is such a log says how long a step may be in `unpaced_step_s`; one with
    `frames_of` makes such frames itself, which spares joining them from small ones.
    `vrc analyse` and a replay without pace take the same frames, so they find at the same time.
    """
    step_s = getattr(world, "unpaced_step_s", 0.0)
    frames_of: Callable[[float], Iterator[Frame]] | None = getattr(world, "frames_of", None)
    return frames_of(step_s) if frames_of else merged(world.frames(), step_s)


def merged(frames: Iterable[Frame], span_s: float) -> Iterator[Frame]:
    """The same messages in fewer frames, each at least `span_s` of zone time apart.

    Messages of one sender and type are joined up to `RECORDS_PER_MESSAGE`, so that a fast replay
    sends few large messages. With `span_s` 0 the frames pass unchanged.
    """
    if span_s <= 0:
        yield from frames
        return
    held: list[Frame] = []
    opened_ns: int | None = None
    for frame in frames:
        opened_ns = frame.zone_time_ns if opened_ns is None else opened_ns
        if held and frame.zone_time_ns - opened_ns >= span_s * NS_PER_S:
            yield _joined(held)
            held, opened_ns = [], frame.zone_time_ns
        held.append(frame)
    if held:
        yield _joined(held)


def _joined(frames: Sequence[Frame]) -> Frame:
    if len(frames) == 1:
        return frames[0]
    groups: dict[tuple[str, str, str], list[Batch]] = {}
    damaged = []
    for frame in frames:
        for outgoing in frame.messages:
            if outgoing.damage is not None:
                damaged.append(outgoing)
                continue
            key = (outgoing.kind, outgoing.source_id, outgoing.batch.message)
            groups.setdefault(key, []).append(outgoing.batch)
    messages = [
        Outgoing(kind, source_id, part)
        for (kind, source_id, _), members in groups.items()
        for part in split(concat(members), RECORDS_PER_MESSAGE)
    ]
    messages += damaged  # each is a payload of its own
    # Counts go last: a sender's count must not overtake the records it counts.
    messages.sort(key=lambda outgoing: outgoing.batch.message == "source_status")
    return Frame(frames[-1].zone_time_ns, tuple(messages))


def cut(batch: Batch, start: int, end: int) -> Batch:
    """Rows of a batch with only the words they use: a slice would drag along everybody's ids."""
    columns = batch.data.slice(start, end - start).columns
    arrays = [_compact(c) if pa.types.is_dictionary(c.type) else c for c in columns]
    return replace(batch, data=pa.RecordBatch.from_arrays(arrays, schema=batch.data.schema))


def _compact(array: pa.DictionaryArray) -> pa.DictionaryArray:
    used, codes = np.unique(array.indices.to_numpy(), return_inverse=True)
    words = array.dictionary.take(pa.array(used))
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), words)


def split(batch: Batch, most: int) -> Iterator[Batch]:
    """The batch in parts of at most `most` rows."""
    if batch.n_rows <= most:
        yield batch
        return
    for start in np.arange(0, batch.n_rows, most):
        yield batch.slice(int(start), most)
