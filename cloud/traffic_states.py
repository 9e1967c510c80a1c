"""Completed states of every zone and run, beside the newest records: a `Fold` of the pipeline.

The windows that edges report are stored; what is completed from them is kept in memory only, for
the same windows give the same states again (docs/decisions/0014). No clock, no I/O.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from cloud.snapshot import pack_snapshot, unpack_snapshot
from openvrc.contracts.batch import Batch
from openvrc.contracts.maps import MapError, RoadMap
from openvrc.traffic.completion import Completion, States
from openvrc.traffic.routes import RoadGraph
from openvrc.traffic.segment_model import Floats

RunKey = tuple[str, str]
"""(zone, run_id)"""

KEPT_RUNS = 8
"""Runs in memory; of more, the one that has waited longest for a batch is forgotten."""
_FOLDED = frozenset({"segment_state", "vehicle_state", "loop_counts", "tick"})


@dataclass
class _Run:
    completion: Completion
    document: str
    states: dict[int, tuple[int, States]] = field(default_factory=dict)
    """Window length to states, made when asked for, with the version of what they were made of."""
    graph: RoadGraph | None = None
    """Made with the first question for a way."""


class TrafficStates:
    """All runs whose map was announced."""

    name = "traffic_states"

    def __init__(self) -> None:
        self._runs: dict[RunKey, _Run] = {}
        self._lock = threading.RLock()

    def apply(self, batches: Sequence[Batch], transitions: Sequence[Any] = ()) -> None:
        """Take committed batches, in order."""
        del transitions
        with self._lock:
            for batch in batches:
                if batch.n_rows and batch.message == "zone_announce":
                    self._announce(batch)
                elif batch.n_rows and batch.message in _FOLDED:
                    self._fold(batch)

    def states(self, zone: str, run_id: str, window_s: int) -> tuple[RoadMap, States] | None:
        """The newest closed window of 10 or 60 s and its map; None without map or window."""
        with self._lock:
            run = self._runs.get((zone, run_id))
            if run is None:
                return None
            version, found = run.states.get(window_s, (-1, None))
            if found is None or version != run.completion.version:
                found = run.completion.states(window_s)
                if found is None:
                    return None
                run.states[window_s] = run.completion.version, found
            return run.completion.road_map, found

    def steady(self, zone: str, run_id: str) -> tuple[RoadGraph, Floats, int] | None:
        """Graph, seconds of a pass of each segment (n_segments,), and what moment they are of."""
        with self._lock:
            run = self._runs.get((zone, run_id))
            pass_s = run.completion.steady_pass_s() if run else None
            if run is None or pass_s is None:
                return None
            if run.graph is None:
                run.graph = RoadGraph(run.completion.road_map)
            return run.graph, pass_s, run.completion.closed_ns or 0

    def _announce(self, batch: Batch) -> None:
        key = (batch.zone, batch.run_id)
        for document in filter(None, batch.texts("map_document")):
            known = self._runs.get(key)
            if known is not None and known.document == document:
                continue
            try:
                road_map = RoadMap.from_document(document)
            except MapError:
                continue  # the engine reports it as an alert
            self._runs[key] = _Run(Completion(road_map), document)
            while len(self._runs) > KEPT_RUNS:
                del self._runs[next(iter(self._runs))]

    def _fold(self, batch: Batch) -> None:
        key = (batch.zone, batch.run_id)
        run = self._runs.pop(key, None)
        if run is None:
            return
        self._runs[key] = run  # the newest stands last
        run.completion.fold(batch)

    def snapshot(self) -> bytes:
        """All runs."""
        with self._lock:
            meta: list[dict[str, Any]] = []
            arrays: dict[str, npt.NDArray[Any]] = {}
            documents: dict[str, str] = {}
            for place, ((zone, run_id), run) in enumerate(self._runs.items()):
                facts, parts = run.completion.snapshot()
                version = run.completion.road_map.map_version
                documents[version] = run.document
                names = {"zone": zone, "run_id": run_id, "map_version": version}
                meta.append(names | {"facts": facts})
                arrays |= {f"{place}/{name}": array for name, array in parts.items()}
            return pack_snapshot({"runs": meta, "documents": documents}, arrays)

    def restore(self, data: bytes) -> None:
        """Go on from what `snapshot` wrote."""
        meta, arrays = unpack_snapshot(data)
        documents: dict[str, str] = meta["documents"]
        maps = {version: RoadMap.from_document(text) for version, text in documents.items()}
        runs: dict[RunKey, _Run] = {}
        for place, row in enumerate(meta["runs"]):
            version = row["map_version"]
            begin = f"{place}/"
            parts = {n.removeprefix(begin): a for n, a in arrays.items() if n.startswith(begin)}
            completion = Completion.restore(maps[version], row["facts"], parts)
            runs[(row["zone"], row["run_id"])] = _Run(completion, documents[version])
        with self._lock:
            self._runs = runs
