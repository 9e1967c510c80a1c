"""segments.parquet: what was observed of each window, and what it was completed to.

`speed_mps`, `density_vpkm` and `flow_vph` are the completed state (all vehicles, `basis` observed
or estimated) where there is one, else what the reporting vehicles alone showed; those figures stand
beside it as `observed_*`. `coverage` is the share of the window's seconds with an observation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from openvrc.contracts.batch import Batch
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.traffic.completion import CELL_NS, WINDOWS_S, Completion, States
from openvrc.traffic.service_level import LEVELS

Key = tuple[str, int, float]
"""Segment id, window start in ns, window length in s."""

_OBSERVED = ("density_vpkm", "flow_vph", "speed_mps", "vehicle_s", "coverage_ratio")
_COMPLETED = ("density_vpkm", "flow_vph", "speed_mps", "speed_standard_error_mps", "delay_s",
              "penetration_ratio", "level", "is_observed")  # fmt: skip


@dataclass
class SegmentTable:
    """Rows of one or more recordings, by segment and window."""

    observed: dict[Key, tuple[int, list[float]]] = field(default_factory=dict)
    """Revision and figures; the highest revision counts."""
    completed: dict[Key, list[float]] = field(default_factory=dict)

    def take(self, batches: Iterable[Batch], completion: Completion | None) -> None:
        """Fold the edge's output, in order; without a map nothing is completed."""
        for batch in batches:
            if batch.message == "segment_state":
                self._observe(batch)
            if completion is None:
                continue
            if batch.message == "tick":
                for states in _closed(completion, batch):
                    self._complete(completion.road_map, states)
            else:
                completion.fold(batch)

    def _observe(self, batch: Batch) -> None:
        starts, lengths, revisions = (
            batch.column(name).tolist() for name in ("window_start_ns", "window_s", "revision")
        )
        values = np.column_stack([batch.column(name) for name in _OBSERVED]).tolist()
        for row, segment_id in enumerate(batch.texts("subject_id")):
            key = (segment_id, starts[row], lengths[row])
            if key not in self.observed or self.observed[key][0] <= revisions[row]:
                self.observed[key] = (revisions[row], values[row])

    def _complete(self, road_map: RoadMap, states: States) -> None:
        start_ns = states.window_end_ns - states.window_s * NS_PER_S
        given = np.flatnonzero(np.isfinite(states.speed_mps))
        share = np.full(len(given), np.nan if states.share is None else states.share)
        columns = (
            states.density_vpkm[given], states.flow_vph[given], states.speed_mps[given],
            states.speed_sd_mps[given], states.delay_s[given], share, states.level[given],
            states.is_observed[given],
        )  # fmt: skip
        rows = np.column_stack(columns).tolist()
        for segment, row in zip(given.tolist(), rows, strict=True):
            key = (road_map.segment_ids[segment], start_ns, float(states.window_s))
            self.completed[key] = row

    def table(self) -> pa.Table:
        """All rows by window start, length and segment."""
        keys = sorted(self.observed.keys() | self.completed, key=lambda k: (k[1], k[2], k[0]))
        nothing = [np.nan] * len(_OBSERVED)
        seen = _columns(
            _OBSERVED, [self.observed[k][1] if k in self.observed else nothing for k in keys]
        )
        nothing = [np.nan] * len(_COMPLETED)
        whole = _columns(_COMPLETED, [self.completed.get(k, nothing) for k in keys])
        best = {
            name: np.where(np.isnan(whole[name]), seen[name], whole[name])
            for name in ("density_vpkm", "flow_vph", "speed_mps")
        }
        starts = pa.array([k[1] for k in keys], pa.int64()).cast(pa.timestamp("ns", "UTC"))
        return pa.table(
            {
                "window_start": starts,
                "window_s": pa.array([k[2] for k in keys], pa.float64()),
                "segment_id": pa.array([k[0] for k in keys], pa.utf8()),
                "density_vpkm": _nullable(best["density_vpkm"]),
                "flow_vph": _nullable(best["flow_vph"]),
                "speed_mps": _nullable(best["speed_mps"]),
                "vehicle_s": pa.array(np.nan_to_num(seen["vehicle_s"])),
                "coverage": pa.array(np.nan_to_num(seen["coverage_ratio"])),
                "basis": pa.array(
                    ["estimated" if v == 0.0 else "observed" for v in whole["is_observed"]],
                    pa.utf8(),
                ),
                "speed_standard_error_mps": _nullable(whole["speed_standard_error_mps"]),
                "delay_s": _nullable(whole["delay_s"]),
                "level_of_service": pa.array(
                    [None if np.isnan(v) else LEVELS[int(v)] for v in whole["level"]], pa.utf8()
                ),
                "penetration": _nullable(whole["penetration_ratio"]),
                "observed_density_vpkm": _nullable(seen["density_vpkm"]),
                "observed_flow_vph": _nullable(seen["flow_vph"]),
                "observed_speed_mps": _nullable(seen["speed_mps"]),
            }
        )


def _closed(completion: Completion, ticks: Batch) -> Iterator[States]:
    """Advance cell by cell, so that each closed window is told."""
    goal_ns = int(ticks.column("watermark_ns").max())
    if goal_ns == ABSENT_I64:
        return
    while True:
        closed_ns = completion.closed_ns
        next_ns = goal_ns if closed_ns is None else min(closed_ns + CELL_NS, goal_ns)
        completion.advance(next_ns)
        if completion.closed_ns == closed_ns:
            return
        for window_s in WINDOWS_S:
            states = completion.states(window_s)
            if states is not None and states.window_end_ns % (window_s * NS_PER_S) == 0:
                yield states


def _columns(names: Sequence[str], rows: list[list[float]]) -> dict[str, Any]:
    values = np.array(rows, np.float64).reshape(len(rows), len(names))
    return dict(zip(names, values.T, strict=True))


def _nullable(values: Any) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN is null
