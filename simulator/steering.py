"""Steers whichever run goes on: lines from a terminal or a program, commands by MQTT.

What concerns one run is done by its publisher (simulator/controls.py). What comes after it is
decided here: whether it begins again at its end, and a seek to what is past. Zone time of a run
never goes back, so that ends the run, and another one begins there.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Protocol

from openvrc.contracts.units import NS_PER_S, iso_from_ns, ns_from_iso
from simulator.controls import answer
from simulator.publisher import Publisher
from simulator.world import World


class MakeWorld(Protocol):
    """How a run is begun again."""

    def __call__(self, number: int, from_ns: int | None) -> World:
        """The world of run `number` (from 1); `from_ns` is a zone time of the run before it.

        None: from where the first one began. What lies before the recording means its beginning.
        """
        ...


class Steering:
    """One for all runs of a command."""

    def __init__(self, lines: Iterable[str] | None = None) -> None:
        """`lines` are read in a thread that ends with the process, each answered on stderr."""
        self._lines = lines
        self._publisher: Publisher | None = None
        self._can_repeat = False
        self._again_from_ns: int | None = None
        self.is_looping = False

    def steer(self, publisher: Publisher) -> None:
        """From now on lines are for this run."""
        is_first, self._publisher = self._publisher is None, publisher
        if is_first and self._lines is not None:
            # Reading a line cannot be given up, so nobody waits for this thread.
            threading.Thread(target=self._follow, daemon=True).start()

    def obey(self, line: str) -> str:
        """Do what one line asks; "ok ..." or "error: ..."."""
        words, publisher = line.split(), self._publisher
        if not words or publisher is None:
            return "error: no line, or no run"
        if words[0] == "loop":
            return self._loop(words[1:])
        if words[0] == "seek" and self._can_repeat:
            back_ns = _past_of(words[1:], publisher.zone_time_ns)
            if back_ns is not None:
                return self._seek_back(back_ns, publisher)
        return answer(words, publisher)

    def repeated(self, make: MakeWorld, times: int) -> Iterator[World]:
        """Runs one after the other: `times` of them (0: for ever), and more while told so."""
        self._can_repeat = True
        number, from_ns = 1, None
        while True:
            yield make(number, from_ns)
            from_ns, self._again_from_ns = self._again_from_ns, None
            number += 1
            if from_ns is None and not (self.is_looping or times == 0 or number <= times):
                return

    @property
    def is_beginning_again(self) -> bool:
        """Whether the run was ended only for another one to begin earlier."""
        return self._again_from_ns is not None

    def _loop(self, given: list[str]) -> str:
        if not self._can_repeat or given not in (["on"], ["off"]):
            return "error: loop: expected on or off, of a run that can begin again"
        self.is_looping = given == ["on"]
        return f"ok loop {given[0]}"

    def _seek_back(self, back_ns: int, publisher: Publisher) -> str:
        if not publisher.can_seek:
            return "error: seek: this run cannot be wound, expected a recording"
        self._again_from_ns = back_ns
        publisher.stop()
        return f"ok another run begins at {iso_from_ns(back_ns)}"

    def _follow(self) -> None:
        for line in self._lines or ():
            if line.split() and self._publisher is not None:
                print(self.obey(line), file=sys.stderr, flush=True)  # noqa: T201


def _past_of(given: list[str], now_ns: int) -> int | None:
    """The zone time that a seek asks for, if it is past; None for every other."""
    try:
        (text,) = given
        ns = ns_from_iso(text) if "T" in text else now_ns + round(float(text) * NS_PER_S)
    except (ValueError, OverflowError):
        return None
    return ns if ns < now_ns else None
