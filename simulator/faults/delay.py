"""Messages that arrive late: a log-normal delay, as of queues on the way.

Given by its median and its 99th percentile: sigma = ln(p99 / median) / 2.326.
"""

from __future__ import annotations

import math

from simulator.faults.kind import SENDERS, Fault, FaultError, Given, Parameter, Stage
from simulator.faults.messages import MessageFault, Met, Passed, ns_of_ms

_Z99 = 2.326347874
"""Quantile 0.99 of the standard normal distribution."""


class Delay:
    """The kind as a plug-in."""

    name = "delay"
    description = "messages arrive late, by a log-normal delay"
    stage = Stage.NETWORK
    parameters = (
        *SENDERS,
        Parameter("median_ms", 200.0, "half of them are later than this", low=0.001),
        Parameter("p99_ms", 2000.0, "one in a hundred is later than this", low=0.001),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        median_ms, p99_ms = given.number("median_ms"), given.number("p99_ms")
        if p99_ms < median_ms:
            raise FaultError(
                f"fault delay: p99_ms is {p99_ms:g}, expected at least median_ms {median_ms:g}"
            )
        sigma = math.log(p99_ms / median_ms) / _Z99

        def held(met: Met) -> Passed:
            radius = math.sqrt(-2.0 * math.log1p(-met.draws.uniform()))
            normal = radius * math.cos(2.0 * math.pi * met.draws.uniform())  # Box and Muller
            return ((ns_of_ms(median_ms * math.exp(sigma * normal)), met.outgoing),)

        return MessageFault(given, held)


PLUGIN = Delay()
