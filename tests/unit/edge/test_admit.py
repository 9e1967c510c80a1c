"""What admit lets through, why not, and that batch splits change nothing."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from openvrc.contracts.messages.record import LATE_IN_SUBJECT, LATE_IN_ZONE
from tests.support.edge_world import (
    RUN,
    T0,
    S,
    announce,
    control,
    driven_core,
    live_core,
    of,
    reasons,
    tick,
    vehicles,
)


def test_admit_counts_a_repeated_sequence_and_keeps_nothing_of_it() -> None:
    core = driven_core()
    for _ in range(2):
        core.on_batch(vehicles([("v", 1, 0)], seqs=[0]), T0)
    group = core.take_group()
    assert len(of(group, "vehicle_state")) == 1
    assert reasons(group) == []
    assert core.totals()["duplicates"] == 1


def test_admit_rejects_the_same_sample_under_a_new_number() -> None:
    core = driven_core()
    core.on_batch(vehicles([("v", 1, 0), ("v", 1, 0), ("w", 1, 0)], seqs=[0, 1, 2]), T0)
    group = core.take_group()
    assert len(of(group, "vehicle_state")) == 2
    assert reasons(group) == ["duplicate_sample"]


def test_the_same_sample_from_two_sources_is_kept_per_source() -> None:
    core = driven_core()
    core.on_batch(vehicles([("v", 1, 0)], seqs=[0], source_id="rsu-1"), T0)
    core.on_batch(vehicles([("v", 1, 0)], seqs=[0], source_id="rsu-2"), T0)
    group = core.take_group()
    assert [r["lateness"] for r in of(group, "vehicle_state")] == [0, 0]


def test_a_live_record_far_off_the_wall_clock_is_rejected_either_way() -> None:
    core = live_core()
    live = {"run_id": "live", "origin": "live"}
    rows = [("v", 0.0, 0.0), ("w", 31.0, 0.0), ("x", -8 * 86400.0, 0.0)]
    core.on_batch(vehicles(rows, seqs=[0, 1, 2], **live), T0)  # type: ignore[arg-type]
    group = core.take_group()
    assert [r["subject_id"] for r in of(group, "vehicle_state")] == ["v"]
    assert sorted(reasons(group)) == ["too_far_future", "too_far_past"]


def test_a_backlog_that_is_the_first_thing_a_live_run_hears_is_late() -> None:
    core = live_core()
    live = {"run_id": "live", "origin": "live"}
    rows = [("v", -86400.0, 0.0), ("w", -1.0, 0.0)]
    core.on_batch(vehicles(rows, seqs=[0, 1], **live), T0)  # type: ignore[arg-type]
    late = [r["lateness"] for r in of(core.take_group(), "vehicle_state")]
    assert late == [LATE_IN_ZONE, 0]


def test_a_driven_record_ahead_of_the_clock_waits_for_its_tick() -> None:
    core = driven_core()
    three_days = 3 * 86400.0
    core.on_batch(vehicles([("v", three_days, 0)], seqs=[0]), T0)
    assert of(core.take_group(), "vehicle_state") == []
    totals = core.totals()
    assert totals["sent"] == totals["forwarded"] + totals["missing"]
    core.on_batch(tick(three_days), T0)
    group = core.take_group()
    kinds = [batch.message for batch in group.batches]
    assert kinds.index("vehicle_state") < kinds.index("tick")
    assert core.totals()["forwarded"] == 1


def test_a_driven_record_beyond_its_tick_is_rejected() -> None:
    core = driven_core()
    core.on_batch(vehicles([("v", 500, 0), ("w", 20, 0)], seqs=[0, 1]), T0)
    core.on_batch(tick(1), T0)
    group = core.take_group()
    assert reasons(group) == ["too_far_future"]
    assert len(of(group, "vehicle_state")) == 1


def test_lateness_says_behind_the_watermark_and_behind_the_subject() -> None:
    core = driven_core()
    core.on_batch(vehicles([("v", 9, 90)], seqs=[0]), T0)
    core.on_batch(tick(10), T0)
    core.on_batch(vehicles([("v", 8.5, 85), ("w", 3, 0), ("x", 9, 0)], seqs=[1, 2, 3]), T0)
    core.take_group()
    core.on_batch(vehicles([("w", 2, 0)], seqs=[4]), T0)
    records = of(core.take_group(), "vehicle_state")
    assert [r["lateness"] for r in records] == [LATE_IN_ZONE | LATE_IN_SUBJECT]
    core = driven_core()
    core.on_batch(vehicles([("v", 9, 90)], seqs=[0]), T0)
    core.on_batch(tick(10), T0)
    core.on_batch(vehicles([("v", 8.5, 85), ("w", 3, 0), ("x", 9, 0)], seqs=[1, 2, 3]), T0)
    late = [r["lateness"] for r in of(core.take_group(), "vehicle_state")]
    assert late == [0, LATE_IN_SUBJECT, LATE_IN_ZONE, 0]


def test_a_jump_is_refused_and_the_second_consistent_position_wins() -> None:
    core = driven_core()
    rows = [("v", 1, 0), ("v", 2, 5000), ("v", 3, 20), ("v", 4, 9000), ("v", 5, 9010)]
    core.on_batch(vehicles(rows, seqs=range(5)), T0)
    group = core.take_group()
    kept = [r["sampled_at_ns"] - T0 for r in of(group, "vehicle_state")]
    assert kept == [1 * S, 3 * S, 5 * S]
    assert reasons(group) == ["implausible_jump"] * 2
    letter = of(group, "dead_letter")[0]
    assert letter["seq"] == 1
    assert "expected at most" in letter["detail"]


def test_a_live_vehicle_in_a_driven_zone_gets_the_zones_live_run() -> None:
    core = driven_core()
    own = vehicles([("mine", 100, 5)], seqs=[0], source_id="mine", run_id="live", origin="live")
    core.on_batch(own, T0 + 100 * S)
    group = core.take_group()
    (record,) = of(group, "vehicle_state")
    assert (record["run_id"], record["segment_id"]) == ("live", "a")
    (said,) = of(group, "zone_announce")
    assert (said["run_id"], said["clock"]) == ("live", "wall")
    assert said["map_document"]


def test_records_of_a_run_nobody_announced_are_rejected() -> None:
    core = driven_core()
    core.on_batch(vehicles([("v", 0, 0)], seqs=[0], run_id="run-2"), T0)
    core.on_batch(vehicles([("v", 0, 0)], seqs=[0], run_id="live", origin="replay"), T0)
    core.on_batch(vehicles([("v", 0, 0)], seqs=[0], zone="elsewhere"), T0)
    group = core.take_group()
    assert sorted(reasons(group)) == ["unknown_run", "unknown_run", "unknown_zone"]
    assert core.totals()["rejected"] == core.totals()["sent"] == 3


def _outcome(cuts: list[int], rows: list[tuple[str, float, float]]) -> tuple[Any, Any]:
    core = driven_core()
    start, records, refused = 0, [], []
    for cut in [*cuts, len(rows)]:
        part = rows[start : start + cut]
        if part:
            core.on_batch(vehicles(part, seqs=range(start, start + len(part))), T0)
            group = core.take_group()
            records += of(group, "vehicle_state")
            refused += [(r["seq"], r["reason"]) for r in of(group, "dead_letter")]
        start += len(part)
    return records, refused


ROW = st.tuples(
    st.sampled_from(["v", "w"]),
    st.integers(0, 12).map(float),
    st.sampled_from([0.0, 10.0, 20.0, 30_000.0, 30_010.0]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, max_size=12), st.lists(st.integers(1, 4), max_size=6))
@example([("w", 0.0, 30000.0), ("w", 3.0, 0.0), ("w", 1.0, 30000.0), ("w", 2.0, 0.0)], [2, 1])
def test_batch_splits_change_nothing(rows: list[Any], cuts: list[int]) -> None:
    assert _outcome(cuts, rows) == _outcome([], rows)


def test_an_ended_run_closes_its_windows_and_is_forgotten_after_a_grace() -> None:
    core = driven_core()
    core.on_batch(vehicles([("v", t, 10.0 * t) for t in range(1, 9)], seqs=range(8)), T0)
    core.on_batch(tick(8), T0)
    assert of(core.take_group(), "segment_state") == []
    core.on_batch(announce("ended", 8), T0)
    group = core.take_group()
    assert {r["window_s"] for r in of(group, "segment_state")} == {10, 60}
    assert of(group, "tick")[-1]["watermark_ns"] >= T0 + 60 * S
    assert [r["state"] for r in of(group, "zone_announce")] == ["ended"]
    core.on_batch(vehicles([("v", 7.5, 75)], seqs=[8]), T0)
    assert len(of(core.take_group(), "vehicle_state")) == 1
    core.on_wall_clock(T0 + 601 * S)
    core.on_batch(vehicles([("v", 7.7, 77)], seqs=[9]), T0 + 602 * S)
    assert reasons(core.take_group()) == ["unknown_zone"]


def test_a_source_status_shows_what_never_came() -> None:
    core = driven_core()
    core.on_batch(vehicles([("v", 1, 0)], seqs=[0]), T0)
    said = control("source_status", 1, source_id="rsu-1", session=1, sent_count=4)
    core.on_batch(said, T0)
    core.take_group()
    (row,) = (r for b in core.take_ledger(100, T0) for r in b.to_records())
    assert (row["sent"], row["forwarded"], row["missing"]) == (4, 1, 3)
    assert (row["run_id"], row["gaps"]) == (RUN, "[[1,3]]")
