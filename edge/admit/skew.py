"""How far a source's clock is off: the least of (received - sampled) over its recent records.

The least, because delay only ever adds: a late burst does not move it, a wrong clock moves all of
it. Kept as the least of the current and of the previous `SPAN_S`. Negative is a clock that runs
ahead. Runs on the wall clock only; a driven run has no receipt time to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.admit.repeats import NEVER_NS, text_mark
from edge.slots import Slots

SPAN_NS = 60 * 1_000_000_000
"""Long enough to see one record without queueing, short enough to notice a clock that was set."""
NO_DELAY = np.iinfo(np.int64).max

SPEC = {
    "mark": (np.uint64, 0, 0),  # the name as a number, for remembering samples
    "heard_ns": (np.int64, NEVER_NS, 0),
    "span": (np.int64, -1, 0),
    "least_ns": (np.int64, NO_DELAY, 0),
    "least_before_ns": (np.int64, NO_DELAY, 0),
}


class Skew:
    """The estimate per source."""

    def __init__(self) -> None:
        self.sources = Slots(SPEC)

    def observe(
        self,
        slots: npt.NDArray[np.int64],
        at_ns: npt.NDArray[np.int64],
        received_at_ns: npt.NDArray[np.int64],
    ) -> None:
        """Fold in records, arrays (n,), received in order."""
        state = self.sources
        span = int(received_at_ns[-1]) // SPAN_NS
        used = np.unique(slots)
        older = used[state["span"][used] < span]
        is_next = state["span"][older] == span - 1
        state["least_before_ns"][older] = np.where(is_next, state["least_ns"][older], NO_DELAY)
        state["least_ns"][older] = NO_DELAY
        state["span"][older] = span
        np.minimum.at(state["least_ns"], slots, received_at_ns - at_ns)

    def marks(
        self, slots: npt.NDArray[np.int64], at_ns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint64]:
        """The mark of each row's source (n,); notes when it was heard, in event time."""
        marks = self.sources["mark"]
        new = np.unique(slots[marks[slots] == 0])
        marks[new] = np.array(
            [text_mark(self.sources.key(slot)) for slot in new.tolist()], np.uint64
        )
        np.maximum.at(self.sources["heard_ns"], slots, at_ns)
        return marks[slots]

    def estimate_ns(self, source_id: str) -> int | None:
        """Receipt less event time at best; None for a source never heard."""
        slot = int(self.sources.of([source_id])[0])
        least = min(int(self.sources["least_ns"][slot]), int(self.sources["least_before_ns"][slot]))
        return None if least == NO_DELAY else least

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint."""
        return self.sources.snapshot()

    @classmethod
    def restore(cls, tree: Mapping[str, Any]) -> Skew:
        """What `snapshot` wrote."""
        skew = cls()
        skew.sources = Slots.restore(SPEC, tree)
        return skew
