"""The soak: a paced load for long, memory of each process over time, accounts closed at the end.

A leak shows as a slope. The first part, in which caches and pools fill up, is left out of the fit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openvrc.cli.benchmark.modes import MODES
from openvrc.cli.benchmark.procfs import rss_now_mb
from openvrc.cli.benchmark.runs import (
    HALF,
    first_pass_stage,
    paced_stage,
    running,
    scratch_platform,
    send_plan,
)
from openvrc.cli.benchmark.sender import Stage

PROBE_S = 8.0
"""Time at saturation that tells how much half of the maximum is."""
MOST_SAMPLES = 120
FILLING_SHARE = 0.25
"""Of the time: until then memory may grow."""
S_PER_H = 3600.0


@dataclass(frozen=True)
class SoakPlan:
    """`rate` in records per second; 0 takes half of what a short probe reaches."""

    mode: str
    vehicles: int
    seconds: float
    rate: float = 0.0
    workers: int = 0


def soak(plan: SoakPlan, say: Callable[[str], None]) -> dict[str, Any]:
    """The result as plain values; `is_lossless` says whether the accounts close."""
    mode = MODES[plan.mode]
    with (
        scratch_platform(workers=plan.workers) as platform,
        running(platform, send_plan(mode, plan.vehicles, 0)) as run,
    ):
        run.measure(first_pass_stage(plan.vehicles))
        rate = plan.rate or HALF * run.measure(Stage(seconds=PROBE_S))[0].records_per_s
        say(f"{plan.mode} at {rate:,.0f} records/s for {plan.seconds:,.0f} s")
        samples: list[dict[str, float]] = []
        watch = _Watch(run.pids, plan.seconds / MOST_SAMPLES, samples, say)
        stage = paced_stage(rate, plan.seconds)
        with watch:
            load, sent = run.measure(Stage(**vars(stage) | {"brakings": 0}))
        totals = platform.api.get("/v1/accounting", run=run.run_id)["totals"]
    rejected = sum(totals["rejected"].values())
    return {
        "mode": plan.mode,
        "vehicles": plan.vehicles,
        "seconds": round(sent["elapsed_s"], 1),
        "records_per_s": round(load.records_per_s),
        "cpu_us_per_record": {name: round(us, 3) for name, us in load.cpu_us.items()},
        "samples": samples,
        "slope_mb_per_h": slopes(samples),
        "sent": totals["sent"],
        "stored": totals["stored"],
        "rejected": rejected,
        "missing": totals.get("missing", 0),
        "is_lossless": load.is_lossless and totals["sent"] == totals["stored"] + rejected,
    }


class _Watch:
    """Samples memory on a thread of its own while the block runs."""

    def __init__(
        self,
        pids: Mapping[str, int],
        every_s: float,
        samples: list[dict[str, float]],
        say: Callable[[str], None],
    ) -> None:
        self._pids, self._every_s = pids, max(every_s, 1.0)
        self._samples, self._say = samples, say
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        began_s = time.monotonic()
        while not self._stopping.wait(self._every_s):
            memory = {name: round(mb, 1) for name, mb in rss_now_mb(self._pids).items()}
            at_s = round(time.monotonic() - began_s, 1)
            self._samples.append({"t_s": at_s} | memory)
            words = ", ".join(f"{name} {mb:.0f}" for name, mb in memory.items())
            self._say(f"{at_s:7.0f} s  MB: {words}")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()


def slopes(samples: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    """MB per hour of each process: a straight line through what comes after the filling.

    None for fewer than three samples.
    """
    if not samples:
        return {}
    first_s = FILLING_SHARE * samples[-1]["t_s"]
    kept = [sample for sample in samples if sample["t_s"] >= first_s]
    at_h = np.array([sample["t_s"] for sample in kept]) / S_PER_H
    names = [name for name in samples[0] if name != "t_s"]
    if len(kept) < 3:
        return dict.fromkeys(names)
    return {
        name: round(float(np.polyfit(at_h, [sample[name] for sample in kept], 1)[0]), 2)
        for name in names
    }


def as_text(result: Mapping[str, Any]) -> str:
    """For a terminal: memory at the start, after a quarter, at the end; slope; the accounts."""
    samples = result["samples"]
    lines = [f"{'process':10}{'first MB':>10}{'quarter':>10}{'last':>10}{'MB per hour':>14}"]
    for name, slope in result["slope_mb_per_h"].items():
        quarter = samples[int(FILLING_SHARE * (len(samples) - 1))]
        cells = [samples[0][name], quarter[name], samples[-1][name]]
        figures = "".join(f"{cell:10.1f}" for cell in cells)
        lines.append(f"{name:10}{figures}{'-' if slope is None else format(slope, '.1f'):>14}")
    accounts = ", ".join(f"{n} {result[n]:,}" for n in ("sent", "stored", "rejected", "missing"))
    return "\n".join([*lines, accounts])
