"""Bodies of drive units to columns of `drive_state`: a row for each motor, engine, stack, ...

A unit is a subject of its own (`VIN#motor1`), as packs are (decision 0007). A frame that has such a
body also gives a row of the vehicle itself: status, mode, gear, pedals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.columns import column_of
from openvrc.contracts.gbt32960.bulk import Bytes, DrivePart, Ints, Reports, columns_at, validities
from openvrc.contracts.gbt32960.message import Body
from openvrc.contracts.gbt32960.nodes import Item, Validity, number
from openvrc.contracts.messages.vehicle import MAX_CELLS, MAX_PROBES

Floats = npt.NDArray[np.float64]
Columns = dict[str, Any]

NUMBERS = {
    "motor_rpm": "speed_rpm", "torque_nm": "torque_nm", "motor_degc": "temperature_degc",
    "controller_degc": "controller_degc", "controller_v": "voltage_v", "bus_a": "current_a",
    "crank_rpm": "speed_rpm", "fuel_l_per_100km": "fuel_l_per_100km",
    "stack_voltage_v": "voltage_v", "stack_current_a": "current_a", "voltage_v": "voltage_v",
    "current_a": "current_a", "fuel_kg_per_100km": "hydrogen_kg_per_100km",
    "h2_highest_degc": "hydrogen_highest_degc", "h2_mgpkg": "hydrogen_mg_per_kg",
    "h2_ratio": "hydrogen_ratio", "h2_pressure_pa": "hydrogen_pressure_pa",
    "h2_left_ratio": "hydrogen_left_ratio", "dcdc_degc": "controller_degc",
    "h2_inlet_pa": "hydrogen_inlet_pa", "air_inlet_pa": "air_inlet_pa",
    "air_inlet_degc": "temperature_degc", "accelerator_ratio": "accelerator_ratio",
    "brake_ratio": "brake_ratio",
}  # fmt: skip
"""Field of a body to column."""
LISTS = {
    "probes_degc": ("probe_temperatures_degc", MAX_PROBES),
    "cells_v": ("cell_voltages_v", MAX_CELLS),
}
_KINDS = {
    "vehicle": "vehicle", "motors": "motor", "engine": "engine", "fuel_cell": "fuel_cell",
    "stacks": "stack", "supercap": "supercapacitor",
}  # fmt: skip
_MOTOR_STATES = {1: "consuming", 2: "generating", 3: "off", 4: "ready"}
_ON_OFF = {1: "true", 2: "false"}
_WORDS: dict[tuple[str, str], tuple[str, dict[int, str]]] = {
    ("motors", "state"): ("unit_state", _MOTOR_STATES),
    ("engine", "state"): ("unit_state", {1: "on", 2: "off"}),
    ("fuel_cell", "dcdc"): ("dcdc_on", _ON_OFF),
    ("vehicle", "dcdc"): ("dcdc_on", _ON_OFF),
    ("vehicle", "status"): ("vehicle_status", {1: "started", 2: "off", 3: "other"}),
    ("vehicle", "mode"): ("running_mode", {1: "electric", 2: "hybrid", 3: "fuel"}),
}
"""Enumerations: column, and its word by raw value."""
_GEARS = {0: "N", **{n: str(n) for n in range(1, 7)}, 13: "R", 14: "D", 15: "P"}
_GEAR_INVALID = 0x80  # 2025 only; 2016 has zero there
_PRESSED = 101
MAX_MARKED_TEXT = 2000


@dataclass
class Block:
    """One unit in `k` frames of one layout."""

    kind: str
    suffix: str
    rows: Ints  # (k,)
    numbers: dict[str, Floats] = field(default_factory=dict)
    codes: dict[str, npt.NDArray[np.int8]] = field(default_factory=dict)
    lists: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)  # (k, m)
    marked: dict[int, list[str]] = field(default_factory=dict)
    """Per frame of the block, what the sender says is wrong."""


def drive_columns(reports: Reports, of_row: Ints) -> tuple[Columns, Ints, list[str]]:
    """Columns of `drive_state`, the moment of each row, and its subject behind the VIN."""
    blocks = [block for part in reports.drives for block in _blocks(part)]
    if not blocks:
        return {}, np.empty(0, np.int64), []
    moment = np.concatenate([of_row[block.rows] for block in blocks])
    suffixes = [block.suffix for block in blocks for _ in range(len(block.rows))]
    return _joined(blocks, len(moment)), moment, suffixes


def newest_of_each(moment: Ints, suffixes: Sequence[str]) -> Ints:
    """Rows in order of moments, of a body that a moment repeats the last one."""
    last = {key: row for row, key in enumerate(zip(moment.tolist(), suffixes, strict=True))}
    rows = np.array(list(last.values()), np.int64)
    return rows[np.argsort(moment[rows], kind="stable")]


def _blocks(part: DrivePart) -> Iterator[Block]:
    for body in part.bodies:
        units: dict[int, list[Item]] = {}
        for item in body.items:
            units.setdefault(_place(item), []).append(item)
        units.pop(-1, None)
        for place, items in units.items():
            yield _block(part, body, place, items)


def _place(item: Item) -> int:
    """Which member of a group an item belongs to; 0 without a group, -1 for the group's count."""
    if len(item.path) > 2:
        return int(item.path[1])
    return -1 if item.path[0] in ("motors", "stacks") else 0


def _block(part: DrivePart, body: Body, place: int, items: Sequence[Item]) -> Block:
    kind = _KINDS[body.name]
    block = Block(kind, "", part.rows)
    numbered = next((item for item in items if item.field.name == "number"), None)
    unit = place + 1
    if numbered is not None and not numbered.field.is_code(
        raw := number(part.matrix[0].tobytes(), numbered)
    ):
        unit = raw
    if kind != "vehicle":
        block.suffix = f"#{kind}" if numbered is None else f"#{kind}{unit}"
    for item in items:
        _take(block, body.name, item, part.matrix)
    return block


def _take(block: Block, body: str, item: Item, matrix: Bytes) -> None:
    name = item.field.name if item.count < 0 else str(item.path[-1])
    if item.count >= 0 and name in LISTS:
        column, most = LISTS[name]
        raw = columns_at(matrix, item).astype(np.int64)[:, :most]
        block.lists[column] = _scaled(block, column, item, raw).astype(np.float32)
    elif item.count >= 0:
        return
    elif name in NUMBERS:
        raw = columns_at(matrix, item).astype(np.int64)
        if name == "brake_ratio":
            _pressed(block, raw[:, 0])
            raw = np.where(raw == _PRESSED, item.field.invalid, raw)
            block.numbers[name] = np.where(raw == item.field.invalid, np.nan, raw / 100)[:, 0]
            return
        column = NUMBERS[name]
        block.numbers[column] = _scaled(block, column, item, raw)[:, 0]
    elif name == "gear" or (body, name) in _WORDS:
        _word(block, body, item, columns_at(matrix, item)[:, 0].astype(np.int64))


def _scaled(block: Block, column: str, item: Item, raw: npt.NDArray[np.int64]) -> Floats:
    """Values of (k, m) raw ones; what is none is NaN and marked."""
    found = validities(item.field, raw)
    value = (raw - item.field.zero) * item.field.times / item.field.over
    _mark(block, column, found)
    return np.where(found == Validity.VALID, value, np.nan)


def _mark(block: Block, column: str, found: npt.NDArray[np.int8]) -> None:
    if found.any():
        for row, place in np.argwhere(found != Validity.VALID).tolist():
            state = Validity(int(found[row, place])).name.lower()
            word = f"{column}.{state}"
            words = block.marked.setdefault(row, [])
            if word not in words:
                words.append(word)


def _pressed(block: Block, raw: Ints) -> None:
    is_known = raw <= _PRESSED
    block.codes["brake_on"] = np.where(is_known, raw > 0, -1).astype(np.int8)


def _word(block: Block, body: str, item: Item, raw: Ints) -> None:
    if item.field.name == "gear":
        column, words = "gear", _GEARS
        raw = np.where(raw & _GEAR_INVALID, 0xFF, raw & 0x0F)
        found = np.where(raw == 0xFF, Validity.INVALID, Validity.VALID).astype(np.int8)
    else:
        column, words = _WORDS[body, item.field.name]
        found = validities(item.field, raw)
    known = column_of("drive_state", column).values
    code = np.full(256, -1, np.int8)
    for value, word in words.items():
        code[value] = known.index(word)
    block.codes[column] = code[raw & 0xFF]
    _mark(block, column, found[:, None])


def _joined(blocks: Sequence[Block], n_rows: int) -> Columns:
    """All blocks, one below the other."""
    starts = np.cumsum([0, *(len(block.rows) for block in blocks)])
    columns: Columns = {}
    kinds = column_of("drive_state", "unit_kind").values
    columns["unit_kind"] = np.repeat(
        np.array([kinds.index(block.kind) for block in blocks], np.int8), np.diff(starts)
    )
    for name in dict.fromkeys(name for block in blocks for name in block.numbers):
        columns[name] = np.full(n_rows, np.nan)
    for name in dict.fromkeys(name for block in blocks for name in block.codes):
        columns[name] = np.full(n_rows, -1, np.int8)
    marked = [""] * n_rows
    for start, end, block in zip(starts[:-1].tolist(), starts[1:].tolist(), blocks, strict=True):
        for name, values in (*block.numbers.items(), *block.codes.items()):
            columns[name][start:end] = values
        for row, words in block.marked.items():
            marked[start + row] = ",".join(words)[:MAX_MARKED_TEXT]
    for name, _ in LISTS.values():
        columns[name] = _lists(blocks, name)
    if any(marked):
        columns["marked_values"] = marked
    return columns


def _lists(
    blocks: Sequence[Block], name: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    none = np.empty((0, 0), np.float32)
    parts = [block.lists.get(name, none) for block in blocks]
    lengths = np.concatenate([
        np.full(len(block.rows), part.shape[1], np.int64)
        for block, part in zip(blocks, parts, strict=True)
    ])  # fmt: skip
    values = np.concatenate([part.ravel() for part in parts])
    return values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
