"""The arithmetic of `vrc bench`: costs per record, medians, ratios, tables."""

from pathlib import Path
from typing import Any

import pytest

from openvrc.cli.benchmark.measure import Measured, Plan, assemble
from openvrc.cli.benchmark.modes import (
    Load,
    ModeRun,
    Waits,
    cpu_us_per_record,
    middle,
    mode_result,
    ratios,
)
from openvrc.cli.benchmark.procfs import ProcError, cpu_s, parse_stat, rss_mb, rss_now_mb
from openvrc.cli.benchmark.report import as_markdown, as_text, targets
from openvrc.cli.benchmark.runs import percentile
from openvrc.cli.benchmark.soak import as_text as soak_text
from openvrc.cli.benchmark.soak import slopes


def load(sender: float, edge: float, *, rate: float = 1000.0, stored: int = 100) -> Load:
    return Load(
        sent=100,
        stored=stored,
        rejected=0,
        records_per_s=rate,
        cpu_us={"sender": sender, "edge": edge},
        rss_mb={"sender": 50.0, "edge": 100.0 + edge},
        bytes_per_row=200.0,
    )


def mode_run(
    steady: Load, stored_p99_ms: float | None = 170.0, *, paho: Load | None = None
) -> ModeRun:
    waits = Waits([10.0, 20.0, stored_p99_ms], [None, None, None], 0)
    return ModeRun(load(3.0, 30.0), steady, load(2.0, 9.0, rate=500.0), waits, paho)


def result() -> dict[str, Any]:
    plan = Plan(["arrow50"], 500, 1, 1.0, 1.0, 1.0, 50)
    found = Measured(
        runs={"arrow50": [mode_run(load(1.0, 7.0), paho=load(20.0, 7.0))]},
        rivals={"naive json1": [load(40.0, 120.0)]},
    )
    return assemble(found, plan, {"date": "a day", "cores": "2"})


def write_process(proc: Path, pid: int, parent: int, ticks: tuple[int, int, int, int]) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    folder.joinpath("stat").write_text(
        f"{pid} (a name) of (it)) S {parent} 0 0 0 0 0 0 0 0 0 {' '.join(map(str, ticks))} 20 0"
    )
    folder.joinpath("status").write_text("Name: x\nVmHWM:\t 2000 kB\nVmRSS:\t 1000 kB\n")
    folder.joinpath("smaps_rollup").write_text("Rss:  900 kB\nPss:  500 kB\n")


def test_a_name_with_brackets_and_spaces_does_not_shift_the_fields() -> None:
    assert parse_stat("7 (post) gres: b (x) S 3 0 0 0 0 0 0 0 0 0 50 20 4 1 20") == (3, 75)


def test_cpu_counts_a_process_its_living_and_its_ended_children(tmp_path: Path) -> None:
    write_process(tmp_path, 10, 1, (100, 50, 30, 20))
    write_process(tmp_path, 11, 10, (7, 3, 0, 0))
    write_process(tmp_path, 12, 11, (1, 1, 0, 0))
    write_process(tmp_path, 13, 1, (999, 999, 0, 0))
    assert cpu_s({"database": 10}, proc=tmp_path)["database"] == pytest.approx(2.12)


def test_memory_is_the_peak_of_one_process_and_the_shares_of_several(tmp_path: Path) -> None:
    write_process(tmp_path, 10, 1, (0, 0, 0, 0))
    write_process(tmp_path, 20, 1, (0, 0, 0, 0))
    write_process(tmp_path, 21, 20, (0, 0, 0, 0))
    found = rss_mb({"edge": 10, "database": 20}, proc=tmp_path)
    assert found == pytest.approx({"edge": 2.048, "database": 1.024})
    now = rss_now_mb({"edge": 10, "database": 20}, proc=tmp_path)
    assert now == pytest.approx({"edge": 0.512, "database": 1.024})


def test_a_process_that_has_ended_is_an_error_not_a_zero(tmp_path: Path) -> None:
    write_process(tmp_path, 10, 1, (0, 0, 0, 0))
    with pytest.raises(ProcError, match="edge"):
        cpu_s({"edge": 99}, proc=tmp_path)


def test_a_system_without_proc_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProcError, match="Linux"):
        cpu_s({"edge": 1}, proc=tmp_path)


def test_cost_per_record_is_the_difference_of_two_looks() -> None:
    assert cpu_us_per_record({"edge": 1.0}, {"edge": 1.5}, 100_000) == {"edge": pytest.approx(5.0)}


def test_the_middle_repetition_counts_and_every_record_is_counted() -> None:
    found = middle([load(1.0, 9.0), load(2.0, 5.0), load(3.0, 7.0)])
    assert found["cpu_us_per_record"] == {"sender": 2.0, "edge": 7.0, "total": 10.0}
    assert (found["sent"], found["stored"]) == (300, 300)
    assert found["rss_mb"]["edge"] == 109.0


def test_ratios_take_the_senders_in_unless_they_say_so() -> None:
    modes = {"arrow50": middle([load(1.0, 7.0)]), "json1": middle([load(40.0, 40.0)])}
    found = ratios(modes, {"json1": middle([load(40.0, 120.0)])})
    assert found["ratio_batched"] == 20.0
    assert found["ratio_single"] == 2.0
    assert found["ratio_single_without_sender"] == 3.0
    assert found["ratio_batched_same_messages"] is None


def test_a_percentile_is_one_of_the_values_and_nothing_has_none() -> None:
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 100.0
    assert percentile([3.0], 0.5) == 3.0
    assert percentile([], 0.5) is None


def test_a_record_that_is_neither_stored_nor_rejected_is_noticed() -> None:
    good, bad = load(1, 1), load(1, 1, stored=99)
    assert Measured({"a": [mode_run(good)]}, {"a": [mode_run(good)]}, {"b": [good]}).is_lossless
    assert not Measured({"a": [mode_run(good), mode_run(bad)]}).is_lossless
    assert not Measured({}, {"a": [mode_run(bad)]}).is_lossless
    assert not Measured({}, {}, {"b": [good, bad]}).is_lossless
    assert not Measured({"a": [mode_run(good, paho=bad)]}).is_lossless


def test_the_stages_of_a_mode_stand_apart_and_its_counts_are_of_all_of_them() -> None:
    found = mode_result("arrow50", [mode_run(load(1.0, 7.0)), mode_run(load(2.0, 8.0), None)])
    assert found["cpu_us_per_record"]["total"] == 9.0
    assert found["cpu_us_total_spread"] == [8.0, 10.0]
    assert found["first_pass"]["cpu_us_per_record"]["total"] == 33.0
    assert found["paced"]["cpu_us_per_record"]["total"] == 11.0
    assert (found["sent"], found["stored"], found["rejected"]) == (600, 600, 0)
    assert (found["stored_p50_ms"], found["stored_p99_ms"]) == (10.0, 170.0)
    assert found["alert_p99_ms"] is None


def test_the_result_has_the_keys_that_were_promised() -> None:
    found = result()
    assert {"modes", "baseline", "copy_floor", "ratio_batched", "ratio_single"} <= set(found)
    mode = found["modes"][0]
    for key in ("name", "records_per_s", "stored_p99_ms", "alert_p99_ms", "sent", "stored"):
        assert key in mode
    assert {"rejected", "bytes_per_row", "rss_mb"} <= set(mode)
    assert {"sender", "edge", "total"} <= set(mode["cpu_us_per_record"])


def test_each_target_says_whether_must_and_stretch_are_met() -> None:
    _, rows = targets(result())
    said = {row[0]: (row[3], row[5]) for row in rows}
    assert said["Arrow x 50, us per record"] == ("met", "missed")
    assert said["Arrow x 50, stored p99, ms"] == ("missed", "")
    assert "JSON x 1, us per record" not in said
    assert "Arrow x 50, alert p99, ms" not in said


def test_a_leak_shows_as_a_slope_and_filling_caches_do_not() -> None:
    samples = [
        {"t_s": float(t), "edge": 100.0 + t / 10, "cloud": 50.0 + min(t, 100) * 3}
        for t in range(0, 1000, 10)
    ]
    found = slopes(samples)
    assert found["edge"] == pytest.approx(360.0)
    assert found["cloud"] == pytest.approx(0.0, abs=1e-6)
    assert slopes(samples[:2]) == {"edge": None, "cloud": None}
    assert slopes([]) == {}
    counts = {"sent": 5, "stored": 4, "rejected": 1, "missing": 0}
    text = soak_text({"samples": samples, "slope_mb_per_h": found, **counts})
    assert "360.0" in text
    assert "stored 4, rejected 1" in text


def test_the_tables_show_every_mode_and_the_baseline_to_people_and_in_markdown() -> None:
    text, page = as_text(result()), as_markdown(result())
    for words in (text, page):
        assert "naive json1" in words
        assert "ratio batched" in words
    assert "- date: a day" in page
    for block in page.split("### ")[1:]:
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) == 1, block
