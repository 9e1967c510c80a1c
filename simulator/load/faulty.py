"""A load test's traffic with faults of senders and network on it (`simulator.faults`).

The schedule says when records are due; the faults then lose, hold, double and spoil what is sent.
They act in the schedule's time, frame by frame (0.2 s): what they hold is sent with the end of the
frame in which it is let go, so no delay is shorter than it should be and none is longer by more
than a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Codec
from simulator.faults.faulty_world import FaultyWorld
from simulator.faults.spec import parse_all
from simulator.load.schedule import Schedule, Span
from simulator.load.traffic import TrafficPlan
from simulator.load.world import LoadWorld, brakings
from simulator.world import RECORDS_PER_MESSAGE, Frame, Outgoing

Ints = npt.NDArray[np.int64]


class FaultyLoad:
    """The frames of a load world after its faults, until the schedule is at its end."""

    def __init__(self, world: LoadWorld, faults: Sequence[str], seed: int) -> None:
        """`faults` as for `--fault`. Raises FaultError."""
        self._world = FaultyWorld(_ToItsEnd(world), parse_all(faults), seed)
        self._before_ns = world.start_ns

    def frames(self) -> Iterator[Frame]:
        """The last one holds what is still held, and every sender's count."""
        return self._world.frames()

    def due_ns(self, frame: Frame) -> Ints:
        """When each message (n_messages,) of the next frame is to be sent.

        With its last record if that lies in the frame's time; else, as it was held or its clock is
        wrong, at the frame's end.
        """
        last_ns = np.array([_last_sample_ns(message) for message in frame.messages], np.int64)
        is_within = (last_ns > self._before_ns) & (last_ns <= frame.zone_time_ns)
        self._before_ns = frame.zone_time_ns
        return np.where(is_within, last_ns, frame.zone_time_ns)

    def expected(self) -> dict[str, int]:
        """What the accounts must come to, see `simulator.faults.outcome`."""
        return self._world.outcomes.totals()


def check(faults: Sequence[str], run_id: str) -> None:
    """Raises FaultError for faults that cannot be, or whose numbers contradict one another."""
    plan = TrafficPlan(1, 1, RECORDS_PER_MESSAGE, 0, 0, run_id)
    FaultyLoad(LoadWorld(plan, Schedule([Span(1.0, 1.0, 1.0)])), faults, 0)


class _ToItsEnd:
    """A load world whose frames end with its schedule, counts last."""

    def __init__(self, world: LoadWorld) -> None:
        self._load = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load, name)

    def frames(self) -> Iterator[Frame]:
        """See World."""
        zone_time_ns = self._load.start_ns
        for frame in self._load.due_frames():
            zone_time_ns = frame.zone_time_ns
            yield frame
        yield self._load.final_frame(zone_time_ns)


def encoded(
    frame: Frame, due_ns: Ints, codec: Codec, counts_codec: Codec
) -> tuple[list[bytes], dict[str, int]]:
    """Payloads of a frame's messages in order, as its faults leave them; who tells of hard braking.

    `published_at_ns` is when a message is due; one that is said twice keeps that of the first time.
    """
    payloads: list[bytes] = [b""] * len(frame.messages)
    braking: dict[str, int] = {}
    places_of: dict[int, list[int]] = {}
    for place, message in enumerate(frame.messages):
        places_of.setdefault(id(message.whole), []).append(place)
    for places in places_of.values():
        mine = [frame.messages[place] for place in places]
        whole = _stamped(mine, due_ns[places])
        its = counts_codec if whole.message == "source_status" else codec
        parts = its.encode_parts(whole, [message.bounds for message in mine])
        for place, message, payload in zip(places, mine, parts, strict=True):
            payloads[place] = message.damage.mangle(payload) if message.damage else payload
        braking = _brakings_of(whole, mine) | braking
    return payloads, braking


def _stamped(messages: Sequence[Outgoing], due_ns: Ints) -> Batch:
    """The batch that these share; rows that none of them holds keep a time of 0."""
    whole = messages[0].whole
    published_ns = np.zeros(whole.n_rows, np.int64)
    for message, due in reversed(list(zip(messages, due_ns.tolist(), strict=True))):
        published_ns[slice(*message.bounds)] = due
    return whole.with_columns({"published_at_ns": published_ns})


def _brakings_of(whole: Batch, messages: Sequence[Outgoing]) -> dict[str, int]:
    """See `brakings`; of rows that are sent and can be read."""
    if whole.message != "vehicle_state":
        return {}
    is_sent = np.zeros(whole.n_rows, np.bool_)
    for message in messages:
        if message.damage is None:
            is_sent[slice(*message.bounds)] = True
    return brakings(whole if is_sent.all() else whole.filter(is_sent))


def _last_sample_ns(message: Outgoing) -> int:
    return int(message.whole.column("sampled_at_ns")[slice(*message.bounds)].max())
