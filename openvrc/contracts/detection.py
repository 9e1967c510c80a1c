"""What a detector is and what it finds (DESIGN rule 6): a pure fold over batches and watermarks.

The same records and ticks in any batch split and any tick spacing give the same findings; the
conformance suite proves it for every plug-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.maps import RoadMap

Arrays = dict[str, npt.NDArray[Any]]
"""A state as plain numpy arrays (numbers, bools or fixed-width text; never objects)."""

SubjectType = Literal["vehicle", "segment", "rsu", "signal", "charger", "source", "zone"]
Phase = Literal["raise", "clear", "unknown"]


FAILED_RULE_NAME = "platform.detector_failed"
"""Rule of the findings that say that a rule raised an error and begins anew."""


class Severity(IntEnum):
    """How bad; ordered."""

    INFO = 0
    WARNING = 1
    SERIOUS = 2
    CRITICAL = 3

    @property
    def word(self) -> str:
        """Lower-case name, as the API and files write it."""
        return self.name.lower()


@dataclass(frozen=True)
class Rule:
    """What a rule means to people, and how its findings become alerts."""

    name: str
    """Stable, dotted; the part before the dot is the alert's kind."""
    title: str
    meaning: str
    """One or two sentences: what is true in the world when this fires."""
    advice: str
    """What a person should do."""
    pending_for_s: float = 0.0
    """Event time a condition must hold before the alert becomes active."""
    recovering_for_s: float = 0.0
    """Event time it must stay away before the alert is cleared; bridges short gaps."""
    actionable_for_s: float = 600.0
    """Age up to which a finding from late data is still current, not historical."""
    tells_a_trait: bool = False
    """Says what its subject is like, not what happened to it: a healthy fleet that connects says
    it of all at once, which is no storm."""


@dataclass(frozen=True)
class Finding:
    """One statement of a detector about one subject and component at one event time.

    "raise" opens or updates (severity, evidence), "clear" ends, "unknown" says that the subject
    went silent. `started_at_ns` is when the condition began: a function of the records' event
    times only, never of batches or ticks; it identifies the episode.
    """

    rule: str
    phase: Phase
    subject_type: SubjectType
    subject_id: str
    at_ns: int
    started_at_ns: int
    severity: Severity = Severity.WARNING
    component: str = ""
    """The cell ("cell:81"), probe ("probe:3"), module ("cells:85-96") or lane ("lane:1")."""
    confidence: float = 1.0
    segment_id: str = ""
    lat_deg: float | None = None
    lon_deg: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """JSON values with units in their names: what was measured, against what limit, over which
    span; "text" holds one sentence for people."""
    is_late: bool = False
    is_superseded: bool = False
    """A newer record of the subject shows the contrary: history, however young."""


@dataclass(frozen=True)
class Context:
    """What a detector may know besides records: where it runs. Never a clock."""

    zone: str
    run_id: str
    origin: str
    road_map: RoadMap | None = None
    time_zone: str = "UTC"


class Detector(Protocol):
    """One rule. State is opaque to everybody else; it may be changed in place by its owner."""

    name: str
    """The rule's name; also the plug-in's."""
    rule: Rule
    inputs: tuple[str, ...]
    """Message names whose batches `update` wants."""
    partition: Literal["zone", "vehicle"]
    """"zone": one state per zone and run; "vehicle": one per run, over all its zones."""

    def initial(self, context: Context) -> Any:
        """A fresh state."""
        ...

    def update(self, state: Any, batch: Batch) -> tuple[Any, list[Finding]]:
        """Fold one batch of one of `inputs`.

        Per subject, batches come in order of admission; `lateness` marks what is out of order.
        """
        ...

    def advance(self, state: Any, watermark_ns: int) -> tuple[Any, list[Finding]]:
        """Zone time less the allowed lateness has reached `watermark_ns`.

        Everything up to it that is not late has been given to `update`.
        """
        ...

    def snapshot(self, state: Any) -> Arrays:
        """The state as arrays, for a checkpoint: copies, the state goes on to change meanwhile."""
        ...

    def restore(self, context: Context, arrays: Arrays) -> Any:
        """The state that `snapshot` wrote; continuing from it gives the same findings."""
        ...


def runs_at_edge(detector: Detector) -> bool:
    """Whether a rule says `runs_at = "edge"`: what must warn at once; others run in the cloud."""
    return getattr(detector, "runs_at", "cloud") == "edge"


def pack_words(words: list[str]) -> npt.NDArray[np.str_]:
    """Strings as a fixed-width array for `Arrays`; the empty list keeps a string type."""
    return np.array(words, dtype=np.str_) if words else np.empty(0, "<U1")
