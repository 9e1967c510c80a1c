"""`data.saturated_insulation`: a reading at the top of its range is told once, as data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cloud.alerting import AlertBook
from openvrc.detectors.battery import insulation
from openvrc.detectors.data.saturated_insulation import PLUGIN
from tests.support.battery_frames import T0_NS, fold, frames


def told(ohm: list[float], step_s: float = 10.0) -> list[tuple[str, str, int]]:
    t_s = np.arange(len(ohm)) * step_s
    findings = fold(PLUGIN, frames(t_s, insulation_ohm=np.array(ohm), pack_voltage_v=370.0))
    assert {f.severity.word for f in findings} <= {"info"}
    return [(f.phase, f.component, (f.at_ns - T0_NS) // 10**9) for f in findings]


@pytest.mark.parametrize("top_ohm", [1000.0, 5e6, 11.52e6])
def test_the_top_of_the_range_is_told_once_and_is_no_alarm(top_ohm: float) -> None:
    assert told([top_ohm] * 50) == [("raise", "insulation_ohm", 0)]
    batch = frames(np.arange(50) * 10.0, insulation_ohm=np.full(50, top_ohm), pack_voltage_v=370.0)
    assert fold(insulation.PLUGIN, batch) == []


def test_a_measurement_is_none_and_a_missing_one_neither() -> None:
    assert told([3e6, 4.2e6, np.nan, 900.0]) == []


def test_a_model_that_reads_so_by_design_makes_no_storm_when_its_fleet_connects() -> None:
    book = AlertBook("run-1")
    batch = frames(np.arange(1.0), insulation_ohm=np.array([5e6]), pack_voltage_v=370.0)
    (finding,) = fold(PLUGIN, batch)
    cars = [replace(finding, subject_id=f"car-{i}") for i in range(60)]
    told = [step for car in cars for step in book.take(car, PLUGIN.rule, "west", "live")]
    assert [step.alert.rule for step in told] == [PLUGIN.name] * 60
    assert {step.alert.folded_into for step in told} == {""}


def test_readings_below_the_top_for_a_week_end_it_and_silence_does_not() -> None:
    quarter_s = 6 * 3600.0
    assert told([5e6, np.nan, np.nan] + [4e6] * 30, quarter_s) == [
        ("raise", "insulation_ohm", 0),
        ("clear", "insulation_ohm", 29 * 6 * 3600),
    ]
    assert told([5e6] + [np.nan] * 20 + [5e6], quarter_s) == [("raise", "insulation_ohm", 0)]
