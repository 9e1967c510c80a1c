"""Messages that never arrive, alone or in bursts.

Bursts follow Gilbert and Elliott: a sender's link is good or bad, everything is lost while it is
bad (Gilbert 1960, doi:10.1002/j.1538-7305.1960.tb03959.x). The share lost is `messages_ratio`
whatever the length of a burst.
"""

from __future__ import annotations

from simulator.faults.kind import SENDERS, Fault, FaultError, Given, Parameter, Stage
from simulator.faults.messages import MessageFault, Met, Passed, Sender


class Loss:
    """The kind as a plug-in."""

    name = "loss"
    description = "messages are lost, alone or in bursts"
    stage = Stage.NETWORK
    parameters = (
        *SENDERS,
        Parameter("messages_ratio", 0.02, "share of the messages that are lost", high=1.0),
        Parameter("burst_messages", 1.0, "mean number lost one after the other", low=1.0),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        ratio, burst = given.number("messages_ratio"), given.number("burst_messages")
        if ratio < 1.0 and ratio / (1.0 - ratio) / burst > 1.0:
            raise FaultError(
                f"fault loss: bursts of {burst:g} cannot lose {ratio:g} of all, expected "
                f"burst_messages of at least {ratio / (1.0 - ratio):.2f}"
            )
        return MessageFault(given, _Links(ratio, burst))


class _Links:
    """Every sender's link; what is lost leaves nothing."""

    def __init__(self, ratio: float, burst: float) -> None:
        self._ratio = ratio
        self._stays_bad = 1.0 - 1.0 / burst
        self._turns_bad = 1.0 if ratio >= 1.0 else ratio / (1.0 - ratio) / burst
        self._is_bad: dict[Sender, bool] = {}

    def __call__(self, met: Met) -> Passed | None:
        was_bad = self._is_bad.get(met.sender)
        if was_bad is None:
            chance = self._ratio
        else:
            chance = self._stays_bad if was_bad and self._ratio < 1.0 else self._turns_bad
        is_bad = self._is_bad[met.sender] = met.draws.uniform() < chance
        return () if is_bad and not met.is_count else None


PLUGIN = Loss()
