"""An outbox keeps order and knows when it is full, in messages and in bytes."""

import pytest
from amqtt.session import Session

from openvrc.embedded import amqtt_outbox
from openvrc.embedded.amqtt_outbox import Outbox, outbox_of


def test_messages_leave_in_the_order_they_came() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put(("a/b", b"%d" % number, False))
    assert [outbox.take()[1] for _ in range(3)] == [b"0", b"1", b"2"]


def test_taking_a_message_makes_its_bytes_free() -> None:
    outbox = Outbox()
    outbox.put(("a/b", bytes(100), False))
    outbox.put(("a/b", bytes(20), False))
    outbox.take()
    assert outbox.waiting_bytes == 20


def test_it_is_full_by_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqtt_outbox, "OUTBOX_MESSAGES", 2)
    outbox = Outbox()
    outbox.put(("a/b", b"", False))
    assert not outbox.is_full(connected=True)
    outbox.put(("a/b", b"", False))
    assert outbox.is_full(connected=True)


def test_it_is_full_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqtt_outbox, "OUTBOX_BYTES", 100)
    outbox = Outbox()
    outbox.put(("a/b", bytes(100), False))
    assert outbox.is_full(connected=True)


def test_an_absent_subscriber_is_owed_more_than_a_connected_one() -> None:
    outbox = Outbox()
    for _ in range(amqtt_outbox.OUTBOX_MESSAGES):
        outbox.put(("a/b", b"", False))
    assert outbox.is_full(connected=True)
    assert not outbox.is_full(connected=False)


def test_a_session_keeps_its_outbox() -> None:
    session = Session()
    outbox_of(session).put(("a/b", b"kept", False))
    assert outbox_of(session).take()[1] == b"kept"
    assert not outbox_of(Session()).waiting
