"""Completed states of every zone and run, beside the newest records: a `Fold` of the pipeline.

The windows that edges report are stored; what is completed from them is kept in memory only, for
the same windows give the same states again (docs/decisions/0014). No clock, no I/O.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy.typing as npt

from cloud.snapshot import pack_snapshot, unpack_snapshot
from openvrc.contracts.batch import Batch
from openvrc.contracts.maps import MapError, RoadMap
from openvrc.traffic.completion import Completion, States
from openvrc.traffic.queues import LaneQueues
from openvrc.traffic.routes import RoadGraph
from openvrc.traffic.segment_model import Floats, Speeds
from openvrc.traffic.signals import Delays, GroupShares

RunKey = tuple[str, str]
"""(zone, run_id)"""

KEPT_ENDED = 8
"""Ended runs in memory; of more, the one that has waited longest for a batch is forgotten."""
MOST_RUNS = 100
"""All runs. A map is announced once, so a run that goes on and is forgotten has no states any more;
one of 1,000 segments takes half a megabyte."""
_FOLDED = frozenset({"segment_state", "vehicle_state", "loop_counts", "signal_state", "tick"})


@dataclass
class _Run:
    completion: Completion
    document: str
    is_ended: bool = False
    states: dict[int, tuple[int, States]] = field(default_factory=dict)
    """Window length to states, made when asked for, with the version of what they were made of."""
    graph: RoadGraph | None = None
    """Made with the first question for a way."""


class Approaches(NamedTuple):
    """Signal groups and the roads that lead to them, at a moment."""

    road_map: RoadMap
    at_ns: int
    shares: dict[str, GroupShares | None]
    """By group, "intersection:group"; None where too little was heard."""
    delays: Delays
    queues: LaneQueues


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

    def recent(self, zone: str, run_id: str) -> tuple[RoadMap, Speeds, int] | None:
        """Map, what was seen in the last ten minutes, and their end; None without map or window."""
        with self._lock:
            run = self._runs.get((zone, run_id))
            found = run.completion.recent() if run else None
            if run is None or found is None:
                return None
            return run.completion.road_map, found, run.completion.closed_ns or 0

    def approaches(self, zone: str, run_id: str) -> Approaches | None:
        """What is known of the zone's signals and those who wait for them; None as above."""
        with self._lock:
            run = self._runs.get((zone, run_id))
            found = run.completion.approaches() if run else None
            if run is None or found is None:
                return None
            completion = run.completion
            signals = completion.signals
            shares = {name: signals.shares(name) for name in signals.groups}
            return Approaches(completion.road_map, completion.closed_ns or 0, shares, *found)

    def steady(self, zone: str, run_id: str) -> tuple[RoadGraph, Floats, int] | None:
        """Graph, seconds of a pass of each segment (n_segments,), and what moment they are of."""
        with self._lock:
            run = self._runs.get((zone, run_id))
            pass_s = run.completion.steady_pass_s() if run else None
            if run is None or pass_s is None:
                return None
            at_ns = run.completion.closed_ns or 0
        if run.graph is None:
            # Beside the lock, for the pipeline folds under it; two questions may make the same.
            run.graph = RoadGraph(run.completion.road_map)
        return run.graph, pass_s, at_ns

    def _announce(self, batch: Batch) -> None:
        key = (batch.zone, batch.run_id)
        for row in batch.to_records():
            if row.get("map_document"):
                self._take_map(key, row["map_document"])
            if key in self._runs:
                self._runs[key].is_ended = row["state"] != "running"
        self._forget()

    def _take_map(self, key: RunKey, document: str) -> None:
        known = self._runs.get(key)
        if known is not None and known.document == document:
            return
        try:
            road_map = RoadMap.from_document(document)
        except MapError:
            return  # the engine reports it as an alert
        self._runs[key] = _Run(Completion(road_map), document)

    def _forget(self) -> None:
        """Ended runs first, the longest silent of them; runs that go on only beyond all bounds."""
        ended = [key for key, run in self._runs.items() if run.is_ended]
        for key in ended[: max(0, len(ended) - KEPT_ENDED)]:
            del self._runs[key]
        by_rank = sorted(self._runs, key=lambda key: not self._runs[key].is_ended)
        for key in by_rank[: max(0, len(by_rank) - MOST_RUNS)]:
            del self._runs[key]

    def _fold(self, batch: Batch) -> None:
        key = (batch.zone, batch.run_id)
        run = self._runs.pop(key, None)
        if run is None:
            return
        self._runs[key] = run  # the newest stands last
        run.completion.fold(batch)

    def snapshot(self) -> bytes:
        """All runs."""
        return self.freeze()()

    def freeze(self) -> Callable[[], bytes]:
        """What makes the snapshot's bytes, from copies, in another thread if need be."""
        with self._lock:
            meta: list[dict[str, Any]] = []
            arrays: dict[str, npt.NDArray[Any]] = {}
            documents: dict[str, str] = {}
            for place, ((zone, run_id), run) in enumerate(self._runs.items()):
                facts, parts = run.completion.snapshot()
                version = run.completion.road_map.map_version
                documents[version] = run.document
                meta.append(
                    {
                        "zone": zone,
                        "run_id": run_id,
                        "map_version": version,
                        "is_ended": run.is_ended,
                        "facts": facts,
                    }
                )
                arrays |= {f"{place}/{name}": array for name, array in parts.items()}
        return lambda: pack_snapshot({"runs": meta, "documents": documents}, arrays)

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
            run = _Run(completion, documents[version], row["is_ended"])
            runs[(row["zone"], row["run_id"])] = run
        with self._lock:
            self._runs = runs
