"""Completed states of all runs: announced maps, forgotten runs, snapshots."""

from __future__ import annotations

import numpy as np
import pytest

from cloud import traffic_states
from cloud.traffic_states import KEPT_ENDED, TrafficStates
from tests.support.town import Town


def driven(states: TrafficStates, town: Town, seconds: range) -> None:
    """A town's batches, second by second."""
    for second in seconds:
        states.apply([*town.at(second), town.tick(second)])


def test_a_run_has_states_once_its_map_was_announced_and_a_window_closed() -> None:
    town, states = Town(), TrafficStates()
    driven(states, town, range(10, 30))
    assert states.states("town", town.run_id, 10) is None
    states.apply([town.announce()])
    assert states.states("town", town.run_id, 10) is None
    driven(states, town, range(30, 60))
    found = states.states("town", town.run_id, 10)
    assert found is not None
    assert np.isfinite(found[1].speed_mps).any()


def test_an_announcement_that_comes_again_forgets_nothing() -> None:
    town, states = Town(), TrafficStates()
    states.apply([town.announce()])
    driven(states, town, range(10, 40))
    before = states.states("town", town.run_id, 60)
    states.apply([town.announce()])
    after = states.states("town", town.run_id, 60)
    assert before is not None
    assert after is not None
    assert after[1] is before[1]


def test_a_snapshot_goes_on_as_the_original_does() -> None:
    town, states, restored = Town(), TrafficStates(), TrafficStates()
    states.apply([town.announce()])
    driven(states, town, range(10, 60))
    restored.restore(states.snapshot())
    for part in (states, restored):
        driven(part, town, range(60, 100))
    wanted, found = (part.states("town", town.run_id, 60) for part in (states, restored))
    assert wanted is not None
    assert found is not None
    assert found[0] == wanted[0]
    for name, values in wanted[1]._asdict().items():
        np.testing.assert_array_equal(found[1]._asdict()[name], values)


def with_runs(states: TrafficStates, town: Town, names: list[str]) -> None:
    for town.run_id in names:
        states.apply([town.announce()])
        driven(states, town, range(19, 24))


def known(states: TrafficStates, names: list[str]) -> list[bool]:
    return [states.states("town", name, 10) is not None for name in names]


def test_runs_that_go_on_keep_their_states_however_many_have_ended() -> None:
    town, states = Town(), TrafficStates()
    live = [f"live-{number}" for number in range(12)]
    ended = [f"ended-{number}" for number in range(KEPT_ENDED + 2)]
    with_runs(states, town, live)
    for name in ended:
        with_runs(states, town, [name])
        states.apply([town.announce("ended")])
    assert all(known(states, live))
    assert known(states, ended) == [False] * 2 + [True] * KEPT_ENDED
    again = TrafficStates()
    again.restore(states.snapshot())
    with_runs(again, town, ["another"])
    again.apply([town.announce("ended")])
    assert all(known(again, live))
    assert known(again, ended) == [False] * 3 + [True] * (KEPT_ENDED - 1)


def test_beyond_the_bound_ended_runs_go_first_and_then_the_longest_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traffic_states, "MOST_RUNS", 3)
    town, states = Town(), TrafficStates()
    with_runs(states, town, ["a", "b"])
    with_runs(states, town, ["ended"])
    states.apply([town.announce("ended")])
    town.run_id = "a"
    driven(states, town, range(24, 26))
    with_runs(states, town, ["c"])
    assert known(states, ["a", "b", "ended", "c"]) == [True, True, False, True]
    with_runs(states, town, ["d"])
    assert known(states, ["a", "b", "c", "d"]) == [True, False, True, True]


def test_what_was_frozen_does_not_change_with_what_comes_then() -> None:
    town, states, restored = Town(), TrafficStates(), TrafficStates()
    states.apply([town.announce()])
    driven(states, town, range(10, 60))
    pack, wanted = states.freeze(), states.snapshot()
    driven(states, town, range(60, 100))
    assert pack() == wanted
    assert pack() != states.snapshot()
    restored.restore(wanted)
    assert known(restored, [town.run_id]) == [True]
