"""What an alert is: one episode of one rule about one subject and component in one run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from openvrc.contracts.detection import Severity, SubjectType

AlertState = Literal["active", "recovering", "cleared", "historical"]
"""States people see. "pending" exists only inside `AlertBook`: nothing has been said yet.

"historical" is an episode that only late data told of: stored and shown, never notified."""

Change = Literal["opened", "updated", "recovering", "cleared", "historical"]

OPEN_STATES: tuple[AlertState, ...] = ("active", "recovering")
_ID_BYTES = 10
"""80 bits: among a billion alerts two share an id with a chance of one in a million."""


@dataclass(frozen=True)
class Alert:
    """One alert as it stands after a transition; times are event time, UTC epoch ns."""

    id: str
    run_id: str
    origin: str
    zone: str
    rule: str
    kind: str
    """The part of the rule's name before the dot."""
    severity: Severity
    state: AlertState
    subject_type: SubjectType
    subject_id: str
    component: str
    segment_id: str
    lat_deg: float | None
    lon_deg: float | None
    started_at_ns: int
    detected_at_ns: int
    """Event time or watermark, whichever is later, at which the finding came out."""
    cleared_at_ns: int | None
    """When the condition ended; None while it is open."""
    confidence: float
    title: str
    advice: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    is_unknown: bool = False
    """The subject went silent: whether the condition still holds is not known."""
    folded_into: str = ""
    """Id of the `platform.alert_storm` that speaks for this alert; "" when it speaks itself."""

    @property
    def is_open(self) -> bool:
        """Whether somebody may still have to act on it."""
        return self.state in OPEN_STATES

    def changed(self, **fields: Any) -> Self:
        """A copy with some fields changed.

        As `dataclasses.replace`, but 2 us instead of 58: in a storm this is the hot path.
        """
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, **fields)
        return copy


@dataclass(frozen=True)
class AlertTransition:
    """One change of one alert. `sequence` counts the transitions of the run, from 1."""

    alert: Alert
    change: Change
    sequence: int
    at_ns: int
    """Event time of the finding or watermark that caused it."""


def alert_id_of(run_id: str, rule: str, subject_id: str, component: str, started_at_ns: int) -> str:
    """The same episode has the same id in every process, before and after a restart.

    >>> alert_id_of("live", "traffic.congestion", "e1", "", 0)
    'df9f09d52addb9340c70'
    """
    words = "\n".join((run_id, rule, subject_id, component, str(started_at_ns)))
    return hashlib.blake2b(words.encode(), digest_size=_ID_BYTES).hexdigest()


def alert_to_json(alert: Alert) -> dict[str, Any]:
    """JSON values of every field, for a checkpoint."""
    values = {name: getattr(alert, name) for name in Alert.__dataclass_fields__}
    return values | {"severity": int(alert.severity), "evidence": dict(alert.evidence)}


def alert_from_json(values: Mapping[str, Any]) -> Alert:
    """What `alert_to_json` wrote."""
    return Alert(**{**values, "severity": Severity(values["severity"])})


def transition_to_json(told: AlertTransition) -> dict[str, Any]:
    """JSON values of a transition."""
    values = {name: getattr(told, name) for name in AlertTransition.__dataclass_fields__}
    return values | {"alert": alert_to_json(told.alert)}


def transition_from_json(values: Mapping[str, Any]) -> AlertTransition:
    """What `transition_to_json` wrote."""
    return AlertTransition(**{**values, "alert": alert_from_json(values["alert"])})
