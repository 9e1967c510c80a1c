"""Many JSON payloads of one message to Batches, as long as nothing is wrong with them.

What is taken here is what the contract takes, value for value; what is not (or only may not be)
is named, for the contract itself to judge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import chain, repeat
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.bulk import Pieces, Places, coded
from openvrc.contracts.codecs.json_columns import COLLECTORS, Bad, Collector
from openvrc.contracts.codecs.json_struct import CannotExpressError, struct_of
from openvrc.contracts.columns import BATCH_LEVEL, column_of
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN
from openvrc.contracts.ranges import bad_rows, column_fits
from openvrc.contracts.topics import Topic

CHUNK_BYTES = 128 * 1024
"""JSON made into columns at once: its records fit the cache beside their columns."""
REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises for bytes that are no record of the contract (ValueError: no UTF-8)."""
_TOPIC_ID = re.compile(TOPIC_ID_PATTERN)
_astuple = msgspec.structs.astuple


@cache
def decoder_of(message: str) -> msgspec.json.Decoder[Any] | None:
    """Reads one record or a list of them; None if the contract is more than a Struct can say."""
    try:
        one = struct_of(message)
    except CannotExpressError:
        return None
    return msgspec.json.Decoder(list[one] | one)  # type: ignore[valid-type]


def read_fast(topics: Sequence[Topic], payloads: Sequence[bytes], read: Pieces) -> Sequence[int]:
    """Decode payloads of one message and zone into `read`; the places of those not taken."""
    decoder = decoder_of(topics[0].message)
    if decoder is None:
        return range(len(payloads))
    table = Table(topics)
    refused: list[int] = []
    n_bytes = sum(map(len, payloads))
    step = max(1, CHUNK_BYTES * len(payloads) // max(n_bytes, 1))
    for first in range(0, len(payloads), step):
        places = range(first, min(first + step, len(payloads)))
        found, not_taken = _decoded(decoder, payloads, places)
        table.add([p for p in places if p not in not_taken] if not_taken else places, found)
        refused += not_taken
    return sorted({*refused, *table.into(read)})


def _decoded(
    decoder: msgspec.json.Decoder[Any], payloads: Sequence[bytes], places: range
) -> tuple[list[Any], list[int]]:
    """What is in each payload, one record or a list of them, and the places of those refused."""
    try:
        return [decoder.decode(payloads[place]) for place in places], []
    except REFUSED:
        found, refused = [], []
    for place in places:
        try:
            found.append(decoder.decode(payloads[place]))
        except REFUSED:
            refused.append(place)
    return found, refused


class Table:
    """Records of many payloads, becoming columns."""

    def __init__(self, topics: Sequence[Topic]) -> None:
        self._topics, self._message = topics, topics[0].message
        self._names = struct_of(self._message).__struct_fields__
        self._collectors: dict[str, Collector] = {
            name: _collector(self._message, name)
            for name in self._names
            if name not in (*BATCH_LEVEL, "source_id")
        }
        self._places: list[int] = []
        self._n_rows: list[int] = []
        self._runs: list[tuple[str, str]] = []
        self._run_rows: list[int] = []
        self._is_anothers: list[npt.NDArray[np.bool_]] = []

    def add(self, places: Sequence[int], found: Sequence[Any]) -> None:
        """What some payloads hold: of each one record or a list of them."""
        senders: Sequence[str] = [self._topics[place].source_id for place in places]
        rows, n_rows = found, [1] * len(found)
        if list in set(map(type, found)):
            lists = [one if type(one) is list else [one] for one in found]
            rows, n_rows = list(chain.from_iterable(lists)), list(map(len, lists))
            senders = list(chain.from_iterable(map(repeat, senders, n_rows)))
        by_column = zip(*map(_astuple, rows), strict=True)
        values = dict(zip(self._names, by_column, strict=False))
        if not values:  # no rows have no columns either
            return
        self._places.extend(places)
        self._n_rows.extend(n_rows)
        self._add_runs(values.pop("run_id"), values.pop("origin"))
        self._identify(values, tuple(senders))
        for name, collector in self._collectors.items():
            collector.add(values[name])

    def _add_runs(self, runs: Sequence[str], origins: Sequence[str]) -> None:
        one = (runs[0], origins[0])
        if runs.count(one[0]) == origins.count(one[1]) == len(runs):
            self._runs.append(one)
            self._run_rows.append(len(runs))
        else:
            self._runs.extend(zip(runs, origins, strict=True))
            self._run_rows.extend([1] * len(runs))

    def _identify(self, values: dict[str, Any], senders: tuple[str, ...]) -> None:
        """Put the topic's sender (n_rows,) where a record names none, and judge where it does."""
        said = values.pop("source_id")
        is_anothers = np.zeros(len(senders), np.bool_)
        if said != senders:
            pairs = zip(said, senders, strict=True)
            is_anothers[:] = [name is not None and name != sender for name, sender in pairs]
        self._is_anothers.append(is_anothers)
        if None in values["subject_id"]:
            pairs = zip(values["subject_id"], senders, strict=True)
            values["subject_id"] = [sender if name is None else name for name, sender in pairs]

    def into(self, read: Pieces) -> list[int]:
        """One piece for each run; the places of payloads with a row that may not be taken."""
        if not self._places:
            return []
        bad = np.concatenate(self._is_anothers)
        senders = [self._topics[place].source_id for place in self._places]
        columns: dict[str, Any] = {"source_id": coded(senders, self._n_rows)}
        for name, collector in self._collectors.items():
            columns[name], is_bad = collector.column()
            _mark(bad, is_bad)
        batch = from_columns(
            self._message,
            zone=self._topics[0].zone,
            run_id="",
            origin="",
            columns=columns,
            n_rows=len(bad),
        )
        _mark(bad, _bad_ids(batch))
        codes, runs = coded(self._runs, self._run_rows)
        legal = np.array([bool(_TOPIC_ID.fullmatch(run_id)) for run_id, _ in runs], np.bool_)
        bad |= ~legal[codes]
        places = np.repeat(np.array(self._places, np.int32), self._n_rows)
        refused = np.unique(places[bad])
        keep = ~np.isin(places, refused) if len(refused) else None
        for code, (run_id, origin) in enumerate(runs):
            rows = keep if len(runs) == 1 else _both(codes == code, keep)
            whole = replace(batch, run_id=run_id, origin=origin)
            read.batches.append(_rows(whole, places, rows))
        return refused.tolist()  # type: ignore[no-any-return]


def _collector(message: str, name: str) -> Collector:
    column = column_of(message, name)
    collector: Collector = COLLECTORS[column.kind](column)
    return collector


def _mark(bad: npt.NDArray[np.bool_], more: Bad) -> None:
    if more is not None:
        bad |= more


def _both(rows: npt.NDArray[np.bool_], keep: Bad) -> Bad:
    return rows if keep is None else rows & keep


def _rows(batch: Batch, places: Places, rows: Bad) -> tuple[Batch, Places]:
    return (batch, places) if rows is None else (batch.filter(rows), places[rows])


def _bad_ids(batch: Batch) -> Bad:
    """Rows whose subject is no id."""
    column = column_of(batch.message, "subject_id")
    if column_fits(column, batch):
        return None
    bad = np.zeros(batch.n_rows, np.bool_)
    for _, mask in bad_rows(column, batch):
        bad |= mask
    return bad
