"""Rows of a zone held back until their second is complete, then given out in event-time order.

Second `s` holds the samples taken in (s - 1, s]; it is complete once the watermark has reached s,
because then every row up to it that is not late has come. What comes out depends on the rows'
event times and values only: not on batches, on the order of rows, nor on how often one asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.detection import Arrays
from openvrc.contracts.units import NS_PER_S

Columns = dict[str, NDArray[Any]]
"""Row arrays by name, all (n_rows,); "at_ns" and "slot" are always there."""


def second_of(at_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The second (epoch) whose window (s - 1, s] holds each time."""
    return -(-at_ns // NS_PER_S)


class SecondsBuffer:
    """Pending rows of one zone; `slot` numbers vehicles."""

    def __init__(self, empty: Columns) -> None:
        """`empty` has every column, without rows; it fixes the dtypes."""
        self._empty = empty
        self._chunks: list[Columns] = []

    def add(self, rows: Columns) -> None:
        """Hold these rows back."""
        if len(rows["at_ns"]):
            self._chunks.append(rows)

    def closed(self, after_s: int, watermark_ns: int) -> Iterator[tuple[int, Columns]]:
        """Seconds after `after_s` that are complete and have rows, each with its rows.

        One row a slot and second: the newest; of several with one time (a direct and a relayed
        copy) the most accurate. Rows of seconds up to `after_s` came too late and are dropped.
        """
        upto_s = watermark_ns // NS_PER_S
        done = self._take(upto_s)
        second = second_of(done["at_ns"])
        if len(second) and second.min() <= after_s:
            done = {name: array[second > after_s] for name, array in done.items()}
            second = second_of(done["at_ns"])
        if not len(second):
            return
        order = _newest_per_second(done, second)
        second = second[order]
        ordered = {name: array[order] for name, array in done.items()}
        starts = np.flatnonzero(np.diff(second, prepend=second[0] - 1))
        for first, last in zip(starts, np.append(starts[1:], len(second)), strict=True):
            yield int(second[first]), {n: array[first:last] for n, array in ordered.items()}

    def _take(self, upto_s: int) -> Columns:
        rows = self._joined()
        is_done = second_of(rows["at_ns"]) <= upto_s
        if is_done.all():
            self._chunks = []
            return rows
        self._chunks = [{name: array[~is_done] for name, array in rows.items()}]
        return {name: array[is_done] for name, array in rows.items()}

    def _joined(self) -> Columns:
        if len(self._chunks) == 1:
            return self._chunks[0]
        return {
            n: np.concatenate([e, *(c[n] for c in self._chunks)]) for n, e in self._empty.items()
        }

    def renumber(self, slot_of_old: NDArray[np.int64]) -> None:
        """Vehicles have got new slots: the new one of each old one (n_old,)."""
        for chunk in self._chunks:
            chunk["slot"] = slot_of_old[chunk["slot"]]

    def snapshot(self, prefix: str) -> Arrays:
        """All pending rows as arrays."""
        return {f"{prefix}{name}": array.copy() for name, array in self._joined().items()}

    def restore(self, arrays: Arrays, prefix: str) -> None:
        """Add the rows that `snapshot` wrote."""
        self.add({name: arrays[f"{prefix}{name}"] for name in self._empty})


def _newest_per_second(rows: Columns, second: NDArray[np.int64]) -> NDArray[np.intp]:
    """Indexes of the rows to keep, ordered by second and slot."""
    slot = rows["slot"]
    group = (second - second.min()) * (int(slot.max()) + 1) + slot
    order = np.argsort(group, kind="stable")
    if (np.diff(group[order]) > 0).all():
        return order
    # Several samples of one vehicle in one second: settle it by values, never by arrival.
    names = [n for n in rows if n not in ("at_ns", "slot", "accuracy_m")]
    accuracy_m = -np.nan_to_num(rows["accuracy_m"], nan=np.inf)
    order = np.lexsort((*(rows[n] for n in names), accuracy_m, rows["at_ns"], group))
    is_last = np.append(np.diff(group[order]) > 0, True)
    newest: NDArray[np.intp] = order[is_last]
    return newest
