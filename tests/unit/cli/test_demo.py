"""How `vrc demo` watches its parts: a run somebody stopped is an end, a failed one an error."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from openvrc.cli import demo
from openvrc.cli.platform import Platform
from openvrc.contracts.errors import VrcError


@dataclass
class Part:
    """See `ManagedProcess`; `returncode` None while it runs."""

    returncode: int | None = None
    popen: Any = field(init=False)

    def __post_init__(self) -> None:
        self.popen = SimpleNamespace(returncode=self.returncode)

    @property
    def is_running(self) -> bool:
        """See ManagedProcess."""
        return self.returncode is None

    def log_tail(self) -> str:
        """See ManagedProcess."""
        return "its last words"


def watched(sender: Part, *, for_s: float | None = None, is_asked: bool = False) -> bool:
    processes = {"cloud": Part(), "edge": Part(), "simulate": sender}
    asked = threading.Event()
    if is_asked:
        asked.set()
    platform = cast("Platform", SimpleNamespace(processes=processes))
    return demo._watch(platform, "run-1", asked, for_s)


def test_a_run_that_was_stopped_ends_the_demo_without_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not watched(Part(returncode=0))
    assert "the run has ended by itself" in capsys.readouterr().err


def test_a_world_that_failed_is_an_error_with_its_last_words() -> None:
    with pytest.raises(VrcError, match="simulate ended unexpectedly; its last words"):
        watched(Part(returncode=1))


def test_only_a_run_as_long_as_was_asked_must_have_shown_everything() -> None:
    assert watched(Part(), for_s=0.01)
    assert not watched(Part(), for_s=10.0, is_asked=True)


def test_alerts_are_asked_for_what_happens_in_a_scenario_and_not_for_what_is_feigned() -> None:
    truth = [
        {"rule": "battery.insulation", "detail": {"ohm": 1.0}},
        {"rule": "security.misbehaviour", "detail": {"fault": "sybil", "records": 3}},
        {"rule": "fault.loss", "detail": {"fault": "loss", "records": 3}},
        {"rule": "fault.accounting", "detail": {"sent": 9, "missing": 2}},
    ]
    assert demo._expected_kinds(truth) == {"battery"}
    assert demo._missing_by_intent(truth) == 2
