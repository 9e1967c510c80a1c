"""Samples that came before: per message, source and subject, by their event time.

A sample newer than all before cannot be a repeat. An older one is looked up among the last
`REMEMBERED` samples; further back only sequence numbers (and the store's own key) tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.slots import Slots, not_before

REMEMBERED = 16
"""Samples kept per source and subject: 1.6 s of a 10 Hz sender, which is how far radio and broker
re-order; repeats of older samples carry their old sequence number."""
NEVER_NS = np.iinfo(np.int64).min

SPEC = {
    "newest_ns": (np.int64, NEVER_NS, 0),
    "recent_ns": (np.int64, NEVER_NS, REMEMBERED),
    "next_place": (np.int8, 0, 0),
}


class Repeats:
    """The fold: which samples of a batch came for the first time."""

    def __init__(self) -> None:
        self.keys = Slots(SPEC)

    def judge(
        self, slots: npt.NDArray[np.int64], at_ns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Rows (n,) that are no repeat, in order of arrival; remembers them."""
        newer = not_before(slots, at_ns, self.keys["newest_ns"], strictly=True)
        if newer.all() and len(np.unique(slots)) == len(slots):
            self._remember_each_once(slots, at_ns)
            return newer
        return self._judge_one_by_one(slots, at_ns)

    def _remember_each_once(
        self, slots: npt.NDArray[np.int64], at_ns: npt.NDArray[np.int64]
    ) -> None:
        places = self.keys["next_place"][slots]
        self.keys["recent_ns"][slots, places] = at_ns
        self.keys["next_place"][slots] = (places + 1) % REMEMBERED
        self.keys["newest_ns"][slots] = at_ns

    def _judge_one_by_one(
        self, slots: npt.NDArray[np.int64], at_ns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        recent, place = self.keys["recent_ns"], self.keys["next_place"]
        known: dict[int, list[int]] = {}
        is_first = np.ones(len(slots), np.bool_)
        for row, (slot, now) in enumerate(zip(slots.tolist(), at_ns.tolist(), strict=True)):
            ring = known.get(slot)
            if ring is None:
                ring = known[slot] = recent[slot].tolist()
            if now in ring:
                is_first[row] = False
            else:
                ring[place[slot]] = now
                place[slot] = (place[slot] + 1) % REMEMBERED
        for slot, ring in known.items():
            recent[slot] = ring
        np.maximum.at(self.keys["newest_ns"], slots, at_ns)
        return is_first

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint."""
        return self.keys.snapshot()

    @classmethod
    def restore(cls, tree: Mapping[str, Any]) -> Repeats:
        """What `snapshot` wrote."""
        repeats = cls()
        repeats.keys = Slots.restore(SPEC, tree)
        return repeats
