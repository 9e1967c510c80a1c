"""Thresholds, the cloud's histogram and the report of `vrc load`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openvrc.cli.loadtest.report import html
from openvrc.cli.loadtest.run import Followed, Second, run_load
from openvrc.cli.loadtest.slo import Verdict, read_limits, verdicts
from openvrc.cli.loadtest.spec import LoadSpec
from openvrc.cli.loadtest.stored import figures_ms, read_buckets
from openvrc.contracts.errors import SettingsError

RESULT = {"publish_ms": {"p99": 12.5}, "missing": 0, "stored_ms": {"p99": None}, "run_id": "r"}
EXPOSITION = """
# TYPE vrc_stored_latency_seconds histogram
vrc_stored_latency_seconds_bucket{le="0.1"} %d
vrc_stored_latency_seconds_bucket{le="0.2"} %d
vrc_stored_latency_seconds_bucket{le="+Inf"} %d
vrc_stored_latency_seconds_count %d
vrc_stored_latency_seconds_sum 5.0
"""


def slo(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "slo.toml"
    path.write_text(text)
    return path


def test_thresholds_are_named_as_in_the_result(tmp_path: Path) -> None:
    path = slo(tmp_path, '[max]\n"publish_ms.p99" = 10\nmissing = 0\n[min]\n"publish_ms.p99" = 5\n')
    found = verdicts(read_limits(path), RESULT, path)
    assert [v.is_met for v in found] == [False, True, True]
    assert found[0].as_text() == "MISSED: publish_ms.p99 12.5, at most 10"


def test_what_was_not_measured_does_not_meet_a_threshold(tmp_path: Path) -> None:
    path = slo(tmp_path, '[max]\n"stored_ms.p99" = 10\n')
    (verdict,) = verdicts(read_limits(path), RESULT, path)
    assert (verdict.is_met, verdict.value) == (False, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[most]\nmissing = 0\n", r"expected the tables \[max\] and \[min\]"),
        ("", "expected the tables"),
        ('[max]\nmissing = "none"\n', "expected a number"),
        ("[max]\nlost = 0\n", "expected: missing, publish_ms.p99"),
        ('[max]\n"publish_ms" = 0\n', "expected the name of a number"),
        ("[max\n", "cannot be read as TOML"),
    ],
)
def test_a_threshold_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    path = slo(tmp_path, text)
    with pytest.raises(SettingsError, match=said):
        verdicts(read_limits(path), RESULT, path)


def test_only_what_was_stored_between_two_looks_counts() -> None:
    before = read_buckets(EXPOSITION % (1000, 1000, 1000, 1000))
    after = read_buckets(EXPOSITION % (1050, 1100, 1100, 1100))
    figures = figures_ms(before, after)
    assert figures["p50"] == pytest.approx(100.0)
    assert figures["p99"] == pytest.approx(198.0)
    assert figures_ms(after, after) == {"p50": None, "p90": None, "p99": None}
    beyond = read_buckets(EXPOSITION % (1000, 1000, 1100, 1100))
    assert figures_ms(before, beyond)["p50"] == 200.0  # the last edge that is known


def test_the_report_stands_alone_and_shows_names_as_text() -> None:
    seconds = [Second(at, 100.0 * at, int(90 * at), 2, 1, 5.0, 9.0) for at in (1.0, 2.0, 3.0)]
    verdict = Verdict("missing", "max", 0.0, 3.0)
    page = html("Load <b>x</b>", {"zone": "<script>alert(1)</script>"}, RESULT, seconds, [verdict])
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="', page)
    assert page.count("<svg") == 3
    assert "MISSED: missing 3, at most 0" in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vehicles": 1, "processes": 2, "connections": 2}, "at least one each"),
        ({"vehicles": 1000, "processes": 2, "connections": 1}, "at least one each"),
        ({"ramp_s": 60.0}, "expected time after it"),
        ({"rate_hz": 1e-6}, "at least one of each"),
        ({"steps": (0.0,)}, "at least one of each"),
    ],
)
def test_a_load_that_cannot_be_split_is_refused(changes: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LoadSpec("r", "z", "mqtt://h", **changes)  # type: ignore[arg-type]


def test_vehicles_need_not_fill_their_units_or_be_shared_evenly() -> None:
    spec = LoadSpec("r", "z", "mqtt://h", vehicles=1751, processes=3, connections=3)
    plans = spec.plans()
    assert sorted(plan.vehicles for plan in plans) == [583, 584, 584]
    assert [plan.first_rsu for plan in plans] == [0, 2, 4]


def test_processes_together_send_the_whole_load() -> None:
    spec = LoadSpec("r", "z", "mqtt://h", vehicles=4000, processes=4, connections=8, ramp_s=10.0)
    plans = spec.plans()
    assert sum(plan.schedule.records for plan in plans) == spec.schedule.records
    assert [plan.first_rsu for plan in plans] == [0, 2, 4, 6]
    assert {plan.connections for plan in plans} == {2}


def test_figures_of_a_test_that_lost_every_record_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(
        _spec: LoadSpec, _folder: Path, followed: Followed, _on_second: Callable[[Second], None]
    ) -> list[dict[str, Any]]:
        followed.close_second(1.0, 1000.0)
        nothing = dict.fromkeys(
            ("records", "unacknowledged_messages", "reconnects", "lag_max_s"), 0
        )
        lost = {"sent": 1000, "missing": 1000}
        used = {"elapsed_s": 1.0, "cpu_s": 0.5, "rss_mb": 50.0}
        return [nothing | used | {"due": 1000, "expected": lost}]

    monkeypatch.setattr("openvrc.cli.loadtest.run._send", send)
    spec = LoadSpec("r", "z", "mqtt://127.0.0.1:1", faults=("loss:messages_ratio=1",))
    result, _ = run_load(spec, None, lambda _second: None)
    assert (result["records"], result["due"], result["records_per_s"]) == (0, 1000, 0.0)
    assert result["sender"]["cpu_us_per_record"] is None
