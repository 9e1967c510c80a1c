"""The shape of a kind of fault, and what one fault of it was asked to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from openvrc.contracts.errors import VrcError
from openvrc.contracts.units import NS_PER_S
from simulator.sampling import name_hash, share_of
from simulator.world import Frame, Origin, Outgoing, TruthEvent

Value = float | str
FOREVER_NS = 2**62


class FaultError(VrcError):
    """A fault that cannot be: says which parameter, what it was and what was expected."""


class Stage(IntEnum):
    """Where on the way a kind acts: faults act in this order, those of one stage as given."""

    SENSOR = 0
    SENDER = 1
    PAYLOAD = 2
    NETWORK = 3


@dataclass(frozen=True)
class Parameter:
    """One number or word of a kind. `choices` makes it a word, a text default a free one."""

    name: str
    default: Value
    meaning: str
    low: float = 0.0
    high: float = 1e9
    choices: tuple[str, ...] = ()


WINDOW = (
    Parameter("from_s", 0.0, "zone seconds after the start at which it begins"),
    Parameter("for_s", 0.0, "how long it lasts, 0 to the end"),
)
SENDERS = (
    *WINDOW,
    Parameter("senders_ratio", 1.0, "share of the senders it meets", high=1.0),
    Parameter("kind", "any", "which senders", choices=("any", "vehicle", "rsu", "signal")),
)
"""Of kinds that act on messages of a sender."""
VEHICLES = (
    *WINDOW,
    Parameter("vehicles_ratio", 0.05, "share of the vehicles that it is wrong with", high=1.0),
    Parameter("vehicle", "", "the one vehicle it is wrong with, instead of a share"),
)
"""Of kinds that act on what is said of a vehicle."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """One fault as it was asked for, on one run."""

    name: str
    values: Mapping[str, Value]
    seed: int
    """Of this fault alone: two of one kind draw differently."""
    zone: str
    run_id: str
    origin: Origin
    start_ns: int

    def number(self, name: str) -> float:
        """A parameter's number."""
        return float(self.values[name])

    def word(self, name: str) -> str:
        """A parameter's word."""
        return str(self.values[name])

    @property
    def from_ns(self) -> int:
        """Zone time at which it begins."""
        return self.start_ns + round(self.number("from_s") * NS_PER_S)

    @property
    def to_ns(self) -> int:
        """Zone time at which it has ended."""
        lasts_ns = round(self.number("for_s") * NS_PER_S)
        return self.from_ns + lasts_ns if lasts_ns else FOREVER_NS

    def covers(self, at_ns: int) -> bool:
        """Whether it is at work at that zone time."""
        return self.from_ns <= at_ns < self.to_ns

    def hash_of(self, name: str) -> int:
        """64 bits of this fault for a sender or vehicle."""
        return name_hash(self.seed, "fault", name)

    def meets(self, name: str) -> bool:
        """Whether a sender or vehicle is among those it is wrong with."""
        if only := str(self.values.get("vehicle", "")):
            return name == only
        ratio = self.values.get("vehicles_ratio", self.values.get("senders_ratio", 1.0))
        return bool(share_of(self.seed, "fault", [name])[0] < float(ratio))

    def told(self) -> dict[str, Value]:
        """Its own parameters, for the ground truth."""
        shared = {"from_s", "for_s", "senders_ratio", "kind", "vehicles_ratio", "vehicle"}
        return {name: value for name, value in self.values.items() if name not in shared}


class Fault(Protocol):
    """One fault at work; frames pass through it in order of zone time."""

    def apply(self, frame: Frame) -> Frame:
        """What is left, changed or added of a frame; its zone time stays."""
        ...

    def close(self, zone_time_ns: int) -> list[Outgoing]:
        """What is still held, and last counts of senders of its own; nothing comes after it."""
        ...

    def truth(self) -> list[TruthEvent]:
        """What it did so far: who, from, to, and how much."""
        ...


class FaultKind(Protocol):
    """A kind of fault; the `PLUGIN` of its module."""

    name: str
    description: str
    stage: Stage
    parameters: tuple[Parameter, ...]

    def make(self, given: Given) -> Fault:
        """One fault of this kind. Raises FaultError for numbers that contradict one another."""
        ...
