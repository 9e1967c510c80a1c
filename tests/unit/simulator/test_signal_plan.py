"""Fixed-time signals: every group in turn, never two stages at once."""

import pytest

from simulator.physics.signal_plan import ALL_RED_S, AMBER_S, FixedTimePlan, Stage
from simulator.scenarios.crossroads_map import N_GROUPS, PLAN

TWO = FixedTimePlan((Stage(frozenset({1}), 10.0), Stage(frozenset({2}), 5.0)))


def test_a_group_is_green_then_amber_then_red_until_its_turn_comes_again() -> None:
    assert TWO.cycle_s == 15.0 + 2 * (AMBER_S + ALL_RED_S)
    assert TWO.state(1, 0.0) == ("green", 10.0)
    assert TWO.state(1, 10.0) == ("amber", 13.0)
    assert TWO.state(1, 13.0) == ("red", 25.0)
    assert TWO.state(2, 0.0) == ("red", 15.0)
    assert TWO.state(2, 25.0 + 15.0) == ("green", 25.0 + 20.0)


@pytest.mark.parametrize("tenth", range(0, int(PLAN.cycle_s * 10), 7))
def test_the_stated_end_of_a_phase_is_where_it_changes(tenth: int) -> None:
    time_s = tenth / 10
    for group in range(1, N_GROUPS + 1):
        phase, end_s = PLAN.state(group, time_s)
        assert end_s > time_s
        assert PLAN.state(group, end_s - 1e-6)[0] == phase
        assert PLAN.state(group, end_s)[0] != phase


def test_groups_of_two_stages_are_never_open_at_once() -> None:
    for second in range(int(PLAN.cycle_s)):
        is_open = {g for g in range(1, N_GROUPS + 1) if PLAN.state(g, second)[0] != "red"}
        assert any(is_open <= stage.groups for stage in PLAN.stages)


def test_an_unknown_group_is_named() -> None:
    with pytest.raises(KeyError, match="signal group 9"):
        PLAN.state(9, 0.0)
