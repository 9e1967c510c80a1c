"""`data.repeated_frame`: a battery frame is told again.

| component | what is repeated |
|---|---|
| `sampled_at` | the time: a second frame of the vehicle's newest moment, whatever its values |
| `frame` | the values: a buffer of old frames under new times |

Real terminals do both: gateways send a record twice, and a 30-frame buffer that an alarm empties
came 11.5 hours late under new times. The battery rules take a moment once; a repeated buffer shows
them nothing but an old state of charge, and this finding tells why a SoC seems to jump.

A frame under a load of 2 A or more is told by a 32-bit hash of its current, pack voltage, charge
and every eighth cell (of a driven pack these are never the same twice for long). One in eight, by
the hash itself, is remembered with its time: the newest 256 of a vehicle, 3 kB, half a day of
driving at 10 s. A hash seen ten minutes or longer ago is a repeat; two within five minutes that lie
equally far back, give or take ten seconds, are a buffer. An episode is over after ten minutes
without.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.frames import SEEN, Rows, usable_rows
from openvrc.detectors.battery.view import View, ordered
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.data.quiet_episodes import episode_fields
from openvrc.detectors.keyed import Keyed

LOAD_A = 2.0
ONE_IN = 8
N_KEPT = 256
EACH_CELL = 8
LEAST_AGE_S, PAIR_S, SAME_AGE_S = 600, 300, 10
QUIET_NS = 600 * NS_PER_S

RULE = Rule(
    name="data.repeated_frame",
    title="A battery frame is told again",
    meaning="The vehicle repeats a moment, or sends old values under new times.",
    advice="Have terminal and gateway checked; what was repeated is no measurement.",
    actionable_for_s=3600.0,
)

_TIME, _FRAME = "sampled_at", "frame"
_FIELDS: dict[str, tuple[Any, Any]] = {
    **SEEN,
    **episode_fields(_TIME),
    **episode_fields(_FRAME),
    "n_kept": (np.int64, 0),
    "match_s": (np.int64, -(2**40)),
    "age_s": (np.int64, -1),
}
_RING = {"hash": (np.uint32, 0), "at_s": (np.int64, -(2**40))}
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
NEVER_NS = _FIELDS[f"{_TIME}.bad_at_ns"][1]
IntArray = npt.NDArray[np.int64]


@dataclass
class State:
    """Episodes, and the remembered frames of each vehicle."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))
    ring: Wide = field(default_factory=lambda: Wide(_RING))


class RepeatedFrame:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames: mostly nothing but an eighth of the hashes is kept."""
        view, vehicles = ordered(batch), state.vehicles
        if len(view) == 0:
            return state, []
        findings = _repeated_times(state, view)
        rows = usable_rows(batch, vehicles)
        state.ring.fit(len(vehicles), N_KEPT)
        is_loaded = np.abs(rows.of(view.current_a)) >= LOAD_A
        is_bad = np.zeros(len(rows), np.bool_)
        ages_s = np.zeros(len(rows), np.int64)
        if bool(is_loaded.any()):
            hashes = rows.of(_hashes(view))
            chosen = np.flatnonzero(is_loaded & (hashes % np.uint64(ONE_IN) == 0))
            _look_back(state, rows, hashes.astype(np.uint32), chosen, is_bad, ages_s)
        findings += _stale(state, rows, view, is_bad, ages_s)
        findings.sort(key=lambda finding: (finding.at_ns, finding.subject_id, finding.phase))
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: only frames repeat frames."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields and the remembered frames."""
        return state.vehicles.snapshot() | state.ring.snapshot("ring.")

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        return State(Keyed.restore(_FIELDS, arrays), Wide.restore(_RING, arrays, "ring."))


def _hashes(view: View) -> npt.NDArray[np.uint64]:
    """A hash (n,) of what each frame measured; the same on every machine."""
    parts = [view.scalar(name) for name in ("pack_current_a", "pack_voltage_v", "soc_ratio")]
    matrix = np.column_stack([*parts, view.cells_v[:, ::EACH_CELL]]).astype(np.float32)
    bits = np.ascontiguousarray(matrix).view(np.uint32).astype(np.uint64)
    odd = (np.arange(1, bits.shape[1] + 1, dtype=np.uint64) * _MULTIPLIER) | np.uint64(1)
    with np.errstate(over="ignore"):
        mixed: npt.NDArray[np.uint64] = (bits * odd).sum(axis=1, dtype=np.uint64) * _MULTIPLIER
    return mixed >> np.uint64(32)


def _look_back(
    state: State,
    rows: Rows,
    hashes: npt.NDArray[np.uint32],
    chosen: IntArray,
    is_bad: npt.NDArray[np.bool_],
    ages_s: IntArray,
) -> None:
    """Compare the chosen rows with those remembered, and remember them."""
    vehicles = state.vehicles
    at_s = rows.at_ns // NS_PER_S
    ring_hash, ring_s = state.ring["hash"], state.ring["at_s"]
    for i in chosen.tolist():  # an eighth of the frames under load
        slot, second = int(rows.slot[i]), int(at_s[i])
        found = np.flatnonzero(ring_hash[slot] == hashes[i])
        age_s = second - int(ring_s[slot, found].max(initial=-(2**40))) if len(found) else -1
        if LEAST_AGE_S <= age_s < 2**39:
            last_s, last_age_s = int(vehicles["match_s"][slot]), int(vehicles["age_s"][slot])
            is_pair = second - last_s <= PAIR_S and abs(age_s - last_age_s) <= SAME_AGE_S
            is_bad[i], ages_s[i] = is_pair, age_s
            vehicles["match_s"][slot], vehicles["age_s"][slot] = second, age_s
            continue  # the older one stays: a buffer may be sent again and again
        place = int(vehicles["n_kept"][slot]) % N_KEPT
        ring_hash[slot, place], ring_s[slot, place] = hashes[i], second
        vehicles["n_kept"][slot] += 1


def _repeated_times(state: State, view: View) -> list[Finding]:
    """Rows at a moment of their vehicle that was told already; before `usable_rows` drops them."""
    vehicles = state.vehicles
    slot = vehicles.slots_of(view.words)[view.place]
    previous = _newest_before(view, slot, vehicles["last_at_ns"])
    bad_at, started_at = vehicles[f"{_TIME}.bad_at_ns"], vehicles[f"{_TIME}.started_at_ns"]
    is_open = bad_at != NEVER_NS
    says_something = ~np.isnan(view.current_a) | (view.n_measured > 0)
    is_repeat = (view.at_ns == previous) & says_something
    if not (bool(is_repeat.any()) or bool(is_open[slot].any())):
        return []
    is_watched = is_open.copy()
    is_watched[slot[is_repeat]] = True
    findings = []
    for i in np.flatnonzero(is_watched[slot]).tolist():
        at, now_ns = int(slot[i]), int(view.at_ns[i])
        phase = _turn(bad_at, started_at, at, now_ns, bool(is_repeat[i]))
        for one, started_ns in phase:
            text = "The vehicle told two frames of the same moment; the first one counts."
            if one == "clear":
                text = "Each moment is told once again."
            told = (vehicles.keys[at], _TIME, now_ns, started_ns, bool(view.is_late[i]))
            findings.append(_finding(*told, one, {"text": text, "reason": "repeated_time"}))
    return findings


def _newest_before(view: View, slot: IntArray, last_at_ns: IntArray) -> IntArray:
    """Newest time (n,) of each row's vehicle before it, in this or an earlier batch."""
    previous = np.empty(len(view), np.int64)
    previous[1:] = view.at_ns[:-1]
    previous[view.is_first] = last_at_ns[slot[view.is_first]]
    for i in np.flatnonzero(view.at_ns < previous).tolist():  # a vehicle that changed zones
        if i + 1 < len(view) and not view.is_first[i + 1]:
            previous[i + 1] = previous[i]
    return previous


def _stale(
    state: State,
    rows: Rows,
    view: View,
    is_bad: npt.NDArray[np.bool_],
    ages_s: IntArray,
) -> list[Finding]:
    vehicles = state.vehicles
    bad_at, started_at = vehicles[f"{_FRAME}.bad_at_ns"], vehicles[f"{_FRAME}.started_at_ns"]
    is_open = bad_at != NEVER_NS
    if not (bool(is_bad.any()) or bool(is_open[rows.slot].any())):
        return []
    is_watched = is_open.copy()
    is_watched[rows.slot[is_bad]] = True
    findings = []
    for i in np.flatnonzero(is_watched[rows.slot]).tolist():
        at, now_ns = int(rows.slot[i]), int(rows.at_ns[i])
        for phase, started_ns in _turn(bad_at, started_at, at, now_ns, bool(is_bad[i])):
            age_h = int(ages_s[i]) / 3600
            evidence: dict[str, Any] = {"text": "Frames are new again.", "reason": "stale_repeat"}
            if phase == "raise":
                text = f"Frames repeat those of {age_h:.1f} h before under new times."
                evidence |= {"text": text, "age_s": int(ages_s[i])}
            evidence["bms_alarm_level"] = view.bms_alarm_level(int(rows.at[i]))
            told = (vehicles.keys[at], _FRAME, now_ns, started_ns, bool(rows.is_late[i]))
            findings.append(_finding(*told, phase, evidence))
    return findings


def _turn(
    bad_at: IntArray, started_at: IntArray, slot: int, now_ns: int, is_bad: bool
) -> list[tuple[Phase, int]]:
    """What one frame changes: an episode ends ten minutes after its last bad frame."""
    turns: list[tuple[Phase, int]] = []
    was_ns = int(bad_at[slot])
    if was_ns != NEVER_NS and now_ns - was_ns > QUIET_NS:
        turns.append(("clear", int(started_at[slot])))
        bad_at[slot] = was_ns = NEVER_NS
    if is_bad:
        if was_ns == NEVER_NS:
            started_at[slot] = now_ns
            turns.append(("raise", now_ns))
        bad_at[slot] = now_ns
    return turns


def _finding(
    vehicle: str,
    component: str,
    at_ns: int,
    started_at_ns: int,
    is_late: bool,
    phase: Phase,
    evidence: dict[str, Any],
) -> Finding:
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=vehicle,
        component=component,
        at_ns=at_ns,
        started_at_ns=started_at_ns,
        severity=Severity.INFO,
        evidence={
            **evidence,
            "span_started_at": iso_from_ns(started_at_ns),
            "span_ended_at": iso_from_ns(at_ns),
        },
        is_late=is_late,
    )


PLUGIN: Detector = RepeatedFrame()
