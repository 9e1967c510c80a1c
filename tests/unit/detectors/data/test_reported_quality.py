"""`data.reported_quality`: what a sender's own protocol says is wrong, in words and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.contracts import quality
from openvrc.contracts.batch import concat
from openvrc.contracts.codecs.gbt32960_codec import Gbt32960Codec
from openvrc.contracts.detection import Finding, Severity
from openvrc.contracts.gbt32960.message import report
from openvrc.contracts.gbt32960.units import Command, Edition
from openvrc.contracts.plugins import discover
from openvrc.contracts.topics import Topic
from openvrc.detectors.data.reported_quality import MASK_OF, PLUGIN
from tests.support.battery_frames import fold, frames
from tests.support.gbt32960 import AT_NS, VEHICLE_2016, VIN, cells_2016, probes

TIMES_S = list(range(0, 600, 30))


def told(bits: dict[int, int], **columns: Any) -> list[Finding]:
    """Findings of reports every 30 s, of which some have bits (by place)."""
    marks = [bits.get(place, 0) for place in range(len(TIMES_S))]
    return fold(PLUGIN, frames(TIMES_S, **({"quality_bits": marks} | columns)))


def test_frames_without_fault_and_other_protocols_are_no_finding() -> None:
    assert told({}) == []
    assert fold(PLUGIN, frames(TIMES_S, quality_bits=None)) == []


@pytest.mark.parametrize("part", MASK_OF)
def test_each_statement_is_one_finding_that_clears_after_two_minutes(part: str) -> None:
    found = told(dict.fromkeys((4, 5, 6), MASK_OF[part] & -MASK_OF[part]))
    assert [(f.phase, f.component) for f in found] == [("raise", part), ("clear", part)]
    assert (found[1].at_ns - found[0].at_ns) // 10**9 == (11 - 4) * 30
    assert found[0].severity is Severity.INFO
    assert found[0].evidence["text"].endswith(".")


def test_abnormal_and_invalid_are_told_apart_and_absent_values_are_counted() -> None:
    cells = np.full((len(TIMES_S), 4), 3.7)
    cells[3, 1:3] = np.nan
    bits = quality.signal_bit("cell_voltages_v", "abnormal") | quality.signal_bit(
        "cell_voltages_v", "out_of_range"
    )
    evidence = told({3: bits}, cell_voltages_v=cells)[0].evidence
    assert evidence["statements"] == ["cell_voltages_v.abnormal", "cell_voltages_v.out_of_range"]
    assert (evidence["absent"], evidence["of"]) == (2, 4)
    assert evidence["text"] == (
        "The sender calls cell_voltages_v abnormal and out of range: absent 2, of 4."
    )


def test_a_contradiction_is_told_with_both_statements() -> None:
    cells = np.full((len(TIMES_S), 4), 3.7)
    evidence = told(
        {3: quality.statement_bit("cell_extremes_disagree")},
        cell_voltages_v=cells, highest_cell_v=4.2, lowest_cell_v=4.2,
    )[0].evidence  # fmt: skip
    assert evidence["stated_highest_cell_v"] == evidence["stated_lowest_cell_v"] == 4.2
    assert evidence["listed_highest_cell_v"] == evidence["listed_lowest_cell_v"] == 3.7
    assert "stated_highest_cell_v 4.2, listed_highest_cell_v 3.7" in evidence["text"]


def test_field_nonsense_of_a_parked_vehicle_is_about_data_and_never_about_its_battery() -> None:
    """Vehicle B of the captures: cells at 0 V but some, -1000 A, one probe at 170 degC, an odometer
    that leaps, stated extremes that no list has; every 10 s for ten minutes, all in legal ranges.
    """
    extremes = {
        "highest_v_pack": 1, "highest_v_cell": 22, "highest_v": 4200,
        "lowest_v_pack": 1, "lowest_v_cell": 22, "lowest_v": 4200,
        "highest_degc_pack": 1, "highest_degc_probe": 1, "highest_degc": 210,
        "lowest_degc_pack": 1, "lowest_degc_probe": 2, "lowest_degc": 0,
    }  # fmt: skip
    sent = []
    for step in range(60):
        odometer = 2263 if step < 30 else 230_389
        body = VEHICLE_2016 | {
            "status": 2, "pack_current_a": 0, "odometer_m": odometer, "speed_mps": 0,
            "pack_voltage_v": 42,
        }  # fmt: skip
        bodies = [
            (1, body), (6, extremes),
            cells_2016([0] * 21 + [4200], voltage_v=42, current_a=0), probes(9, [210, 0, 0, 0]),
        ]  # fmt: skip
        at_ns = AT_NS + step * 10 * 10**9
        sent.append(report(Edition.Y2016, Command.REALTIME, VIN, at_ns, bodies))
    topic = Topic("z", "vehicle", VIN, "battery_state", "gbt32960")
    bulk = Gbt32960Codec().decode_many([topic] * 60, sent, [0] * 60)
    batch = concat([part.batch for part in bulk.parts])
    marks = np.zeros(batch.n_rows, np.int64)
    admitted = batch.with_columns({"lateness": marks, "edge_received_at_ns": marks})
    found = {
        (finding.rule, finding.component)
        for detector in discover("openvrc.detectors").values()
        if detector.inputs[0] == "battery_state"
        for finding in fold(detector, admitted)
    }
    assert ("data.reported_quality", "cell_extremes_disagree") in found
    assert {c for rule, c in found if rule == "data.impossible_value"} == {
        "frame", "pack_current_a", "probe_temperatures_degc",
    }  # fmt: skip
    assert {rule for rule, _ in found if not rule.startswith("data.")} == set()
