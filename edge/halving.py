"""Halving a refused group, so that only the records that are bad are set aside."""

from __future__ import annotations

from collections.abc import Sequence

from openvrc.contracts.batch import Batch


def n_rows(batches: Sequence[Batch]) -> int:
    """Rows of all batches."""
    return sum(batch.n_rows for batch in batches)


def halves(batches: Sequence[Batch]) -> tuple[list[Batch], list[Batch]]:
    """The first and the second half of at least two rows, order kept; the same every time."""
    left: list[Batch] = []
    room = n_rows(batches) // 2
    for place, batch in enumerate(batches):
        if batch.n_rows > room:
            right = [batch.slice(room), *batches[place + 1 :]]
            return ([*left, batch.slice(0, room)] if room else left), right
        left.append(batch)
        room -= batch.n_rows
    return left, []
