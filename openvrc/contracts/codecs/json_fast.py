"""Many JSON payloads of one message to Batches, as long as nothing is wrong with them.

What is taken here is what the contract takes, value for value; what is not (or only may not be)
is named, for the contract itself to judge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.bulk import Pieces, Places, coded
from openvrc.contracts.codecs.json_columns import COLLECTORS, Bad, Collector, Texts
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
    table = Table(topics[0].message)
    refused: list[int] = []
    n_bytes = sum(map(len, payloads))
    step = max(1, CHUNK_BYTES * len(payloads) // max(n_bytes, 1))
    for first in range(0, len(payloads), step):
        places = range(first, min(first + step, len(payloads)))
        found, not_taken = _decoded(decoder, payloads, places)
        table.add([p for p in places if p not in not_taken] if not_taken else places, found)
        refused += not_taken
    return sorted({*refused, *table.into(read, topics)})


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

    def __init__(self, message: str) -> None:
        self._message = message
        names = struct_of(message).__struct_fields__
        self._collectors: dict[str, Collector] = {
            name: Texts(None) if name in BATCH_LEVEL else _collector(message, name)
            for name in names
        }
        self._places: list[int] = []
        self._n_rows: list[int] = []

    def add(self, places: Sequence[int], found: Sequence[Any]) -> None:
        """What some payloads hold: of each one record or a list of them."""
        lists = [one if type(one) is list else [one] for one in found]
        self._places.extend(places)
        self._n_rows.extend(map(len, lists))
        by_column = zip(*map(_astuple, chain.from_iterable(lists)), strict=True)
        for collector, values in zip(self._collectors.values(), by_column, strict=False):
            collector.add(values)  # no rows have no columns either

    def into(self, read: Pieces, topics: Sequence[Topic]) -> list[int]:
        """One piece for each run; the places of payloads with a row that may not be taken."""
        n_rows = sum(self._n_rows)
        if not n_rows:
            return []
        columns: dict[str, Any] = {}
        bad = np.zeros(n_rows, np.bool_)
        for name, collector in self._collectors.items():
            columns[name], is_bad = collector.column()
            _mark(bad, is_bad)
        keys = _keys(columns.pop("run_id"), columns.pop("origin"), bad)
        senders = coded([topics[place].source_id for place in self._places], self._n_rows)
        _mark(bad, _identify(columns, *senders))
        topic = topics[0]
        batch = from_columns(
            topic.message, zone=topic.zone, run_id="", origin="", columns=columns, n_rows=n_rows
        )
        _mark(bad, _bad_ids(batch))
        places = np.repeat(np.array(self._places, np.int32), self._n_rows)
        refused = np.unique(places[bad])
        keep = ~np.isin(places, refused) if len(refused) else None
        for (run_id, origin), rows in keys.items():
            whole = replace(batch, run_id=run_id, origin=origin)
            read.batches.append(_rows(whole, places, _both(rows, keep)))
        return refused.tolist()  # type: ignore[no-any-return]


def _collector(message: str, name: str) -> Collector:
    column = column_of(message, name)
    collector: Collector = COLLECTORS[column.kind](column)
    return collector


def _mark(bad: npt.NDArray[np.bool_], more: Bad) -> None:
    if more is not None:
        bad |= more


def _both(rows: Bad, keep: Bad) -> Bad:
    if rows is None or keep is None:
        return keep if rows is None else rows
    return rows & keep


def _rows(batch: Batch, places: Places, rows: Bad) -> tuple[Batch, Places]:
    return (batch, places) if rows is None else (batch.filter(rows), places[rows])


def _keys(
    runs: list[str], origins: list[str], bad: npt.NDArray[np.bool_]
) -> dict[tuple[str, str], Bad]:
    """Rows (n_rows,) of each (run_id, origin), None for all; rows of no legal run become bad."""
    one = (runs[0], origins[0])
    if runs.count(one[0]) == origins.count(one[1]) == len(runs) and _TOPIC_ID.fullmatch(one[0]):
        return {one: None}
    pairs = list(zip(runs, origins, strict=True))
    codes, keys = coded(pairs, [1] * len(pairs))
    found: dict[tuple[str, str], Bad] = {}
    for code, key in enumerate(keys):
        if _TOPIC_ID.fullmatch(key[0]):
            found[key] = codes == code
        else:
            _mark(bad, codes == code)
    return found


def _identify(columns: dict[str, Any], codes: Places, senders: Sequence[str]) -> Bad:
    """Put the topic's sender where a record names none; rows with another's or a bad id are bad."""
    said = pa.array(columns["source_id"], pa.utf8())
    subjects = pa.array(columns["subject_id"], pa.utf8())
    bad = np.zeros(len(codes), np.bool_)
    if said.null_count < len(said):
        words = said.dictionary_encode()
        place_of = {word: code for code, word in enumerate(senders)}
        named = [place_of.get(word, -1) for word in words.dictionary.to_pylist()]
        known = np.array([*named, -2], np.int32)[words.indices.fill_null(len(named)).to_numpy()]
        bad = (known != codes) & (known != -2)
    columns["source_id"] = (codes, senders)
    if subjects.null_count == len(subjects):
        columns["subject_id"] = (codes, senders)
        return bad
    if subjects.null_count:
        source = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(senders, pa.utf8()))
        subjects = pc.coalesce(subjects, source.dictionary_decode())
    columns["subject_id"] = subjects.dictionary_encode()
    return bad


def _bad_ids(batch: Batch) -> Bad:
    """Rows whose subject is no id."""
    column = column_of(batch.message, "subject_id")
    if column_fits(column, batch):
        return None
    bad = np.zeros(batch.n_rows, np.bool_)
    for _, mask in bad_rows(column, batch):
        bad |= mask
    return bad
