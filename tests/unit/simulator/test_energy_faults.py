"""Each fault shows as its table says: where, how strongly, from when, and nowhere else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator.energy import fault_effects, pack
from simulator.energy.fault_effects import Frames, Memory
from simulator.energy.faults import (
    MODES,
    OTHERS,
    YARDSTICK,
    Fault,
    drawn_fault,
    mended_after_s,
    mix,
)
from simulator.energy.models import MODELS

COMPACT = MODELS[0]
PERIOD_S = 10.0
FROM_S = 1000.0


def frames(
    n: int = 400, current_a: Any = 0.0, soc: float = 0.6, period_s: float = PERIOD_S
) -> Frames:
    """n frames of a healthy pack."""
    current = np.broadcast_to(np.asarray(current_a, np.float32), n).copy()
    mean = pack.MeanFrames(
        voltage_v=np.full(n, 3.8, np.float32),
        overvoltage_v=np.zeros(n, np.float32),
        soc_ratio=np.full(n, soc, np.float32),
        temperature_degc=np.full(n, 25.0, np.float32),
    )
    spread = pack.drawn_spread(COMPACT, np.random.default_rng(1))
    cells = pack.cells_v(mean, spread, 0)
    return Frames(
        time_s=np.arange(n, dtype=np.float64) * period_s,
        current_a=current,
        soc_ratio=np.full(n, soc),
        capacity_ah=150.0,
        group_ohm=3e-4,
        chemistry=0,
        true_cells_v=cells,
        read_cells_v=cells.copy(),
        probes_degc=pack.probes_degc(mean, spread),
        insulation_ohm=np.full(n, 5e6),
        displayed_ratio=np.full(n, soc),
    )


def fault(mode: str, severity: float | None = None, **detail: Any) -> Fault:
    drawn = drawn_fault(
        mode, 0, COMPACT, from_s=FROM_S, random=np.random.default_rng(2), cell=40, severity=severity
    )
    return replace(drawn, detail=drawn.detail | detail)


def struck(before: Frames, what: Fault, memory: Memory | None = None) -> tuple[Frames, np.ndarray]:
    """The frames with the fault, and how far each cell reads from before (n, n_cells)."""
    healthy = before.read_cells_v.copy()
    fault_effects.apply(before, what, memory or Memory(), np.random.default_rng(3))
    return before, before.read_cells_v - healthy


def elsewhere(moved: np.ndarray, *cells: int) -> np.ndarray:
    return np.delete(moved, [cell - 1 for cell in cells], axis=1)


ACTING = sorted(fault_effects.EFFECTS)


@pytest.mark.parametrize("mode", ACTING)
def test_nothing_shows_before_a_fault_begins(mode: str) -> None:
    early = frames(90)
    plain = frames(90)
    fault_effects.apply(early, fault(mode), Memory(), np.random.default_rng(3))
    for name, values in vars(plain).items():
        assert np.array_equal(getattr(early, name), values), name


def test_every_mode_acts_on_frames_or_on_the_pack() -> None:
    assert set(MODES) == {*YARDSTICK, *OTHERS}
    assert set(MODES) - set(ACTING) == {"current_sensor", "cooling", "plating"}


def test_a_parked_short_drains_what_its_resistance_says() -> None:
    asleep = frames(30, period_s=86_400.0)  # one frame a day
    memory = Memory()
    what = fault("self_discharge", severity=1000.0)
    _, moved = struck(asleep, what, memory)
    days = (29 * 86_400 - FROM_S) / 86_400
    assert memory.drained_ah == pytest.approx(3.8 / 1000 * 24 * days, rel=0.02)
    lost = memory.drained_ah / 150.0
    assert moved[-1, 39] == pytest.approx(-lost * 0.85, rel=0.2)  # by the curve's slope at 60 %
    assert not elsewhere(moved, 40).any()


def test_a_leak_is_the_same_seen_daily_or_every_ten_seconds_and_over_days() -> None:
    whole, parts = Memory(), Memory()
    what = fault("self_discharge", severity=500.0)
    struck(frames(8641), what, whole)
    first, second = frames(4320), frames(4321)
    second.time_s = second.time_s + 43_200.0
    struck(first, what, parts)
    struck(second, what, parts)
    assert parts.drained_ah == pytest.approx(whole.drained_ah, rel=1e-6)


def test_a_mended_cell_is_healthy_again() -> None:
    what = fault("self_discharge", severity=100.0)
    assert what.to_s == pytest.approx(FROM_S + mended_after_s(COMPACT, 100.0))
    late = frames(50)
    late.time_s = late.time_s + what.to_s + 10.0  # type: ignore[operator]
    _, moved = struck(late, what)
    assert not moved.any()


def test_a_connection_shows_in_proportion_to_current_and_not_at_rest() -> None:
    current = np.where(np.arange(400) % 2 == 0, 0.0, 120.0)
    _, moved = struck(frames(current_a=current), fault("connection", 2e-4, grows_for_s=0.0))
    on = np.arange(400) * PERIOD_S > FROM_S + 10
    assert not moved[on & (current == 0), 39].any()
    assert moved[on & (current > 0), 39] == pytest.approx(-120 * 2e-4, rel=1e-3)
    assert not elsewhere(moved, 40).any()


def test_a_sampling_wire_moves_neighbours_against_each_other_and_not_the_truth() -> None:
    before = frames()
    truth = before.true_cells_v.copy()
    what = fault("sampling", 0.1, how="neighbours")
    what = replace(what, cells=(40, 41))
    after, moved = struck(before, what)
    on = after.time_s >= FROM_S
    assert moved[on, 39] == pytest.approx(-moved[on, 40], abs=1e-5)
    assert (moved[on, 39] >= 0.049).all()
    assert np.array_equal(after.true_cells_v, truth)
    _, moved = struck(frames(3000), fault("sampling", how="extreme"))
    read = moved[:, 39] + 3.8
    assert ((np.abs(read) < 0.05) | (np.abs(read - 5) < 0.05)).any()
    frozen, _ = struck(frames(current_a=0.0), fault("sampling", how="frozen"))
    assert np.ptp(frozen.read_cells_v[on, 39]) == 0


def test_insulation_falls_to_what_it_says_within_its_time() -> None:
    after, moved = struck(frames(), fault("insulation", 20e3, falls_for_s=1000.0))
    assert (after.insulation_ohm[after.time_s < FROM_S] == 5e6).all()
    assert after.insulation_ohm[-1] == pytest.approx(20e3, rel=0.3)
    middle = after.insulation_ohm[after.time_s == FROM_S + 500][0]
    assert 20e3 < middle < 5e6
    assert not moved.any()


def test_micro_shorts_are_drops_of_one_to_three_frames() -> None:
    _, moved = struck(frames(4000), fault("micro_short", 0.06, per_hour=3.0))
    down = moved[:, 39] < -0.02
    edges = np.diff(np.concatenate([[0], down.astype(int), [0]]))
    lengths = np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)
    assert len(lengths) > 5
    assert lengths.max() <= 6  # two may touch
    assert np.median(lengths) <= 3
    assert moved[:, 39].min() >= -0.0601
    assert not elsewhere(moved, 40).any()


@pytest.mark.parametrize("mode", ["thermal_event", "internal_short"])
def test_a_runaway_shows_all_at_once_and_spreads(mode: str) -> None:
    extra = {"runaway_after_s": 600.0} if mode == "internal_short" else {}
    what = fault(mode, cell_every_s=120.0, **extra)
    begins_s = FROM_S + extra.get("runaway_after_s", 0.0)
    after, _ = struck(frames(), what)
    first = int(np.flatnonzero(after.time_s >= begins_s)[0])
    assert after.probes_degc[first].max() > 100
    assert after.true_cells_v[first, 39] <= 2.0
    assert after.insulation_ohm[first + 1] <= 10_000
    dead = (after.true_cells_v < 0.2).sum(axis=1)
    since_s = after.time_s - begins_s
    assert dead[since_s > 600][0] == pytest.approx(5, abs=1)
    assert (np.diff(dead) >= 0).all()
    lost_v = after.true_cells_v[first].sum() - after.true_cells_v[-1].sum()
    assert lost_v / ((after.time_s[-1] - begins_s) / 120.0) == pytest.approx(3.7, rel=0.3)
    assert after.probes_degc.max() <= fault_effects.HOTTEST_DEGC


def test_a_hard_short_warms_and_sags_before_it_runs_away() -> None:
    what = fault("internal_short", 0.5, runaway_after_s=2000.0)
    after, moved = struck(frames(), what)
    warm = (after.time_s > FROM_S + 400) & (after.time_s < FROM_S + 1990)
    expected_k = 3.8**2 / 0.5 / fault_effects.GROUP_LOSS_W_PER_K
    excess = after.probes_degc[warm].max(axis=1) - np.median(after.probes_degc[warm], axis=1)
    assert excess.mean() == pytest.approx(expected_k, rel=0.3)
    assert (moved[warm, 39] < -0.002).all()


def test_a_small_cell_falls_behind_as_the_pack_empties() -> None:
    full, empty = (
        struck(frames(soc=soc), fault("cell_capacity", 0.85, grows_for_s=0.0))[1][-1, 39]
        for soc in (0.9, 0.3)
    )
    assert empty < 3 * full < 0


def test_a_module_offset_moves_one_module_and_only_in_the_reading() -> None:
    what = fault("module_offset", 0.045, grows_for_s=0.0)
    assert what.component == "cells:37-48"
    after, moved = struck(frames(), what)
    assert moved[-1, 36:48] == pytest.approx(0.045, abs=1e-4)
    assert not elsewhere(moved, *range(37, 49)).any()
    assert np.ptp(after.true_cells_v, axis=0).max() == 0


def test_the_displayed_charge_jumps_and_finds_back() -> None:
    what = fault("soc_jump", 0.2, every_s=400_000)
    after, _ = struck(frames(n=20_000), what)
    shown = after.displayed_ratio - 0.6
    first = int(FROM_S / PERIOD_S)
    assert shown[first] - shown[first - 1] == pytest.approx(0.2, abs=1e-3)
    assert shown[first + int(43_200 / PERIOD_S)] == pytest.approx(0.2 / np.e, rel=0.01)


def test_a_mix_has_each_mode_of_the_yardstick_three_times_in_thirty() -> None:
    modes = mix(30)
    assert len(modes) == 30
    assert all(modes.count(mode) >= 3 for mode in YARDSTICK)
    assert set(modes) == set(MODES)
    assert mix(6) == mix(30)[:6]


@pytest.mark.parametrize("mode", sorted(MODES))
def test_a_drawn_fault_has_its_cell_severity_and_start(mode: str) -> None:
    random = np.random.default_rng(7)
    drawn = [drawn_fault(mode, 3, COMPACT, from_s=50.0, random=random) for _ in range(20)]
    assert len({f.severity for f in drawn}) > 1 or mode == "thermal_event"
    for one in drawn:
        assert (one.vehicle, one.from_s, one.rule) == (3, 50.0, f"battery.{mode}")
        assert all(1 <= cell <= COMPACT.series for cell in one.cells)
        assert 0 <= one.probe <= COMPACT.probes
        assert one.is_on(50.0)
        assert not one.is_on(49.0)
