"""Messages that come again: a broker that sends once more what was acknowledged too late."""

from __future__ import annotations

from simulator.faults.kind import SENDERS, Fault, Given, Parameter, Stage
from simulator.faults.messages import MessageFault, Met, Passed, ns_of_ms


class Duplicates:
    """The kind as a plug-in."""

    name = "duplicates"
    description = "messages come again, at once or later"
    stage = Stage.NETWORK
    parameters = (
        *SENDERS,
        Parameter("messages_ratio", 0.02, "share of the messages that come again", high=1.0),
        Parameter("copies", 1.0, "how often each comes again", low=1.0, high=1000.0),
        Parameter("after_ms", 0.0, "zone time between one and the next"),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        ratio, copies = given.number("messages_ratio"), int(given.number("copies"))
        after_ns = ns_of_ms(given.number("after_ms"))

        def repeated(met: Met) -> Passed | None:
            if met.draws.uniform() >= ratio:
                return None
            return [(again * after_ns, met.outgoing) for again in range(copies + 1)]

        return MessageFault(given, repeated)


PLUGIN = Duplicates()
