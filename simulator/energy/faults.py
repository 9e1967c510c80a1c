"""Faults of packs, BMS and sensors: what can go wrong, how badly, when.

| mode | severity | what changes | how it shows |
|---|---|---|---|
| self_discharge | ohm | a leak V/R on one cell, until it is mended | rest deviation drifts |
| internal_short | ohm | hard short: drain, heat, runaway in minutes to hours | all of it |
| thermal_event | - | runaway without a precursor, driven or parked | first frame over 100 degC |
| micro_short | V | drops of one to three frames | single negative spikes |
| connection | ohm | resistance of one cell's joint | deviation in proportion to current |
| sampling | V | a wire between two cells: +x / -x; 0 or 5 V; frozen | neighbours anti-correlate |
| insulation | ohm | falls to this within days | ohm per volt |
| cell_capacity | ratio | one cell holds less | deviation grows with discharge |
| module_offset | V | a module's monitor drifts | a whole module aside |
| soc_jump | ratio | the displayed charge steps, again and again | against coulombs |
| current_sensor | ratio or A | gain or offset | coulombs against charge |
| plating | ratio per cycle | fast charges into a cold pack cost capacity | faster fade |
| cooling | ratio | share of the cooling left | temperature above the model |

A fault is plain numbers; `fault_effects.py` says what they do to frames, `day.py` what to packs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.energy.models import VehicleModel

S_PER_DAY = 86_400.0
MEND_AT_RATIO = 0.18
"""A cell this much emptier than its mates takes the car to a workshop."""


@dataclass(frozen=True)
class Fault:
    """One fault of one vehicle. Times are s after the run's start; cells count from 1."""

    mode: str
    vehicle: int
    from_s: float
    severity: float
    unit: str
    to_s: float | None = None
    """When it is mended; None lasts beyond the run."""
    cells: tuple[int, ...] = ()
    """The cells concerned, the first one foremost; () where no cell is."""
    probe: int = 0
    """The probe nearest to the first cell, from 1; 0 where none is."""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def rule(self) -> str:
        """The alert that should find it."""
        return f"battery.{self.mode}"

    @property
    def component(self) -> str:
        """As alerts name it."""
        if self.mode == "module_offset":
            return f"cells:{self.cells[0]}-{self.cells[-1]}"
        return f"cell:{self.cells[0]}" if self.cells else ""

    def is_on(self, time_s: float) -> bool:
        """Whether it acts at that time."""
        return self.from_s <= time_s and (self.to_s is None or time_s < self.to_s)


@dataclass(frozen=True)
class _Draw:
    """What a mode's own draw gives."""

    severity: float
    unit: str
    lasts_s: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    has_cell: bool = True


Draw = Callable[[VehicleModel, np.random.Generator], _Draw]


def _log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _self_discharge(model: VehicleModel, random: np.random.Generator) -> _Draw:
    ohm = _log_uniform(random, 100.0, 2000.0)
    return _Draw(ohm, "ohm", lasts_s=mended_after_s(model, ohm))


def mended_after_s(model: VehicleModel, leak_ohm: float) -> float:
    """How long a leak takes to empty its cell by `MEND_AT_RATIO`."""
    volts = model.cell.ocv_v[50]
    return MEND_AT_RATIO * model.rated_capacity_ah * 3600.0 * leak_ohm / volts


def _internal_short(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    runaway_s = _log_uniform(random, 1200.0, 10_800.0)
    return _Draw(
        _log_uniform(random, 0.3, 4.0),
        "ohm",
        detail={"runaway_after_s": round(runaway_s)} | _runaway(random),
    )


def _thermal_event(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    return _Draw(1.0, "", detail={"parked": bool(random.random() < 0.6)} | _runaway(random))


def _runaway(random: np.random.Generator) -> dict[str, Any]:
    """How a runaway spreads: seconds from cell to cell."""
    return {"cell_every_s": round(float(random.uniform(90, 300)))}


def _micro_short(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    per_hour = float(random.uniform(0.5, 3.0))
    return _Draw(float(random.uniform(0.02, 0.08)), "V", detail={"per_hour": round(per_hour, 2)})


def _connection(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    return _Draw(_log_uniform(random, 1e-4, 5e-4), "ohm", detail={"grows_for_s": 5 * S_PER_DAY})


def _sampling(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    how = ("neighbours", "neighbours", "extreme", "frozen")[int(random.integers(4))]
    return _Draw(float(random.uniform(0.03, 0.15)), "V", detail={"how": how})


def _insulation(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    takes_s = float(random.uniform(0.5, 10.0)) * S_PER_DAY
    return _Draw(
        _log_uniform(random, 8e3, 60e3), "ohm", detail={"falls_for_s": takes_s}, has_cell=False
    )


def _cell_capacity(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    return _Draw(float(random.uniform(0.82, 0.92)), "1", detail={"grows_for_s": 15 * S_PER_DAY})


def _module_offset(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    volts = float(random.uniform(0.025, 0.06)) * (1 if random.random() < 0.5 else -1)
    return _Draw(volts, "V", detail={"grows_for_s": 3 * S_PER_DAY})


def _soc_jump(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    step = float(random.uniform(0.08, 0.25)) * (1 if random.random() < 0.5 else -1)
    every_s = float(random.uniform(2.0, 8.0)) * S_PER_DAY
    return _Draw(step, "1", detail={"every_s": round(every_s)}, has_cell=False)


def _current_sensor(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    sign = 1 if random.random() < 0.5 else -1
    if random.random() < 0.5:
        return _Draw(
            sign * float(random.uniform(0.06, 0.15)), "1", detail={"how": "gain"}, has_cell=False
        )
    return _Draw(
        sign * float(random.uniform(2.0, 6.0)), "A", detail={"how": "offset"}, has_cell=False
    )


def _plating(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    return _Draw(float(random.uniform(0.002, 0.005)), "1", has_cell=False)


def _cooling(_model: VehicleModel, random: np.random.Generator) -> _Draw:
    return _Draw(float(random.uniform(0.05, 0.2)), "1", has_cell=False)


MODES: dict[str, Draw] = {
    "self_discharge": _self_discharge,
    "internal_short": _internal_short,
    "connection": _connection,
    "sampling": _sampling,
    "insulation": _insulation,
    "micro_short": _micro_short,
    "thermal_event": _thermal_event,
    "cell_capacity": _cell_capacity,
    "current_sensor": _current_sensor,
    "module_offset": _module_offset,
    "cooling": _cooling,
    "soc_jump": _soc_jump,
    "plating": _plating,
}

YARDSTICK = ("self_discharge", "internal_short", "connection", "sampling", "insulation")
"""The modes of T/CAAMTB's evaluation, of which it wants three vehicles each and more."""
OTHERS = (
    "micro_short", "thermal_event", "cell_capacity", "current_sensor", "module_offset", "cooling",
    "soc_jump", "plating",
)  # fmt: skip
NEEDS_FAST_CHARGES = ("cooling", "plating")
"""Modes that show at fast chargers only: their vehicle must use them."""


def mix(n: int) -> list[str]:
    """Modes of n faulty vehicles: two thirds from the yardstick, each mode in turn.

    >>> mix(6)
    ['self_discharge', 'internal_short', 'micro_short', 'connection', 'sampling', 'thermal_event']
    """
    modes = []
    core = other = 0
    for place in range(n):
        if place % 3 == 2:
            modes.append(OTHERS[other % len(OTHERS)])
            other += 1
        else:
            modes.append(YARDSTICK[core % len(YARDSTICK)])
            core += 1
    return modes


def drawn_fault(
    mode: str,
    vehicle: int,
    model: VehicleModel,
    *,
    from_s: float,
    random: np.random.Generator,
    cell: int | None = None,
    severity: float | None = None,
) -> Fault:
    """A fault of this mode, drawn where not given. Raises KeyError for an unknown mode."""
    drawn = MODES[mode](model, random)
    foremost = int(random.integers(1, model.series)) if cell is None else cell
    cells: tuple[int, ...] = (foremost,) if drawn.has_cell else ()
    if mode == "sampling" and drawn.detail["how"] == "neighbours":
        cells = (foremost, foremost + 1 if foremost < model.series else foremost - 1)
    if mode == "module_offset":
        first = (foremost - 1) // model.module_cells * model.module_cells + 1
        cells = tuple(range(first, first + model.module_cells))
    chosen = drawn.severity if severity is None else severity
    lasts_s = drawn.lasts_s
    if mode == "self_discharge":
        lasts_s = mended_after_s(model, chosen)
    probe = min((foremost - 1) * model.probes // model.series + 1, model.probes) if cells else 0
    return Fault(
        mode=mode,
        vehicle=vehicle,
        from_s=from_s,
        to_s=None if lasts_s is None else from_s + lasts_s,
        severity=float(f"{chosen:.4g}"),
        unit=drawn.unit,
        cells=cells,
        probe=probe,
        detail=drawn.detail,
    )
