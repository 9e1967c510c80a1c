"""Rules that judge single frames: how long a condition must hold, and the life of its episode.

A rule gives a level to each frame of a prepared view (0 fine, else a `Severity`); this module
keeps state only of vehicles whose level is not 0 or whose episode is open, so a healthy fleet
costs nothing but the judgement itself. An episode opens when a level has held for so many frames
in a row over so long; it clears after enough fine frames. A frame without the signal neither
confirms nor ends; a repeated time counts once.

Frames that arrive behind a newer one of their vehicle (a backlog) are judged on their own, in
their own order. What they show is told as late, and as superseded where a newer frame of the
vehicle shows the contrary: a rule that `remembers_fine` knows when the newest fine frame was; for
all others that a newer frame came is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import (
    Arrays,
    Context,
    Finding,
    Phase,
    Rule,
    Severity,
    pack_words,
)
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.frames import NEVER_NS
from openvrc.detectors.battery.masks import some
from openvrc.detectors.battery.profiles import Profiles
from openvrc.detectors.battery.view import View, belated, ordered
from openvrc.detectors.keyed import Keyed

_LEVELS = (1, 2, 3)
_FINE = {"fine_at_ns": (np.int64, NEVER_NS)}


@dataclass(frozen=True)
class Told:
    """What one frame says to people."""

    text: str
    evidence: Mapping[str, Any]
    confidence: float = 0.9
    component: str = ""


@dataclass(frozen=True)
class Judged:
    """Levels (n,) of a view's frames, and whether each frame says anything (n,)."""

    level: npt.NDArray[np.int8]
    known: Callable[[], npt.NDArray[np.bool_]]
    """Asked only where something is not fine or watched."""
    describe: Callable[[int, int], Told]
    """(row of the view, level) to what is said; asked of few rows."""

    @cached_property
    def is_known(self) -> npt.NDArray[np.bool_]:
        """What `known` says."""
        return self.known()


@dataclass(frozen=True)
class Hold:
    """Frames in a row, and the time from the first to the last of them."""

    frames: int = 1
    span_s: float = 0.0
    fine_frames: int = 3
    fine_span_s: float = 30.0


@dataclass
class _Watch:
    component: str = ""
    last_at_ns: int = NEVER_NS
    severity: int = 0
    started_at_ns: int = 0
    fine_frames: int = 0
    fine_since_ns: int = 0
    frames_1: int = 0
    since_1_ns: int = 0
    frames_2: int = 0
    since_2_ns: int = 0
    frames_3: int = 0
    since_3_ns: int = 0

    def count(self, level: int, at_ns: int) -> None:
        """One frame's level."""
        self.last_at_ns = at_ns
        for k in _LEVELS:
            frames = getattr(self, f"frames_{k}")
            if level >= k and frames == 0:
                setattr(self, f"since_{k}_ns", at_ns)
            setattr(self, f"frames_{k}", frames + 1 if level >= k else 0)
        if level:
            self.fine_frames = 0
        else:
            self.fine_since_ns = self.fine_since_ns if self.fine_frames else at_ns
            self.fine_frames += 1

    def held(self, hold: Hold) -> int:
        """The highest level that has held long enough."""
        levels = [0]
        for k in _LEVELS:
            span_ns = self.last_at_ns - getattr(self, f"since_{k}_ns")
            if getattr(self, f"frames_{k}") >= hold.frames and span_ns >= hold.span_s * NS_PER_S:
                levels.append(k)
        return max(levels)

    def is_over(self, hold: Hold) -> bool:
        span_ns = self.last_at_ns - self.fine_since_ns
        return self.fine_frames >= hold.fine_frames and span_ns >= hold.fine_span_s * NS_PER_S


Watched = dict[str, _Watch]
"""By vehicle."""


@dataclass
class State:
    """Vehicles that are not fine, by the order their frames came in."""

    in_order: Watched = field(default_factory=dict)
    late: Watched = field(default_factory=dict)
    fine: Keyed = field(default_factory=lambda: Keyed(_FINE))
    profiles: Profiles = field(default_factory=Profiles)


Judge = Callable[[View, Profiles], Judged]


class FrameRule:
    """A detector made of a rule, a judgement and how long it must hold."""

    partition: Literal["zone", "vehicle"] = "vehicle"

    def __init__(
        self,
        rule: Rule,
        judge: Judge,
        hold: Hold,
        *,
        wants_profiles: bool = False,
        remembers_fine: bool = False,
    ) -> None:
        self.name = rule.name
        self.rule = rule
        profile = ("vehicle_profile",) if wants_profiles else ()
        self.inputs: tuple[str, ...] = (*profile, "battery_state")
        self._judge = judge
        self._hold = hold
        self._remembers_fine = remembers_fine

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames or profiles."""
        if batch.message == "vehicle_profile":
            state.profiles.fold(batch)
            return state, []
        findings = self._fold_view(state, ordered(batch), state.in_order, is_belated=False)
        behind = belated(batch)
        if behind is not None:
            findings += self._fold_view(state, behind, state.late, is_belated=True)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: only frames open or end an episode."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All that is watched."""
        return (
            _watched_to_arrays(state.in_order, "in_order.")
            | _watched_to_arrays(state.late, "late.")
            | state.fine.snapshot("fine.")
            | state.profiles.snapshot()
        )

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        return State(
            _watched_from_arrays(arrays, "in_order."),
            _watched_from_arrays(arrays, "late."),
            Keyed.restore(_FINE, arrays, "fine."),
            Profiles.restore(arrays),
        )

    def _fold_view(
        self, state: State, view: View, watched: Watched, *, is_belated: bool
    ) -> list[Finding]:
        if len(view) == 0:
            return []
        judged = self._judge(view, state.profiles)
        if self._remembers_fine and not is_belated:
            _remember_fine(state.fine, view, judged)
        findings: list[Finding] = []
        for i in _rows_to_look_at(view, judged, watched).tolist():
            findings += self._fold_row(state, view, judged, watched, i, is_belated=is_belated)
        return findings

    def _fold_row(
        self,
        state: State,
        view: View,
        judged: Judged,
        watched: Watched,
        i: int,
        *,
        is_belated: bool,
    ) -> list[Finding]:
        vehicle, at_ns = view.vehicle(i), int(view.at_ns[i])
        level = int(judged.level[i])
        watch = watched.get(vehicle)
        if watch is not None and at_ns <= watch.last_at_ns:
            if not is_belated:
                return []  # a repeated time
            watch = None  # another backlog begins
        if watch is None:
            if level == 0:
                return []
            watch = watched[vehicle] = _Watch()
        watch.count(level, at_ns)
        phase = _turn(watch, self._hold)
        if phase == "clear" or (level == 0 and watch.severity == 0):
            del watched[vehicle]
        if phase is None:
            return []
        told = judged.describe(i, max(level, 1))
        watch.component = watch.component or told.component
        return [
            Finding(
                rule=self.rule.name,
                phase=phase,
                subject_type="vehicle",
                subject_id=vehicle,
                component=watch.component,
                at_ns=at_ns,
                started_at_ns=watch.started_at_ns,
                severity=Severity(watch.severity),
                confidence=told.confidence,
                evidence=_evidence(view, i, phase, watch, told),
                is_late=is_belated or bool(view.is_late[i]),
                is_superseded=is_belated and self._is_superseded(state, vehicle, at_ns),
            )
        ]

    def _is_superseded(self, state: State, vehicle: str, at_ns: int) -> bool:
        if not self._remembers_fine:
            return True
        if vehicle not in state.fine:
            return False
        return int(state.fine["fine_at_ns"][state.fine.slots([vehicle])[0]]) > at_ns


def _turn(watch: _Watch, hold: Hold) -> Phase | None:
    """What a counted frame changes about the episode."""
    held = watch.held(hold)
    if held > watch.severity:
        if watch.severity == 0:
            watch.started_at_ns = watch.since_1_ns
        watch.severity = held
        return "raise"
    return "clear" if watch.severity and watch.is_over(hold) else None


def _evidence(view: View, i: int, phase: Phase, watch: _Watch, told: Told) -> dict[str, Any]:
    at_ns = int(view.at_ns[i])
    text = told.text if phase == "raise" else "The condition has ended."
    return {
        "text": text,
        **told.evidence,
        "span_started_at": iso_from_ns(watch.started_at_ns),
        "span_ended_at": iso_from_ns(at_ns),
        "span_s": round((at_ns - watch.started_at_ns) / NS_PER_S, 1),
        "bms_alarm_level": view.bms_alarm_level(i),
    }


def _rows_to_look_at(view: View, judged: Judged, watched: Watched) -> npt.NDArray[np.int64]:
    """Known rows that are not fine, and all known rows of vehicles that are watched."""
    counts = judged.level > 0
    if watched:
        is_watched = view.is_one_of(list(watched))
    elif some(counts):
        is_watched = np.zeros(len(view.words), np.bool_)
    else:
        return np.empty(0, np.int64)
    is_watched[view.place[counts]] = True
    return np.flatnonzero(is_watched[view.place] & judged.is_known)


def _remember_fine(fine: Keyed, view: View, judged: Judged) -> None:
    is_fine = judged.is_known & (judged.level == 0)
    slot = fine.slots_of(view.words)[view.place[is_fine]]
    np.maximum.at(fine["fine_at_ns"], slot, view.at_ns[is_fine])


_NUMBERS = (
    *("last_at_ns", "severity", "started_at_ns", "fine_frames", "fine_since_ns"),
    *(f"{what}_{k}{unit}" for k in _LEVELS for what, unit in (("frames", ""), ("since", "_ns"))),
)


def _watched_to_arrays(watched: Watched, prefix: str) -> Arrays:
    numbers = [[getattr(watch, name) for name in _NUMBERS] for watch in watched.values()]
    return {
        f"{prefix}vehicles": pack_words(list(watched)),
        f"{prefix}components": pack_words([watch.component for watch in watched.values()]),
        f"{prefix}numbers": np.array(numbers, np.int64).reshape(-1, len(_NUMBERS)),
    }


def _watched_from_arrays(arrays: Arrays, prefix: str) -> Watched:
    watched: Watched = {}
    for vehicle, component, numbers in zip(
        arrays[f"{prefix}vehicles"].tolist(),
        arrays[f"{prefix}components"].tolist(),
        arrays[f"{prefix}numbers"].tolist(),
        strict=True,
    ):
        values = dict(zip(_NUMBERS, numbers, strict=True))
        watched[vehicle] = _Watch(component=component, **values)
    return watched
