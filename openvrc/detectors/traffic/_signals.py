"""What a zone's signal heads have shown lately, by event time.

Records are held back until the watermark has passed them, then told in order of time. Each head
remembers its last changes; what it showed at a moment is asked of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import column_of
from openvrc.contracts.detection import Arrays
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.messages.record import LATE_IN_ZONE
from openvrc.contracts.units import ABSENT_I64, NS_PER_S

IndexArray = NDArray[np.int64]

CHANGES = 8  # red, red_amber, green, amber: two cycles, of which the last seconds matter
HEARD_NS = 15 * NS_PER_S  # controllers say their state at least each five seconds
RED = column_of("signal_state", "phase").values.index("red")


class Signals:
    """Heads are numbered as in the map; arrays (n_heads, CHANGES), newest last."""

    def __init__(self, road_map: RoadMap) -> None:
        heads = road_map.signal_heads
        self._number: dict[str, list[int]] = {}
        self.of_lane: dict[tuple[int, int], list[int]] = {}
        """Heads by (segment number, lane)."""
        for number, head in enumerate(heads):
            word = f"{head.intersection_id}:{head.signal_group}"
            self._number.setdefault(word, []).append(number)
            lane = road_map.index_of(head.segment_id), head.lane_index
            self.of_lane.setdefault(lane, []).append(number)
        self.since_ns = np.full((len(heads), CHANGES), ABSENT_I64)
        self.phase = np.full((len(heads), CHANGES), -1)
        self.heard_ns = np.full(len(heads), ABSENT_I64)
        self._waiting: list[tuple[IndexArray, IndexArray, IndexArray]] = []

    def hold_back(self, batch: Batch) -> None:
        """Keep the records in time that say a phase of a head of the map."""
        words = batch.dictionary("subject_id")
        known = np.array([word in self._number for word in words], np.bool_)
        code, phase = batch.codes("subject_id"), batch.column("phase").astype(np.int64)
        usable = known[code] if len(words) else np.zeros(batch.n_rows, np.bool_)
        usable &= (phase >= 0) & ((batch.column("lateness") & LATE_IN_ZONE) == 0)
        rows = np.flatnonzero(usable)
        numbers = [self._number[words[one]] for one in code[rows].tolist()]
        counts = np.array([len(n) for n in numbers], np.int64)
        head = np.array([one for some in numbers for one in some], np.int64)
        at_ns = np.repeat(batch.column("sampled_at_ns")[rows], counts)
        if len(head):
            self._waiting.append((at_ns, head, np.repeat(phase[rows], counts)))

    def tell(self, upto_ns: int) -> None:
        """Take in what was sampled up to a moment."""
        if not self._waiting:
            return
        at_ns, head, phase = (np.concatenate(part) for part in zip(*self._waiting, strict=True))
        due = at_ns <= upto_ns
        self._waiting = [] if due.all() else [(at_ns[~due], head[~due], phase[~due])]
        order = np.lexsort((phase[due], head[due], at_ns[due]))
        for moment, one, shows in zip(
            at_ns[due][order].tolist(),
            head[due][order].tolist(),
            phase[due][order].tolist(),
            strict=True,
        ):
            self.heard_ns[one] = moment
            if self.phase[one, -1] != shows:
                self.phase[one, :-1] = self.phase[one, 1:]
                self.since_ns[one, :-1] = self.since_ns[one, 1:]
                self.phase[one, -1], self.since_ns[one, -1] = shows, moment

    def red_since_ns(self, head: int, at_ns: int, until_ns: int) -> int:
        """Since when a head had shown red at a moment, and still did later; ABSENT_I64 if not.

        Nor where it was not heard of, or its red began before it was.
        """
        since_ns = self.since_ns[head]
        shown = int(np.searchsorted(since_ns, at_ns, side="right")) - 1
        if shown < 0 or self.phase[head, shown] != RED or self.heard_ns[head] < at_ns - HEARD_NS:
            return ABSENT_I64
        ends_ns = int(since_ns[shown + 1]) if shown + 1 < CHANGES else until_ns + 1
        return int(since_ns[shown]) if ends_ns > until_ns else ABSENT_I64

    def snapshot(self) -> Arrays:
        """Everything but the map."""
        none = (np.empty(0, np.int64),) * 3
        at_ns, head, phase = (
            np.concatenate(part) for part in zip(none, *self._waiting, strict=True)
        )
        return {
            "signal_since_ns": self.since_ns.copy(),
            "signal_phase": self.phase.copy(),
            "signal_heard_ns": self.heard_ns.copy(),
            "signal_waiting": np.stack((at_ns, head, phase)),
        }

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `snapshot` wrote, on the same map."""
        self.since_ns = arrays["signal_since_ns"].copy()
        self.phase = arrays["signal_phase"].copy()
        self.heard_ns = arrays["signal_heard_ns"].copy()
        at_ns, head, phase = arrays["signal_waiting"]
        self._waiting = [(at_ns, head, phase)] if len(at_ns) else []
