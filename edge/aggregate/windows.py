"""Traffic state per segment and window after Edie: from trajectories, whatever the penetration.

In a window of length T on a segment of length L, with t_i the time and d_i the distance that
vehicle i spent and drove in it:

    density = sum t_i / (T L)    flow = sum d_i / (T L)    speed = sum d_i / sum t_i

Edie (1963), Discussion of traffic stream measurements and definitions, Proc. 2nd ISTTT, 139-154.
The speed is a ratio estimate; its standard error from the spread between n >= 2 vehicles is
sqrt(n / (n - 1) sum (d_i - v t_i)^2) / sum t_i (Cochran, Sampling Techniques, 1977, eq. 6.13).

Cells of 10 s are kept; 60 s windows are six cells. A window closes when the watermark passes its
end, and gives a row for each segment somebody was on, and one empty row for each segment that
somebody was on in the window before. Late pieces raise the `revision` of a window that is still
kept (`KEPT_S`); older ones are counted only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge.aggregate.steps import Pieces, Samples, Steps
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S

CELL_S = 10
CELL_NS = CELL_S * NS_PER_S
WINDOWS_S = (10, 60)
KEPT_S = 600
"""Late data correct windows this far back; a whole back-filled hour belongs to the cloud."""

Indexes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class SegmentRows(NamedTuple):
    """Rows (n,) of closed windows; NaN speed where nobody was."""

    segment: Indexes
    window_start_ns: Indexes
    window_s: Indexes
    revision: Indexes
    density_vpkm: Floats
    flow_vph: Floats
    speed_mps: Floats
    vehicle_s: Floats
    distance_m: Floats
    vehicle_count: Indexes
    coverage_ratio: Floats
    speed_standard_error_mps: Floats


class _Stays(NamedTuple):
    """Time and distance of each vehicle on each segment in one cell."""

    segment: Indexes
    vehicle: Indexes
    time_s: Floats
    distance_m: Floats


class _Cell:
    """Ten seconds: stays, and per segment a bit for each second with an observation."""

    def __init__(self, n_segments: int) -> None:
        self.parts: list[_Stays] = []
        self.seconds = np.zeros(n_segments, np.int16)

    def stays(self) -> _Stays:
        """All stays, one row per segment and vehicle; joined in place."""
        if len(self.parts) != 1:
            self.parts = [_summed(self.parts)]
        return self.parts[0]


class _Series:
    """The windows of one length: how far they are closed, which must be given out again."""

    def __init__(self, window_s: int) -> None:
        self.window_s = window_s
        self.n_cells = window_s // CELL_S
        self.closed_to: int | None = None  # windows below this number are closed
        self.occupied: Indexes = np.empty(0, np.int64)  # segments of the newest closed window
        self.revisions: dict[int, int] = {}
        self.changed: dict[int, list[Indexes]] = {}


class Windows:
    """The fold of one (zone, run) with one map."""

    def __init__(self, road_map: RoadMap) -> None:
        self._length_m = road_map.segment_length_m
        self._steps = Steps(road_map, CELL_NS)
        self._cells: dict[int, _Cell] = {}
        self._series = [_Series(window_s) for window_s in WINDOWS_S]
        self._watermark_ns = np.iinfo(np.int64).min
        self.n_too_late = 0
        """Pieces of windows no longer kept."""

    def fold(self, samples: Samples) -> None:
        """Fold in matched samples, in order of arrival."""
        if not len(samples.vehicle):
            return
        pieces, news = self._steps.fold(samples)
        oldest = (self._watermark_ns - KEPT_S * NS_PER_S) // CELL_NS
        numbers = pieces.start_ns // CELL_NS
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            if number < oldest:
                self.n_too_late += len(rows)
            else:
                self._add(number, pieces.at(rows))
        self._observe(news, oldest)

    def _add(self, number: int, pieces: Pieces) -> None:
        cell = self._cell(number)
        time_s = (pieces.end_ns - pieces.start_ns) / NS_PER_S
        cell.parts.append(_Stays(pieces.segment, pieces.vehicle, time_s, pieces.distance_m))
        self._mark_changed(number, pieces.segment)

    def _observe(self, samples: Samples, oldest: int) -> None:
        numbers = samples.at_ns // CELL_NS
        on_map = (samples.segment >= 0) & (numbers >= oldest)
        seconds = samples.at_ns % CELL_NS // NS_PER_S
        for number in np.unique(numbers[on_map]).tolist():
            rows = np.flatnonzero(on_map & (numbers == number))
            bits = np.left_shift(np.int16(1), seconds[rows].astype(np.int16))
            np.bitwise_or.at(self._cell(number).seconds, samples.segment[rows], bits)
            self._mark_changed(number, samples.segment[rows])

    def _cell(self, number: int) -> _Cell:
        if number not in self._cells:
            self._cells[number] = _Cell(len(self._length_m))
        return self._cells[number]

    def _mark_changed(self, number: int, segments: Indexes) -> None:
        for series in self._series:
            window = number // series.n_cells
            if series.closed_to is not None and window < series.closed_to:
                series.changed.setdefault(window, []).append(segments)

    def forget(self, vehicles: Indexes) -> None:
        """These vehicle numbers, idle for longer than `KEPT_S`, are free for others."""
        self._steps.forget(vehicles)

    def advance(self, watermark_ns: int) -> list[SegmentRows]:
        """Rows of all windows that end by the watermark, and of those that late data changed."""
        self._watermark_ns = max(self._watermark_ns, watermark_ns)
        rows = []
        for series in self._series:
            for window, segments in sorted(series.changed.items()):
                series.revisions[window] = series.revisions.get(window, 0) + 1
                rows.append(self._rows(series, window, np.unique(np.concatenate(segments))))
            series.changed.clear()
            rows += self._close(series)
        self._forget_old()
        return [part for part in rows if len(part.segment)]

    def _close(self, series: _Series) -> list[SegmentRows]:
        goal = self._watermark_ns // (series.window_s * NS_PER_S)
        with_data = {number // series.n_cells for number in self._cells}
        first = series.closed_to
        if first is None:
            if not with_data:
                return []
            first = min(with_data)
        if goal <= first:
            return []
        rows = []
        todo = {window for window in with_data if first <= window < goal} | {first}
        # After a window with traffic comes one that says who left; between them nothing is said.
        todo |= {window + 1 for window in todo if window + 1 < goal}
        for window in sorted(todo):
            present = self._present(series, window)
            rows.append(self._rows(series, window, np.union1d(present, series.occupied)))
            series.occupied = present
        series.closed_to = goal
        return rows

    def _present(self, series: _Series, window: int) -> Indexes:
        cells = self._cells_of(series, window)
        found = [cell.stays().segment for cell in cells.values()]
        found += [np.flatnonzero(cell.seconds) for cell in cells.values()]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)

    def _cells_of(self, series: _Series, window: int) -> dict[int, _Cell]:
        first = window * series.n_cells
        numbers = range(first, first + series.n_cells)
        return {number: self._cells[number] for number in numbers if number in self._cells}

    def _rows(self, series: _Series, window: int, segments: Indexes) -> SegmentRows:
        cells = self._cells_of(series, window)
        stays = _summed([cell.stays() for cell in cells.values()])
        place = np.searchsorted(segments, stays.segment)
        place_ok = np.minimum(place, max(len(segments) - 1, 0))
        wanted = segments[place_ok] == stays.segment if len(segments) else np.zeros(0, np.bool_)
        stays = _Stays(*(values[: len(wanted)][wanted] for values in stays))
        place = place[: len(wanted)][wanted]
        n_rows = len(segments)
        vehicle_s = np.bincount(place, stays.time_s, n_rows).astype(np.float64)
        # Noise around a standing vehicle may leave a few centimetres below zero.
        distance_m = np.maximum(np.bincount(place, stays.distance_m, n_rows), 0.0)
        count = np.bincount(place, minlength=n_rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            speed_mps = np.where(vehicle_s > 0.0, distance_m / vehicle_s, np.nan)
            spread = (stays.distance_m - speed_mps[place] * stays.time_s) ** 2
            variance = np.bincount(place, spread, n_rows) * count / (count - 1)
            error_mps = np.where(count >= 2, np.sqrt(variance) / vehicle_s, np.nan)
        seconds = np.zeros(n_rows)
        for cell in cells.values():
            seconds += np.bitwise_count(cell.seconds[segments])
        extent = series.window_s * self._length_m[segments]
        return SegmentRows(
            segment=segments,
            window_start_ns=np.full(n_rows, window * series.window_s * NS_PER_S),
            window_s=np.full(n_rows, series.window_s),
            revision=np.full(n_rows, series.revisions.get(window, 0)),
            density_vpkm=vehicle_s / extent * 1000.0,
            flow_vph=distance_m / extent * 3600.0,
            speed_mps=speed_mps,
            vehicle_s=vehicle_s,
            distance_m=distance_m,
            vehicle_count=count,
            coverage_ratio=seconds / series.window_s,
            speed_standard_error_mps=error_mps,
        )

    def _forget_old(self) -> None:
        oldest = (self._watermark_ns - KEPT_S * NS_PER_S) // CELL_NS
        # A whole 60 s window is kept until its newest cell is too old.
        oldest -= oldest % max(series.n_cells for series in self._series)
        for number in [number for number in self._cells if number < oldest]:
            del self._cells[number]
        for series in self._series:
            low = oldest // series.n_cells
            for window in [window for window in series.revisions if window < low]:
                del series.revisions[window]

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "steps": self._steps.snapshot(),
            "watermark_ns": int(self._watermark_ns),
            "n_too_late": self.n_too_late,
            "cells": {
                str(number): [list(cell.stays()), cell.seconds.copy()]
                for number, cell in self._cells.items()
            },
            "series": [
                {
                    "closed_to": series.closed_to,
                    "occupied": series.occupied,
                    "revisions": {str(k): v for k, v in series.revisions.items()},
                    "changed": {str(k): np.concatenate(v) for k, v in series.changed.items()},
                }
                for series in self._series
            ],
        }

    @classmethod
    def restore(cls, road_map: RoadMap, tree: Mapping[str, Any]) -> Windows:
        """What `snapshot` wrote."""
        windows = cls(road_map)
        windows._steps.restore(tree["steps"])
        windows._watermark_ns = tree["watermark_ns"]
        windows.n_too_late = tree["n_too_late"]
        for number, (stays, seconds) in tree["cells"].items():
            cell = windows._cell(int(number))
            cell.parts = [_Stays(*stays)]
            cell.seconds[:] = seconds
        for series, facts in zip(windows._series, tree["series"], strict=True):
            series.closed_to = facts["closed_to"]
            series.occupied = facts["occupied"]
            series.revisions = {int(k): v for k, v in facts["revisions"].items()}
            series.changed = {int(k): [v] for k, v in facts["changed"].items()}
        return windows


def _summed(parts: list[_Stays]) -> _Stays:
    """One row per segment and vehicle, in that order."""
    if not parts:
        none = np.empty(0, np.int64)
        return _Stays(none, none, np.empty(0), np.empty(0))
    segment, vehicle, time_s, distance_m = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    order = np.lexsort((vehicle, segment))
    segment, vehicle = segment[order].astype(np.int64), vehicle[order].astype(np.int64)
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (segment[1:] != segment[:-1]) | (vehicle[1:] != vehicle[:-1])
    first = np.flatnonzero(starts)
    if not first.size:
        return _Stays(segment, vehicle, time_s, distance_m)
    return _Stays(
        segment[first],
        vehicle[first],
        np.add.reduceat(time_s[order], first),
        np.add.reduceat(distance_m[order], first),
    )
