"""The README's detector passes the suite that every detector must pass."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Context
from tests.conformance import worlds
from tests.conformance.detector_checks import (
    Plan,
    check_findings,
    check_inputs_unchanged,
    check_same,
    check_texts,
    run,
)

EXAMPLE = Path(__file__).parents[3] / "examples" / "speeding_detector.py"
SLOW_LIMIT_MPS = 10.0
"""Below what the suite's street is driven at, so that the rule has something to say."""


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("speeding_detector", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def states(speeds_mps: list[float]) -> Batch:
    columns: dict[str, Any] = {
        "source_id": "car-1",
        "subject_id": "car-1",
        "sampled_at_ns": [10**9 * (second + 1) for second in range(len(speeds_mps))],
        "lat_deg": 0.0,
        "lon_deg": 0.0,
        "speed_mps": speeds_mps,
    }
    return from_columns(
        "vehicle_state",
        zone="z",
        run_id="r",
        origin="live",
        columns=columns,
        n_rows=len(speeds_mps),
    )


def test_it_raises_when_the_limit_is_passed_and_clears_when_it_is_kept(example: ModuleType) -> None:
    detector = example.PLUGIN
    state = detector.initial(Context("z", "r", "live"))
    _, findings = detector.update(state, states([30.0, 37.0, 38.0, 35.0]))
    assert [(f.phase, f.at_ns // 10**9, f.started_at_ns // 10**9) for f in findings] == [
        ("raise", 2, 2),
        ("clear", 4, 2),
    ]


def test_it_passes_the_conformance_checks(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "LIMIT_MPS", SLOW_LIMIT_MPS)
    detector, world = example.PLUGIN, worlds.street()
    whole = run(detector, world)
    assert whole, "the street is driven too slowly for the example"
    check_texts(detector)
    check_findings(detector, whole)
    check_inputs_unchanged(detector, world)
    check_same(detector.name, whole, run(detector, world, Plan(cuts=(1, 7, 400))), "cuts")
