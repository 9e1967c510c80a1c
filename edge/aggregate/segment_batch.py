"""Window rows as a `segment_state` Batch."""

from __future__ import annotations

import numpy as np

from edge.aggregate.windows import SegmentRows
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S

_COPIED = (
    "window_start_ns",
    "revision",
    "density_vpkm",
    "flow_vph",
    "speed_mps",
    "vehicle_s",
    "distance_m",
    "vehicle_count",
    "coverage_ratio",
    "speed_standard_error_mps",
)


def segment_batch(
    parts: list[SegmentRows],
    road_map: RoadMap,
    *,
    zone: str,
    run_id: str,
    origin: str,
    edge_id: str,
    received_at_ns: int,
) -> Batch:
    """All rows of one advance as one Batch; `sampled_at_ns` is the window's end."""
    rows = SegmentRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    used, codes = np.unique(rows.segment, return_inverse=True)
    columns = {name: getattr(rows, name) for name in _COPIED} | {
        "source_id": edge_id,
        "subject_id": (
            codes.astype(np.int32),
            [road_map.segment_ids[index] for index in used.tolist()],
        ),
        "id_kind": "permanent",
        "sampled_at_ns": rows.window_start_ns + rows.window_s * NS_PER_S,
        "window_s": rows.window_s.astype(np.float32),
        "map_version": road_map.map_version,
        "edge_received_at_ns": received_at_ns,
        "lateness": 0,
    }
    return from_columns(
        "segment_state",
        zone=zone,
        run_id=run_id,
        origin=origin,
        columns=columns,
        n_rows=len(rows.segment),
    )
