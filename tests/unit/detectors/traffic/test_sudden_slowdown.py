"""Vehicles that slow down at one place one after another, and what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic import sudden_slowdown
from openvrc.detectors.traffic._open_lanes import AHEAD_CELLS, Cells
from openvrc.detectors.traffic._roads import roads_of
from tests.support.fcd_marks import cut, read_map, vehicle_batches
from tests.support.incidents import (
    first_raises,
    found,
    read_incidents,
    thinned,
    timed_batches,
)
from tests.support.straight_road import (
    START_NS,
    Row,
    as_set,
    batch_of,
    context,
    in_time,
    row,
    run,
    run_scrambled,
)
from tests.support.traffic_events import detect


def test_a_vehicle_at_the_very_end_of_a_road_has_cells_ahead_of_it() -> None:
    road_map = context().road_map
    assert road_map is not None
    cells = Cells(roads_of(road_map))
    segment = np.arange(road_map.n_segments)
    ends_m = road_map.segment_length_m[segment]
    for beyond_m in (0.0, 3.0, 80.0):
        cell = cells.of(segment, segment * 0 + 99, ends_m + beyond_m)
        assert (cells.segment[cell + AHEAD_CELLS] == segment).all()


def dipping(vehicle: str, at_s: float, at_m: float, slow_mps: float = 2.0) -> list[Row]:
    """Comes at 12 m/s, is slow for 4 s around `at_m`, drives on."""
    rows = [row(vehicle, at_s - s, at_m - 12.0 * s, 12.0) for s in range(8, 0, -1)]
    rows += [row(vehicle, at_s + s, at_m + slow_mps * s, slow_mps) for s in range(4)]
    return rows + [row(vehicle, at_s + 4 + s, at_m + 8.0 + 12.0 * s, 12.0) for s in range(8)]


TWO = dipping("a", 20.0, 210.0) + dipping("b", 60.0, 215.0)


def test_two_vehicles_that_slow_down_at_one_place_are_found_and_cleared() -> None:
    rows = in_time(
        dipping("a", 20.0, 210.0) + dipping("b", 60.0, 215.0) + dipping("end", 140.0, 500.0)
    )
    found_ = run(sudden_slowdown.PLUGIN, context(), rows)
    assert [f.phase for f in found_] == ["raise", "clear"]
    assert found_[0].segment_id == "road"
    assert found_[0].component == "lane:0"
    assert found_[0].started_at_ns == START_NS + 20 * NS_PER_S
    assert found_[0].at_ns == START_NS + 60 * NS_PER_S
    assert found_[1].at_ns == START_NS + (63 + 60) * NS_PER_S


def test_an_open_alert_outlives_a_checkpoint_from_before_buses_were_told_apart() -> None:
    plugin, where = sudden_slowdown.PLUGIN, context()
    state, _ = plugin.update(plugin.initial(where), batch_of(in_time(TWO)))
    state, raised = plugin.advance(state, START_NS + 62 * NS_PER_S)  # a second waits
    old = plugin.snapshot(state)
    del old["cell_bus_s"], old["rows_is_bus"]
    again = plugin.restore(where, old)
    for at_s in (63, 130):
        again, findings = plugin.advance(again, START_NS + at_s * NS_PER_S)
        raised += findings
    assert [f.phase for f in raised] == ["raise", "clear"]
    assert raised[1].at_ns == START_NS + (63 + 60) * NS_PER_S


def test_one_vehicle_alone_or_two_that_brake_together_are_not_found() -> None:
    assert run(sudden_slowdown.PLUGIN, context(), dipping("a", 20.0, 210.0)) == []
    both = in_time(dipping("a", 20.0, 230.0) + dipping("b", 22.0, 215.0))
    assert run(sudden_slowdown.PLUGIN, context(), both) == []


def test_a_queue_that_reaches_its_bottleneck_is_not_found() -> None:
    ahead = [r for at_m in (280.0, 340.0) for r in dipping(f"q{at_m}", 10.0, at_m)]
    rows = in_time(ahead + TWO)
    assert run(sudden_slowdown.PLUGIN, context(), rows) == []


def test_slowing_down_for_a_signal_is_not_found() -> None:
    rows = in_time(dipping("a", 20.0, 480.0) + dipping("b", 60.0, 485.0))
    assert run(sudden_slowdown.PLUGIN, context(signal=True), rows) == []


@pytest.mark.parametrize("seed", range(3))
def test_findings_do_not_depend_on_batches_ticks_restarts_or_order(seed: int) -> None:
    rows = in_time(
        dipping("a", 20.0, 210.0) + dipping("b", 60.0, 215.0) + dipping("c", 90.0, 400.0)
    )
    plain = as_set(run(sudden_slowdown.PLUGIN, context(), rows))
    again = run_scrambled(sudden_slowdown.PLUGIN, context(), rows, seed=seed, shuffles=True)
    assert as_set(again) == plain


def test_one_car_in_four_shows_where_two_lanes_of_the_motorway_are_blocked() -> None:
    (event,) = [e for e in read_incidents("a39_freeway") if e.type == "lane_block2"]
    fcd = cut("a39_freeway", "fcd", event.start_s - 20, event.start_s + 120)
    road_map = read_map("a39_freeway")
    timed = timed_batches(list(vehicle_batches(fcd, road_map)))
    hits = []
    for seed in (1, 4):  # both draws leave out the vehicles that block the road
        part = thinned(timed, fcd.vehicles, 0.25, seed)
        raised = first_raises(detect([sudden_slowdown.PLUGIN], road_map, part).findings)
        hits.append(found(event, raised, fcd))
    # Measured: after 10 and 41 s, 31 and 77 m off.
    assert all(hit is not None and hit.delay_s <= 90.0 for hit in hits)
