"""Clocks that are wrong: a steady skew, and a drift that grows.

A sender's clock stamps all it says. Positive is ahead. What is further ahead than an edge allows
(`max_clock_ahead_s`) it rejects; what is behind comes late.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from openvrc.contracts.units import NS_PER_S
from simulator.faults.kind import SENDERS, Fault, Given, Parameter, Stage
from simulator.faults.records import Affected, RecordFault


class Clock:
    """The kind as a plug-in."""

    name = "clock"
    description = "senders' clocks are ahead or behind, and drift"
    stage = Stage.SENSOR
    parameters = (
        *(p for p in SENDERS if p.name != "kind"),
        Parameter("skew_ms", -1500.0, "how far ahead it is at the beginning", low=-1e9, high=1e9),
        Parameter("drift_ppm", 0.0, "what it gains, millionths", low=-1e6, high=1e6),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        skew_ns = given.number("skew_ms") * NS_PER_S / 1000
        drift = given.number("drift_ppm") * 1e-6

        def off(rows: Affected) -> dict[str, Any]:
            at_ns = rows.at_ns
            wrong_ns = skew_ns + drift * (at_ns - rows.from_ns)
            return {"sampled_at_ns": np.maximum(at_ns + np.round(wrong_ns).astype(np.int64), 0)}

        return RecordFault(given, off, messages=(), who="source_id", rule="fault.clock")


PLUGIN = Clock()
