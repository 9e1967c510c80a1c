"""A sender that says far too much: its state many times between two samples, as a session apart."""

from __future__ import annotations

import numpy as np

from openvrc.contracts.units import NS_PER_S
from simulator.faults.extras import Extra, ExtraFault, Liars
from simulator.faults.kind import VEHICLES, Fault, Given, Parameter, Stage


class Flooding:
    """The kind as a plug-in."""

    name = "flooding"
    description = "a sender says its state many times a second"
    stage = Stage.SENDER
    parameters = (
        *VEHICLES,
        Parameter("rate_hz", 50.0, "records a second beside the true ones", low=0.1, high=10_000.0),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        return ExtraFault(
            given, _Flood(given.number("rate_hz")), component="flooding", has_own_names=False
        )


class _Flood:
    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._told_ns: dict[str, int] = {}

    def __call__(self, liars: Liars) -> Extra:
        """As many as have come due since a liar's last sample, evenly between the two."""
        at_ns, counts = [], []
        for name, now_ns in zip(
            liars.who, liars.whole.column("sampled_at_ns")[liars.rows].tolist(), strict=True
        ):
            since_ns = self._told_ns.get(name, now_ns)
            self._told_ns[name] = max(now_ns, since_ns)  # a wrong clock may go back
            n = max(int((now_ns - since_ns) * self._rate_hz / NS_PER_S), 0)
            counts.append(n)
            # Before the true sample, so that none has its time.
            at_ns += [since_ns + (now_ns - since_ns) * (k + 1) // (n + 1) for k in range(n)]
        times = np.array(counts, np.int64)
        subjects = [name for name, n in zip(liars.who, counts, strict=True) for _ in range(n)]
        liar = np.repeat(np.arange(len(counts)), times)
        return Extra(subjects, np.array(at_ns, np.int64), liars.copied(times), liar)


PLUGIN = Flooding()
