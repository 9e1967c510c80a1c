"""A fleet's folder as a world: what `vrc simulate fleet --out DIR` has written or is writing.

Its days are taken one after the other; where the producer is still at work, the reader waits for
the next shard. Vehicles speak for themselves; their records come in the order of time, a vehicle's
own in the order they were sent.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openvrc.contracts.batch import Lists
from openvrc.contracts.columns import column_of
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import ABSENT_I64, NS_PER_S, ns_from_iso
from simulator.emission import Emitter
from simulator.fleet.shards import (
    MANIFEST,
    PRODUCING,
    VEHICLES,
    read_manifest,
    read_shard,
    shard_path,
)
from simulator.replay.options import RecordingError, ReplayOptions
from simulator.sampling import share_of
from simulator.world import Frame, Origin, Outgoing, TruthEvent

POLL_S = 0.2
GIVES_UP_AFTER_S = 900.0
"""Without a new shard for so long the producer is taken for dead."""
STATUS_EVERY_S = 600
UNPACED_STEP_S = 3600.0
"""Zone time taken at once when nobody paces the fleet: thousands of records a frame."""

_SCALARS = (
    "pack_voltage_v", "pack_current_a", "soc_ratio", "soh_ratio", "insulation_ohm", "odometer_m",
    "vehicle_speed_mps",
)  # fmt: skip
_WHOLE = ("bms_alarm_level", "bms_alarm_bits")


class FleetFolder:
    """The reader of such folders."""

    name = "fleet"
    description = "folder that `vrc simulate fleet --out` writes"

    def matches(self, path: Path, options: ReplayOptions) -> bool:  # noqa: ARG002 (Reader's)
        """See Reader."""
        return path.is_dir() and (path / MANIFEST).is_file()

    def open(self, path: Path, options: ReplayOptions) -> FleetWorld:
        """See Reader."""
        facts = read_manifest(path)
        if not facts["shards"] and facts["state"] != PRODUCING:
            raise RecordingError(f"{path}: a fleet without a day")
        return FleetWorld(path, options, facts, pq.read_table(path / VEHICLES))


@dataclass
class FleetWorld:
    """See `simulator.world.World`."""

    folder: Path
    options: ReplayOptions
    facts: dict[str, Any]
    profiles: pa.Table
    origin: Origin = "simulated"
    road_map: RoadMap | None = None
    unpaced_step_s: float = UNPACED_STEP_S
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.vehicle_ids: list[str] = self.profiles["vehicle_id"].to_pylist()
        shares = share_of(self.options.seed, "penetration", self.vehicle_ids)
        self._is_connected = shares < self.options.penetration

    @property
    def zone(self) -> str:
        """See World."""
        return self.options.zone

    @property
    def run_id(self) -> str:
        """See World."""
        return self.options.run_id

    @property
    def title(self) -> str:
        """See World."""
        return self.folder.name

    @property
    def time_zone(self) -> str:
        """See World."""
        return str(self.facts["time_zone"])

    @property
    def start_ns(self) -> int:
        """See World."""
        return int(self.facts["parameters"]["start_ns"])

    def stop(self) -> None:
        """See World."""
        self._stop.set()

    def ground_truth(self) -> list[TruthEvent]:
        """See World: all faults of the fleet, also those still to come."""
        path = self.folder / "ground_truth.json"
        events = json.loads(path.read_text(encoding="utf-8"))
        for event in events:
            event["from_ns"] = ns_from_iso(event.pop("from"))
            to = event.pop("to")
            event["to_ns"] = None if to is None else ns_from_iso(to)
        return [TruthEvent(**event) for event in events]

    def frames(self) -> Iterator[Frame]:
        """See World: a frame each reporting period."""
        return self.frames_of(float(self.facts["period_s"]))

    def frames_of(self, step_s: float) -> Iterator[Frame]:
        """The world in frames of `step_s` zone time; those without a record are left out."""
        emitter = Emitter(
            zone=self.zone,
            run_id=self.run_id,
            origin=self.origin,
            seed=self.options.seed,
            loss=self.options.loss,
        )
        numbers = np.array([emitter.source("vehicle", v) for v in self.vehicle_ids], np.int64)
        messages = self._greeting(emitter, numbers)
        zone_ns, told_ns = self.start_ns, self.start_ns
        for path in self._shards():
            shard = _Shard(read_shard(path), self.vehicle_ids, self._is_connected)
            for end_ns, rows in shard.parts(self.start_ns, step_s):
                messages += shard.emitted(emitter, numbers, rows)
                zone_ns = end_ns
                if zone_ns - told_ns >= STATUS_EVERY_S * NS_PER_S:
                    messages += emitter.status(zone_ns)
                    told_ns = zone_ns
                yield Frame(zone_ns, tuple(messages))
                messages = []
                if self._stop.is_set():
                    break
            if self._stop.is_set():
                break
        if messages:
            yield Frame(zone_ns, tuple(messages))
        yield emitter.final_frame(zone_ns)

    def _greeting(self, emitter: Emitter, numbers: NDArray[np.int64]) -> list[Outgoing]:
        rows = np.flatnonzero(self._is_connected)
        columns = {
            name: self.profiles[name].take(pa.array(rows)).to_pylist()
            for name in self.profiles.column_names
            if name != "vehicle_id"
        }
        columns["sampled_at_ns"] = np.full(len(rows), self.start_ns, np.int64)
        subjects = (rows.astype(np.int32), self.vehicle_ids)
        return emitter.emit("vehicle_profile", numbers[rows], subjects, columns)

    def _shards(self) -> Iterator[Path]:
        """Paths of the days' shards, each as soon as it is there."""
        day, waited_s = 0, 0.0
        while not self._stop.is_set():
            if day < len(self.facts["shards"]):
                yield shard_path(self.folder, self.facts["shards"][day])
                day, waited_s = day + 1, 0.0
                continue
            if self.facts["state"] != PRODUCING:
                return
            if waited_s > GIVES_UP_AFTER_S:
                raise RecordingError(
                    f"{self.folder}: no new day for {GIVES_UP_AFTER_S:.0f} s, expected "
                    f"{self.facts['parameters']['days']} days and found {day}"
                )
            time.sleep(POLL_S)
            waited_s += POLL_S
            self.facts = read_manifest(self.folder)


class _Shard:
    """A day's table with its vehicles as numbers of the fleet."""

    def __init__(
        self, table: pa.Table, vehicle_ids: list[str], is_connected: NDArray[np.bool_]
    ) -> None:
        number_of = {name: number for number, name in enumerate(vehicle_ids)}
        column = table["vehicle_id"].combine_chunks()
        words = np.array([number_of[name] for name in column.dictionary.to_pylist()], np.int32)
        self._table, self._vehicle_ids = table, vehicle_ids
        self._vehicle = words[column.indices.to_numpy()]
        self._time_ns = table["sampled_at_ns"].to_numpy()
        self._keeps = None if is_connected.all() else is_connected[self._vehicle]
        known = column_of("battery_state", "charging_state").values
        charging = table["charging_state"].combine_chunks()
        codes = np.array([known.index(w) for w in charging.dictionary.to_pylist()], np.int8)
        self._charging = codes[charging.indices.to_numpy()]

    def parts(self, start_ns: int, step_s: float) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Ends of steps of zone time and the rows within, by vehicle and as they were sent."""
        step_ns = round(step_s * NS_PER_S)
        place = (self._time_ns - start_ns - 1) // step_ns  # a record of a step's end belongs to it
        order = np.argsort(place, kind="stable")
        if self._keeps is not None:
            order = order[self._keeps[order]]
        ordered = place[order]
        ends = np.append(np.flatnonzero(np.diff(ordered)) + 1, len(ordered))
        first = 0
        for last in ends.tolist():
            if last > first:
                yield start_ns + (int(ordered[first]) + 1) * step_ns, order[first:last]
            first = last

    def emitted(
        self, emitter: Emitter, numbers: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> list[Outgoing]:
        """These rows as messages."""
        table = self._table.take(pa.array(rows))
        columns: dict[str, Any] = {name: table[name].to_numpy() for name in _SCALARS}
        columns |= {name: _whole(table[name]) for name in _WHOLE}
        columns["cell_voltages_v"] = _lists(table["cell_voltages_mv"], 1e-3)
        columns["probe_temperatures_degc"] = _lists(table["probe_temperatures_degc"], 1.0)
        columns["charging_state"] = self._charging[rows]
        columns["sampled_at_ns"] = self._time_ns[rows]
        vehicle = self._vehicle[rows]
        subjects = (vehicle.astype(np.int32), self._vehicle_ids)
        return emitter.emit("battery_state", numbers[vehicle], subjects, columns)


def _whole(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(column.cast(pa.int64()).fill_null(ABSENT_I64).to_numpy(), np.int64)


def _lists(column: pa.ChunkedArray, unit: float) -> Lists:
    array = column.combine_chunks()
    flat = array.flatten().to_numpy().astype(np.float32) * np.float32(unit)
    offsets = array.offsets.to_numpy()
    return flat, (offsets - offsets[0]).astype(np.int32)


PLUGIN = FleetFolder()
