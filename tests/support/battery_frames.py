"""Battery frames of one or more vehicles for tests of detectors: say only what matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Context, Detector, Finding
from openvrc.contracts.units import NS_PER_S, ns_from_iso

T0_NS = ns_from_iso("2026-03-02T08:00:00Z")
CONTEXT = Context(zone="z", run_id="r", origin="simulated")


def seconds_ns(times_s: Any) -> npt.NDArray[np.int64]:
    """Event times of seconds since T0."""
    return T0_NS + np.round(np.asarray(times_s) * NS_PER_S).astype(np.int64)


def frames(times_s: Any, *, vehicle: str = "ev", **columns: Any) -> Batch:
    """One battery_state row per time; matrices (n, k) for cells and probes, else as columns."""
    at_ns = seconds_ns(times_s)
    listed: dict[str, Any] = {
        name: _listed(np.asarray(columns.pop(name), float))
        for name in ("cell_voltages_v", "probe_temperatures_degc")
        if name in columns
    }
    return from_columns(
        "battery_state",
        zone="z",
        run_id="r",
        origin="simulated",
        n_rows=len(at_ns),
        columns={
            "source_id": vehicle,
            "subject_id": vehicle,
            "id_kind": "permanent",
            "lateness": 0,
            "sampled_at_ns": at_ns,
            **columns,
            **listed,
        },
    )


def fold(detector: Detector, *batches: Batch) -> list[Finding]:
    """All findings of the batches in order, from a fresh state."""
    state: Any = detector.initial(CONTEXT)
    findings: list[Finding] = []
    for batch in batches:
        state, found = detector.update(state, batch)
        findings += found
    return findings


def phases(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """(phase, severity) of each finding."""
    return [(f.phase, f.severity.word) for f in findings]


def _listed(matrix: npt.NDArray[Any]) -> tuple[Any, Any]:
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return matrix.astype(np.float32).ravel(), offsets.astype(np.int32)
