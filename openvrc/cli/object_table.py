"""objects.parquet: everybody whom roadside units perceive, each once, at each second.

A row is one road user of the fused picture (`openvrc/fusion`): `vehicle_id` is who it says to be,
null for who is not connected; `sources` are the units that see it. Vehicles that nothing was
perceived near to are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from openvrc.contracts.batch import Batch
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.fusion.fusion import STEP_NS, Fusion
from openvrc.fusion.picture import Picture
from openvrc.fusion.tracks import KINDS

SCHEMA = pa.schema(
    [
        ("run_id", pa.utf8()),
        ("sampled_at_ns", pa.int64()),
        ("object_id", pa.utf8()),
        ("vehicle_id", pa.utf8()),
        ("object_class", pa.utf8()),
        ("lat_deg", pa.float64()),
        ("lon_deg", pa.float64()),
        ("speed_mps", pa.float32()),
        ("heading_deg", pa.float32()),
        ("position_sd_m", pa.float32()),
        ("sources", pa.list_(pa.utf8())),
    ]
)


@dataclass
class ObjectTable:
    """Rows of one or more recordings, by second."""

    parts: list[pa.Table] = field(default_factory=list)
    _fusions: dict[str, Fusion] = field(default_factory=dict)
    """Of each run in which somebody is perceived."""
    _next_ns: dict[str, int] = field(default_factory=dict)

    def take(self, batches: Iterable[Batch]) -> None:
        """Fold the edge's output, in order."""
        for batch in batches:
            run_id = batch.run_id
            if batch.message == "rsu_objects" and run_id not in self._fusions:
                self._fusions[run_id] = Fusion(only_near_units=True)
            fusion = self._fusions.get(run_id)
            if fusion is None:
                continue
            if batch.message == "tick":
                marks = batch.column("watermark_ns")
                self._look(run_id, fusion, int(marks.max()))
            else:
                fusion.fold(batch)

    def _look(self, run_id: str, fusion: Fusion, watermark_ns: int) -> None:
        """At every second that the watermark has passed."""
        first_ns = fusion.waiting_since_ns
        if watermark_ns == ABSENT_I64:
            return
        if run_id not in self._next_ns:
            if first_ns is None:
                return
            self._next_ns[run_id] = first_ns // NS_PER_S * NS_PER_S
        at_ns, last_ns = self._next_ns[run_id], min(watermark_ns - STEP_NS, fusion.newest_ns)
        while at_ns <= last_ns:
            fusion.advance(at_ns + STEP_NS)
            picture = fusion.picture(at_ns)
            at_ns += NS_PER_S
            if len(picture.number):
                self.parts.append(_table(run_id, fusion, picture))
            else:  # only a report shows somebody again, and the next may be days away
                waiting_ns = fusion.waiting_since_ns
                next_ns = fusion.newest_ns if waiting_ns is None else waiting_ns
                at_ns = max(at_ns, next_ns // NS_PER_S * NS_PER_S)
            self._next_ns[run_id] = at_ns

    def table(self) -> pa.Table:
        """All rows."""
        return pa.concat_tables(self.parts) if self.parts else SCHEMA.empty_table()


def _table(run_id: str, fusion: Fusion, picture: Picture) -> pa.Table:
    n, names = len(picture.number), fusion.names
    lat_deg, lon_deg = fusion.degrees(picture.x_m, picture.y_m)
    columns: dict[str, Any] = {
        "run_id": [run_id] * n,
        "sampled_at_ns": [picture.at_ns] * n,
        "object_id": [f"obj-{number}" for number in picture.number.tolist()],
        "vehicle_id": [names.get(key) for key in picture.vehicle.tolist()],
        "object_class": [None if k < 0 else KINDS[k] for k in picture.kind.tolist()],
        "lat_deg": lat_deg.round(7),
        "lon_deg": lon_deg.round(7),
        "speed_mps": picture.speed_mps,
        "heading_deg": picture.heading_deg,
        "position_sd_m": picture.sd_m,
        "sources": [
            sorted(names.get(unit, "") for unit in row if unit) for row in picture.sources.tolist()
        ],
    }
    return pa.table(columns, schema=SCHEMA)
