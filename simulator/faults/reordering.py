"""Messages that are overtaken by later ones of the same sender."""

from __future__ import annotations

from simulator.faults.kind import SENDERS, Fault, Given, Parameter, Stage
from simulator.faults.messages import MessageFault, Met, Passed, ns_of_ms


class Reordering:
    """The kind as a plug-in."""

    name = "reordering"
    description = "messages are overtaken by later ones of the same sender"
    stage = Stage.NETWORK
    parameters = (
        *SENDERS,
        Parameter("messages_ratio", 0.05, "share of the messages that are overtaken", high=1.0),
        Parameter("within_ms", 2500.0, "by those of at most this much later", low=0.001),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        ratio, within_ms = given.number("messages_ratio"), given.number("within_ms")

        def overtaken(met: Met) -> Passed | None:
            if met.draws.uniform() >= ratio:
                return None
            # One ns and up: what is said in the same moment overtakes it already.
            return ((1 + ns_of_ms(within_ms * met.draws.uniform()), met.outgoing),)

        return MessageFault(given, overtaken)


PLUGIN = Reordering()
