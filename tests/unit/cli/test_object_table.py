"""objects.parquet: the fused picture at each second, whatever the spacing of ticks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from edge.core import EdgeCore
from openvrc.cli.object_table import SCHEMA, ObjectTable
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.plugins import discover
from openvrc.contracts.units import NS_PER_S
from openvrc.fusion.fusion import Fusion
from openvrc.fusion.picture import Picture
from simulator.publisher import announce_batch, tick_batch

START_S = 2


def edge_output(every: int) -> list[Batch]:
    """What an edge makes of a corridor with sensors, ticked at each or each n-th frame."""
    world = discover("simulator.scenarios")["corridor"].make(
        zone="z", run_id="r", duration_s=9.0, rsu_range_m=200.0, connected_ratio=0.4
    )
    core, made = EdgeCore({}, edge_id="e", edge_epoch=0), []
    core.on_batch(announce_batch(world, "running", 1.0), 0)
    for number, frame in enumerate(world.frames()):
        for batch in frame.batches():
            core.on_batch(batch, frame.zone_time_ns)
        if number % every == every - 1:
            core.on_batch(tick_batch(world, frame.zone_time_ns), frame.zone_time_ns)
        made += core.take_group().batches
        now_ns = frame.zone_time_ns
    core.on_batch(announce_batch(world, "ended", 1.0, now_ns), now_ns)
    return [*made, *core.take_group().batches]


def table_of(batches: list[Batch]) -> pa.Table:
    objects = ObjectTable()
    objects.take(batches)
    return objects.table()


def test_each_second_has_everybody_once_whatever_the_ticks() -> None:
    table = table_of(edge_output(1))
    assert table.equals(table_of(edge_output(4)))
    seconds = np.unique(table["sampled_at_ns"].to_numpy())
    assert len(seconds) >= 8
    assert set(np.diff(seconds)) == {1_000_000_000}
    rows = table.to_pylist()
    connected = [(r["sampled_at_ns"], r["vehicle_id"]) for r in rows if r["vehicle_id"]]
    assert len(set(connected)) == len(connected) > 0
    alone = [r for r in rows if r["vehicle_id"] is None]
    assert alone
    assert all(r["sources"] for r in alone)


def seen(at_s: list[float]) -> list[Batch]:
    """One walker whom a unit sees at these times, and the tick after each."""
    made = []
    for moment_s in at_s:
        at_ns = round(moment_s * NS_PER_S)
        for message, columns in (
            ("rsu_objects", {"source_id": "u", "subject_id": "7", "sampled_at_ns": at_ns,
                             "lat_deg": 1.0, "lon_deg": 1.0, "object_class": "pedestrian"}),
            ("tick", {"source_id": "e", "subject_id": "e", "watermark_ns": at_ns}),
        ):  # fmt: skip
            made.append(
                from_columns(
                    message, zone="z", run_id="r", origin="live", n_rows=1, columns=columns
                )
            )
    return made


@pytest.mark.parametrize("gap_s", [60, 50 * 365 * 86_400])
def test_years_without_anybody_are_stepped_over(
    gap_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    picture = Fusion.picture

    def counted(self: Fusion, at_ns: int) -> Picture:
        looks.append(at_ns)
        return picture(self, at_ns)

    monkeypatch.setattr(Fusion, "picture", counted)
    walk_s = [2.3, 2.6, 3.0, 3.5, 4.0, 4.5]
    table = table_of(seen([*walk_s, *(gap_s + at_s for at_s in walk_s), gap_s + 9.0, gap_s + 9.5]))
    seconds = [ns // NS_PER_S for ns in table["sampled_at_ns"].to_pylist()]
    assert seconds == [3, 4, 5, 6, gap_s + 3, gap_s + 4, gap_s + 5, gap_s + 6, gap_s + 9]
    assert len(looks) < 30


def test_where_nobody_perceives_the_table_is_empty() -> None:
    car = from_columns(
        "vehicle_state", zone="z", run_id="r", origin="live", n_rows=1,
        columns={"source_id": "c", "subject_id": "c", "sampled_at_ns": 0, "lat_deg": 1.0,
                 "lon_deg": 1.0},
    )  # fmt: skip
    assert table_of([car]).equals(SCHEMA.empty_table())
