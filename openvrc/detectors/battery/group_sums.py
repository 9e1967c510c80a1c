"""Sums over consecutive rows of a vehicle that share a key, carried over batches.

All sums are of integers: they are exact, so the result does not depend on where a batch was cut
(float sums would differ in the last bit with the order of addition).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.detection import Arrays
from openvrc.detectors.battery.frames import Rows, first_of_run
from openvrc.detectors.battery.wide import Wide

IntArray = npt.NDArray[np.int64]
_KEY, _N_ROWS, _FIRST_AT, _LAST_AT, _SCALARS = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Closed:
    """Finished groups (g,), each vehicle's in order."""

    slot: IntArray
    closing: IntArray
    """Index into `Rows` of the row that ended the group by carrying another key."""
    n_rows: IntArray
    first_at_ns: IntArray
    last_at_ns: IntArray
    scalars: IntArray
    """(g, k) sums of the scalars."""
    tables: dict[str, npt.NDArray[Any]]
    """(g, width) sums of each table."""


class GroupSums:
    """The open group of each vehicle; `tables` names what is summed, with an integer type each."""

    def __init__(self, tables: Mapping[str, Any], n_scalars: int) -> None:
        self._spec: dict[str, tuple[Any, Any]] = {name: (dt, 0) for name, dt in tables.items()}
        self._names = tuple(tables)
        self._n_scalars = n_scalars
        self._heads = Wide({"heads": (np.int64, 0)})
        self._heads.fit(0, _SCALARS + n_scalars)
        self._tables = Wide(self._spec)

    def fold(
        self,
        rows: Rows,
        key: IntArray,
        scalars: IntArray,
        tables: Mapping[str, npt.NDArray[Any]],
    ) -> Closed:
        """Add rows (n,) with their key, scalars (n, k) and tables (n, width); what closed.

        The tables are used up: sums may be written into them.
        """
        starts = np.flatnonzero(rows.is_first | first_of_run(key))
        n_slots = int(rows.slot.max(initial=-1)) + 1
        self._heads.fit(n_slots, 0)
        self._tables.fit(n_slots, max((t.shape[1] for t in tables.values()), default=0))
        heads = self._part_heads(rows, key, scalars, starts)
        sums = {
            name: self._tables.padded(_grouped(tables[name], starts), 0) for name in self._names
        }
        slot = rows.slot[starts]
        is_head = rows.is_first[starts]
        return self._merge(slot, starts, is_head, heads, sums)

    def _part_heads(
        self, rows: Rows, key: IntArray, scalars: IntArray, starts: IntArray
    ) -> IntArray:
        ends = np.append(starts[1:], len(rows)) - 1 if len(starts) else starts
        heads = np.empty((len(starts), _SCALARS + self._n_scalars), np.int64)
        heads[:, _KEY] = key[starts]
        heads[:, _N_ROWS] = ends - starts + 1
        heads[:, _FIRST_AT] = rows.at_ns[starts]
        heads[:, _LAST_AT] = rows.at_ns[ends]
        heads[:, _SCALARS:] = _grouped(scalars, starts)
        return heads

    def _merge(
        self,
        slot: IntArray,
        starts: IntArray,
        is_head: npt.NDArray[np.bool_],
        heads: IntArray,
        sums: dict[str, npt.NDArray[Any]],
    ) -> Closed:
        stored = self._heads["heads"]
        had = is_head & (stored[slot, _N_ROWS] > 0)
        goes_on = had & (stored[slot, _KEY] == heads[:, _KEY])
        ended = had & ~goes_on
        is_last = np.append(is_head[1:], True) if len(is_head) else is_head
        carried, inner = np.flatnonzero(ended), np.flatnonzero(~is_last)
        if len(carried) == 0 and len(inner) == 0:
            return self._add(slot, goes_on, heads, sums)
        old_heads = stored[slot[carried]]
        old_sums = {name: self._tables[name][slot[carried]] for name in self._names}
        joined = slot[goes_on]
        heads[goes_on, _N_ROWS] += stored[joined, _N_ROWS]
        heads[goes_on, _FIRST_AT] = stored[joined, _FIRST_AT]
        heads[goes_on, _SCALARS:] += stored[joined, _SCALARS:]
        for name in self._names:
            if len(joined) == len(slot):
                sums[name] += self._tables[name][joined]
            else:
                sums[name][goes_on] += self._tables[name][joined]
            self._tables[name][slot[is_last]] = sums[name][is_last] if len(inner) else sums[name]
        stored[slot[is_last]] = heads[is_last]
        closing = np.concatenate([starts[carried], starts[inner + 1]])
        order = np.argsort(closing, kind="stable")
        all_heads = np.concatenate([old_heads, heads[inner]])[order]
        return Closed(
            slot=np.concatenate([slot[carried], slot[inner]])[order],
            closing=closing[order],
            n_rows=all_heads[:, _N_ROWS],
            first_at_ns=all_heads[:, _FIRST_AT],
            last_at_ns=all_heads[:, _LAST_AT],
            scalars=all_heads[:, _SCALARS:],
            tables={
                name: np.concatenate([old_sums[name], sums[name][inner]])[order]
                for name in self._names
            },
        )

    def _add(
        self,
        slot: IntArray,
        goes_on: npt.NDArray[np.bool_],
        heads: IntArray,
        sums: dict[str, npt.NDArray[Any]],
    ) -> Closed:
        """The common case: each vehicle has one part, and no group ends."""
        stored = self._heads["heads"]
        goes, new = slot[goes_on], slot[~goes_on]
        is_all = len(new) == 0
        stored[goes, _N_ROWS] += heads[goes_on, _N_ROWS]
        stored[goes, _LAST_AT] = heads[goes_on, _LAST_AT]
        stored[goes, _SCALARS:] += heads[goes_on, _SCALARS:]
        stored[new] = heads[~goes_on]
        for name in self._names:
            self._tables[name][goes] += sums[name] if is_all else sums[name][goes_on]
            if not is_all:
                self._tables[name][new] = sums[name][~goes_on]
        none = np.empty(0, np.int64)
        return Closed(
            *(none, none, none, none, none),
            scalars=heads[:0, _SCALARS:],
            tables={name: sums[name][:0] for name in self._names},
        )

    def snapshot(self, prefix: str) -> Arrays:
        """Copies for a checkpoint."""
        return self._heads.snapshot(prefix) | self._tables.snapshot(prefix)

    def load(self, arrays: Arrays, prefix: str) -> None:
        """Take over what `snapshot` wrote.

        Open groups of a checkpoint with fewer scalars are dropped: theirs would be sums of some
        rows only.
        """
        heads = Wide.restore({"heads": (np.int64, 0)}, arrays, prefix)
        if heads.width != _SCALARS + self._n_scalars:
            return
        self._heads = heads
        self._tables = Wide.restore(self._spec, arrays, prefix)


def _grouped(values: npt.NDArray[Any], starts: IntArray) -> npt.NDArray[Any]:
    if len(starts) == 0:
        return np.zeros((0, values.shape[1]), values.dtype)
    if len(starts) == len(values):
        return values
    sums: npt.NDArray[Any] = np.add.reduceat(values, starts, axis=0, dtype=values.dtype)
    return sums
