"""Rows inside every range, and a reject with its first reason for each other row."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Decoded, Reject
from openvrc.contracts.columns import columns_of
from openvrc.contracts.ranges import bad_rows, column_fits
from openvrc.contracts.reasons import Reason

Verdicts = dict[int, tuple[Reason, str]]
"""By row: why it is not taken."""


def split_bad_rows(batch: Batch, source_id: str) -> Decoded:
    """The good rows of one payload as one Batch, and a Reject for each other row."""
    sources = (np.zeros(batch.n_rows, np.int32), [source_id])
    verdicts = verdicts_of(batch, *sources)
    if not verdicts:
        return Decoded((batch,) if batch.n_rows else ())
    rejects = tuple(reject for _, reject in rejects_of(batch, verdicts, *sources))
    good = batch.filter(kept(batch, verdicts))
    return Decoded((good,) if good.n_rows else (), rejects)


def verdicts_of(batch: Batch, codes: npt.NDArray[np.int32], sources: Sequence[str]) -> Verdicts:
    """Why rows cannot be taken; `sources[codes[row]]` is the sender that the row's topic names."""
    verdicts: Verdicts = {}
    for row in np.flatnonzero(_is_anothers(batch, codes, sources)).tolist():
        text = f"source_id differs from {sources[codes[row]]!r} of the topic"
        verdicts[row] = (Reason.ID_MISMATCH, text)
    for column in columns_of(batch.message):
        if column.is_mark or column_fits(column, batch):
            continue
        for reason, mask in bad_rows(column, batch):
            expected = f"{column.low} to {column.high} {column.unit}".strip()
            for row in np.flatnonzero(mask).tolist():
                text = f"{column.name}: {reason}, expected {expected}"
                verdicts.setdefault(row, (reason, text))
    return verdicts


def _is_anothers(
    batch: Batch, codes: npt.NDArray[np.int32], sources: Sequence[str]
) -> npt.NDArray[np.bool_]:
    words = {word: code for code, word in enumerate(sources)}
    ours = np.array([words.get(w, -1) for w in batch.dictionary("source_id")], np.int32)
    return np.asarray(ours[batch.codes("source_id")] != codes)


def kept(batch: Batch, verdicts: Verdicts) -> npt.NDArray[np.bool_]:
    """Rows (n_rows,) without a verdict."""
    keep = np.ones(batch.n_rows, np.bool_)
    keep[list(verdicts)] = False
    return keep


def rejects_of(
    batch: Batch, verdicts: Verdicts, codes: npt.NDArray[np.int32], sources: Sequence[str]
) -> list[tuple[int, Reject]]:
    """The rejects in order of rows, each with its row."""
    return [
        (row, _reject(batch, row, *why, sources[codes[row]]))
        for row, why in sorted(verdicts.items())
    ]


def _reject(batch: Batch, row: int, reason: Reason, detail: str, source_id: str) -> Reject:
    def number(name: str) -> int | None:
        value = int(batch.column(name)[row])
        return value if 0 <= value <= 2**62 else None

    plain = {name: batch.column(name)[row].item() for name in ("sampled_at_ns", "seq")}
    return Reject(
        reason,
        detail,
        source_id,
        subject_id=batch.slice(row, 1).texts("subject_id")[0][:96],
        session=number("session"),
        seq=number("seq"),
        sampled_at_ns=number("sampled_at_ns"),
        run_id=batch.run_id,
        origin=batch.origin,
        payload=json.dumps(plain).encode(),
    )
