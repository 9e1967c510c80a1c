"""The queue before the core: bounded in messages and bytes, and nobody waits for ever."""

import threading

import pytest

from edge.inbox import Delivery, Inbox
from tests.support.patience import PATIENCE_S

MOST = 10**9


def delivery(number: int, n_bytes: int = 1) -> Delivery:
    return Delivery("t", b"x" * n_bytes, 0, number, None)


def take(inbox: Inbox, most: int = 100, most_bytes: int = MOST) -> list[int]:
    return [d.ticket for d in inbox.take(0.0, 0.0, most, most_bytes)]


@pytest.mark.parametrize("most_bytes", [MOST, 4000], ids=["messages", "bytes"])
def test_a_full_inbox_says_so_and_tells_when_there_is_room(most_bytes: int) -> None:
    told: list[int] = []
    inbox = Inbox(4, most_bytes, on_room=lambda: told.append(1))
    assert [inbox.put(delivery(n, 1000)) for n in range(4)] == [True, True, True, False]
    assert inbox.is_full
    assert take(inbox, most=1) == [0]
    assert (told, inbox.is_full) == ([1], False)
    assert take(inbox) == [1, 2, 3]
    assert told == [1]
    assert inbox.n_bytes == 0


def test_nobody_is_told_of_room_that_nobody_waits_for() -> None:
    told: list[int] = []
    inbox = Inbox(4, on_room=lambda: told.append(1))
    inbox.put(delivery(0))
    assert take(inbox) == [0]
    assert told == []


def test_a_take_is_bounded_in_bytes_and_messages() -> None:
    inbox = Inbox(100)
    for number in range(4):
        inbox.put(delivery(number, 5))
    assert take(inbox, most_bytes=6) == [0, 1]
    assert take(inbox, most=1) == [2]
    assert take(inbox) == [3]
    assert take(inbox) == []


def test_a_taker_wakes_for_the_first_delivery_and_gathers_up_to_its_bound() -> None:
    inbox = Inbox(1000)
    found: list[Delivery] = []
    # Both times are far beyond the test's limit: it ends only because enough has come.
    taker = threading.Thread(target=lambda: found.extend(inbox.take(3600.0, 3600.0, 50, MOST)))
    taker.start()
    for number in range(60):
        inbox.put(delivery(number))
    taker.join(PATIENCE_S)
    assert not taker.is_alive()
    assert [d.ticket for d in found] == list(range(50))


def test_a_gathering_taker_stops_waiting_when_the_inbox_is_full() -> None:
    inbox = Inbox(4, on_room=lambda: None)
    found: list[Delivery] = []
    taker = threading.Thread(target=lambda: found.extend(inbox.take(3600.0, 3600.0, 100, MOST)))
    taker.start()
    for number in range(4):
        inbox.put(delivery(number))
    taker.join(PATIENCE_S)
    assert [d.ticket for d in found] == [0, 1, 2, 3]


def test_every_delivery_passes_once_and_in_order_between_two_threads() -> None:
    room = threading.Event()
    inbox = Inbox(16, on_room=room.set)
    count = 20_000

    def put_all() -> None:
        for number in range(count):
            room.clear()
            while not inbox.put(delivery(number)):
                assert room.wait(PATIENCE_S)
                break

    putter = threading.Thread(target=put_all)
    putter.start()
    found: list[int] = []
    while len(found) < count:
        got = inbox.take(30.0, 0.0, 10, MOST)
        assert got, f"nothing came after {len(found)}"
        found += [d.ticket for d in got]
    putter.join(PATIENCE_S)
    assert found == list(range(count))


TICK = Delivery("vrc/v1/a/zone/driver/tick", b"", 0, "tick", None)


def test_gathering_ends_at_a_drivers_tick_and_leaves_what_comes_after_it() -> None:
    inbox = Inbox(100_000)
    found: list[Delivery] = []
    taker = threading.Thread(target=lambda: found.extend(inbox.take(30.0, 2.0, 100_000, MOST)))
    taker.start()
    while taker.is_alive():  # ticks count after a quarter of the time to gather
        inbox.put(delivery(0))
        inbox.put(TICK)
        inbox.put(delivery(1))
        taker.join(0.05)
    assert found[-1].is_tick
    assert take(inbox)[0] == 1


def test_an_edges_own_tick_is_a_message_like_others() -> None:
    assert TICK.is_tick
    assert not TICK._replace(topic="vrc/v1/a/edge/edge-1/tick").is_tick
    assert not TICK._replace(topic="tick").is_tick


def test_ticks_that_came_before_the_taker_do_not_cut_its_group() -> None:
    inbox = Inbox(1000)
    inbox.put(delivery(0))
    inbox.put(TICK)
    inbox.put(delivery(1))
    assert take(inbox) == [0, "tick", 1]
