"""How far a source's clock is off, and times put right by it.

The estimate is the least of (received - sampled) over the recent records of a source. The least,
because delay only ever adds: a late burst does not move it, a wrong clock moves all of it. It is
kept for spans of `SPAN_NS`. Two spans one behind the other that agree are a steady offset, and
from then on the source's times are moved by it; a burst, a backlog or a jumping clock agree with
nothing.

A clock that runs ahead shows beyond doubt: no record arrives before it was sampled. One that lags
looks like a long way to the edge. So what the quickest source of the same time needs is taken as
the way of all, and what lags by more than `MOST_BEHIND_NS` is history that somebody sends again.
Where some sources do have a longer way than others, the zone says so (`clocks_put_right`).

Runs on the wall clock only; a driven run has no receipt time to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.admit.repeats import NEVER_NS, text_mark
from edge.slots import Slots
from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import columns_of
from openvrc.contracts.units import ABSENT_I64, NS_PER_MS, NS_PER_S
from openvrc.contracts.zone import ClocksPutRight

SPAN_NS = 30 * NS_PER_S
"""Long enough to hear a battery's frames, which come each 10 to 30 s, without queueing; short
enough to notice a clock that was set."""
STEADY_NS = NS_PER_S // 2
"""Two spans agree within it: the way to the edge varies by less from one best case to another."""
LEAST_AHEAD_NS = NS_PER_S // 5
"""Less is what clocks kept by NTP differ by, and what nobody would notice."""
LEAST_BEHIND_NS = 2 * NS_PER_S
"""Less is not told from a slow way, and nothing is late by it."""
MOST_BEHIND_NS = 60 * NS_PER_S
MOST_AHEAD_NS = 24 * 3600 * NS_PER_S
"""A wrong time zone is 14 h; a clock that nobody ever set is not steady, it is unknown."""
FITS_NS = 2 * NS_PER_S
"""A record that is so close to its receipt as it came needs no correction by more than a minute:
the clock was set meanwhile. Of less it is not told from a record that came late."""
NO_DELAY = np.iinfo(np.int64).max

SPEC = {
    "mark": (np.uint64, 0, 0),  # the name as a number, for remembering samples
    "heard_ns": (np.int64, NEVER_NS, 0),
    "span": (np.int64, -1, 0),
    "least_ns": (np.int64, NO_DELAY, 0),
    "least_before_ns": (np.int64, NO_DELAY, 0),
    "offset_ns": (np.int64, 0, 0),  # own clock less true time, as times are moved by it
}

Times = npt.NDArray[np.int64]


class Skew:
    """The estimate per source."""

    def __init__(self) -> None:
        self.sources = Slots(SPEC)
        self._is_any_off = False

    def observe(
        self, slots: Times, at_ns: Times, received_at_ns: Times, which: ClocksPutRight = "both"
    ) -> Times | None:
        """Fold in records, arrays (n,), received in order; `which` clocks the zone lets be moved.

        Returns by how much each one's clock is off (n,), own less true time; None if none is.
        """
        offset_ns: Times | None = None
        spans = received_at_ns // SPAN_NS
        ends = [*(np.flatnonzero(np.diff(spans)) + 1).tolist(), len(spans)]
        start = 0
        for end in ends:
            part = slice(start, end)
            used = np.unique(slots[part])
            self._roll(used, int(spans[start]), which)
            # Also of a sender none of whose records is admitted: its clock may be why.
            heard = self.sources["heard_ns"]
            heard[used] = np.maximum(heard[used], received_at_ns[end - 1])
            np.minimum.at(self.sources["least_ns"], slots[part], received_at_ns[part] - at_ns[part])
            if self._is_any_off:
                offset_ns = np.zeros(len(slots), np.int64) if offset_ns is None else offset_ns
                offset_ns[part] = self.sources["offset_ns"][slots[part]]
            start = end
        if offset_ns is None:
            return None
        is_set = (np.abs(received_at_ns - at_ns) <= FITS_NS) & (np.abs(offset_ns) > MOST_BEHIND_NS)
        offset_ns[is_set] = 0
        return offset_ns if offset_ns.any() else None

    def _roll(self, used: Times, span: int, which: ClocksPutRight) -> None:
        state = self.sources
        older = used[state["span"][used] < span]
        if not older.size:
            return
        is_next = state["span"][older] == span - 1
        is_known = is_next & (state["least_before_ns"][older] != NO_DELAY)
        if is_known.any():
            self._judge(older[is_known], span, which)
        state["least_before_ns"][older] = np.where(is_next, state["least_ns"][older], NO_DELAY)
        state["least_ns"][older] = NO_DELAY
        state["span"][older] = span

    def _judge(self, slots: Times, span: int, which: ClocksPutRight) -> None:
        """Whether the clocks of sources that were heard in two spans running are off."""
        state = self.sources
        least, before = state["least_ns"][slots], state["least_before_ns"][slots]
        is_steady = np.abs(least - before) <= STEADY_NS
        best = np.minimum(least, before)
        is_ahead, lags = (best < -LEAST_AHEAD_NS) & (best >= -MOST_AHEAD_NS), best > LEAST_BEHIND_NS
        way_ns = self._common_way_ns(span) if (lags & is_steady).any() else 0
        is_behind = (best - way_ns > LEAST_BEHIND_NS) & (best - way_ns <= MOST_BEHIND_NS)
        is_ahead &= which != "none"
        is_behind &= which == "both"
        offset = np.where(is_ahead, -best, np.where(is_behind, way_ns - best, 0))
        offset = offset // NS_PER_MS * NS_PER_MS
        known = state["offset_ns"][slots]
        is_new = is_steady & (
            (np.abs(offset - known) > STEADY_NS / 2) | ((offset == 0) != (known == 0))
        )
        state["offset_ns"][slots[is_new]] = offset[is_new]
        self._is_any_off = bool(state["offset_ns"].any())

    def _common_way_ns(self, span: int) -> int:
        """What the quickest source needed in the span before; fast clocks tell nothing of it."""
        state = self.sources
        closed = state["least_ns"][state["span"] == span - 1]
        rolled = state["least_before_ns"][state["span"] == span]
        known = np.concatenate([closed, rolled])
        known = known[(known != NO_DELAY) & (known >= -LEAST_AHEAD_NS)]
        return max(int(known.min()), 0) if known.size else 0

    def offsets_ms(self, source_ids: list[str]) -> npt.NDArray[np.float32]:
        """Own clock less true time as times are moved by it now; NaN for one that is right."""
        found = np.full(len(source_ids), np.nan, np.float32)
        if self._is_any_off:
            offset_ns = self.sources["offset_ns"][self.sources.of(source_ids)]
            is_off = offset_ns != 0
            found[is_off] = offset_ns[is_off] / NS_PER_MS
        return found

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
        skew._is_any_off = bool(skew.sources["offset_ns"].any())
        return skew


def put_right(batch: Batch, offset_ns: Times) -> Batch:
    """The batch with every time that senders took from their own clocks less its offset (n,)."""
    moved = {}
    for column in columns_of(batch.message):
        is_own = column.kind == "i64" and column.unit == "ns" and not column.is_mark
        if not is_own or column.name in batch.absent:
            continue
        times = batch.column(column.name)
        is_told = (times != ABSENT_I64) & (times > 0)  # 0 is how some say "not known"
        moved[column.name] = np.where(is_told, np.maximum(times - offset_ns, 0), times)
    return batch.with_columns(moved)
