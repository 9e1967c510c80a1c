"""Voltage and temperature of one LG M50 cell by PyBaMM, frozen as the tests' reference.

    python -m tests.bench.make_pybamm_traces DRIVE_CYCLES_FOLDER [US06 ...]

needs `pip install pybamm` (26.10.1.1 was used), which nothing else here does. The model is SPMe
with the parameter set Chen2020 and lumped heat; hA is set to 0.074 W/K, as for a cell in a pack.
`UDDS`, `pulses` and `rest` are for fitting, `US06` is never fitted. Writes `pybamm_*.npz` beside
this file: seconds, A (positive discharges), and V and degC by air temperature and first charge.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
TEMPERATURES_DEGC = (0.0, 10.0, 25.0, 40.0)
STARTS = {"US06": (0.8, 0.5), "UDDS": (0.8, 0.6, 0.35), "pulses": (0.6, 0.3), "rest": (0.8,)}
COOLING_W_PER_K = 0.074
HERE = Path(__file__).parent


def cycle(folder: Path, name: str) -> tuple[FloatArray, FloatArray]:
    """Seconds and current of a cycle."""
    if name == "pulses":
        current = np.zeros(2400)
        for start, amps in ((60, 5.0), (700, -4.0), (1300, 10.0), (1700, 2.0)):
            current[start : start + (30 if abs(amps) != 2.0 else 400)] = amps
        return np.arange(2400.0), current
    if name == "rest":  # 40 min at C/2, then most of two hours of relaxation
        seconds = np.arange(0.0, 9000.0, 5.0)
        return seconds, np.where(seconds < 2400, 2.5, 0.0)
    rows = np.loadtxt(folder / f"{name}.csv", delimiter=",", comments="#")
    return rows[:, 0], rows[:, 1]


def solved(seconds: FloatArray, current_a: FloatArray, soc_ratio: float, degc: float) -> Any:
    """V (n,) and degC (n,) at whole seconds."""
    os.environ["PYBAMM_DISABLE_TELEMETRY"] = "true"
    import pybamm  # type: ignore[import-not-found, import-untyped, unused-ignore]

    model = pybamm.lithium_ion.SPMe({"thermal": "lumped"})
    values = pybamm.ParameterValues("Chen2020")
    area_m2 = values["Cell cooling surface area [m2]"]
    values.update(
        {
            "Current function [A]": pybamm.Interpolant(seconds, current_a, pybamm.t),
            "Ambient temperature [K]": 273.15 + degc,
            "Initial temperature [K]": 273.15 + degc,
            "Total heat transfer coefficient [W.m-2.K-1]": COOLING_W_PER_K / area_m2,
        }
    )
    simulation = pybamm.Simulation(
        model, parameter_values=values, solver=pybamm.IDAKLUSolver(rtol=1e-6, atol=1e-6)
    )
    solution = simulation.solve(seconds, initial_soc=soc_ratio)
    return (
        solution["Terminal voltage [V]"](seconds),
        solution["Volume-averaged cell temperature [C]"](seconds),
    )


def main(folder: Path, names: list[str]) -> None:
    """All traces of all temperatures, or those named."""
    for name in names or list(STARTS):
        starts = STARTS[name]
        seconds, current_a = cycle(folder, name)
        arrays: dict[str, Any] = {"time_s": seconds, "current_a": current_a.astype(np.float32)}
        for degc in TEMPERATURES_DEGC:
            for soc_ratio in starts:
                voltage_v, temperature = solved(seconds, current_a, soc_ratio, degc)
                label = f"{degc:.0f}_{soc_ratio:.2f}"
                arrays[f"voltage_v_{label}"] = np.asarray(voltage_v, np.float32)
                arrays[f"temperature_degc_{label}"] = np.asarray(temperature, np.float32)
                print(name, label, round(float(voltage_v[-1]), 4), flush=True)  # noqa: T201
        np.savez_compressed(HERE / f"pybamm_{name.lower()}.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
