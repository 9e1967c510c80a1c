"""Acknowledgements belong to their connection, and the queue is bounded in messages and bytes."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from edge import intake as module
from edge.intake import Delivery, Intake


@pytest.fixture
def intake(monkeypatch: pytest.MonkeyPatch) -> Intake:
    made = Intake("mqtt://127.0.0.1:1", "edge-1", "+", queue_messages=4)
    acked: list[int] = []
    monkeypatch.setattr(made._client, "ack", lambda mid, _qos: acked.append(mid))
    monkeypatch.setattr(made, "acked", acked, raising=False)
    return made


def message(mid: int, payload: bytes = b"x", qos: int = 1) -> Any:
    return SimpleNamespace(topic="t", payload=payload, qos=qos, mid=mid)


def drain(intake: Intake) -> list[Delivery]:
    return intake.drain(0.0, 0.0, 100, 10**9)


def test_a_late_acknowledgement_is_not_sent_on_the_next_connection(intake: Intake) -> None:
    client: Any = SimpleNamespace(subscribe=lambda _topics: None)
    code: Any = SimpleNamespace(is_failure=False)
    intake._on_connect(client, None, None, code, None)
    intake._on_message(client, None, message(1))
    old = drain(intake)
    intake._on_disconnect(client, None, None, code, None)
    intake._on_connect(client, None, None, code, None)
    intake._on_message(client, None, message(1))
    intake._on_message(client, None, message(2, qos=0))
    intake.ack(old)
    assert intake.acked == []  # type: ignore[attr-defined]
    intake.ack(drain(intake))
    assert intake.acked == [1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, module.MAX_QUEUED_BYTES])
def test_a_full_queue_makes_the_reader_wait(intake: Intake, size: int) -> None:
    fits = 4 if size == 1 else 2
    payload = b"x" * size
    for mid in range(fits):
        intake._on_message(None, None, message(mid, payload))  # type: ignore[arg-type]
    reader = threading.Thread(target=intake._on_message, args=(None, None, message(9, payload)))
    reader.start()
    reader.join(0.05)
    assert reader.is_alive()
    assert [d.mid for d in drain(intake)] == list(range(fits))
    reader.join(10.0)
    assert [d.mid for d in drain(intake)] == [9]


def test_a_reader_that_waits_ends_when_told_to_stop(intake: Intake) -> None:
    for mid in range(4):
        intake._on_message(None, None, message(mid))  # type: ignore[arg-type]
    reader = threading.Thread(target=intake._on_message, args=(None, None, message(9)))
    reader.start()
    intake.stop_reading()
    reader.join(10.0)
    assert not reader.is_alive()


def test_a_drain_is_bounded_in_bytes_and_messages(intake: Intake) -> None:
    for mid in range(4):
        intake._on_message(None, None, message(mid, b"12345"))  # type: ignore[arg-type]
    assert [d.mid for d in intake.drain(0.0, 0.0, 100, 6)] == [0, 1]
    assert [d.mid for d in intake.drain(0.0, 0.0, 1, 100)] == [2]
    assert intake.drain(0.0, 0.0, 100, 100)[0].received_at_ns <= time.time_ns()
