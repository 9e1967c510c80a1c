"""Completed states of all runs: announced maps, forgotten runs, snapshots."""

from __future__ import annotations

import numpy as np

from cloud.traffic_states import KEPT_RUNS, TrafficStates
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


def test_of_many_runs_the_longest_silent_is_forgotten() -> None:
    town, states = Town(), TrafficStates()
    for number in range(KEPT_RUNS + 1):
        town.run_id = f"run-{number}"
        states.apply([town.announce()])
        driven(states, town, range(19, 24))
    assert states.states("town", "run-0", 10) is None
    assert states.states("town", f"run-{KEPT_RUNS}", 10) is not None
