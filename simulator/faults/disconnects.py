"""Senders that are cut off for a while, and either keep what they have to say or lose it."""

from __future__ import annotations

from openvrc.contracts.units import NS_PER_S
from simulator.faults.kind import SENDERS, Fault, FaultError, Given, Parameter, Stage
from simulator.faults.messages import MessageFault, Met, Passed


class Disconnects:
    """The kind as a plug-in."""

    name = "disconnects"
    description = "senders are cut off for a while; what they kept comes after it"
    stage = Stage.NETWORK
    parameters = (
        *SENDERS,
        Parameter("away_s", 10.0, "how long at a time", low=0.001),
        Parameter("every_s", 60.0, "from one cut to the next, 0 only once"),
        Parameter("together", "no", "all at the same time", choices=("no", "yes")),
        Parameter("backlog", "kept", "what is said meanwhile", choices=("kept", "lost")),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        away_s, every_s = given.number("away_s"), given.number("every_s")
        if 0 < every_s <= away_s:
            raise FaultError(
                f"fault disconnects: every_s is {every_s:g}, expected more than away_s {away_s:g}"
            )
        return MessageFault(given, _Cuts(given))


class _Cuts:
    def __init__(self, given: Given) -> None:
        self._given = given
        self._away_ns = round(given.number("away_s") * NS_PER_S)
        self._every_ns = round(given.number("every_s") * NS_PER_S)
        self._is_together = given.word("together") == "yes"
        self._is_kept = given.word("backlog") == "kept"

    def __call__(self, met: Met) -> Passed | None:
        rest_ns = self._rest_ns(met)
        if rest_ns <= 0:
            return None
        return ((rest_ns, met.outgoing),) if self._is_kept or met.is_count else ()

    def _rest_ns(self, met: Met) -> int:
        """How long the sender stays cut off; not positive while it is not."""
        since_ns = met.zone_time_ns - self._given.from_ns
        if not self._every_ns:
            return self._away_ns - since_ns
        if not self._is_together:
            name = "/".join(met.sender)
            since_ns += self._given.hash_of(f"phase {name}") % self._every_ns
        return self._away_ns - since_ns % self._every_ns


PLUGIN = Disconnects()
