"""Many reports to arrays at once.

Frames of one length stand in a matrix of bytes. The first one is walked; all whose lengths and
types stand at the same places share its layout, and their fields are slices of the matrix. So the
cost of a walk is paid once per layout, not per frame; a fleet has few layouts. Frames with a
layout of their own cost a walk each, which bounds what a hostile sender can make us do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.gbt32960 import beijing
from openvrc.contracts.gbt32960.alarm_texts import (
    MAX_CODES_TEXT,
    MAX_LEVELS_TEXT,
    has_lists,
    joined,
    texts_of,
)
from openvrc.contracts.gbt32960.frame import HEAD_BYTES
from openvrc.contracts.gbt32960.marks import MAGIC, MARK_TYPE, read_mark
from openvrc.contracts.gbt32960.message import Body, Message, Stop, read
from openvrc.contracts.gbt32960.nodes import Field, Item, Validity, number
from openvrc.contracts.reasons import Reason
from openvrc.contracts.units import ABSENT_I64

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
MISSING = -1
"""Raw value of a field that no body of the frame holds."""

DRIVE_BODIES = ("motors", "fuel_cell", "engine", "stacks", "supercap")
"""Bodies that become rows of `drive_state`; only a frame with one of them has such rows."""
SCALARS: dict[str, tuple[str, ...]] = {
    "vehicle": (
        "charging", "speed_mps", "odometer_m", "pack_voltage_v", "pack_current_a", "soc_ratio",
        "insulation_ohm",
    ),
    "position": ("status", "datum", "lon_deg", "lat_deg"),
    "alarms": ("level", "flags"),
    "extremes": ("highest_v", "lowest_v", "highest_degc", "lowest_degc"),
}  # fmt: skip
"""Fields that become columns, by body."""
_LISTS = {"cells": "cells_v", "temperatures": "probes_degc"}
_PACK_FIELDS = ("number", "voltage_v", "current_a", "total_cells", "first_cell")


@dataclass(frozen=True)
class Part:
    """One pack's list, or a part of it, in `k` frames of one layout."""

    rows: Ints  # (k,)
    raw: npt.NDArray[Any]  # (k, m)
    element: Field
    pack: Mapping[str, Ints]
    """The pack's own fields (k,) as far as its body has them."""
    state: Validity = Validity.VALID
    """What the count said of the list: a code in its place means that there is none."""


@dataclass(frozen=True)
class DrivePart:
    """Bodies of drive units, and the vehicle's, in `k` frames of one layout."""

    rows: Ints  # (k,)
    matrix: Bytes  # (k, length)
    bodies: tuple[Body, ...]


@dataclass
class Reports:
    """Raw values of `n` reports; row i is frame i."""

    n: int
    time_ns: Ints  # (n,) ABSENT_I64 where it is no time
    is_2025: npt.NDArray[np.bool_]
    raw: dict[str, Ints]  # by "body.field"
    field_of: dict[tuple[str, bool], Field] = field(default_factory=dict)
    """The description of "body.field" in an edition (True: 2025), for those that occur."""
    cells: list[Part] = field(default_factory=list)
    probes: list[Part] = field(default_factory=list)
    drives: list[DrivePart] = field(default_factory=list)
    alarm_levels: dict[int, str] = field(default_factory=dict)
    """Of rows that give a level to an alarm, "name:level" with commas."""
    fault_codes: dict[int, str] = field(default_factory=dict)
    """Of rows with the maker's own codes, "part:code" with commas."""
    stops: dict[int, Stop] = field(default_factory=dict)
    """Rows of which a part could not be read."""
    marks: dict[int, tuple[str, str]] = field(default_factory=dict)
    """(run_id, origin) of rows that say theirs."""


def matrices(frames: Sequence[bytes]) -> Iterator[tuple[Ints, Bytes]]:
    """Frames by length: their places, and their bytes (k, length)."""
    lengths = np.fromiter(map(len, frames), np.int64, len(frames))
    order = np.argsort(lengths, kind="stable")
    starts = np.flatnonzero(np.diff(lengths[order], prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(frames)], strict=False):
        rows = order[start:end]
        joined = b"".join([frames[row] for row in rows.tolist()])
        yield rows, np.frombuffer(joined, np.uint8).reshape(len(rows), -1)


def good_checks(frames: Sequence[bytes]) -> npt.NDArray[np.bool_]:
    """(n,) whether the check byte holds; every frame has at least a head."""
    holds = np.zeros(len(frames), np.bool_)
    for rows, matrix in matrices(frames):
        # All bytes behind the start together with the check byte cancel out.
        holds[rows] = np.bitwise_xor.reduce(matrix[:, 2:], axis=1) == 0
    return holds


def read_reports(frames: Sequence[bytes]) -> Reports:
    """Raw columns of reports: unencrypted commands 02 and 03 whose check byte holds."""
    n = len(frames)
    names = [f"{body}.{name}" for body, fields in SCALARS.items() for name in fields]
    raw = {name: np.full(n, MISSING, np.int64) for name in names}
    found = Reports(n, np.zeros(n, np.int64), np.zeros(n, np.bool_), raw)
    for rows, matrix in matrices(frames):
        found.is_2025[rows] = matrix[:, 0] == ord("$")
        found.time_ns[rows] = _times(matrix)
        for members, model in _by_layout(matrix):
            _extract(found, rows[members], matrix[members], model)
    return found


def _times(matrix: Bytes) -> Ints:
    at = HEAD_BYTES
    if matrix.shape[1] < at + 7:  # a time and the check byte behind it
        return np.full(len(matrix), ABSENT_I64)
    return beijing.all_to_ns(matrix[:, at : at + 6])


def _by_layout(matrix: Bytes) -> Iterator[tuple[Ints, Message]]:
    """Rows that share a layout, and the message of the first of them."""
    left = np.arange(len(matrix))
    while len(left):
        model = read(matrix[left[0]].tobytes())
        structure = _structure(model)
        if structure is None:
            yield left[:1], model
            left = left[1:]
            continue
        # Rows of a matrix are cheaper to compare than columns picked out of it one by one.
        same = (matrix[left][:, structure] == matrix[left[0], structure]).all(axis=1)
        yield left[same], model
        left = left[~same]


def _structure(model: Message) -> Ints | None:
    """Places of the bytes that decide where the others lie; None if the walk broke off."""
    if model.stop is not None and model.stop.reason is not Reason.UNKNOWN_BODY:
        return None
    places = [0, 2, 3, 21]
    for body in model.bodies:
        places.append(body.offset)
        for item in body.items:
            if item.is_structure:
                places += range(item.offset, item.offset + item.n_bytes)
    if model.stop is not None:
        places.append(model.stop.offset)
    return np.array(places)


def _extract(found: Reports, rows: Ints, matrix: Bytes, model: Message) -> None:
    is_2025 = bool(found.is_2025[rows[0]])
    if model.stop is not None:
        found.stops |= dict.fromkeys(rows.tolist(), model.stop)
    if any(body.name in DRIVE_BODIES for body in model.bodies):
        wanted = (*DRIVE_BODIES, "vehicle")
        bodies = tuple(body for body in model.bodies if body.name in wanted)
        found.drives.append(DrivePart(rows, matrix, bodies))
    for body in model.bodies:
        if body.name in SCALARS:
            _read_scalars(found, rows, matrix, body, is_2025)
        if body.name == "alarms" and has_lists(body.items):
            _read_alarm_lists(found, rows, matrix, body)
        elif body.name in _LISTS:
            parts = found.cells if body.name == "cells" else found.probes
            parts += _parts(rows, matrix, body.items, _LISTS[body.name])
            if (state := _count_state(matrix, body.items[0])) is not Validity.VALID:
                parts.append(_no_packs(rows, body.items[0], state))
        elif body.kind == MARK_TYPE:
            _read_marks(found, rows, matrix, body)


def _read_scalars(found: Reports, rows: Ints, matrix: Bytes, body: Body, is_2025: bool) -> None:
    wanted = SCALARS[body.name]
    for item in body.items:
        if item.count < 0 and len(item.path) == 1 and item.field.name in wanted:
            name = f"{body.name}.{item.field.name}"
            found.raw[name][rows] = _column(matrix, item)
            found.field_of[name, is_2025] = item.field


def _read_alarm_lists(found: Reports, rows: Ints, matrix: Bytes, body: Body) -> None:
    for row, line in zip(rows.tolist(), matrix, strict=True):
        levels, codes = texts_of(line.tobytes(), body.items)
        for texts, text, most in (
            (found.alarm_levels, levels, MAX_LEVELS_TEXT),
            (found.fault_codes, codes, MAX_CODES_TEXT),
        ):
            if text:
                texts[row] = joined((texts.get(row, "") + "," + text).split(","), most)


def _read_marks(found: Reports, rows: Ints, matrix: Bytes, body: Body) -> None:
    item = body.items[-1]
    contents = matrix[:, item.offset : item.offset + item.n_bytes]
    if item.n_bytes < len(MAGIC):
        return
    known: dict[bytes, tuple[str, str] | None] = {}
    for row, content in zip(rows.tolist(), map(bytes, contents), strict=True):
        if content not in known:
            known[content] = read_mark(content)
        if (mark := known[content]) is not None:
            found.marks[row] = mark


def _parts(rows: Ints, matrix: Bytes, items: Sequence[Item], wanted: str) -> Iterator[Part]:
    pack: dict[str, Ints] = {}
    before = items[0]
    for item in items:
        if item.count >= 0 and item.path[-1] == wanted:
            state = _count_state(matrix, before)
            yield Part(rows, columns_at(matrix, item), item.field, pack, state)
            pack = {}
        elif item.field.name in _PACK_FIELDS:
            pack[item.field.name] = _column(matrix, item)
        before = item


def _count_state(matrix: Bytes, item: Item) -> Validity:
    """What a count is, which is the same in all frames of a layout."""
    raw = number(matrix[0].tobytes(), item)
    return item.field.validity(raw) if item.field.is_code(raw) else Validity.VALID


def _no_packs(rows: Ints, count: Item, state: Validity) -> Part:
    """The vehicle's own pack, of which the sender knows nothing."""
    return Part(
        rows, np.empty((len(rows), 0), np.uint8), count.field, {"number": np.ones(len(rows), int)},
        state,
    )  # fmt: skip


def _column(matrix: Bytes, item: Item) -> Ints:
    return columns_at(matrix, item)[:, 0].astype(np.int64)


def columns_at(matrix: Bytes, item: Item) -> npt.NDArray[Any]:
    """Raw values of an item (k, count) in frames of one layout."""
    part = matrix[:, item.offset : item.offset + item.n_bytes]
    width = item.field.width
    return part if width == 1 else np.ascontiguousarray(part).view(f">u{width}")


def validities(field: Field, raw: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    """`Field.validity` of each raw value, in its shape."""
    if field.words is not None:
        is_valid = np.isin(raw, list(field.words))
    else:
        is_valid = (raw >= field.low) & (raw <= field.top)
    found = np.where(is_valid, Validity.VALID, Validity.OUT_OF_RANGE).astype(np.int8)
    if field.has_codes:
        found[~is_valid & (raw == field.abnormal)] = Validity.ABNORMAL
        found[~is_valid & (raw == field.invalid)] = Validity.INVALID
    return found
