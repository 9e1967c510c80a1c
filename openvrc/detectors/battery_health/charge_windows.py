"""Charge windows: ampere-hours against displayed state of charge, from SoC step to SoC step.

A window is a run of frames that charge: the BMS says "parked charging", or at least 1 A flows in.
Chargers pause: frames below 5 A of discharge belong to it for two minutes. It ends with a load,
with a longer pause, with a minute without a frame, and where the SoC jumps by more than a current
could move it (the BMS corrected itself). Its span counts from the first change of the displayed
SoC to the last one under current, so that a display of whole percents costs no accuracy (whole
windows of a real car agree within 0.2 % that way, 1.07 % from frame to frame). Current is
integrated by trapezoids, in integers of 0.01 A x 1 ms / 2, which are exact.

A frame without current or SoC is bridged like a missing frame. That SoC rises while charging is
not asked of each frame: only a window of 30 % says anything, and such a one has risen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import column_of
from openvrc.contracts.units import NS_PER_MS, NS_PER_S
from openvrc.detectors.battery.cleaning import BoolArray, clean_scalar
from openvrc.detectors.battery.frames import NEVER_NS, Rows, chained
from openvrc.detectors.battery.rest_batches import REST_CURRENT_A
from openvrc.detectors.battery_health.previous import gap_ns, last_of_vehicle, previous_values
from openvrc.detectors.keyed import Keyed

LEAST_SPAN_RATIO = 0.30  # below, one window misses by 9 points of SoH and more
LEAST_CHARGE_A = 1.0  # a parked pack's sensor offset stays under it
LOAD_A = REST_CURRENT_A  # below it heating and control draw in a pause; counted, not an end
LONGEST_PAUSE_NS = 120 * NS_PER_S  # a sensor offset of 0.5 A adds 0.02 A h meanwhile
LONGEST_GAP_NS = 60 * NS_PER_S  # charging current changes slowly: a trapezoid bridges a minute
SOC_JUMP_RATIO = 0.03  # 1.8 C for a minute; the jumps seen in real logs are of 5, 8 and 20 %

_COUNTS_PER_A, _COUNTS_PER_SOC = 100, 10_000
_COUNTS_PER_AH = 2 * _COUNTS_PER_A * 3_600_000
_NONE = -1
PARKED_CHARGING = column_of("battery_state", "charging_state").values.index("parked_charging")
_EDGE_FIELDS = ("first_soc", "first_charge", "last_soc", "last_charge")

CHARGE_FIELDS = {
    "charge_at_ns": (np.int64, NEVER_NS),
    "charge_a": (np.int64, 0),
    "charge_soc": (np.int64, 0),
    "was_calm": (np.bool_, False),
    "charging_at_ns": (np.int64, NEVER_NS),
    "charge": (np.int64, 0),  # since the vehicle's first frame; 10^10 A h fit
    **dict.fromkeys(_EDGE_FIELDS, (np.int64, _NONE)),  # of the open window
}

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """Charge windows (w,) of at least 30 % span, each vehicle's in order."""

    slot: IntArray
    span_ratio: npt.NDArray[np.float64]
    charge_ah: npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Links:
    """Frames (n,) with current and SoC, and how each joins the one before."""

    rows: Rows
    is_joined: BoolArray
    soc: IntArray
    is_step: BoolArray
    """The displayed SoC changed with this frame, while current flowed in."""
    charge: IntArray
    """Charge since the vehicle's first frame, at this frame."""


def closed_windows(batch: Batch, rows: Rows, is_nonsense: BoolArray, vehicles: Keyed) -> Windows:
    """Windows that ended in this batch; the open one of each vehicle stays in `vehicles`."""
    links = _links(batch, rows, is_nonsense, vehicles)
    begins = np.flatnonzero(~links.is_joined | links.rows.is_first)
    slot = links.rows.slot[begins]
    edges = _edges(links, begins)
    is_head = links.rows.is_first[begins]
    stored = np.stack([vehicles[name][slot] for name in _EDGE_FIELDS], axis=1)
    goes_on = is_head & links.is_joined[begins] & (stored[:, 0] != _NONE)
    has_step = edges[:, 0] != _NONE
    edges[goes_on, :2] = stored[goes_on, :2]
    edges[goes_on & ~has_step, 2:] = stored[goes_on & ~has_step, 2:]
    is_last = np.append(is_head[1:], True) if len(is_head) else is_head
    for place, name in enumerate(_EDGE_FIELDS):
        vehicles[name][slot[is_last]] = edges[is_last, place]
    ended = is_head & ~links.is_joined[begins]
    return _windows(
        np.concatenate([slot[ended], slot[~is_last]]),
        np.concatenate([stored[ended], edges[~is_last]]),
    )


def open_windows(vehicles: Keyed) -> Windows:
    """What the open windows would give if they ended now."""
    edges = np.stack([vehicles[name] for name in _EDGE_FIELDS], axis=1)
    return _windows(np.arange(len(vehicles)), edges)


def _windows(slot: IntArray, edges: IntArray) -> Windows:
    span = edges[:, 2] - edges[:, 0]
    charge = edges[:, 3] - edges[:, 1]
    kept = np.flatnonzero((span >= LEAST_SPAN_RATIO * _COUNTS_PER_SOC) & (charge > 0))
    return Windows(slot[kept], span[kept] / _COUNTS_PER_SOC, charge[kept] / _COUNTS_PER_AH)


def _links(batch: Batch, rows: Rows, is_nonsense: BoolArray, vehicles: Keyed) -> _Links:
    amps = clean_scalar(batch, "pack_current_a", is_nonsense)[rows.row]
    socs = clean_scalar(batch, "soc_ratio", is_nonsense)[rows.row]
    keep = np.isfinite(amps) & np.isfinite(socs)
    rows = chained(rows.where(keep), vehicles, "charge_at_ns")
    current = _counts(amps[keep], _COUNTS_PER_A)
    soc = _counts(socs[keep], _COUNTS_PER_SOC)
    is_parked = batch.column("charging_state")[rows.row] == PARKED_CHARGING
    previous_soc = previous_values(rows, soc, vehicles, "charge_soc")
    is_joined = _goes_on_charging(rows, current, is_parked, vehicles)
    is_joined &= np.abs(soc - previous_soc) <= SOC_JUMP_RATIO * _COUNTS_PER_SOC
    taken = -(current + previous_values(rows, current, vehicles, "charge_a"))
    gap_ms = np.where(is_joined, (rows.at_ns - rows.previous_at_ns) // NS_PER_MS, 0)
    charge = _running(rows, taken * gap_ms, vehicles)
    is_step = is_joined & (soc != previous_soc) & (current <= -LEAST_CHARGE_A * _COUNTS_PER_A)
    return _Links(rows, is_joined, soc, is_step, charge)


def _goes_on_charging(
    rows: Rows, current: IntArray, is_parked: BoolArray, vehicles: Keyed
) -> BoolArray:
    """(n,) whether a frame continues the charge, or the short pause, of the frame before."""
    is_charging = is_parked | (current <= -LEAST_CHARGE_A * _COUNTS_PER_A)
    is_calm = is_parked | (current < LOAD_A * _COUNTS_PER_A)
    goes_on = is_calm & previous_values(rows, is_calm, vehicles, "was_calm")
    goes_on &= gap_ns(rows) <= LONGEST_GAP_NS
    newest = _newest(rows, is_charging, vehicles["charging_at_ns"])
    charged_at_ns = previous_values(rows, newest, vehicles, "charging_at_ns")
    pause_ns = rows.at_ns.astype(np.float64) - charged_at_ns
    is_still_charging: BoolArray = goes_on & (pause_ns <= LONGEST_PAUSE_NS)
    return is_still_charging


def _newest(rows: Rows, is_event: BoolArray, before_ns: IntArray) -> IntArray:
    """Time (n,) of each vehicle's newest event up to each row; `before_ns` (n_vehicles,)."""
    place = np.arange(len(rows))
    head = np.maximum.accumulate(np.where(rows.is_first, place, 0))
    newest = np.maximum.accumulate(np.where(is_event, place, -1))
    return np.where(newest >= head, rows.at_ns[newest], before_ns[rows.slot])


def _counts(values: npt.NDArray[np.float32], per_unit: int) -> IntArray:
    return np.rint(values.astype(np.float64) * per_unit).astype(np.int64)


def _running(rows: Rows, added: IntArray, vehicles: Keyed) -> IntArray:
    """Sum (n,) of each vehicle's charge up to each row, over all batches."""
    total = np.cumsum(added)
    heads = np.flatnonzero(rows.is_first)
    offset = vehicles["charge"][rows.slot[heads]] - (total[heads] - added[heads])
    total += np.repeat(offset, np.diff(np.append(heads, len(rows))))
    is_last = last_of_vehicle(rows)
    vehicles["charge"][rows.slot[is_last]] = total[is_last]
    return total


def _edges(links: _Links, begins: IntArray) -> IntArray:
    """SoC and charge at the first and at the last SoC step (g, 4) of each run of joined frames."""
    edges = np.full((len(begins), len(_EDGE_FIELDS)), _NONE, np.int64)
    step = np.flatnonzero(links.is_step)
    group = np.searchsorted(begins, step, side="right") - 1
    found, first, sizes = np.unique(group, return_index=True, return_counts=True)
    for place, at in ((0, step[first]), (2, step[first + sizes - 1])):
        edges[found, place], edges[found, place + 1] = links.soc[at], links.charge[at]
    return edges
