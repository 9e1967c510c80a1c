"""What every detector must satisfy, as checks that raise AssertionError with the reason.

They take any object that claims to be a Detector, so the suite can prove that they fail.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Detector, Finding
from openvrc.contracts.messages import message_type
from openvrc.contracts.units import NS_PER_S
from tests.conformance.worlds import ALLOWED_LATENESS_NS, World

TRAFFIC = (
    "congestion stopped_vehicle lane_blocked slow_vehicle lane_closed sudden_slowdown "
    "queue_spillback hard_braking wrong_way speeding red_light phantom_stop conflict"
)
BATTERY = (
    "thermal_event internal_short micro_short self_discharge connection sampling insulation "
    "cell_capacity cell_draining module_offset over_temperature temperature_spread over_voltage "
    "under_voltage over_charge over_discharge soc_jump current_sensor cooling plating bms_alarm"
)
NAMES = (
    {f"traffic.{word}" for word in TRAFFIC.split()}
    | {f"battery.{word}" for word in BATTERY.split()}
    | {"security.misbehaviour"}
)
OPEN_KINDS = ("data", "platform")
"""Kinds whose names the design leaves open."""

UNITS = (
    *("_v", "_mv", "_a", "_ohm", "_ohm_per_v", "_ah", "_w", "_kw", "_degc", "_k", "_kps"),
    *("_s", "_ns", "_m", "_mps", "_mps2", "_kmh", "_deg", "_rad", "_vpkm", "_vph", "_db"),
    *("_ratio", "_percent", "_per_h"),
)
UNITLESS = re.compile(
    r"(^|_)(n|frames?|count|counts|votes?|batches|agreeing|samples|score|index|level|method|text|"
    r"probe|probes|cell|cells|limit|lanes?|vehicles?|passers|at|reason|kind|segment|id|signal|"
    r"rate|severity|penetration|confidence|probability|class|source|windows|records|passed)(_|$)"
)
_COMPONENT = re.compile(r"^[a-z_0-9]*(:[0-9]+(-[0-9]+)?)?$")


@dataclass(frozen=True)
class Plan:
    """How a stream is handed over: cut positions in the merged rows, watermarks, a restart."""

    cuts: tuple[int, ...] = ()
    every_nth_tick: int = 1
    restart_after: int | None = None
    """Number of hand-overs after which the state goes through snapshot and restore."""


def merged_times(world: World, inputs: Sequence[str]) -> np.ndarray[Any, Any]:
    """Admission times of all rows of `inputs`, ascending."""
    times = [world.admitted_ns[m] for m in inputs if m in world.admitted_ns]
    return np.sort(np.concatenate(times)) if times else np.empty(0, np.int64)


def run(detector: Detector, world: World, plan: Plan = Plan()) -> list[Finding]:
    """All findings of a world under a plan, the last watermark being a minute past the end."""
    state: Any = detector.initial(world.context)
    findings: list[Finding] = []
    for n_steps, step in enumerate(steps(world, detector.inputs, plan), start=1):
        if isinstance(step, int):
            state, found = detector.advance(state, step)
        else:
            state, found = detector.update(state, step)
        findings += found
        if n_steps == plan.restart_after:
            state = restarted(detector, world, state)
    return findings


def check_snapshots_are_copies(detector: Detector, world: World, plan: Plan = Plan()) -> None:
    """A checkpoint is packed while the state goes on: its arrays must not go with it."""
    state: Any = detector.initial(world.context)
    taken: list[tuple[Arrays, Arrays]] = []
    for n_steps, step in enumerate(steps(world, detector.inputs, plan), start=1):
        if isinstance(step, int):
            state, _ = detector.advance(state, step)
        else:
            state, _ = detector.update(state, step)
        if n_steps % 10 == 1:
            arrays = detector.snapshot(state)
            taken.append((arrays, {name: array.copy() for name, array in arrays.items()}))
    for arrays, before in taken:
        for name, array in arrays.items():
            assert array.tobytes() == before[name].tobytes(), (
                f"{detector.name}: snapshot {name} changes with the state, expected a copy"
            )


def restarted(detector: Detector, world: World, state: Any) -> Any:
    """The state after a checkpoint written to arrays and read back."""
    arrays = {name: array.copy() for name, array in detector.snapshot(state).items()}
    _check_arrays(detector, arrays)
    return detector.restore(world.context, arrays)


def _check_arrays(detector: Detector, arrays: Arrays) -> None:
    for name, array in arrays.items():
        assert isinstance(array, np.ndarray), f"{detector.name}: snapshot {name} is no array"
        assert array.dtype.kind in "biufUS", (
            f"{detector.name}: snapshot {name} has dtype {array.dtype}"
        )


def steps(world: World, inputs: Sequence[str], plan: Plan) -> Iterable[Batch | int]:
    """Batches and watermarks in a lawful order: rows up to a watermark come before it."""
    messages = [m for m in inputs if m in world.batches]
    times = merged_times(world, messages)
    if not len(times):
        return
    first_ns = int(times[0]) // world.tick_step_ns * world.tick_step_ns
    step_ns = world.tick_step_ns * plan.every_nth_tick
    ticks = np.arange(first_ns + step_ns, world.end_ns, step_ns)
    # A tick for T comes when zone time is T + allowed lateness, before rows admitted then.
    events = [(int(np.searchsorted(times, t + ALLOWED_LATENESS_NS)), 1, int(t)) for t in ticks]
    events += [(cut, 0, 0) for cut in plan.cuts]
    events.append((len(times), 0, 0))
    given = dict.fromkeys(messages, 0)
    order = _merge_order(world, messages)
    position = 0
    for place, is_tick, watermark_ns in sorted(events):
        if place > position:
            chunk = order[position:place]
            for number, message in enumerate(messages):
                n_rows = int((chunk == number).sum())
                if n_rows:
                    yield world.batches[message].slice(given[message], n_rows)
                    given[message] += n_rows
            position = place
        if is_tick:
            yield watermark_ns
    yield world.end_ns + 60 * NS_PER_S


def _merge_order(world: World, messages: Sequence[str]) -> np.ndarray[Any, Any]:
    """Which message each merged row belongs to."""
    times = np.concatenate([world.admitted_ns[m] for m in messages])
    owner = np.concatenate([np.full(len(world.admitted_ns[m]), i) for i, m in enumerate(messages)])
    return owner[np.argsort(times, kind="stable")]


def as_multiset(findings: Iterable[Finding]) -> Counter[str]:
    """Findings in a form that compares by value, NaN equal to NaN."""
    return Counter(json.dumps(asdict(f), sort_keys=True, default=str) for f in findings)


def check_same(name: str, expected: list[Finding], found: list[Finding], what: str) -> None:
    """Both runs gave the same findings, in any order."""
    more, less = as_multiset(found), as_multiset(expected)
    assert more == less, (
        f"{name}: findings depend on {what}; only with it: {list(more - less)[:2]}, "
        f"only without: {list(less - more)[:2]}"
    )


def raised(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    """Subjects that the findings raise."""
    return {(f.subject_type, f.subject_id) for f in findings if f.phase == "raise"}


def check_texts(detector: Detector) -> None:
    """Name, kind and the texts people read."""
    name, rule = detector.name, detector.rule
    assert name == rule.name, f"plug-in {name!r} has rule {rule.name!r}"
    assert name in NAMES or name.split(".")[0] in OPEN_KINDS, f"{name!r} is not in the design"
    for word, text in (("title", rule.title), ("meaning", rule.meaning), ("advice", rule.advice)):
        assert len(text.split()) >= 1, f"{name}: {word} is empty"
    assert rule.meaning.endswith("."), f"{name}: no full sentences in meaning"
    assert rule.advice.endswith("."), f"{name}: no full sentences in advice"
    assert rule.actionable_for_s > 0, f"{name}: findings would never be current"
    for message in detector.inputs:
        message_type(message)
    assert detector.partition in ("zone", "vehicle"), f"{name}: partition {detector.partition!r}"


def check_findings(detector: Detector, findings: list[Finding]) -> None:
    """Each finding is well-formed, and episodes are raised before they are cleared."""
    open_since: dict[tuple[str, str, str, int], bool] = {}
    for f in findings:
        label = f"{detector.name} {f.subject_id} {f.component}"
        assert f.rule == detector.name, f"{label}: rule {f.rule!r}"
        assert f.started_at_ns <= f.at_ns, f"{label}: ends before it began"
        assert 0.0 < f.confidence <= 1.0, f"{label}: confidence {f.confidence}"
        assert f.component == "" or _COMPONENT.match(f.component), f"{label}: odd component"
        _check_evidence(label, f)
        key = (f.subject_type, f.subject_id, f.component, f.started_at_ns)
        if f.phase == "raise":
            open_since[key] = True
        elif f.phase == "clear":
            assert open_since.get(key), f"{label}: cleared an episode that is not open"
            open_since[key] = False


def _check_evidence(label: str, finding: Finding) -> None:
    text = json.dumps(dict(finding.evidence), allow_nan=False)  # raises for what JSON cannot hold
    assert json.loads(text) == dict(finding.evidence), f"{label}: evidence changes in JSON"
    if finding.phase != "raise":
        return
    sentence = finding.evidence.get("text")
    assert isinstance(sentence, str), f"{label}: no text"
    assert sentence.endswith("."), f"{label}: {sentence!r} is no sentence"
    for name, value in finding.evidence.items():
        if isinstance(value, bool) or not isinstance(value, float):
            continue
        has_unit = name.endswith(UNITS) or UNITLESS.search(name)
        assert has_unit, f"{label}: evidence {name} = {value} has no unit in its name"


def check_inputs_unchanged(detector: Detector, world: World, plan: Plan = Plan()) -> None:
    """Batches are read only."""
    before = {m: batch.data.serialize().to_pybytes() for m, batch in world.batches.items()}
    run(detector, world, plan)
    for message, batch in world.batches.items():
        after = batch.data.serialize().to_pybytes()
        assert after == before[message], f"{detector.name} changed a batch of {message}"
