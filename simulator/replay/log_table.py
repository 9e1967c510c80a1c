"""A log file's columns as numbers and times: .csv (also .gz), or a .zip that holds one.

Cells that hold no number are null: dirt is data, and one word in a column of numbers must not
stop a replay. Everything else is passed on as it stands.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as pa_csv

from openvrc.contracts.columns import BOOL_VALUES
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from simulator.replay.files import opened_bytes
from simulator.replay.mapping import MappedColumn, TimeColumn
from simulator.replay.options import DEFAULT_EPOCH_NS, RecordingError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_NS = int((datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH) / timedelta(seconds=1)) * NS_PER_S
"""A time after it, or before 1970, is a log's word for none; int64 ends in 2262."""
_UNIX_FORMATS = {"unix_s": 1e9, "unix_ms": 1e6}

# An offset is believed where no reference says otherwise if it puts the median probe here:
# a working pack lies between these.
PLAUSIBLE_DEGC = (-30.0, 55.0)


def read_log(path: Path) -> pa.Table:
    """All columns as text. Raises RecordingError for a damaged file or a zip of several."""
    try:
        with _opened(path) as file:
            names = pa_csv.open_csv(file).schema.names
        with _opened(path) as file:
            types = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
            table = pa_csv.read_csv(file, convert_options=types)
    except (pa.ArrowException, OSError, EOFError, zipfile.BadZipFile) as error:
        raise RecordingError(f"{path.name}: cannot be read as CSV: {error}") from error
    if not table.num_rows:
        raise RecordingError(f"{path.name}: has no rows, expected at least one")
    return table.combine_chunks()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.suffix.lower() != ".zip":
        with opened_bytes(path) as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if len(members) != 1:
            raise RecordingError(f"{path.name}: holds {len(members)} CSV files, expected one")
        with archive.open(members[0]) as file:
            yield file


def numbers(table: pa.Table, column: str) -> FloatArray:
    """A column as numbers (n_rows,), NaN where it holds none."""
    text = pc.utf8_trim_whitespace(table[column].combine_chunks())
    text = pc.if_else(pc.equal(text, ""), None, text)
    try:
        values = pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        values = pa.array([_number(word) for word in text.to_pylist()], pa.float64())
    return np.asarray(values.fill_null(np.nan).to_numpy(zero_copy_only=False), np.float64)


def _number(word: str | None) -> float | None:
    try:
        return None if word is None else float(word)
    except ValueError:
        return None


def scalar(table: pa.Table, mapped: MappedColumn) -> FloatArray | None:
    """A mapped column in our unit (n_rows,); None if the log lacks it."""
    if mapped.column not in table.column_names:
        return None
    raw = numbers(table, mapped.column)
    raw = np.where(np.isin(raw, mapped.sentinels), np.nan, raw)
    return (raw * mapped.scale + mapped.offset) * mapped.factor


def codes(table: pa.Table, mapped: MappedColumn, words: Sequence[str]) -> NDArray[np.int8] | None:
    """A mapped enumeration as codes into `words` (n_rows,), -1 for what the mapping lacks."""
    if mapped.column not in table.column_names:
        return None
    raw = numbers(table, mapped.column)
    said = np.array([(word or "").strip().lower() for word in table[mapped.column].to_pylist()])
    result = np.full(len(raw), -1, np.int8)
    # What is not mapped otherwise is the contract's own word, or its flag.
    own = {word: word for word in words} | ({"0": "false", "1": "true"} if is_flag(words) else {})
    for key, word in (mapped.values or own).items():
        number = _number(key)
        is_it = said == key.lower() if number is None else raw == number
        result[is_it] = words.index(word)
    return result


def is_flag(words: Sequence[str]) -> bool:
    """Whether the enumeration is that of a bool."""
    return tuple(words) == BOOL_VALUES


def matrix(table: pa.Table, mapped: MappedColumn) -> FloatArray | None:
    """A mapped list as (n_rows, n_elements) in our unit, element 1 first; None if absent.

    A number that is left out between others keeps its place as NaN.
    """
    pattern = re.compile(re.escape(mapped.column).replace(r"\{n\}", r"(\d+)"))
    found = {int(hit[1]): hit[0] for name in table.column_names if (hit := pattern.fullmatch(name))}
    if not found:
        return None
    first = min(1, *found)  # some platforms count from 0
    raw = np.full((table.num_rows, max(found) - first + 1), np.nan)
    for number, name in found.items():
        raw[:, number - first] = numbers(table, name)
    raw[np.isin(raw, mapped.sentinels)] = np.nan
    return (raw * mapped.scale + _offset(table, mapped, raw)) * mapped.factor


def _offset(table: pa.Table, mapped: MappedColumn, raw: FloatArray) -> float:
    """The stated offset, or the candidate under which the list fits its reference.

    The same platform stores raw bytes for one model and degrees for another; the column with
    the highest probe tells them apart.
    """
    if not mapped.offset_candidates:
        return mapped.offset
    is_filled = ~np.isnan(raw).all(axis=1)
    if not is_filled.any():
        return mapped.offset_candidates[0]
    highest = np.nanmax(raw[is_filled], axis=1) * mapped.scale
    if mapped.offset_reference and mapped.offset_reference in table.column_names:
        reference = numbers(table, mapped.offset_reference)[is_filled]
        misses = [
            np.nanmedian(np.abs(highest + offset - reference))
            for offset in mapped.offset_candidates
            if not np.isnan(reference).all()
        ]
        if misses:
            return mapped.offset_candidates[int(np.argmin(misses))]
    typical = float(np.median(highest))
    low, high = PLAUSIBLE_DEGC
    fits = [offset for offset in mapped.offset_candidates if low <= typical + offset <= high]
    return (fits or list(mapped.offset_candidates))[0]


def times_ns(
    table: pa.Table, mapped: TimeColumn, file_name: str, epoch_ns: int = DEFAULT_EPOCH_NS
) -> IntArray:
    """Times (n_rows,) as UTC epoch; ABSENT_I64 where a cell holds no time from 1970 to 2200.

    Relative times count from `epoch_ns`.

    Raises RecordingError if the column is absent, holds no time at all, or its times name no
    offset while the mapping gives no time_zone: guessing a zone is how data goes wrong.
    """
    if mapped.column not in table.column_names:
        raise RecordingError(
            f"{file_name}: has no time column {mapped.column!r}, expected one of "
            f"{table.column_names[:8]}"
        )
    if mapped.format in _UNIX_FORMATS:
        result = _in_range(numbers(table, mapped.column), _UNIX_FORMATS[mapped.format], 0)
    elif mapped.format == "relative_s":
        result = _in_range(numbers(table, mapped.column), mapped.scale * NS_PER_S, epoch_ns)
    else:
        zone = ZoneInfo(mapped.time_zone) if mapped.time_zone else None
        words = table[mapped.column].to_pylist()
        result = np.array([_time_ns(word, mapped, zone, file_name) for word in words], np.int64)
    if (result == ABSENT_I64).all():
        raise RecordingError(
            f"{file_name}: {mapped.column} holds no time of format {mapped.format!r}"
        )
    return result


def _in_range(raw: FloatArray, unit_ns: float, epoch_ns: int) -> IntArray:
    """Times (n_rows,) of numbers of a unit since `epoch_ns`, ABSENT_I64 out of LAST_NS."""
    with np.errstate(over="ignore"):
        after_ns = np.round(raw * unit_ns)
    known = (after_ns >= -epoch_ns) & (after_ns <= LAST_NS - epoch_ns)
    return np.where(known, epoch_ns + np.where(known, after_ns, 0).astype(np.int64), ABSENT_I64)


def _time_ns(word: str | None, mapped: TimeColumn, zone: ZoneInfo | None, file_name: str) -> int:
    try:
        text = (word or "").strip()
        is_iso = mapped.format == "iso"
        moment = datetime.fromisoformat(text) if is_iso else datetime.strptime(text, mapped.format)
    except ValueError:
        return ABSENT_I64
    if moment.tzinfo is None:
        if zone is None:
            raise RecordingError(
                f"{file_name}: {mapped.column} is {word!r}, which names no offset from UTC; "
                "expected time_zone in the mapping's [time], for example Asia/Shanghai"
            )
        moment = moment.replace(tzinfo=zone)
    time_ns = int((moment - _EPOCH) / timedelta(microseconds=1)) * 1000
    return time_ns if 0 <= time_ns <= LAST_NS else ABSENT_I64
