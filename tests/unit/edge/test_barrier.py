"""Several workers' streams in one order: a driver's word waits for everything it covers."""

import random

import pytest

from edge import barrier as module
from edge.barrier import Barrier

FENCED = 2


def taken(barrier: Barrier[str]) -> list[str]:
    """What takes effect, in order."""
    return [step for step, is_effective in barrier.take() if is_effective]


def fenced(n_workers: int) -> Barrier[str]:
    made: Barrier[str] = Barrier(n_workers)
    for mark in ("joined", "fenced"):
        for number in range(n_workers):
            made.add(number, mark, mark=mark)
    assert made.have_all_joined
    assert made.are_all_fenced
    made.take()
    return made


def test_a_tick_takes_effect_once_and_behind_all_that_came_before_it() -> None:
    barrier = fenced(2)
    barrier.add(0, "a1")
    barrier.add(0, "tick", b"t1")
    barrier.add(0, "a2")
    assert taken(barrier) == ["a1"]
    barrier.add(1, "b1")
    barrier.add(1, "tick", b"t1")
    barrier.add(1, "b2")
    assert taken(barrier) == ["b1", "tick", "a2", "b2"]


def test_every_copy_is_handed_out_so_that_each_can_be_acknowledged() -> None:
    barrier = fenced(3)
    for number in range(3):
        barrier.add(number, f"tick {number}", b"t1")
    out = barrier.take()
    assert sorted(step for step, _ in out) == ["tick 0", "tick 1", "tick 2"]
    assert [is_effective for _, is_effective in out].count(True) == 1


def test_a_copy_that_comes_again_has_no_effect_and_holds_nobody() -> None:
    barrier = fenced(2)
    for number in (0, 1, 0):
        barrier.add(number, "tick", b"t1")
    barrier.add(0, "a1")
    assert taken(barrier) == ["tick", "a1"]


def test_before_the_fence_the_first_copy_counts_since_a_late_worker_never_passes_it() -> None:
    barrier: Barrier[str] = Barrier(2)
    barrier.add(0, "joined", mark="joined")
    barrier.add(0, "tick", b"t1")
    barrier.add(0, "a1")
    assert taken(barrier) == ["joined", "tick", "a1"]
    assert not barrier.have_all_joined


def test_the_fence_counts_from_where_it_stands_in_each_stream() -> None:
    barrier: Barrier[str] = Barrier(2)
    for number in (0, 1):
        barrier.add(number, "joined", mark="joined")
    barrier.add(0, "old tick", b"t0")
    barrier.add(0, "fence", mark="fenced")
    barrier.add(0, "tick", b"t1")
    barrier.add(1, "fence", mark="fenced")
    assert taken(barrier) == ["joined", "joined", "old tick", "fence", "fence"]
    barrier.add(1, "tick", b"t1")
    assert taken(barrier) == ["tick"]


def test_a_worker_that_dies_says_again_what_was_not_out_and_the_rest_waits_for_it() -> None:
    barrier = fenced(2)
    barrier.add(0, "tick", b"t1")
    barrier.add(0, "a1")
    barrier.lost(0)
    barrier.add(1, "tick", b"t1")
    assert taken(barrier) == []
    barrier.up(0, is_resumed=True)
    barrier.add(0, "tick", b"t1")
    barrier.add(0, "a1")
    assert taken(barrier) == ["tick", "a1"]


def test_a_session_that_is_gone_lets_the_others_go_on() -> None:
    barrier = fenced(2)
    barrier.add(0, "tick", b"t1")
    barrier.add(0, "a1")
    barrier.up(1, is_resumed=False)
    assert taken(barrier) == ["tick", "a1"]
    assert not barrier.are_all_fenced
    assert not barrier.have_all_joined


def test_only_so_many_keys_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KNOWN", 2)
    barrier: Barrier[str] = Barrier(1)
    for key in (b"1", b"2", b"3", b"3", b"1"):
        barrier.add(0, key.decode(), key)
    assert taken(barrier) == ["1", "2", "3", "1"]


@pytest.mark.parametrize("seed", range(20))
def test_however_the_streams_interleave_each_tick_stands_behind_its_records(seed: int) -> None:
    rng = random.Random(seed)
    n_workers, n_ticks = 3, 8
    barrier = fenced(n_workers)
    streams: list[list[tuple[str, bytes | None]]] = [[] for _ in range(n_workers)]
    for tick in range(n_ticks):
        for stream in streams:
            stream.extend([(f"record {tick}", None)] * rng.randrange(3))
            stream.append((f"tick {tick}", b"%d" % tick))
    places = [0] * n_workers
    while any(place < len(stream) for place, stream in zip(places, streams, strict=True)):
        number = rng.randrange(n_workers)
        if rng.random() < 0.02:  # dies: what is not out comes again
            held = barrier._workers[number]
            places[number] -= len(held.waiting)
            barrier.lost(number)
        elif places[number] < len(streams[number]):
            step, key = streams[number][places[number]]
            places[number] += 1
            barrier.add(number, step, key)
    out = taken(barrier)
    ticks = [step for step in out if step.startswith("tick")]
    assert ticks == [f"tick {tick}" for tick in range(n_ticks)]
    assert len(out) == sum(len(stream) for stream in streams) - (n_workers - 1) * n_ticks
    for tick in range(n_ticks):
        place = out.index(f"tick {tick}")
        assert all(int(step.split()[1]) <= tick for step in out[:place])
        assert all(int(step.split()[1]) > tick for step in out[place + 1 :])
