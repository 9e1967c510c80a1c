"""After-sales cases: what is done for the person in a car whose battery is in trouble.

Four steps, each once and in this order, with who and when: contact the user, confirm what is the
matter, agree on a rescue plan, close. Nothing is ever changed or taken back.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloud.store.facts import ns_of
from cloud.store.read_types import Connection
from cloud.store.sql import statement

STEPS = ("contact", "confirm", "rescue_plan", "close")


class WrongStepError(Exception):
    """A step out of its order; says which one is next."""


@dataclass(frozen=True)
class CaseStep:
    """One step that was taken."""

    step: str
    at_ns: int
    who: str
    text: str


@dataclass(frozen=True)
class Case:
    """One case as it stands."""

    alert_id: str
    opened_at_ns: int
    opened_by: str
    steps: tuple[CaseStep, ...] = ()

    @property
    def next_step(self) -> str | None:
        """The step that is due; None once it is closed.

        >>> Case("a", 0, "olga").next_step
        'contact'
        """
        return STEPS[len(self.steps)] if len(self.steps) < len(STEPS) else None


def open_case(connection: Connection, alert_id: str, who: str) -> Case | None:
    """Open an alert's case, or find the one it has; None for an unknown alert."""
    connection.execute(statement("open_case"), {"id": alert_id, "who": who})
    return case_of(connection, alert_id)


def case_of(connection: Connection, alert_id: str) -> Case | None:
    """An alert's case."""
    return _read(connection, alert_id, "case_of")


def take_step(connection: Connection, alert_id: str, step: str, who: str, text: str) -> Case | None:
    """Take the next step; None where there is no case.

    Raises WrongStepError for any other step than the next.
    """
    with connection.transaction():
        case = _read(connection, alert_id, "lock_case")
        if case is None:
            return None
        if step != case.next_step:
            expected = case.next_step or "none: the case is closed"
            raise WrongStepError(f"step is {step}, expected {expected}")
        facts = {"id": alert_id, "step": step, "who": who, "detail": text}
        connection.execute(statement("add_case_step"), facts)
    return case_of(connection, alert_id)


def _read(connection: Connection, alert_id: str, name: str) -> Case | None:
    row = connection.execute(statement(name), {"id": alert_id}).fetchone()
    if row is None:
        return None
    steps = connection.execute(statement("case_steps"), {"id": alert_id}).fetchall()
    taken = [CaseStep(step, ns_of(at), who, text) for step, at, who, text in steps]
    taken.sort(key=lambda done: STEPS.index(done.step))
    return Case(alert_id, ns_of(row[0]), row[1], tuple(taken))
