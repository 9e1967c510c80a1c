"""Rows of a zone held back until their second is complete, then given out in event-time order.

Second `s` holds the samples taken in (s - 1, s]; it is complete once the watermark has reached s,
because then every row up to it that is not late has come. What comes out depends on the rows'
event times and values only: not on batches, on the order of rows, nor on how often one asks.
Within a second the rows stand in any order, one a vehicle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass
class _Chunk:
    """Rows that came together."""

    rows: Columns
    first_s: int
    last_s: int
    is_of_one_row_each: bool
    """Known to have no vehicle twice."""

    def pick(self, chosen: NDArray[np.bool_]) -> Columns:
        return {name: array[chosen] for name, array in self.rows.items()}


class SecondsBuffer:
    """Pending rows of one zone; `slot` numbers vehicles."""

    def __init__(self, empty: Columns) -> None:
        """`empty` has every column, without rows; it fixes the dtypes."""
        self._empty = empty
        self._chunks: list[_Chunk] = []

    def add(self, rows: Columns, *, is_of_one_row_each: bool = False) -> None:
        """Hold these rows back; they are not changed, and may be shared."""
        if not len(rows["at_ns"]):
            return
        earliest, latest = int(rows["at_ns"].min()), int(rows["at_ns"].max())
        first_s, last_s = -(-earliest // NS_PER_S), -(-latest // NS_PER_S)
        self._chunks.append(_Chunk(rows, first_s, last_s, is_of_one_row_each))

    def closed(self, after_s: int, watermark_ns: int) -> Iterator[tuple[int, Columns]]:
        """Seconds after `after_s` that are complete and have rows, each with its rows.

        One row a slot and second: the newest; of several with one time (a direct and a relayed
        copy) the most accurate. Rows of seconds up to `after_s` came too late and are dropped.
        """
        due = self._take(after_s, watermark_ns // NS_PER_S)
        if len(due) == 1 and due[0].is_of_one_row_each and due[0].first_s == due[0].last_s:
            yield due[0].first_s, due[0].rows
            return
        if not due:
            return
        rows = self._joined(due)
        second = second_of(rows["at_ns"])
        order = _newest_per_second(rows, second)
        second = second[order]
        ordered = {name: array[order] for name, array in rows.items()}
        starts = np.flatnonzero(np.diff(second, prepend=second[0] - 1))
        for first, last in zip(starts, np.append(starts[1:], len(second)), strict=True):
            yield int(second[first]), {n: array[first:last] for n, array in ordered.items()}

    def _take(self, after_s: int, upto_s: int) -> list[_Chunk]:
        """Chunks with the rows of the seconds in (after_s, upto_s]; those are held no longer."""
        due: list[_Chunk] = []
        kept: list[_Chunk] = []
        for chunk in self._chunks:
            if chunk.first_s > upto_s:
                kept.append(chunk)
            elif chunk.last_s <= upto_s and chunk.first_s > after_s:
                due.append(chunk)
            else:
                second = second_of(chunk.rows["at_ns"])
                _add_part(due, chunk, second, (second <= upto_s) & (second > after_s))
                _add_part(kept, chunk, second, second > upto_s)
        self._chunks = kept
        return due

    def _joined(self, chunks: list[_Chunk]) -> Columns:
        if len(chunks) == 1:
            return chunks[0].rows
        return {
            name: np.concatenate([empty, *(chunk.rows[name] for chunk in chunks)])
            for name, empty in self._empty.items()
        }

    def renumber(self, slot_of_old: NDArray[np.int64]) -> None:
        """Vehicles have got new slots: the new one of each old one (n_old,)."""
        for chunk in self._chunks:
            chunk.rows = chunk.rows | {"slot": slot_of_old[chunk.rows["slot"]]}

    def snapshot(self, prefix: str) -> Arrays:
        """All pending rows as arrays."""
        rows = self._joined(self._chunks)
        return {f"{prefix}{name}": array.copy() for name, array in rows.items()}

    def restore(self, arrays: Arrays, prefix: str) -> None:
        """Add the rows that `snapshot` wrote."""
        self.add({name: arrays[f"{prefix}{name}"] for name in self._empty})


def _add_part(
    parts: list[_Chunk], chunk: _Chunk, second: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> None:
    if chosen.any():
        mine = second[chosen]
        first_s, last_s = int(mine.min()), int(mine.max())
        parts.append(_Chunk(chunk.pick(chosen), first_s, last_s, chunk.is_of_one_row_each))


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
