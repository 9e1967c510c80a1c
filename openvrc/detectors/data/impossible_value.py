"""`data.impossible_value`: a battery frame says what cannot be.

| component | impossible when |
|---|---|
| `frame` | over half of the cells given are no measurement: the whole frame is disbelieved |
| `cell_voltages_v` | a cell at 0.1 V or less, or at 5 V or more |
| `probe_temperatures_degc` | a probe at -40 degC or less, or over 210 (codes 254, 255, 511) |
| `pack_current_a` | 1000 A or more (code 0 is -1000 A) |
| `pack_voltage_v` | over 5 % and 10 V away from the sum of its cells, all of them measured |
| `soc_ratio` | over 0.10 + 0.003 per s between frames up to 60 s apart (10 C is 0.0028 per s) |
| `odometer_m` | 0 after another value, back by over 1 km, ahead by over 2 km + 70 m/s |

Each finding's evidence names its `reason`: `nonsense_frame`, `zero_row` (every cell 0 V),
`module_dropout` (four cells in a row and more), `cell_out_of_range`, `probe_sentinel` (codes from
210 degC on), `probe_out_of_range`, `current_sentinel`, `voltage_not_sum_of_cells`, `soc_step`,
`odometer_zero`, `odometer_step`.

The first four are what `battery/cleaning.py` masks, so these findings tell why a battery
detector is silent; they say nothing about the battery. An episode is over after 60 s without.
A value that is absent is no finding and is stepped over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.battery import cleaning
from openvrc.detectors.battery.cleaning import BoolArray, FloatArray
from openvrc.detectors.battery.frames import NEVER_NS, SEEN, Rows, chained, usable_rows
from openvrc.detectors.data.quiet_episodes import episode_fields, episode_findings, fold_episodes
from openvrc.detectors.keyed import Keyed

LEAST_MODULE = 4  # cells side by side: a module, or the chip that reads it
QUIET_NS = 60 * NS_PER_S  # sensor dirt comes in bursts of seconds; one burst is one finding
SUM_RATIO, SUM_V = 0.05, 10.0  # real packs: within 1 % at rest and 3 % while the current moves
CONTACTORS_OPEN_V = 60.0  # a pack voltage below it is the link's after the contactors opened
SOC_JUMP, SOC_JUMP_PER_S = 0.10, 0.003
SOC_SPAN_NS = 60 * NS_PER_S  # after a pause the BMS may rightly correct itself
ODOMETER_BACK_M, ODOMETER_AHEAD_M, ODOMETER_MPS = 1e3, 2e3, 70.0

RULE = Rule(
    name="data.impossible_value",
    title="A battery signal has an impossible value",
    meaning="The vehicle reports a value that cannot be physical; it is left out of all judgement.",
    advice="Check the sensor, its wiring and the unit or offset of the mapping.",
    pending_for_s=0.0,
    recovering_for_s=0.0,
    actionable_for_s=3600.0,
)

SIGNALS = (
    "frame",
    "cell_voltages_v",
    "probe_temperatures_degc",
    "pack_current_a",
    "pack_voltage_v",
    "soc_ratio",
    "odometer_m",
)
_FIELDS: dict[str, tuple[Any, Any]] = {
    **SEEN,
    **{name: spec for signal in SIGNALS for name, spec in episode_fields(signal).items()},
    "soc_at_ns": (np.int64, NEVER_NS),
    "soc_ratio": (np.float64, np.nan),
    "odometer_at_ns": (np.int64, NEVER_NS),
    "odometer_m": (np.float64, np.nan),
}

Describe = Callable[[int], dict[str, Any]]
"""Evidence of row i of the usable rows."""


@dataclass
class State:
    """Per vehicle: last SoC and odometer, episodes of each signal."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))


@dataclass(frozen=True)
class _Check:
    is_bad: BoolArray
    describe: Describe


class ImpossibleValue:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames: each check is a mask over rows."""
        rows = usable_rows(batch, state.vehicles)
        if len(rows) == 0:
            return state, []
        alarm_level = batch.column("bms_alarm_level")[rows.row]
        found: list[tuple[int, Finding]] = []
        for signal, check in _checks(rows, batch, state.vehicles).items():
            turns = fold_episodes(rows, check.is_bad, state.vehicles, signal, QUIET_NS)
            found += episode_findings(
                RULE.name, state.vehicles, rows, signal, turns,
                _evidence_of(signal, check, alarm_level),
                f"{signal} has been plausible for {QUIET_NS // NS_PER_S} s.",
            )  # fmt: skip
        # In order of the rows: alerting must see a clear before the raise that follows it.
        found.sort(key=lambda pair: (pair[0], pair[1].phase))
        return state, [finding for _, finding in found]

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: only frames end an episode."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields."""
        return state.vehicles.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        return State(Keyed.restore(_FIELDS, arrays))


def _checks(rows: Rows, batch: Batch, vehicles: Keyed) -> dict[str, _Check]:
    cells_v = cleaning.dense(batch, "cell_voltages_v")
    is_measured = cleaning.is_cell_measured(cells_v)
    is_nonsense = cleaning.is_frame_nonsense(cells_v, is_measured)
    bad_cells = ~is_measured & ~np.isnan(cells_v)
    probes_degc = cleaning.dense(batch, "probe_temperatures_degc")
    bad_probes = ~cleaning.is_probe_measured(probes_degc) & ~np.isnan(probes_degc)
    current_a = batch.column("pack_current_a")
    row = rows.row
    has_bad_cell = np.asarray(bad_cells.any(axis=1)) & ~is_nonsense
    has_bad_probe = np.asarray(bad_probes.any(axis=1))
    return {
        "frame": _Check(is_nonsense[row], _listed(cells_v, bad_cells, row, "cells", "v")),
        "cell_voltages_v": _Check(
            has_bad_cell[row],
            _listed(cells_v, bad_cells, row, "cells", "v"),
        ),
        "probe_temperatures_degc": _Check(
            has_bad_probe[row], _listed(probes_degc, bad_probes, row, "probes", "degc")
        ),
        "pack_current_a": _Check(
            (np.abs(current_a) >= cleaning.CURRENT_LIMIT_A)[row],
            lambda i: {
                "reason": "current_sentinel",
                "pack_current_a": round(float(current_a[row[i]]), 1),
                "limit_a": cleaning.CURRENT_LIMIT_A,
            },
        ),
        "pack_voltage_v": _pack_sum(rows, batch, cells_v, is_measured),
        "soc_ratio": _soc_jump(rows, batch, is_nonsense, vehicles),
        "odometer_m": _odometer_jump(rows, batch, is_nonsense, vehicles),
    }


def _reason(what: str, n_given: int, places: npt.NDArray[np.int64], worst: FloatArray) -> str:
    """Kind of dirt of a frame's cells or probes at these places."""
    if what == "probes":
        is_code = bool((worst >= cleaning.PROBE_HIGH_DEGC).any())
        return "probe_sentinel" if is_code else "probe_out_of_range"
    if len(places) == n_given and not bool((worst > 0).any()):
        return "zero_row"
    if len(places) > cleaning.FRAME_INVALID_SHARE * n_given:
        return "nonsense_frame"
    in_a_row = np.diff(np.flatnonzero(np.diff(places, prepend=-9, append=10**6) != 1)).max()
    return "module_dropout" if in_a_row >= LEAST_MODULE else "cell_out_of_range"


def _listed(
    values: FloatArray, is_bad: BoolArray, row: npt.NDArray[np.int64], what: str, unit: str
) -> Describe:
    limits = {
        "v": (cleaning.CELL_LOW_V, cleaning.CELL_HIGH_V),
        "degc": (cleaning.PROBE_LOW_DEGC, cleaning.PROBE_HIGH_DEGC),
    }[unit]

    def describe(i: int) -> dict[str, Any]:
        places = np.flatnonzero(is_bad[row[i]])
        worst = values[row[i], places]
        n_given = int((~np.isnan(values[row[i]])).sum())
        return {
            "reason": _reason(what, n_given, places, worst),
            what: (places[:100] + 1).tolist(),
            f"n_{what}": len(places),
            f"lowest_{unit}": round(float(worst.min(initial=np.inf)), 4),
            f"highest_{unit}": round(float(worst.max(initial=-np.inf)), 4),
            f"limit_low_{unit}": limits[0],
            f"limit_high_{unit}": limits[1],
        }

    return describe


def _pack_sum(rows: Rows, batch: Batch, cells_v: FloatArray, is_measured: BoolArray) -> _Check:
    n_given = np.diff(batch.lists("cell_voltages_v")[1])
    is_whole = (is_measured.sum(axis=1) == n_given) & (n_given > 0)
    sum_v = np.where(is_measured, cells_v, np.float32(0)).sum(axis=1)
    pack_v = batch.column("pack_voltage_v")
    limit_v = np.maximum(SUM_RATIO * sum_v, SUM_V)
    is_bad = is_whole & (pack_v >= CONTACTORS_OPEN_V) & (np.abs(pack_v - sum_v) > limit_v)

    def describe(i: int) -> dict[str, Any]:
        return {
            "reason": "voltage_not_sum_of_cells",
            "pack_voltage_v": round(float(pack_v[rows.row[i]]), 2),
            "sum_of_cells_v": round(float(sum_v[rows.row[i]]), 2),
            "limit_v": round(float(limit_v[rows.row[i]]), 2),
        }

    return _Check(is_bad[rows.row], describe)


def _steps(
    rows: Rows, values: npt.NDArray[Any], keep: BoolArray, vehicles: Keyed, names: tuple[str, str]
) -> tuple[npt.NDArray[np.int64], Rows, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rows with a value, each with the value before it: (places in `rows`, rows, now, before)."""
    place = np.flatnonzero(keep)
    chain = chained(rows.where(keep), vehicles, names[1])
    now = values[keep].astype(np.float64)
    before = np.empty_like(now)
    before[1:] = now[:-1]
    before[chain.is_first] = vehicles[names[0]][chain.slot[chain.is_first]]
    if len(chain):
        is_last = np.append(chain.is_first[1:], True)
        vehicles[names[0]][chain.slot[is_last]] = now[is_last]
    return place, chain, now, before


def _soc_jump(rows: Rows, batch: Batch, is_nonsense: BoolArray, vehicles: Keyed) -> _Check:
    soc = batch.column("soc_ratio")[rows.row]
    keep = ~np.isnan(soc) & ~is_nonsense[rows.row]
    place, chain, now, before = _steps(rows, soc, keep, vehicles, ("soc_ratio", "soc_at_ns"))
    span_ns = chain.at_ns - np.maximum(chain.previous_at_ns, 0)
    limit = SOC_JUMP + SOC_JUMP_PER_S * span_ns / NS_PER_S
    is_bad = np.zeros(len(rows), np.bool_)
    is_bad[place] = (np.abs(now - before) > limit) & (span_ns <= SOC_SPAN_NS)

    def describe(i: int) -> dict[str, Any]:
        at = int(np.searchsorted(place, i))
        return {
            "reason": "soc_step",
            "soc_before_ratio": round(float(before[at]), 4),
            "soc_ratio": round(float(now[at]), 4),
            "limit_step_ratio": round(float(limit[at]), 4),
            "span_s": float(span_ns[at]) / NS_PER_S,
        }

    return _Check(is_bad, describe)


def _odometer_jump(rows: Rows, batch: Batch, is_nonsense: BoolArray, vehicles: Keyed) -> _Check:
    odometer_m = batch.column("odometer_m")[rows.row]
    keep = (odometer_m > 0) & ~is_nonsense[rows.row]
    known_before = vehicles["odometer_m"][rows.slot]
    place, chain, now, before = _steps(
        rows, odometer_m, keep, vehicles, ("odometer_m", "odometer_at_ns")
    )
    span_ns = chain.at_ns - np.maximum(chain.previous_at_ns, 0)
    ahead_m = ODOMETER_AHEAD_M + ODOMETER_MPS * span_ns / NS_PER_S
    is_bad = np.zeros(len(rows), np.bool_)
    step_m = now - before
    is_bad[place] = (step_m < -ODOMETER_BACK_M) | (step_m > ahead_m)
    # The value each row follows: the latest kept one of its vehicle, else the stored one.
    index = np.arange(len(rows))
    first = np.maximum.accumulate(np.where(rows.is_first, index, 0))
    latest = np.maximum.accumulate(np.where(keep, index, -1))
    known = np.where(latest >= first, odometer_m[latest], known_before)
    is_bad |= (odometer_m == 0) & (known > 0)

    def describe(i: int) -> dict[str, Any]:
        at = min(int(np.searchsorted(place, i)), len(place) - 1)
        if odometer_m[i] == 0:
            return {
                "reason": "odometer_zero",
                "odometer_m": 0.0,
                "odometer_before_m": round(float(known[i])),
                "limit_back_m": ODOMETER_BACK_M,
            }
        return {
            "reason": "odometer_step",
            "odometer_m": round(float(now[at])),
            "odometer_before_m": round(float(before[at])),
            "limit_back_m": ODOMETER_BACK_M,
            "limit_ahead_m": round(float(ahead_m[at])),
            "span_s": float(span_ns[at]) / NS_PER_S,
        }

    return _Check(is_bad, describe)


def _evidence_of(signal: str, check: _Check, alarm_level: npt.NDArray[np.int64]) -> Describe:
    def evidence(i: int) -> dict[str, Any]:
        level = int(alarm_level[i])
        told = check.describe(i) | {"bms_alarm_level": None if level == ABSENT_I64 else level}
        return {"text": f"{signal} has an impossible value: {_summary(told)}.", **told}

    return evidence


def _summary(evidence: dict[str, Any]) -> str:
    numbers = [(k, v) for k, v in evidence.items() if isinstance(v, int | float)]
    return ", ".join(f"{name} {value:g}" for name, value in numbers[:3])


PLUGIN: Detector = ImpossibleValue()
