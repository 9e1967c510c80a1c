"""What the inputs of a group became, so that the journal need not keep admitted records twice.

A group's blob for the cloud holds its admitted records already. Where every record of a door's
payloads was admitted, folding those very records again leads to the same state as the payloads
would: the journal then names the batch of the blob. Only where something was refused, repeated or
has to wait are the payloads themselves kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from openvrc.contracts.batch import Batch

UNNUMBERED = -1
"""An input that nobody journals."""


@dataclass(eq=False)
class Opening:
    """One door that was opened: the inputs behind it, and the batches they became."""

    numbers: Sequence[int]
    batches: list[Batch] = field(default_factory=list)
    is_clean: bool = True
    """Every record of every payload was admitted."""


@dataclass(frozen=True)
class Kept:
    """An input to be kept as it came: its place in the group."""

    number: int


@dataclass(frozen=True)
class Folded:
    """A batch of the group's blob to be folded again: its place there."""

    place: int


Step = Kept | Folded


class GroupLog:
    """The events of one group, in order."""

    def __init__(self) -> None:
        self._events: list[int | Opening] = []

    def input(self, number: int) -> None:
        """An input that waited at no door has taken effect."""
        self._events.append(number)

    def opening(self, numbers: Sequence[int]) -> Opening:
        """A door is opened."""
        opened = Opening(numbers)
        self._events.append(opened)
        return opened

    def steps(self, batches: Sequence[Batch]) -> list[Step]:
        """What leads from the state before the group to the state after it."""
        openings = [event for event in self._events if isinstance(event, Opening)]
        _spread_doubt(openings)
        place_of = {id(batch): place for place, batch in enumerate(batches)}
        told: set[int] = set()
        steps: list[Step] = []
        for event in self._events:
            if isinstance(event, int):
                steps.append(Kept(event))
            elif not event.is_clean:
                steps += map(Kept, event.numbers)
            else:
                places = [place_of[id(batch)] for batch in event.batches]
                steps += [Folded(place) for place in places if place not in told]
                told.update(places)
        return steps


def _spread_doubt(openings: Iterable[Opening]) -> None:
    """A batch that several doors share is folded again only if all of them are clean."""
    openings = list(openings)
    doubtful: set[int] = set()
    while True:
        found = {id(b) for door in openings if not door.is_clean for b in door.batches}
        if found == doubtful:
            return
        doubtful = found
        for door in openings:
            door.is_clean &= not any(id(batch) in doubtful for batch in door.batches)
