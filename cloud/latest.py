"""Latest values in memory: a fold over the batches that were committed, per zone and run.

It serves the map, the stream and every "how is it now" of the API; the database is asked for
history only. No clock, no I/O; the same batches in any split give the same state. The pipeline's
worker thread folds, the event loop reads, both under `lock`.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.latest_objects import FusedObjects
from cloud.latest_tables import Record, RecordTable, VehicleTable
from cloud.snapshot import pack_snapshot, unpack_snapshot
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays
from openvrc.contracts.messages import message_type
from openvrc.contracts.units import ABSENT_I64

RunKey = tuple[str, str]
"""(zone, run_id)"""

LIVE_RUN = "live"
KEPT_RUNS = 20
"""Ended runs whose latest values stay in memory, so that a day of replays cannot fill it; older
ones are asked from the database."""

MOST_EVENTS = 1_000
"""Road events of a run that are kept: each has an id of its own, so they would fill memory."""

_ZIP = b"PK"
_NOT_FOLDED = ("source_ledger", "source_status", "dead_letter")
"""About senders, not about the zone: they make no run appear."""
_BY_SUBJECT = ("signal_state", "rsu_status", "charger_state", "vehicle_profile", "road_event")
_OF_OBJECTS = ("vehicle_state", "rsu_objects", "rsu_status")
_OF_DRIVERS = ("driver_state", "rate_ratio", "can_seek", "source_id")
_ANNOUNCED = ("state", "clock", "rate_ratio", "time_zone", "title", "map_version")


def _by_time(record: Record) -> Any:
    return record["sampled_at_ns"]


def rank_of_window(state: Record) -> tuple[bool, int, int]:
    """The window to show of a segment: the newest that saw traffic, in its newest revision.

    An empty window tells of no speed; a road that was left keeps its last one, with its time.
    """
    return state.get("vehicle_count", 0) > 0, state["sampled_at_ns"], state["revision"]


def _record_tables() -> dict[str, RecordTable]:
    tables = {name: RecordTable(lambda r: r["subject_id"], _by_time) for name in _BY_SUBJECT}
    tables["road_event"] = RecordTable(lambda r: r["subject_id"], _by_time, most=MOST_EVENTS)
    windows = RecordTable(lambda r: (r["subject_id"], r["window_s"]), rank_of_window)
    return tables | {"segment_state": windows}


@dataclass
class RunLatest:
    """What is known of one run of one zone."""

    zone: str
    run_id: str
    origin: str
    appeared: int
    """Order of appearance; the newest run of a zone has the highest."""
    announced: Record = field(default_factory=dict)
    zone_time_ns: int = ABSENT_I64
    watermark_ns: int = ABSENT_I64
    driver: Record = field(default_factory=dict)
    """What its driver said with the newest tick, if it takes commands, and which edge hears it."""
    records: int = 0
    """Numbered records folded since the service started (for a rate)."""
    vehicles: VehicleTable = field(default_factory=VehicleTable)
    objects: FusedObjects = field(default_factory=FusedObjects)
    tables: dict[str, RecordTable] = field(default_factory=_record_tables)

    @property
    def is_running(self) -> bool:
        """Whether its driver has not ended it; the live run of a zone never ends."""
        return bool(self.announced.get("state", "running") == "running")

    def present_speeds_mps(self) -> npt.NDArray[np.float32]:
        """Speeds (n,) of the vehicles that still report."""
        speeds: npt.NDArray[np.float32] = self.vehicles.columns["speed_mps"][
            self.vehicles.present(self.zone_time_ns)
        ]
        return speeds[~np.isnan(speeds)]


@dataclass(frozen=True)
class Changes:
    """What listeners want to hear of."""

    records: dict[tuple[RunKey, str], list[Record]]
    """Changed records by run and message."""
    runs: set[RunKey]
    """Runs that appeared or whose announcement changed."""


class Latest:
    """All runs of all zones; a `Fold` of the pipeline."""

    name = "latest"

    def __init__(self) -> None:
        self.runs: dict[RunKey, RunLatest] = {}
        self.lock = threading.RLock()
        self._appearances = 0
        self._changed_runs: set[RunKey] = set()

    def apply(self, batches: Sequence[Batch], transitions: Sequence[Any] = ()) -> None:
        """Take committed batches, in order; alerts have their own tables."""
        del transitions
        self.fold(batches)

    def fold(self, batches: Iterable[Batch]) -> None:
        """Take committed batches, in order."""
        with self.lock:
            for batch in batches:
                if batch.n_rows and batch.message not in _NOT_FOLDED:
                    self._fold_one(batch)

    def take_changes(self) -> Changes:
        """What changed since the last call, for one listener."""
        with self.lock:
            changed = Changes({}, self._changed_runs)
            self._changed_runs = set()
            for key, run in self.runs.items():
                for message, table in run.tables.items():
                    if records := table.take_changed():
                        changed.records[(key, message)] = records
            return changed

    def zones(self) -> list[str]:
        """Names of all zones, sorted."""
        return sorted({zone for zone, _ in self.runs})

    def newest_run(self, zone: str) -> RunLatest | None:
        """The run a person means who names only the zone: the newest that runs, else the newest."""
        runs = [run for run in self.runs.values() if run.zone == zone]
        return max(runs, key=lambda run: (run.is_running, run.appeared), default=None)

    def select(self, zone: str | None, run_id: str | None) -> list[RunLatest]:
        """Runs that a request means: those given, or of each zone its newest."""
        if run_id is not None:
            chosen = [r for r in self.runs.values() if r.run_id == run_id]
            return [r for r in chosen if zone is None or r.zone == zone]
        names = self.zones() if zone is None else [zone]
        return [run for name in names if (run := self.newest_run(name)) is not None]

    def snapshot(self) -> bytes:
        """All runs."""
        return self.freeze()()

    def freeze(self) -> Callable[[], bytes]:
        """What makes the snapshot's bytes, from copies, in another thread if need be."""
        with self.lock:
            frozen = [_frozen_run(run) for run in self._in_order()]

        def pack() -> bytes:
            arrays = {
                f"{place}/{name}": array
                for place, (_, run) in enumerate(frozen)
                for name, array in run.items()
            }
            return pack_snapshot({"runs": [facts for facts, _ in frozen]}, arrays)

        return pack

    def restore(self, data: bytes) -> None:
        """Continue from what `snapshot` wrote, also before 2026-11-27."""
        listed, parts = _from_archive(data) if data.startswith(_ZIP) else _from_snapshot(data)
        runs = [_run_restore(facts, arrays) for facts, arrays in zip(listed, parts, strict=True)]
        runs.sort(key=lambda run: run.appeared)
        with self.lock:
            self.runs = {(run.zone, run.run_id): run for run in runs}
            self._appearances = max((run.appeared for run in runs), default=0)

    def _in_order(self) -> Sequence[RunLatest]:
        return sorted(self.runs.values(), key=lambda run: run.appeared)

    def _fold_one(self, batch: Batch) -> None:
        key = (batch.zone, batch.run_id)
        run = self.runs.get(key)
        if run is None:
            run = self._appear(batch)
            self._changed_runs.add(key)
        if batch.message == "vehicle_state":
            run.vehicles.fold(batch)
        elif batch.message == "battery_state":
            run.vehicles.fold_battery(batch)
        elif batch.message == "tick":
            _fold_tick(run, batch)
        elif batch.message == "zone_announce":
            if _fold_announce(run, batch):  # drivers repeat what they announced
                self._changed_runs.add(key)
        elif batch.message in run.tables:
            run.tables[batch.message].fold(batch)
        if batch.message in _OF_OBJECTS:
            run.objects.fold(batch)
        if message_type(batch.message).is_numbered:
            _count(run, batch)

    def _appear(self, batch: Batch) -> RunLatest:
        self._appearances += 1
        run = RunLatest(batch.zone, batch.run_id, batch.origin, self._appearances)
        self.runs[(batch.zone, batch.run_id)] = run
        ended = [r for r in self._in_order() if not r.is_running]
        for old in ended[: max(0, len(ended) - KEPT_RUNS)]:
            del self.runs[(old.zone, old.run_id)]
        return run


def _count(run: RunLatest, batch: Batch) -> None:
    run.records += batch.n_rows
    run.zone_time_ns = max(run.zone_time_ns, _newest_on_time_ns(run, batch))
    # Ticks do it, where there are any; sightings behind the newest one need not wait for the next.
    if run.watermark_ns == ABSENT_I64 or batch.message == "rsu_objects":
        run.objects.advance(run.zone_time_ns)


def _fold_tick(run: RunLatest, batch: Batch) -> None:
    run.zone_time_ns = max(run.zone_time_ns, int(batch.column("sampled_at_ns").max()))
    run.watermark_ns = max(run.watermark_ns, int(batch.column("watermark_ns").max()))
    newest = batch.slice(batch.n_rows - 1).to_records()[0]
    is_steered = newest.get("driver_state") is not None
    run.driver = {name: newest.get(name) for name in _OF_DRIVERS} if is_steered else {}
    run.vehicles.forget_pseudonyms(run.zone_time_ns)
    run.objects.advance(run.zone_time_ns)


def _newest_on_time_ns(run: RunLatest, batch: Batch) -> int:
    """Zone time after a batch: the newest record until the first tick, then ticks alone move it.

    Otherwise one fast clock would make everybody else look silent.
    """
    has_tick = run.watermark_ns != ABSENT_I64
    return run.zone_time_ns if has_tick else int(batch.column("sampled_at_ns").max())


def _fold_announce(run: RunLatest, batch: Batch) -> bool:
    """Take an announcement; whether it said anything new."""
    before = dict(run.announced)
    for record in batch.to_records():
        run.announced |= {name: record[name] for name in _ANNOUNCED if name in record}
    run.origin = batch.origin
    return run.announced != before


def _frozen_run(run: RunLatest) -> tuple[Record, Arrays]:
    facts = {
        "zone": run.zone,
        "run_id": run.run_id,
        "origin": run.origin,
        "appeared": run.appeared,
        "announced": dict(run.announced),
        "zone_time_ns": run.zone_time_ns,
        "watermark_ns": run.watermark_ns,
        "tables": {name: table.to_list() for name, table in run.tables.items()},
    }
    return facts, run.vehicles.snapshot()


def _run_restore(facts: Record, arrays: Arrays) -> RunLatest:
    tables = facts.pop("tables")
    run = RunLatest(**facts)
    for name, records in tables.items():
        run.tables[name].load(records)
    run.vehicles = VehicleTable.restore(arrays)
    return run


def _from_snapshot(data: bytes) -> tuple[list[Record], list[Arrays]]:
    meta, arrays = unpack_snapshot(data)
    parts: list[Arrays] = [{} for _ in meta["runs"]]
    for path, array in arrays.items():
        place, _, name = path.partition("/")
        parts[int(place)][name] = array
    return meta["runs"], parts


def _from_archive(data: bytes) -> tuple[list[Record], list[Arrays]]:
    """A NumPy archive, in which the state was once kept: facts as JSON, tables as JSON in it."""
    listed: dict[str, Record] = {}
    parts: dict[str, Arrays] = {}
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        for path in archive.files:
            place, _, name = path.partition("/")
            if name == "facts":
                facts = listed[place] = json.loads(archive[path].tobytes())
                facts["tables"] = {k: json.loads(text) for k, text in facts["tables"].items()}
            else:
                parts.setdefault(place, {})[name.removeprefix("v.")] = archive[path]
    return list(listed.values()), [parts[place] for place in listed]
