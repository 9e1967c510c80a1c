"""A straight road and what is driven on it: builders for tests of the edge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from edge.core import EdgeCore, Group
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.maps import Lane, RoadMap, Segment
from openvrc.contracts.zone import Zone

FRAME = LocalFrame(53.55, 9.99)
S = 1_000_000_000
T0 = 1_767_225_600 * S
ZONE, RUN = "test-zone", "run-1"


def road_map(length_m: float = 500.0, parts: int = 2) -> RoadMap:
    """Segments "a", "b", ... of `length_m` each, one after the other along the x axis."""
    names = [chr(ord("a") + place) for place in range(parts)]
    segments = []
    for place, name in enumerate(names):
        x = np.array([place * length_m, (place + 1) * length_m])
        lat, lon = FRAME.to_lat_lon_deg(x, np.zeros(2))
        line = tuple(zip(lon.tolist(), lat.tolist(), strict=True))
        lane = Lane(id=f"{name}_0", index=0, length_m=length_m, coordinates=line)
        following = (names[place + 1],) if place + 1 < parts else ()
        segments.append(
            Segment(
                id=name,
                length_m=length_m,
                speed_limit_mps=13.9,
                successors=following,
                lanes=(lane,),
                coordinates=line,
            )
        )
    return RoadMap.build(segments)


def vehicles(
    rows: Sequence[tuple[str, float, float]],
    *,
    seqs: Iterable[int] | None = None,
    source_id: str = "rsu-1",
    session: int | None = 1,
    run_id: str = RUN,
    origin: str = "simulated",
    zone: str = ZONE,
    speed_mps: float = 10.0,
) -> Batch:
    """`vehicle_state` rows of (vehicle, seconds after T0, x in m)."""
    x = np.array([row[2] for row in rows])
    lat, lon = FRAME.to_lat_lon_deg(x, np.zeros(len(x)))
    columns: dict[str, Any] = {
        "source_id": source_id,
        "subject_id": [row[0] for row in rows],
        "id_kind": "permanent",
        "sampled_at_ns": np.array([T0 + round(row[1] * S) for row in rows], np.int64),
        "lat_deg": lat,
        "lon_deg": lon,
        "speed_mps": speed_mps,
        "heading_deg": 90.0,
    }
    if seqs is not None:
        columns |= {"session": session, "seq": list(seqs)}
    return from_columns(
        "vehicle_state", zone=zone, run_id=run_id, origin=origin, columns=columns, n_rows=len(rows)
    )


def control(
    message: str, at_s: float, *, run_id: str = RUN, zone: str = ZONE, **columns: Any
) -> Batch:
    """One row of a driver's control message."""
    shared = {
        "source_id": "driver",
        "subject_id": zone,
        "id_kind": "permanent",
        "sampled_at_ns": T0 + round(at_s * S),
    }
    return from_columns(
        message, zone=zone, run_id=run_id, origin="simulated", columns=shared | columns, n_rows=1
    )


def announce(state: str = "running", at_s: float = 0.0, **changed: Any) -> Batch:
    """The driver's announcement of a run on `road_map()`."""
    document = road_map().to_document() if state == "running" else ""
    columns: dict[str, Any] = {"state": state, "clock": "driven", "map_document": document}
    return control("zone_announce", at_s, **({"rate_ratio": 1.0} | columns | changed))


def tick(at_s: float) -> Batch:
    """The driver's tick."""
    return control("tick", at_s)


def driven_core() -> EdgeCore:
    """A core with one driven run under way."""
    core = EdgeCore({}, "edge-1", 1)
    core.on_batch(announce(), T0)
    core.take_group()
    return core


def live_core() -> EdgeCore:
    """A core with one zone folder."""
    return EdgeCore({ZONE: (Zone(name=ZONE), road_map())}, "edge-1", 1)


def of(group: Group, message: str) -> list[dict[str, Any]]:
    """All records of one message in a group."""
    return [r for batch in group.batches if batch.message == message for r in batch.to_records()]


def reasons(group: Group) -> list[str]:
    """Reasons of the group's dead letters."""
    return [record["reason"] for record in of(group, "dead_letter")]
