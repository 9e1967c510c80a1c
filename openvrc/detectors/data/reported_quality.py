"""`data.reported_quality`: a vehicle's own protocol says that something in its frames is wrong.

| component | raised when the sender |
|---|---|
| a signal (`pack_voltage_v`, `cell_voltages_v`, ...) | marks it abnormal or invalid, or sends a raw value out of range |
| `cell_extremes_disagree`, `probe_extremes_disagree` | states extremes that its own list does not have |
| `pack_voltages_disagree` | states two voltages of one pack, over 5 % and 10 V apart |
| `list_misplaced` | numbers cells that no pack can have |
| `position_invalid`, `position_out_of_range`, `datum_unknown` | gives a position that is none |
| `rest_unread` | sends a report whose rest nobody can read |

The statements are `quality_bits` of `battery_state` (contracts/quality.py), set by the codec. They are
about data, never about the battery. An episode is over after 120 s without: four reports.
"""  # noqa: E501 (a table)

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts import quality
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.battery.frames import SEEN, Rows, usable_rows
from openvrc.detectors.data.quiet_episodes import episode_fields, episode_findings, fold_episodes
from openvrc.detectors.keyed import Keyed

QUIET_NS = 120 * NS_PER_S

RULE = Rule(
    name="data.reported_quality",
    title="A vehicle's frames contradict themselves or mark values as wrong",
    meaning="The sender marks a signal as abnormal or invalid, sends it out of range, or makes two "
    "statements that cannot both be true; the values concerned are left out or doubtful.",
    advice="Check the sensor or the terminal's encoder; the evidence names the statements.",
    pending_for_s=0.0,
    recovering_for_s=0.0,
    actionable_for_s=3600.0,
)

MASK_OF: dict[str, int] = {
    **{
        signal: sum(quality.signal_bit(signal, state) for state in quality.STATES)
        for signal in quality.SIGNALS
    },
    **{statement: quality.statement_bit(statement) for statement in quality.STATEMENTS},
}
"""The bits of each component."""
_LISTS = ("cell_voltages_v", "probe_temperatures_degc")
_MEANING = {
    "cell_extremes_disagree": "The stated extreme cell voltages are not those of the list",
    "probe_extremes_disagree": "The stated extreme temperatures are not those of the list",
    "pack_voltages_disagree": "The vehicle's and the pack's voltage of one frame differ",
    "list_misplaced": "Cells or probes are numbered as no pack can have them",
    "position_invalid": "The position is marked invalid, or is 0, 0",
    "position_out_of_range": "The position lies outside the protocol's range",
    "datum_unknown": "The coordinate system of the position is not known",
    "rest_unread": "A part of the report could not be read",
}
_STATED = {
    "cell_extremes_disagree": ("cell_voltages_v", "highest_cell_v", "lowest_cell_v"),
    "probe_extremes_disagree": (
        "probe_temperatures_degc", "highest_probe_degc", "lowest_probe_degc",
    ),
}  # fmt: skip
_FIELDS: dict[str, tuple[Any, Any]] = {
    **SEEN,
    **{name: spec for part in MASK_OF for name, spec in episode_fields(part).items()},
}


@dataclass
class State:
    """Per vehicle: episodes of each component."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))


class ReportedQuality:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames of protocols that speak of quality; each component is a mask over rows."""
        has_bits = batch.column("quality_bits") != ABSENT_I64
        if not has_bits.any():
            return state, []
        if not has_bits.all():
            batch = batch.filter(has_bits)
        rows = usable_rows(batch, state.vehicles)
        bits = batch.column("quality_bits")[rows.row]
        found: list[tuple[int, Finding]] = []
        for part, mask in MASK_OF.items():
            own_bits = bits & mask
            turns = fold_episodes(rows, own_bits != 0, state.vehicles, part, QUIET_NS)
            found += episode_findings(
                RULE.name, state.vehicles, rows, part, turns,
                partial(_evidence, batch, rows, part, own_bits),
                f"{part} has been without fault for {QUIET_NS // NS_PER_S} s.",
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


def _evidence(
    batch: Batch, rows: Rows, part: str, bits: npt.NDArray[np.int64], i: int
) -> dict[str, Any]:
    """What the frame of usable row i says, in words and numbers; `bits` (n,) are the part's own."""
    names, row = quality.names_of(int(bits[i])), int(rows.row[i])
    if part in _MEANING:
        numbers = _numbers(batch, row, part)
        text = _MEANING[part]
    else:
        states = [name.rpartition(".")[2].replace("_", " ") for name in names]
        text = f"The sender calls {part} {' and '.join(states)}"
        numbers = _absent(batch, row, part) if part in _LISTS else {}
    said = ", ".join(f"{name} {value:g}" for name, value in numbers.items())
    return {"text": f"{text}: {said}." if said else f"{text}.", "statements": names, **numbers}


def _numbers(batch: Batch, row: int, part: str) -> dict[str, float]:
    if part == "pack_voltages_disagree":
        cells_v = _list(batch, row, "cell_voltages_v")
        return _known({
            "pack_voltage_v": _scalar(batch, row, "pack_voltage_v"),
            "sum_of_cells_v": float(np.nansum(cells_v)) if len(cells_v) else np.nan,
        })  # fmt: skip
    if part not in _STATED:
        return {}
    name, highest, lowest = _STATED[part]
    values = _list(batch, row, name)
    has_any = not bool(np.isnan(values).all())
    return _known({
        f"stated_{highest}": _scalar(batch, row, highest),
        f"listed_{highest}": float(np.nanmax(values)) if has_any else np.nan,
        f"stated_{lowest}": _scalar(batch, row, lowest),
        f"listed_{lowest}": float(np.nanmin(values)) if has_any else np.nan,
    })  # fmt: skip


def _absent(batch: Batch, row: int, name: str) -> dict[str, float]:
    values = _list(batch, row, name)
    return {"absent": int(np.isnan(values).sum()), "of": len(values)}


def _list(batch: Batch, row: int, name: str) -> npt.NDArray[np.float32]:
    values, offsets = batch.lists(name)
    return values[offsets[row] : offsets[row + 1]]


def _scalar(batch: Batch, row: int, name: str) -> float:
    return float(batch.column(name)[row])


def _known(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items() if not np.isnan(value)}


PLUGIN: Detector = ReportedQuality()
