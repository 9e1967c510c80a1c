"""All battery rules on the two real cars: what they name, when, and what they leave alone."""

from __future__ import annotations

from functools import cache

import pytest

from openvrc.contracts.detection import Finding
from openvrc.contracts.plugins import discover
from openvrc.contracts.units import iso_from_ns
from tests.support.battery_frames import CONTEXT
from tests.support.fleet_csv import recording

RULES = {
    name: rule
    for name, rule in discover("openvrc.detectors").items()
    if name.startswith("battery.")
}


@cache
def findings_of(car: str) -> tuple[Finding, ...]:
    states = {name: rule.initial(CONTEXT) for name, rule in RULES.items()}
    findings: list[Finding] = []
    for batch in recording(car):
        for name, rule in RULES.items():
            states[name], found = rule.update(states[name], batch)
            findings += found
    return tuple(findings)


def raised(car: str) -> set[tuple[str, str]]:
    return {(f.rule, f.component) for f in findings_of(car) if f.phase == "raise"}


def test_car3_has_two_weak_cells_four_resistive_ones_and_nothing_else_but_its_bms() -> None:
    assert raised("car3") - {("battery.bms_alarm", "")} == {
        ("battery.self_discharge", "cell:2"),
        ("battery.self_discharge", "cell:81"),
        *(("battery.connection", f"cell:{cell}") for cell in (10, 52, 63, 76)),
    }


def test_car3s_cells_are_named_days_before_its_bms_reaches_level_3() -> None:
    bms_at_ns = min(f.at_ns for f in findings_of("car3") if f.rule == "battery.bms_alarm")
    assert iso_from_ns(bms_at_ns) > "2019-04-20"
    cells = [f for f in findings_of("car3") if f.component.startswith("cell:")]
    assert all(iso_from_ns(f.at_ns) < "2019-04-18" for f in cells)


def test_car1_has_one_module_that_stands_off_and_no_cell() -> None:
    assert raised("car1") == {("battery.module_offset", "cells:85-96")}


@pytest.mark.parametrize("car", ["car1", "car3"])
def test_no_frame_of_a_real_car_is_a_thermal_event(car: str) -> None:
    assert not [f for f in findings_of(car) if f.rule == "battery.thermal_event"]


@pytest.mark.parametrize("car", ["car1", "car3"])
def test_every_alarm_says_what_to_do_and_what_the_bms_said(car: str) -> None:
    for finding in findings_of(car):
        if finding.phase == "raise":
            assert finding.evidence["action_text"].endswith(".")
            assert "bms_alarm_level" in finding.evidence
