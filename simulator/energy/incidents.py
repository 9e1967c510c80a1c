"""A day in which a pack burns: what the vehicle was doing, and that it says nothing afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from simulator.energy.drivers import DAY_S, LEAST_GAP_S, Session, in_order
from simulator.energy.faults import Fault

TELLS_FOR_S = 1500.0
"""How long a burning car goes on reporting."""
WAKES_AFTER_S = 15.0
"""A sleeping BMS is woken by its own cells this long after the trigger."""
BEFORE_S = 1200.0


def runaway_s(fault: Fault) -> float | None:
    """When the fault's runaway begins; None for a fault without one."""
    if fault.mode == "thermal_event":
        return fault.from_s
    if fault.mode == "internal_short":
        return fault.from_s + float(fault.detail["runaway_after_s"])
    return None


def silent_from_s(fault: Fault) -> float | None:
    """When the vehicle says its last word; None if it goes on."""
    at_s = runaway_s(fault)
    return None if at_s is None else at_s + TELLS_FOR_S


def with_incident(sessions: Sequence[Session], fault: Fault, day_start_s: float) -> list[Session]:
    """The day's sessions with the incident in them; unchanged where it is another day's.

    A short begins in a standing car that is switched on; a runaway comes to a driven or a parked
    one, as the fault says.
    """
    at_s, until_s = runaway_s(fault), silent_from_s(fault)
    if at_s is None or until_s is None:
        return list(sessions)
    is_short = fault.mode == "internal_short"
    is_parked = not is_short and bool(fault.detail.get("parked"))
    starts_s = fault.from_s - BEFORE_S
    if is_parked:
        starts_s = fault.from_s + WAKES_AFTER_S
    kept = _before(sessions, fault.from_s - BEFORE_S - day_start_s)
    if is_short or is_parked:
        kept += _clipped("stand", starts_s - day_start_s, until_s - day_start_s)
    else:
        kept += _clipped("drive", starts_s - day_start_s, at_s - day_start_s)
        kept += _clipped("stand", at_s - day_start_s + 1, until_s - day_start_s)
    return in_order(kept)


def _before(sessions: Sequence[Session], end_s: float) -> list[Session]:
    """What is over by then; what is going on is cut."""
    result = []
    for session in sessions:
        left_s = int(end_s - LEAST_GAP_S - session.start_s)
        if left_s >= LEAST_GAP_S:
            result.append(replace(session, duration_s=min(session.duration_s, left_s)))
    return result


def _clipped(activity: str, start_s: float, end_s: float) -> list[Session]:
    start, end = max(int(start_s), 0), min(int(end_s), DAY_S)
    if end - start < LEAST_GAP_S:
        return []
    return [Session(activity, start, end - start)]  # type: ignore[arg-type]
