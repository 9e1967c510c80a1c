"""Columns of a foreign table as a mapping names them: values, who, where, in order of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from openvrc.contracts.columns import column_of
from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.units import ABSENT_I64
from simulator.replay import log_table
from simulator.replay.mapping import Mapping, Plane, factor_of
from simulator.replay.options import RecordingError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def is_log(path: Path) -> bool:
    """Whether a path can be a table that a mapping is for."""
    return path.is_file() and path.name.lower().removesuffix(".gz").endswith((".csv", ".zip"))


def name_of(path: Path) -> str:
    """A file's name without its endings."""
    name = path.name[: -len(".gz")] if path.name.lower().endswith(".gz") else path.name
    return Path(name).stem


def mapped_columns(table: Any, mapping: Mapping) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Scalar columns (n_rows,) and list columns (n_rows, n_elements) the log has."""
    columns: dict[str, Any] = {}
    lists: dict[str, FloatArray] = {}
    for name, mapped in mapping.columns.items():
        column = column_of(mapping.message, name)
        if column.kind == "f32_list":
            if (values := log_table.matrix(table, mapped)) is not None:
                lists[name] = values
            continue
        found = (
            log_table.codes(table, mapped, column.values)
            if column.kind == "code"
            else log_table.scalar(table, mapped)
        )
        if found is not None:
            columns[name] = _whole(found) if column.kind == "i64" else found
    return columns, lists


def needed(columns: dict[str, Any], name: str, mapping: Mapping, file_name: str) -> FloatArray:
    """A column (n_rows,) that nothing can be said without.

    Raises RecordingError if the table lacks it.
    """
    if name not in columns:
        raise RecordingError(f"{file_name}: has no column {mapping.columns[name].column!r}")
    found: FloatArray = columns[name]
    return found


def _whole(values: FloatArray | NDArray[np.int8]) -> IntArray:
    absent = ~np.isfinite(values)
    return np.where(absent, ABSENT_I64, np.where(absent, 0, values).astype(np.int64))


def place_of(table: Any, plane: Plane, file_name: str) -> tuple[FloatArray, FloatArray]:
    """Latitude and longitude (n_rows,), NaN where a row has no position.

    Raises RecordingError if the table lacks the plane's columns.
    """
    for column in (plane.x_column, plane.y_column):
        if column not in table.column_names:
            raise RecordingError(
                f"{file_name}: has no column {column!r}, expected one of {table.column_names[:8]}"
            )
    factor = factor_of(plane.unit)
    x_m = log_table.numbers(table, plane.x_column) * factor
    y_m = log_table.numbers(table, plane.y_column) * (-factor if plane.is_y_down else factor)
    bearing = np.radians(plane.x_bearing_deg)
    east_m = x_m * np.sin(bearing) - y_m * np.cos(bearing)
    north_m = x_m * np.cos(bearing) + y_m * np.sin(bearing)
    frame = LocalFrame(plane.origin_lat_deg, plane.origin_lon_deg)
    return frame.to_lat_lon_deg(east_m, north_m)


def names(table: Any, column: str, file_name: str) -> list[str]:
    """A column's texts (n_rows,) without blanks around them, "" where there is none.

    Raises RecordingError if the table lacks it.
    """
    if column not in table.column_names:
        raise RecordingError(
            f"{file_name}: has no column {column!r}, expected one of {table.column_names[:8]}"
        )
    texts = pc.utf8_trim_whitespace(table[column].combine_chunks()).fill_null("")
    found: list[str] = texts.to_pylist()
    return found


def in_order(times_ns: IntArray) -> tuple[IntArray, IntArray]:
    """Rows (n,) in order of time, and zone time (n,) of each of them.

    A row without a time stays behind the row before it in the file.
    """
    known = np.where(times_ns == ABSENT_I64, -1, np.arange(len(times_ns)))
    before = np.maximum.accumulate(known)
    filled = times_ns[np.where(before >= 0, before, np.argmax(known >= 0))]
    order = np.argsort(filled, kind="stable")
    return order, filled[order]
