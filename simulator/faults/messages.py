"""Faults that meet whole messages on their way: held, lost, said twice.

A kind gives a function from one message to what becomes of it; who and when, what is held until
its time, and the ground truth stand here. A sender's count (`source_status`) may be late but is
never lost: a sender repeats it until it is heard, and without it nobody could know what is missing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openvrc.contracts.units import NS_PER_S
from simulator.faults.kind import Given
from simulator.world import Frame, Outgoing, TruthEvent

Sender = tuple[str, str]
"""Kind and id."""
_MASK = 2**64 - 1


class Draws:
    """Uniform numbers of one message, as many as are asked for: SplitMix64 on plain integers.

    The same mixing as `simulator.sampling`, which costs 20 us on one number.
    """

    def __init__(self, state: int) -> None:
        self._state = state

    def uniform(self) -> float:
        """The next one in [0, 1)."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return float(((mixed ^ (mixed >> 31)) >> 11) * 2.0**-53)


@dataclass(frozen=True)
class Met:
    """One message a fault may be wrong with."""

    outgoing: Outgoing
    zone_time_ns: int
    number: int
    """How many of its sender's messages the fault has met before."""
    draws: Draws

    @property
    def sender(self) -> Sender:
        """Who said it."""
        return self.outgoing.kind, self.outgoing.source_id

    @property
    def is_count(self) -> bool:
        """Whether it is a sender's count, which is not to be lost."""
        return self.outgoing.message == "source_status"


Passed = Sequence[tuple[int, Outgoing]]
"""What is left of a message, each with how long it is held, ns."""
Treat = Callable[[Met], Passed | None]
"""None: nothing is wrong with this one."""


class MessageFault:
    """See `Fault`."""

    def __init__(self, given: Given, treat: Treat, *, rule: str = "") -> None:
        self._given, self._treat = given, treat
        self._rule = rule or f"fault.{given.name}"
        self._hashes: dict[Sender, int | None] = {}
        self._numbers: dict[Sender, int] = {}
        self._held: list[tuple[int, int, Outgoing]] = []
        self._n_seen = 0
        self._spans: dict[Sender, list[int]] = {}  # first, last, messages, records

    def apply(self, frame: Frame) -> Frame:
        """See Fault."""
        now_ns = frame.zone_time_ns
        for outgoing in frame.messages:
            for hold_ns, one in self._of(outgoing, now_ns):
                self._n_seen += 1
                heapq.heappush(self._held, (now_ns + hold_ns, self._n_seen, one))
        return Frame(now_ns, tuple(self._due(now_ns)))

    def close(self, zone_time_ns: int) -> list[Outgoing]:
        """See Fault."""
        del zone_time_ns
        rest = [one for _, _, one in sorted(self._held, key=lambda held: held[:2])]
        self._held = []
        return rest

    def truth(self) -> list[TruthEvent]:
        """See Fault: one event for each sender."""
        return [
            TruthEvent(
                rule=self._rule,
                subject_id=source_id,
                from_ns=first_ns,
                to_ns=last_ns,
                component=kind,
                detail={"fault": self._given.name, "messages": messages, "records": records}
                | self._given.told(),
            )
            for (kind, source_id), (first_ns, last_ns, messages, records) in self._spans.items()
        ]

    def _due(self, now_ns: int) -> list[Outgoing]:
        due = []
        while self._held and self._held[0][0] <= now_ns:
            due.append(heapq.heappop(self._held)[2])
        return due

    def _of(self, outgoing: Outgoing, now_ns: int) -> Passed:
        sender = outgoing.kind, outgoing.source_id
        state = self._hash(sender)
        if state is None or not self._given.covers(now_ns):
            return ((0, outgoing),)
        number = self._numbers[sender] = self._numbers.get(sender, -1) + 1
        draws = Draws((state + number * 0xD1342543DE82EF95) & _MASK)
        passed = self._treat(Met(outgoing, now_ns, number, draws))
        if passed is None:
            return ((0, outgoing),)
        self._note(sender, now_ns, outgoing.n_rows)
        return passed

    def _hash(self, sender: Sender) -> int | None:
        if sender not in self._hashes:
            name, wanted = "/".join(sender), self._given.word("kind")
            is_met = wanted in ("any", sender[0]) and self._given.meets(name)
            self._hashes[sender] = self._given.hash_of(name) if is_met else None
        return self._hashes[sender]

    def _note(self, sender: Sender, now_ns: int, n_records: int) -> None:
        span = self._spans.setdefault(sender, [now_ns, now_ns, 0, 0])
        span[1], span[2], span[3] = now_ns, span[2] + 1, span[3] + n_records


def ns_of_ms(milliseconds: float) -> int:
    """Milliseconds as ns."""
    return round(milliseconds * NS_PER_S / 1000)
