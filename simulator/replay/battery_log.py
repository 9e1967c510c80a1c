"""A vehicle's battery log by a mapping: one file is one vehicle, named as the file.

The recording's own dates are kept: zone time is the log's time, gaps jump. Rows are published in
the file's order with their dirt: repeated times, times that run back and values out of any range
are for the edge and the detectors to judge.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch, Lists, concat
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import ABSENT_I64
from openvrc.mapformats import read_map
from simulator.emission import Emitter, Subjects, topic_id
from simulator.replay import log_table
from simulator.replay.mapped import is_log, mapped_columns, name_of
from simulator.replay.mapping import Mapping, message_of, read_mapping
from simulator.replay.options import RecordingError, ReplayOptions
from simulator.world import (
    LOG_STEP_S,
    RECORDS_PER_MESSAGE,
    Frame,
    Origin,
    Outgoing,
    TruthEvent,
    split,
)

OTHER_MESSAGES = ("vehicle_state", "rsu_objects")
"""Mappings that other readers take."""
FRAMES_AT_ONCE = 500
"""Frames whose rows are made one batch before they are cut: ten times cheaper than one by one."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class BatteryLog:
    """The reader of such files."""

    name = "battery-log"
    description = "battery log .csv or .zip of one, with --mapping TOML"

    def matches(self, path: Path, options: ReplayOptions) -> bool:
        """See Reader."""
        message = message_of(options.mapping)
        return message not in (None, *OTHER_MESSAGES) and is_log(path)

    def open(self, path: Path, options: ReplayOptions) -> BatteryWorld:
        """See Reader."""
        assert options.mapping is not None
        mapping = read_mapping(options.mapping)
        table = log_table.read_log(path)
        columns, lists = mapped_columns(table, mapping)
        if not columns and not lists:
            wanted = [mapped.column for mapped in mapping.columns.values()]
            raise RecordingError(f"{path.name}: has none of the mapping's columns {wanted}")
        return BatteryWorld(
            options=options,
            vehicle_id=topic_id(name_of(path)),
            title=path.name,
            time_zone=mapping.time.time_zone or options.time_zone,
            road_map=read_map(options.map_path) if options.map_path else None,
            times_ns=log_table.times_ns(table, mapping.time, path.name),
            columns=columns,
            lists=lists,
            profile=_profile(mapping, lists),
        )


def _profile(mapping: Mapping, lists: dict[str, FloatArray]) -> dict[str, Any]:
    """What the log itself tells about the pack, and what the mapping adds."""
    counted: dict[str, Any] = {}
    if (cells := lists.get("cell_voltages_v")) is not None:
        counted["cells_in_series"] = cells.shape[1]
    if (probes := lists.get("probe_temperatures_degc")) is not None:
        counted["probe_count"] = probes.shape[1]
    return counted | mapping.profile


@dataclass
class BatteryWorld:
    """See `simulator.world.World`."""

    options: ReplayOptions
    vehicle_id: str
    title: str
    time_zone: str
    road_map: RoadMap | None
    times_ns: IntArray  # (n_rows,) in the file's order
    columns: dict[str, Any]
    lists: dict[str, FloatArray]
    profile: dict[str, Any]
    origin: Origin = "replay"
    unpaced_step_s: float = LOG_STEP_S
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def zone(self) -> str:
        """See World."""
        return self.options.zone

    @property
    def run_id(self) -> str:
        """See World."""
        return self.options.run_id

    @property
    def start_ns(self) -> int:
        """See World."""
        return int(_running_time(self.times_ns)[0])

    def stop(self) -> None:
        """See World."""
        self._stop.set()

    def ground_truth(self) -> list[TruthEvent]:
        """See World: nobody has labelled such a log."""
        return []

    def frames(self) -> Iterator[Frame]:
        """See World."""
        emitter = Emitter(
            zone=self.zone,
            run_id=self.run_id,
            origin=self.origin,
            seed=self.options.seed,
            loss=self.options.loss,
        )
        number = emitter.source("vehicle", self.vehicle_id)
        zone_ns = _running_time(self.times_ns)
        ends = np.append(np.flatnonzero(np.diff(zone_ns)) + 1, len(zone_ns))
        messages = self._greeting(emitter, number, int(zone_ns[0]))
        n_before, start = len(messages), 0
        for first in range(0, len(ends), FRAMES_AT_ONCE):
            together = ends[first : first + FRAMES_AT_ONCE]
            batch = self._batch(emitter, number, start, int(together[-1]))
            rows = batch.column("seq") - n_before if batch else np.empty(0, np.int64)
            for end in together.tolist():
                if batch is not None:
                    low, high = np.searchsorted(rows, (start, end)).tolist()
                    messages += self._messages(batch.slice(low, high - low))
                start = end
                yield Frame(int(zone_ns[end - 1]), tuple(messages))
                messages = []
                if self._stop.is_set():
                    break
            if self._stop.is_set():
                break
        counts = np.array([n_before + start], np.int64)
        status = emitter.status_of(np.array([number]), counts, int(zone_ns[start - 1]))
        yield Frame(int(zone_ns[start - 1]), tuple(status))

    def _greeting(self, emitter: Emitter, number: int, zone_time_ns: int) -> list[Outgoing]:
        """The vehicle's profile, as far as it is known."""
        if not self.profile:
            return []
        columns = self.profile | {"sampled_at_ns": zone_time_ns}
        return emitter.emit("vehicle_profile", np.array([number]), self._subjects(1), columns)

    def _batch(self, emitter: Emitter, number: int, start: int, end: int) -> Batch | None:
        """Rows of the log as one numbered batch; None if all of them are lost."""
        rows = slice(start, end)
        columns = {name: values[rows] for name, values in self.columns.items()}
        columns |= {name: _ragged(values[rows]) for name, values in self.lists.items()}
        columns["sampled_at_ns"] = self.times_ns[rows]
        sources = np.full(end - start, number, np.int64)
        parts = emitter.emit("battery_state", sources, self._subjects(end - start), columns)
        return concat([part.batch for part in parts]) if parts else None

    def _messages(self, batch: Batch) -> list[Outgoing]:
        return [
            Outgoing("vehicle", self.vehicle_id, part)
            for part in split(batch, RECORDS_PER_MESSAGE)
            if part.n_rows
        ]

    def _subjects(self, n_rows: int) -> Subjects:
        return np.zeros(n_rows, np.int32), [self.vehicle_id]


def _running_time(times_ns: IntArray) -> IntArray:
    """Zone time at each row: it never runs back, and a row without a time has the one before."""
    known = np.where(times_ns == ABSENT_I64, 0, times_ns)
    first = known[known > 0][0]
    return np.asarray(np.maximum.accumulate(np.maximum(known, first)), np.int64)


def _ragged(values: FloatArray) -> Lists:
    """Rows (n_rows, n_elements) as a list column; a row of nothing is an empty list."""
    is_filled = ~np.isnan(values).all(axis=1)
    offsets = np.concatenate([[0], np.cumsum(is_filled * values.shape[1])]).astype(np.int32)
    return values[is_filled].ravel().astype(np.float32), offsets


PLUGIN = BatteryLog()
