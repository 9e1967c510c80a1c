"""A container terminal's roads: quay, yard, chargers and gate; trucks without drivers keep apart.

Automated trucks go round: under the quay cranes westwards (`apron_k`), down, along the stacks
eastwards (`hand_k`), and up again; two aisles in the middle shorten the way. Trucks from outside
come through a gate and drive along the other end of the stacks. Whatever serves a truck has an edge
of its own beside the road, a *berth*: `crane_k`, `stack_k`, `bay_k`, `stall_k`, `gate_k`, so that
who waits for it holds up nobody else. Cranes are numbered from the east, stacks and bays from the
west.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.builder import LANE_WIDTH_M, Builder, Road
from simulator.traffic.network import TrafficNetwork

PITCH_M = 130.0  # from one crane, or stack, to the next
GAP_M = 24.0  # of a junction
AUTOMATED_MPS, GATE_MPS, LAND_MPS = 6.0, 4.0, 25 / 3.6
"""Automated trucks drive at 6 m/s (Konecranes' data sheet); others at 25 km/h in the terminal."""
QUAY_Y_M, HAND_Y_M, LAND_Y_M, BACK_Y_M = 0.0, -90.0, -300.0, -340.0
BERTH_AT_M = 8.0
"""How far before a berth's end the truck stands."""
ORIGIN = 30.34, 122.06

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Terminal:
    """The network, and how many of everything there are."""

    network: TrafficNetwork
    cranes: int
    stacks: int
    stalls: int
    gates: int

    def berth(self, edge_id: str) -> tuple[int, float]:
        """Lane and offset at which who is served on an edge stands."""
        lane = self.network.lane(edge_id, 0)
        return lane, float(self.network.length_m[lane]) - BERTH_AT_M

    def stacks_xy_m(self) -> list[tuple[float, float]]:
        """The middle of each stack."""
        middle_m = (HAND_Y_M + LAND_Y_M) / 2
        return [((k + 0.5) * PITCH_M, middle_m) for k in range(self.stacks)]


def build(cranes: int, stalls: int, gates: int) -> Terminal:
    """A terminal with as many stacks as cranes; two cranes at least."""
    builder = Builder(*ORIGIN)
    _automated(builder, cranes)
    _chargers(builder, cranes, stalls)
    _landside(builder, cranes, gates)
    return Terminal(builder.network(), cranes, cranes, stalls, gates)


def _road(
    builder: Builder, name: str, ends: tuple[str, str], points: list[tuple[float, float]],
    mps: float, lanes: int = 1,
) -> None:  # fmt: skip
    """A road whose leftmost lane's left edge runs through these points."""
    line = np.array(points, np.float64)
    lines = tuple(_right_of(line, (lanes - index - 0.5) * LANE_WIDTH_M) for index in range(lanes))
    builder.road(Road(name, *ends, lines, mps))


def _right_of(line: FloatArray, right_m: float) -> FloatArray:
    """The line moved to its right; its pieces keep their directions."""
    step = np.diff(line, axis=0)
    step /= np.hypot(step[:, 0], step[:, 1])[:, None]
    before, behind = step[[0, *range(len(step))]], step[[*range(len(step)), -1]]
    normal = before + behind
    normal /= ((normal * before).sum(axis=1))[:, None]
    return np.asarray(line + right_m * np.column_stack([normal[:, 1], -normal[:, 0]]))


def _automated(builder: Builder, n: int) -> None:
    """The loop of the automated trucks, with an aisle up in its middle."""
    east_m, half = n * PITCH_M, GAP_M / 2
    for k in range(n):
        high, low = east_m - k * PITCH_M - half, east_m - (k + 1) * PITCH_M + half
        ends = (f"q{k}", f"q{k + 1}")
        _road(builder, f"apron_{k}", ends, [(high, QUAY_Y_M), (low, QUAY_Y_M)], AUTOMATED_MPS, 2)
        beside_m = QUAY_Y_M + 3.5 * LANE_WIDTH_M
        _road(builder, f"crane_{k}", ends, [(high, beside_m), (low, beside_m)], AUTOMATED_MPS)
        low, high = k * PITCH_M + half, (k + 1) * PITCH_M - half
        ends = (f"h{k}", f"h{k + 1}")
        _road(builder, f"hand_{k}", ends, [(low, HAND_Y_M), (high, HAND_Y_M)], AUTOMATED_MPS, 2)
        beside_m = HAND_Y_M - 3.5 * LANE_WIDTH_M
        _road(builder, f"stack_{k}", ends, [(low, beside_m), (high, beside_m)], AUTOMATED_MPS)
    down, up = [(0.0, QUAY_Y_M - 20), (0.0, HAND_Y_M + 20)], (HAND_Y_M + 20, QUAY_Y_M - 20)
    _road(builder, "down", (f"q{n}", "h0"), down, AUTOMATED_MPS, 2)
    _road(builder, "up", (f"h{n}", "q0"), [(east_m, y) for y in up], AUTOMATED_MPS, 2)
    middle = n // 2
    x_m = middle * PITCH_M
    _road(builder, "aisle_up", (f"h{middle}", f"q{n - middle}"), [(x_m, y) for y in up],
          AUTOMATED_MPS)  # fmt: skip
    for k in range(n - 1):
        _connect(builder, f"apron_{k}", f"apron_{k + 1}", f"crane_{k}", f"crane_{k + 1}")
        _connect(builder, f"hand_{k}", f"hand_{k + 1}", f"stack_{k}", f"stack_{k + 1}")
    for name in ("apron", "crane"):
        _turn(builder, f"{name}_{n - 1}", "down", name == "apron")
    for name in ("hand", "stack"):
        _turn(builder, f"{name}_{n - 1}", "up", name == "hand")
        builder.connect("down", f"{name}_0", [(0, 0), (1, 1)] if name == "hand" else [(0, 0)])
    builder.connect("up", "apron_0", [(0, 0), (1, 1)])
    builder.connect("up", "crane_0", [(0, 0)])
    builder.connect(f"hand_{middle - 1}", "aisle_up", [(1, 0)])
    builder.connect("aisle_up", f"apron_{n - middle}", [(0, 1)])


def _connect(builder: Builder, road: str, onward: str, berth: str, next_berth: str) -> None:
    """Two pieces of a road with a berth beside each: the right lane leads to and from them."""
    builder.connect(road, onward, [(0, 0), (1, 1)])
    builder.connect(road, next_berth, [(0, 0)])
    builder.connect(berth, onward, [(0, 0)])
    builder.connect(berth, next_berth, [(0, 0)])


def _turn(builder: Builder, road: str, goal: str, is_wide: bool) -> None:
    builder.connect(road, goal, [(0, 0), (1, 1)] if is_wide else [(0, 0)])


def _chargers(builder: Builder, n: int, stalls: int) -> None:
    """A way down from the loop's eastern end, stalls side by side, and a way back to the aprons."""
    x_m = n * PITCH_M + 40.0
    _road(builder, "charge_in", (f"h{n}", "charge"),
          [(x_m - 28, HAND_Y_M), (x_m, HAND_Y_M), (x_m + 60, HAND_Y_M)], AUTOMATED_MPS)  # fmt: skip
    last_m = x_m + 170.0
    for k in range(stalls):
        y_m = HAND_Y_M - (k - (stalls - 1) / 2) * 6.0
        _road(builder, f"stall_{k}", ("charge", "charged"), [(x_m + 95, y_m), (x_m + 130, y_m)],
              GATE_MPS)  # fmt: skip
        builder.connect("charge_in", f"stall_{k}", [(0, 0)])
        builder.connect(f"stall_{k}", "charge_out", [(0, 0)])
    top_m = QUAY_Y_M + 0.5 * LANE_WIDTH_M
    _road(builder, "charge_out", ("charged", "q0"),
          [(last_m, HAND_Y_M), (last_m + 30, HAND_Y_M + 20), (last_m + 30, top_m - 30),
           (last_m, top_m), (n * PITCH_M + 30, top_m)], AUTOMATED_MPS)  # fmt: skip
    builder.connect(f"hand_{n - 1}", "charge_in", [(0, 0)])
    builder.connect(f"stack_{n - 1}", "charge_in", [(0, 0)])
    builder.connect("charge_out", "apron_0", [(0, 0)])
    builder.connect("charge_out", "crane_0", [(0, 0)])


def _landside(builder: Builder, n: int, gates: int) -> None:
    """From the gate along the stacks' southern ends and back."""
    east_m, half = n * PITCH_M, GAP_M / 2
    _road(builder, "in_gate", ("outside", "gate"),
          [(east_m + 330, LAND_Y_M), (east_m + 130, LAND_Y_M)], LAND_MPS)  # fmt: skip
    for k in range(gates):
        y_m = LAND_Y_M + (k - (gates - 1) / 2) * 6.0
        _road(builder, f"gate_{k}", ("gate", "inside"),
              [(east_m + 95, y_m), (east_m + 60, y_m)], GATE_MPS)  # fmt: skip
        builder.connect("in_gate", f"gate_{k}", [(0, 0)])
        builder.connect(f"gate_{k}", f"land_{n - 1}", [(0, 0)])
        builder.connect(f"gate_{k}", f"bay_{n - 1}", [(0, 0)])
    for k in range(n):
        high, low = (k + 1) * PITCH_M - half, k * PITCH_M + half
        if k == n - 1:
            high += 30.0
        ends = ("inside" if k == n - 1 else f"l{k + 1}", f"l{k}")
        _road(builder, f"land_{k}", ends, [(high, LAND_Y_M), (low, LAND_Y_M)], LAND_MPS, 2)
        beside_m = LAND_Y_M + 3.5 * LANE_WIDTH_M
        _road(builder, f"bay_{k}", ends, [(high, beside_m), (low, beside_m)], LAND_MPS)
        if k:
            _connect(builder, f"land_{k}", f"land_{k - 1}", f"bay_{k}", f"bay_{k - 1}")
    _road(builder, "out_gate", ("l0", "away"),
          [(-20.0, LAND_Y_M), (-40.0, LAND_Y_M - 12), (-40.0, BACK_Y_M + 12),
           (-20.0, BACK_Y_M), (east_m + 330, BACK_Y_M)], LAND_MPS)  # fmt: skip
    builder.connect("land_0", "out_gate", [(0, 0), (1, 0)])
    builder.connect("bay_0", "out_gate", [(0, 0)])
