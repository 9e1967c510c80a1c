"""Checkpoint bytes and latency figures."""

from __future__ import annotations

import numpy as np
import pytest

from cloud.engine import Engine
from cloud.latency import Histogram, LatencyMeter
from cloud.snapshot import UNREADABLE, pack_snapshot, unpack_snapshot
from openvrc.contracts.units import NS_PER_S
from tests.support.store_world import START_NS, OverSpeed, tick, vehicle_states


def test_arrays_of_every_kind_come_back_writable() -> None:
    arrays = {
        "a/b": np.arange(6.0).reshape(2, 3),
        "text": np.array(["x", "longer é"]),
        "none": np.empty((0, 4), np.int32),
        "flags": np.array([True, False]),
        "scalar": np.array(7),
        "turned": np.arange(6).reshape(2, 3).T,
    }
    meta, found = unpack_snapshot(pack_snapshot({"x": [1, None, "y"]}, arrays))
    assert meta == {"x": [1, None, "y"]}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable


def test_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="'bad' holds Python objects"):
        pack_snapshot({}, {"bad": np.array([{}], object)})


def test_bytes_that_are_cut_off_are_told_as_unreadable_wherever_the_cut_is() -> None:
    whole = pack_snapshot({"x": 1}, {"a": np.arange(50)})
    for end in range(len(whole)):
        with pytest.raises(UNREADABLE):
            unpack_snapshot(whole[:end])


def test_percentiles_are_right_to_three_percent() -> None:
    values = np.random.default_rng(3).lognormal(4.0, 1.0, 20_000)
    histogram = Histogram()
    for part in np.split(values, 10):
        histogram.add(part)
    figures = histogram.figures()
    assert figures.count == 20_000
    assert figures.p50_ms == pytest.approx(np.percentile(values, 50), rel=0.03)
    assert figures.p99_ms == pytest.approx(np.percentile(values, 99), rel=0.03)


def test_no_values_have_no_percentiles() -> None:
    figures = Histogram().figures()
    assert (figures.p50_ms, figures.p99_ms, figures.count) == (None, None, 0)


def test_stored_latency_is_commit_less_publishing() -> None:
    meter = LatencyMeter()
    batch = vehicle_states(10, published_at_ns=START_NS)
    meter.committed([batch], [], START_NS + 250_000_000)
    figures = meter.latency().stored
    assert figures.count == 10
    assert figures.p50_ms == pytest.approx(250, rel=0.03)


def test_alert_latency_reads_the_zones_clock_also_at_ten_times_the_speed() -> None:
    wall_ns = 1_800_000_000 * NS_PER_S
    ticks = [
        tick(START_NS + s * NS_PER_S, published_at_ns=wall_ns + s * NS_PER_S // 10)
        for s in range(5)
    ]
    at_ns = START_NS + 6 * NS_PER_S  # 0.6 s after the first tick by the wall clock
    engine = Engine({OverSpeed.name: OverSpeed()})
    told = engine.process([vehicle_states(1, at_ns=at_ns, speed_mps=30.0)]).transitions
    meter = LatencyMeter()
    meter.committed(ticks, told, wall_ns + 680_000_000)
    assert meter.latency().alert.p50_ms == pytest.approx(80, rel=0.03)
