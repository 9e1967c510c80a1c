"""What a cell is made of: parameter sets with their sources.

| set | cell | source |
|---|---|---|
| `NMC` | LG M50, NMC811 on graphite-silicon, 5 A.h | Chen 2020, doi:10.1149/1945-7111/ab9050 |
| `LFP` | LFP on graphite, scaled to 5 A.h | OCV: Prada 2013, doi:10.1149/2.053304jes |

The open-circuit tables are those parameter sets' own electrode potentials between their voltage
limits, at each percent of charge. The NMC circuit is fitted to PyBaMM's SPMe (docs/energy.md). The
LFP circuit is none of a measured cell: resistances as of a large prismatic one, the same form.
Hysteresis after Plett 2004, doi:10.1016/j.jpowsour.2004.02.033: one state from -1 (after discharge)
to 1 (after charge). All resistances are of one cell of `capacity_ah`; a pack has many in parallel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_NMC_OCV_V = (
    2.5, 2.7114, 2.8625, 2.9712, 3.0504, 3.1094, 3.1553, 3.1933, 3.2276, 3.2614, 3.2959, 3.3307,
    3.3637, 3.3924, 3.4157, 3.4339, 3.448, 3.4592, 3.4687, 3.4772, 3.4852, 3.4932, 3.5014, 3.5099,
    3.519, 3.5286, 3.5386, 3.5491, 3.5599, 3.5707, 3.5814, 3.5919, 3.6019, 3.6115, 3.6205, 3.629,
    3.6372, 3.6449, 3.6524, 3.6597, 3.667, 3.6743, 3.6817, 3.6894, 3.6972, 3.7054, 3.7139, 3.7227,
    3.7319, 3.7413, 3.7509, 3.7606, 3.7702, 3.7798, 3.7892, 3.7983, 3.8072, 3.8158, 3.8242, 3.8324,
    3.8406, 3.849, 3.8578, 3.8673, 3.8779, 3.8896, 3.902, 3.9145, 3.9266, 3.9377, 3.9479, 3.9575,
    3.9668, 3.9759, 3.985, 3.9943, 4.0037, 4.0133, 4.023, 4.0326, 4.0421, 4.0513, 4.0599, 4.0679,
    4.0749, 4.0809, 4.0858, 4.0896, 4.0924, 4.0946, 4.0967, 4.0991, 4.1025, 4.1074, 4.1144, 4.1236,
    4.1351, 4.1488, 4.1645, 4.1817, 4.2,
)  # fmt: skip

_LFP_OCV_V = (
    2.0, 2.2655, 2.46, 2.6028, 2.7077, 2.7853, 2.8432, 2.8874, 2.9223, 2.9515, 2.9781, 3.0041,
    3.0308, 3.058, 3.0843, 3.108, 3.1277, 3.143, 3.1544, 3.1625, 3.1685, 3.173, 3.1765, 3.1797,
    3.1827, 3.1857, 3.189, 3.1926, 3.1966, 3.201, 3.2058, 3.211, 3.2163, 3.2218, 3.2272, 3.2324,
    3.2373, 3.2418, 3.2458, 3.2494, 3.2525, 3.2551, 3.2574, 3.2593, 3.2608, 3.2621, 3.2632, 3.2641,
    3.2649, 3.2655, 3.266, 3.2665, 3.2669, 3.2672, 3.2675, 3.2678, 3.268, 3.2682, 3.2684, 3.2686,
    3.2688, 3.269, 3.2692, 3.2694, 3.2697, 3.27, 3.2703, 3.2708, 3.2715, 3.2726, 3.274, 3.2761,
    3.2791, 3.2829, 3.2875, 3.2926, 3.2975, 3.3018, 3.3053, 3.3079, 3.3097, 3.311, 3.3118, 3.3124,
    3.3129, 3.3132, 3.3134, 3.3136, 3.3138, 3.314, 3.3142, 3.3143, 3.3145, 3.3148, 3.3153, 3.3164,
    3.3193, 3.3274, 3.3502, 3.415, 3.6,
)  # fmt: skip

OCV_POINTS = 101
"""Points of every open-circuit table, evenly spaced from 0 to 1: a look-up needs no search."""


@dataclass(frozen=True)
class Chemistry:
    """One cell of `capacity_ah`."""

    name: Literal["nmc", "lfp"]
    capacity_ah: float
    ocv_v: tuple[float, ...]
    r0_ohm: float
    r1_ohm: float
    tau1_s: float
    r2_ohm: float
    tau2_s: float
    exchange_current_a: float  # at 25 degC
    activation_j_per_mol: float
    heat_capacity_j_per_k: float
    hysteresis_v: float
    """Half the distance between the rested voltages after charge and after discharge."""
    hysteresis_span_ratio: float
    """Share of the capacity over which the hysteresis turns."""
    balanced_at_ratio: float
    """Charge at which a pack's cells are alike: near full where a BMS balances there."""
    balanced_spread_ratio: float
    """Sd of the cells' charge there."""
    charge_limit_v: float
    discharge_limit_v: float

    def __post_init__(self) -> None:
        assert len(self.ocv_v) == OCV_POINTS


NMC = Chemistry(
    name="nmc",
    capacity_ah=5.0,
    ocv_v=_NMC_OCV_V,
    r0_ohm=9.0e-3,
    r1_ohm=9.6e-3,
    tau1_s=22.0,
    r2_ohm=12.6e-3,
    tau2_s=163.0,
    exchange_current_a=1.155,
    activation_j_per_mol=37_800.0,
    heat_capacity_j_per_k=45.0,
    hysteresis_v=0.0,
    hysteresis_span_ratio=0.05,
    balanced_at_ratio=0.5,
    balanced_spread_ratio=0.0025,
    charge_limit_v=4.2,
    discharge_limit_v=2.8,
)

LFP = Chemistry(
    name="lfp",
    capacity_ah=5.0,
    ocv_v=_LFP_OCV_V,
    r0_ohm=8.0e-3,
    r1_ohm=6.0e-3,
    tau1_s=25.0,
    r2_ohm=9.0e-3,
    tau2_s=1200.0,
    exchange_current_a=1.4,
    activation_j_per_mol=35_000.0,
    heat_capacity_j_per_k=110.0,
    hysteresis_v=0.008,
    hysteresis_span_ratio=0.05,
    balanced_at_ratio=1.0,  # only there does the curve tell the cells apart
    balanced_spread_ratio=0.0006,
    charge_limit_v=3.65,
    discharge_limit_v=2.5,
)

CHEMISTRIES = (NMC, LFP)
"""Their places here are the codes in arrays of cells."""


def chemistry_code(name: str) -> int:
    """Place of a chemistry in `CHEMISTRIES`. Raises ValueError for an unknown name."""
    return [chemistry.name for chemistry in CHEMISTRIES].index(name)  # type: ignore[arg-type]
