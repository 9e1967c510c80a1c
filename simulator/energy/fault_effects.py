"""What a fault does to a vehicle's frames: one function a mode, by the table in `faults.py`.

Frames are those of one vehicle and day, in order. What a fault carries from day to day (charge
drained, a frozen value) is in its `Memory`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.energy import cell
from simulator.energy.faults import Fault

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

GROUP_LOSS_W_PER_K = 6.0
"""Of one parallel group to its neighbours and the cold plate, beyond its pack."""
GROUP_FOLLOWS_S = 105.0
NEXT_PROBE_SHARE = 0.4
RUNAWAY_K, RUNAWAY_V, DEAD_V = 80.0, 2.0, 0.1
FIRST_SEEN_DEGC = 105.0
"""Field cases were over 100 degC in their first frame, whatever the weather."""
HEATS_K_PER_S = 0.15
RUNAWAY_OHM = 10_000.0
INSULATION_AFTER_S = 6.0
HOTTEST_DEGC = 210.0
"""Where probes end: GB/T 32960 has no code beyond."""


@dataclass
class Frames:
    """n frames of one vehicle; faults change these arrays in place."""

    time_s: FloatArray  # (n,) after the run's start
    current_a: Float32Array  # (n,) true
    soc_ratio: FloatArray  # (n,) true
    capacity_ah: float
    group_ohm: float
    """Resistance at once of one parallel group."""
    chemistry: int
    true_cells_v: Float32Array  # (n, n_cells) at the cells
    read_cells_v: Float32Array  # (n, n_cells) as the monitor reads them
    probes_degc: Float32Array  # (n, n_probes)
    insulation_ohm: FloatArray  # (n,)
    displayed_ratio: FloatArray  # (n,) charge, before its resolution


@dataclass
class Memory:
    """What a fault carries on."""

    drained_ah: float = 0.0
    last_s: float | None = None
    frozen_v: float | None = None


Effect = Callable[[Frames, Fault, Memory, np.random.Generator], None]


def apply(frames: Frames, fault: Fault, memory: Memory, random: np.random.Generator) -> None:
    """Change the frames as the fault does from its start on; modes of the pack alone do nothing."""
    effect = EFFECTS.get(fault.mode)
    if effect is not None and len(frames.time_s):
        effect(frames, fault, memory, random)


def _on(frames: Frames, fault: Fault) -> BoolArray:
    until_s = np.inf if fault.to_s is None else fault.to_s
    return (frames.time_s >= fault.from_s) & (frames.time_s < until_s)


def _grown(frames: Frames, fault: Fault) -> FloatArray:
    """0 before the fault, 1 when it is fully there, linear over `grows_for_s`."""
    span_s = float(fault.detail.get("grows_for_s", 0.0))
    share = (frames.time_s - fault.from_s) / max(span_s, 1.0)
    return np.clip(share, 0.0, 1.0) * _on(frames, fault)


def _shift(frames: Frames, place: int, shift_v: FloatArray | Float32Array) -> None:
    """Truly other volts at a cell: the monitor reads them too."""
    frames.true_cells_v[:, place] += shift_v
    frames.read_cells_v[:, place] += shift_v


def _emptier_v(frames: Frames, lacks_ratio: FloatArray) -> Float32Array:
    """What a cell that lacks this share of charge (n,) has less at rest."""
    code = np.full(len(lacks_ratio), frames.chemistry, np.int64)
    there = cell.open_circuit_v(frames.soc_ratio, code)
    return cell.open_circuit_v(np.maximum(frames.soc_ratio - lacks_ratio, -0.02), code) - there


def drained_ah(frames: Frames, fault: Fault, memory: Memory) -> FloatArray:
    """Charge (n,) that the leak V/R has taken up to each frame, carried on from day to day."""
    start_s = memory.last_s if memory.last_s is not None else fault.from_s
    until_s = np.inf if fault.to_s is None else fault.to_s
    edges = np.clip(np.concatenate([[start_s], frames.time_s]), fault.from_s, until_s)
    volts = frames.true_cells_v[:, fault.cells[0] - 1]
    taken = np.diff(edges) * np.maximum(volts, 0.0) / fault.severity / cell.S_PER_H
    total = memory.drained_ah + np.cumsum(taken)
    memory.drained_ah, memory.last_s = float(total[-1]), float(frames.time_s[-1])
    return np.asarray(total)


def _self_discharge(
    frames: Frames, fault: Fault, memory: Memory, _random: np.random.Generator
) -> None:
    if frames.time_s[-1] < fault.from_s:
        return
    is_on = _on(frames, fault)
    total = drained_ah(frames, fault, memory)
    _shift(frames, fault.cells[0] - 1, _emptier_v(frames, total / frames.capacity_ah * is_on))


def _internal_short(
    frames: Frames, fault: Fault, memory: Memory, random: np.random.Generator
) -> None:
    if frames.time_s[-1] < fault.from_s:
        return
    is_on = _on(frames, fault)
    place = fault.cells[0] - 1
    total = drained_ah(frames, fault, memory)
    volts = np.maximum(frames.true_cells_v[:, place], 0.0)
    drop = volts / fault.severity * frames.group_ohm
    _shift(frames, place, (_emptier_v(frames, total / frames.capacity_ah) - drop) * is_on)
    since_s = np.maximum(frames.time_s - fault.from_s, 0.0)
    warm_k = volts**2 / fault.severity / GROUP_LOSS_W_PER_K
    _heat(frames, fault, warm_k * (1 - np.exp(-since_s / GROUP_FOLLOWS_S)) * is_on)
    _runaway(frames, fault, fault.from_s + float(fault.detail["runaway_after_s"]), random)


def _thermal_event(
    frames: Frames, fault: Fault, _memory: Memory, random: np.random.Generator
) -> None:
    _runaway(frames, fault, fault.from_s, random)


def _heat(frames: Frames, fault: Fault, excess_k: FloatArray) -> None:
    """Excess (n,) at the fault's probe, some of it at the next ones."""
    place, n = fault.probe - 1, frames.probes_degc.shape[1]
    for probe, share in (
        (place, 1.0),
        (place - 1, NEXT_PROBE_SHARE),
        (place + 1, NEXT_PROBE_SHARE),
    ):
        if 0 <= probe < n:
            frames.probes_degc[:, probe] += (share * excess_k).astype(np.float32)


def _runaway(frames: Frames, fault: Fault, at_s: float, random: np.random.Generator) -> None:
    """From `at_s`: the cell to 2 V, its probe up by 80 K and more, then cell after cell."""
    since_s = frames.time_s - at_s
    burns = since_s >= 0
    if not burns.any():
        return
    n_cells = frames.true_cells_v.shape[1]
    place = fault.cells[0] - 1
    lost = np.floor(np.maximum(since_s, 0.0) / float(fault.detail["cell_every_s"])).astype(int)
    order = _spreading(place, n_cells, int(lost.max()) + 3)
    for rank, victim in enumerate(order[:3]):  # the first ones sag at once, as seen in the field
        sag = (RUNAWAY_V, 0.5 + 3.0 * random.random(), 0.3 + 3.2 * random.random())[rank]
        level = np.minimum(frames.true_cells_v[:, victim], sag)
        _set_cell(frames, victim, level, burns)
    for rank, victim in enumerate(order):
        _set_cell(frames, victim, np.full(len(burns), DEAD_V), burns & (lost >= rank + 1))
    cold_k = FIRST_SEEN_DEGC - frames.probes_degc[:, fault.probe - 1]
    rise = np.maximum(RUNAWAY_K, cold_k) + HEATS_K_PER_S * np.maximum(since_s, 0.0)
    _heat(frames, fault, np.where(burns, rise, 0.0))
    np.minimum(frames.probes_degc, HOTTEST_DEGC, out=frames.probes_degc)
    leaks = since_s >= INSULATION_AFTER_S
    frames.insulation_ohm[leaks] = np.minimum(frames.insulation_ohm[leaks], RUNAWAY_OHM)


def _spreading(place: int, n_cells: int, count: int) -> list[int]:
    """Cells by distance from the first one."""
    order = sorted(range(n_cells), key=lambda other: (abs(other - place), other))
    return order[: min(count, n_cells)]


def _set_cell(
    frames: Frames, place: int, volts: FloatArray | Float32Array, where: BoolArray
) -> None:
    for cells in (frames.true_cells_v, frames.read_cells_v):
        cells[where, place] = volts[where]


def _micro_short(
    frames: Frames, fault: Fault, _memory: Memory, random: np.random.Generator
) -> None:
    n = len(frames.time_s)
    per_frame = float(fault.detail["per_hour"]) / 360.0
    starts = (random.random(n) < per_frame) & _on(frames, fault)
    depth = np.zeros(n)
    lengths = random.integers(1, 4, n)
    sizes = fault.severity * random.uniform(0.6, 1.0, n)
    for start in np.flatnonzero(starts).tolist():
        depth[start : start + lengths[start]] = sizes[start]
    _shift(frames, fault.cells[0] - 1, -depth)


def _connection(
    frames: Frames, fault: Fault, _memory: Memory, _random: np.random.Generator
) -> None:
    ohm = fault.severity * _grown(frames, fault)
    _shift(frames, fault.cells[0] - 1, -frames.current_a * ohm)


def _sampling(frames: Frames, fault: Fault, memory: Memory, random: np.random.Generator) -> None:
    is_on = _on(frames, fault)
    read = frames.read_cells_v
    first = fault.cells[0] - 1
    how = fault.detail["how"]
    if how == "neighbours":
        wobble = fault.severity * is_on * random.uniform(0.5, 1.0, len(is_on))
        read[:, first] += wobble
        read[:, fault.cells[1] - 1] -= wobble
    elif how == "extreme":
        hour = np.floor(frames.time_s / cell.S_PER_H).astype(np.int64)
        loose = is_on & ((hour * 2_654_435_761 >> 8) % 5 < 2)  # loose in two hours of five
        read[loose, first] = np.where((hour[loose] >> 1) % 2 == 0, 0.0, 5.0)
    elif is_on.any():
        if memory.frozen_v is None:
            memory.frozen_v = float(read[np.flatnonzero(is_on)[0], first])
        read[is_on, first] = memory.frozen_v


def _insulation(frames: Frames, fault: Fault, _memory: Memory, random: np.random.Generator) -> None:
    share = (frames.time_s - fault.from_s) / float(fault.detail["falls_for_s"])
    share = np.clip(share, 0.0, 1.0) * _on(frames, fault)
    wobble = np.exp(random.normal(0.0, 0.05, len(share)) * share)
    frames.insulation_ohm *= (fault.severity / frames.insulation_ohm) ** share * wobble


def _cell_capacity(
    frames: Frames, fault: Fault, _memory: Memory, _random: np.random.Generator
) -> None:
    ratio = 1.0 - (1.0 - fault.severity) * _grown(frames, fault)
    # Balanced near full, so the small cell is the first one empty.
    lacks = (0.95 - frames.soc_ratio) * (1.0 / ratio - 1.0)
    _shift(frames, fault.cells[0] - 1, _emptier_v(frames, lacks))


def _module_offset(
    frames: Frames, fault: Fault, _memory: Memory, _random: np.random.Generator
) -> None:
    places = np.array(fault.cells) - 1
    shift = fault.severity * _grown(frames, fault)
    frames.read_cells_v[:, places] += shift.astype(np.float32)[:, None]


def _soc_jump(frames: Frames, fault: Fault, _memory: Memory, _random: np.random.Generator) -> None:
    """Each jump fades over half a day, as the BMS finds its way back."""
    since_s = np.where(_on(frames, fault), frames.time_s - fault.from_s, np.nan)
    since_s = since_s % float(fault.detail["every_s"])
    frames.displayed_ratio += np.nan_to_num(fault.severity * np.exp(-since_s / 43_200.0))


EFFECTS: dict[str, Effect] = {
    "self_discharge": _self_discharge,
    "internal_short": _internal_short,
    "thermal_event": _thermal_event,
    "micro_short": _micro_short,
    "connection": _connection,
    "sampling": _sampling,
    "insulation": _insulation,
    "cell_capacity": _cell_capacity,
    "module_offset": _module_offset,
    "soc_jump": _soc_jump,
}
