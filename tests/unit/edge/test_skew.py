"""Clocks that are steadily off: put right and marked; bursts, backlogs and shared delay are not."""

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest

from edge.admit.skew import Skew, put_right
from edge.core import EdgeCore
from edge.group_log import Folded, Kept
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.messages.record import CLOCK_CORRECTED, LATE_IN_SUBJECT, LATE_IN_ZONE
from openvrc.contracts.units import ABSENT_I64
from openvrc.contracts.zone import ClocksPutRight, Zone
from tests.support.edge_world import T0, ZONE, S, live_core, of, road_map, vehicles

MINUTES = 4 * 60
STEP = 6
STEADY = 100
"""Seconds after which two whole spans have been heard, whatever the phase."""


def drive(
    core: EdgeCore,
    delay_s: Callable[[str, int], float],
    *,
    seconds: range = range(0, MINUTES, STEP),
) -> list[dict[str, Any]]:
    """A record each few seconds of each sender; `delay_s` is its receipt less its own clock's time.

    Returns each admitted one with `second`, its number, and `true_s`, its time less the true one.
    """
    for second in seconds:
        received_at_ns = T0 + second * S
        core.on_wall_clock(received_at_ns)
        for name in ("right", "wrong"):
            core.on_batch(sample(name, second - delay_s(name, second), second), received_at_ns)
    return [
        record | {"true_s": (record["sampled_at_ns"] - T0) / S - record["seq"]}
        for record in of(core.take_group(), "vehicle_state")
    ]


def sample(name: str, at_s: float, second: int) -> Batch:
    return vehicles(
        [(name, at_s, 10.0 * second)], seqs=[second], source_id=name, run_id="live", origin="live"
    )


def of_sender(records: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [record for record in records if record["source_id"] == name]


@pytest.mark.parametrize(
    "offset_s", [3600.0, 8 * 3600.0, 5.0, 0.4, -5.0, -45.0], ids=lambda offset: f"{offset} s"
)
def test_a_clock_that_is_steadily_off_is_put_right_and_marked(offset_s: float) -> None:
    records = drive(live_core(), lambda name, _: 0.02 - offset_s * (name == "wrong"))
    right, wrong = of_sender(records, "right"), of_sender(records, "wrong")
    assert len(right) == MINUTES // STEP
    assert not any(record["lateness"] for record in right)
    steady = [record for record in wrong if record["seq"] >= STEADY]
    assert len(steady) == len(range(0, MINUTES, STEP)) - len(range(0, STEADY, STEP))
    for record in steady:
        assert record["true_s"] == pytest.approx(0, abs=0.03)
        assert record["lateness"] & (CLOCK_CORRECTED | LATE_IN_ZONE) == CLOCK_CORRECTED
    assert not any(r["lateness"] & CLOCK_CORRECTED for r in wrong if r["seq"] < 30)
    assert not any(r["lateness"] & LATE_IN_SUBJECT for r in wrong if r["seq"] >= STEADY)


def test_the_account_says_by_how_much_a_clock_is_off() -> None:
    core = live_core()
    drive(core, lambda name, _: 0.02 - 3600.0 * (name == "wrong"))
    (rows,) = core.take_ledger(10, T0 + MINUTES * S)
    said = {record["source_id"]: record.get("clock_offset_ms") for record in rows.to_records()}
    assert said == {"right": None, "wrong": pytest.approx(3_599_980, abs=1)}


def test_a_clock_that_is_set_right_is_believed_again() -> None:
    def delay_s(name: str, second: int) -> float:
        return 0.02 - 3600.0 * (name == "wrong" and second < 150)

    records = of_sender(drive(live_core(), delay_s), "wrong")
    assert all(r["true_s"] == pytest.approx(0, abs=0.03) for r in records if r["seq"] >= STEADY)
    assert not any(r["lateness"] & CLOCK_CORRECTED for r in records if r["seq"] >= 150)


@pytest.mark.parametrize(
    "delay_s",
    [
        pytest.param(lambda second: 30.0 if second % 12 else 0.1, id="bursts"),
        pytest.param(lambda second: max(50.0 - second / 4, 0.1), id="a backlog that shrinks"),
        pytest.param(lambda second: 3 * 86400.0, id="history sent again"),
        pytest.param(lambda second: -5.0 - 2.0 * second / 10, id="a clock that runs away"),
        pytest.param(lambda second: -2 * 86400.0, id="a clock nobody set"),
        pytest.param(lambda second: 1.5, id="a slow way"),
    ],
)
def test_what_is_no_steady_offset_is_left_as_it_came(delay_s: Callable[[int], float]) -> None:
    core = live_core()
    records = drive(core, lambda name, second: delay_s(second) if name == "wrong" else 0.02)
    for record in of_sender(records, "wrong"):
        assert not record["lateness"] & CLOCK_CORRECTED
        assert record["true_s"] == pytest.approx(-delay_s(int(record["seq"])), abs=1e-6)


def test_a_delay_that_all_share_is_no_clock() -> None:
    records = drive(live_core(), lambda name, _: 6.0 + 0.5 * (name == "wrong"))
    assert not any(record["lateness"] & CLOCK_CORRECTED for record in records)
    assert all(record["lateness"] & LATE_IN_ZONE for record in records)


def test_a_fast_clock_does_not_hide_the_delay_that_all_share() -> None:
    records = drive(live_core(), lambda name, _: 3.0 - 8.0 * (name == "wrong"))
    right = of_sender(records, "right")
    assert not any(record["lateness"] & CLOCK_CORRECTED for record in right)


def test_a_late_record_of_a_fast_clock_is_moved_like_the_others() -> None:
    def delay_s(name: str, second: int) -> float:
        return 0.02 - 10.0 * (name == "wrong") + 9.5 * (name == "wrong" and second == 180)

    (late,) = [r for r in of_sender(drive(live_core(), delay_s), "wrong") if r["seq"] == 180]
    assert late["true_s"] == pytest.approx(-9.5, abs=0.03)
    assert late["lateness"] & CLOCK_CORRECTED


def test_a_zone_may_leave_slow_ways_or_all_times_as_they_are() -> None:
    moved = {}
    for which in get_args(ClocksPutRight):
        skew = Skew()
        slots = skew.sources.of(["right", "behind", "ahead"])
        for second in range(0, STEADY, STEP):
            received_at_ns = np.full(3, T0 + second * S)
            offset_ns = skew.observe(
                slots, received_at_ns - [0, 9 * S, -9 * S], received_at_ns, which
            )
        moved[which] = [] if offset_ns is None else (offset_ns // S).tolist()
    assert moved == {"both": [0, -9, 9], "ahead": [0, 0, 9], "none": []}


def test_a_group_over_the_end_of_a_span_is_judged_as_its_parts_would_be() -> None:
    def offsets(step: int) -> list[int]:
        skew = Skew()
        received_at_ns = T0 + np.arange(0, MINUTES, STEP, dtype=np.int64) * S
        slots = np.repeat(skew.sources.of(["wrong"]), len(received_at_ns))
        found: list[int] = []
        for start in range(0, len(slots), step):
            part = slice(start, start + step)
            told = skew.observe(slots[part], received_at_ns[part] + 60 * S, received_at_ns[part])
            found += [0] * len(slots[part]) if told is None else told.tolist()
        return found

    assert offsets(1) == offsets(7) == offsets(1000)
    assert {0, 60 * S} == set(offsets(1000))


def test_moved_times_leave_out_what_was_not_told() -> None:
    batch = from_columns(
        "signal_state", zone="z", run_id="live", origin="live", n_rows=2,
        columns={
            "source_id": "rsu-1", "subject_id": ["a", "b"], "id_kind": "permanent",
            "sampled_at_ns": np.array([T0, T0]), "phase": ["green", "red"],
            "min_end_ns": np.array([0, T0 + 5 * S]), "max_end_ns": np.array([ABSENT_I64, 3]),
        },
    )  # fmt: skip
    moved = put_right(batch, np.array([5 * S, 5 * S]))
    assert moved.column("sampled_at_ns").tolist() == [T0 - 5 * S] * 2
    assert moved.column("min_end_ns").tolist() == [0, T0]
    assert moved.column("max_end_ns").tolist() == [ABSENT_I64, 0]
    assert moved.column("published_at_ns").tolist() == [ABSENT_I64] * 2


def test_an_edge_that_starts_anew_follows_the_limits_of_its_folder() -> None:
    """Of a restored run, too, and on a map that has not changed."""

    def delay_s(name: str, _: int) -> float:
        return 0.02 - 3600.0 * (name == "wrong")

    core = live_core()
    drive(core, delay_s, seconds=range(0, STEADY, STEP))
    zone = Zone(name=ZONE, clocks_put_right="none")
    again = EdgeCore({ZONE: (zone, road_map())}, "edge-1", 1)
    again.restore(core.snapshot())
    records = drive(again, delay_s, seconds=range(STEADY, STEADY + MINUTES, STEP))
    assert not [r for r in of_sender(records, "wrong") if r["seq"] >= STEADY + 30]


def test_an_edge_that_starts_anew_goes_on_with_what_it_knew_of_clocks() -> None:
    def delay_s(name: str, _: int) -> float:
        return 0.02 - 3600.0 * (name == "wrong")

    core, other = live_core(), live_core()
    whole = drive(core, delay_s, seconds=range(0, 150, STEP))
    first = drive(other, delay_s, seconds=range(0, 120, STEP))
    again = live_core()
    again.restore(other.snapshot())
    assert [*first, *drive(again, delay_s, seconds=range(120, 150, STEP))] == whole


def test_what_was_moved_is_kept_as_it_came_to_be_folded_again() -> None:
    core = live_core()
    drive(core, lambda name, _: 0.02 - 3600.0 * (name == "wrong"), seconds=range(0, STEADY, STEP))
    core.take_group()
    steps = []
    for number, (name, at_s) in enumerate([("right", 0.0), ("wrong", 3600.0)]):
        core.on_batches([sample(name, STEADY + at_s, STEADY)], T0 + STEADY * S, number=number)
        steps.append(core.take_group().steps)
    assert steps == [[Folded(0)], [Kept(1)]]
