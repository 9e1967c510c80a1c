"""What another thread tells a run while it waits for the wall clock: speed and a seek ahead."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import pytest

from openvrc.contracts.units import NS_PER_S
from openvrc.settings import load_settings
from simulator.controls import answer
from simulator.link import OnMessage
from simulator.publisher import Publisher
from simulator.world import Frame, TruthEvent
from tests.support.patience import PATIENCE_S

TIMEOUT_S = PATIENCE_S
START_NS = 1_767_225_600 * NS_PER_S


class AnsweringLink:
    """See `Link`: an edge behind it answers each tick of the driver."""

    is_connected = True

    def __init__(
        self,
        url: str,
        *,
        subscription: str | Sequence[str],
        on_message: OnMessage,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._on_message = on_message

    def open(self) -> None:
        """See Link."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """See Link."""
        if topic.endswith("/tick"):
            tick = {**json.loads(payload), "source_id": "edge-1", "pending_records": 0}
            self._on_message("vrc/v1/z/edge/edge-1/tick", json.dumps(tick).encode())

    def publish_all(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """See Link."""

    def drain(self) -> None:
        """See Link."""

    def close(self) -> None:
        """See Link."""


class Silence:
    """A world of empty frames, a second each, that can be wound."""

    zone, run_id, title, time_zone = "z", "run-1", "Silence", "UTC"
    origin: Literal["simulated"] = "simulated"
    start_ns, road_map = START_NS, None

    def __init__(self, seconds: int) -> None:
        self._seconds, self._skip_to_ns, self._is_stopped = seconds, 0, False

    def stop(self) -> None:
        """See World."""
        self._is_stopped = True

    def seek(self, zone_time_ns: int) -> None:
        """See World."""
        self._skip_to_ns = zone_time_ns

    def ground_truth(self) -> list[TruthEvent]:
        """See World."""
        return []

    def frames(self) -> Iterator[Frame]:
        """See World."""
        for second in range(self._seconds):
            at_ns = START_NS + second * NS_PER_S
            if at_ns >= self._skip_to_ns and not self._is_stopped:
                yield Frame(at_ns, ())


class Steered:
    """A run in a thread of its own; `said` is set by its first frame."""

    def __init__(self, world: Silence, speed: float) -> None:
        self.said, self.summaries = threading.Event(), list[dict[str, Any]]()
        self.publisher = Publisher(
            world,
            load_settings(),
            speed=speed,
            on_progress=lambda progress: self.said.set() if progress.frames else None,
            make_link=AnsweringLink,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.said.wait(TIMEOUT_S)

    def _run(self) -> None:
        self.summaries.append(self.publisher.run())

    def ended(self) -> dict[str, Any]:
        """The summary, once it has ended by itself."""
        self._thread.join(TIMEOUT_S)
        self.publisher.abort()
        assert self.summaries, "the run neither ended nor failed"
        return self.summaries[0]


@pytest.mark.parametrize("speed", ["20", "0"])
def test_a_speed_told_while_it_waits_holds_at_once_and_the_run_goes_on(speed: str) -> None:
    run = Steered(Silence(10), speed=0.001)
    assert answer(["speed", speed], run.publisher).startswith("ok")
    assert run.ended()["frames"] == 10


def test_a_seek_ahead_is_a_jump_however_short() -> None:
    run = Steered(Silence(55), speed=1.0)
    assert answer(["seek", "+53"], run.publisher).startswith("ok")
    assert run.ended()["frames"] < 6


@pytest.mark.parametrize("line", ["seek inf", "seek 1e400", "seek nan", "speed nan", "seek 9T"])
def test_a_number_that_is_none_is_an_error_and_not_the_end_of_the_thread(line: str) -> None:
    publisher = Publisher(Silence(1), load_settings(), make_link=AnsweringLink)
    assert answer(line.split(), publisher).startswith("error: " + line)


@pytest.mark.parametrize(
    "payload", [b"no JSON", b"[1]", b"{}", b"[" * 100_000, b'{"run_id": "run-1"}']
)
def test_a_command_that_is_none_is_said_and_obeyed_by_nobody(
    payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def obey(line: str) -> str:
        told.append(line)
        return "ok"

    links: list[AnsweringLink] = []

    def make_link(*args: Any, **options: Any) -> AnsweringLink:
        links.append(AnsweringLink(*args, **options))
        return links[0]

    Publisher(Silence(1), load_settings(), make_link=make_link, on_line=obey)
    links[0]._on_message("vrc/v1/z/zone/driver/down/run_control", payload)
    assert told == []
    assert "expected JSON with run_id and line" in caplog.text
