"""Lines that steer a run: pause, resume, speed X, seek +S or ISO time, loop on|off, stop.

For a terminal and for programs: each line is answered with one line, "ok ..." or "error: ...".
"""

from __future__ import annotations

from collections.abc import Callable

from openvrc.contracts.errors import VrcError
from openvrc.contracts.units import NS_PER_S, iso_from_ns, ns_from_iso
from simulator.publisher import Publisher

HELP = "pause | resume | speed X | seek +SECONDS | seek ISO-TIME | stop"


def answer(words: list[str], publisher: Publisher) -> str:
    """Do what one line asks; what to answer."""
    verb, given = words[0].lower(), words[1:]
    act = _VERBS.get(verb)
    if act is None:
        return f"error: {verb!r}, expected {HELP}"
    try:
        act(publisher, *given)
    except (ValueError, TypeError, OverflowError, VrcError) as error:
        return f"error: {' '.join(words)}: {error}, expected {HELP}"
    return f"ok {' '.join(words)} at {iso_from_ns(publisher.zone_time_ns)}"


def _pause(publisher: Publisher) -> None:
    publisher.pause()


def _resume(publisher: Publisher) -> None:
    publisher.pause(False)


def _speed(publisher: Publisher, text: str) -> None:
    speed = float(text)
    if not 0.0 <= speed <= 1e6:
        raise ValueError(f"{text} is not 0 to 1000000")
    publisher.set_speed(speed)


def _seek(publisher: Publisher, text: str) -> None:
    if "T" in text:
        publisher.seek(ns_from_iso(text))
    else:
        publisher.seek(publisher.zone_time_ns + round(float(text) * NS_PER_S))


def _stop(publisher: Publisher) -> None:
    publisher.stop()


_VERBS: dict[str, Callable[..., None]] = {
    "pause": _pause,
    "resume": _resume,
    "speed": _speed,
    "seek": _seek,
    "stop": _stop,
}
