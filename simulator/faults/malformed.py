"""Payloads that no contract takes: cut off, garbled, or with a value out of its range.

A payload that cannot be read is one rejected unit, and the numbers of its records are missing; a
record with an impossible value is rejected by its own number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openvrc.contracts.columns import columns_of
from simulator.faults.kind import SENDERS, Fault, Given, Parameter, Stage
from simulator.faults.messages import MessageFault, Met, Passed
from simulator.world import Damage, Outgoing, cut

FORMS = ("truncated", "garbled", "out_of_range")
FAR_OUT = 1e12
"""Beyond every range of the contract."""


def truncated(payload: bytes) -> bytes:
    """Its first half, as of a sender whose buffer was too small."""
    return payload[: len(payload) // 2]


def garbled(payload: bytes) -> bytes:
    """The same length with every byte's bits turned round: no UTF-8, no Arrow."""
    return bytes(byte ^ 0xFF for byte in payload)


def _unchanged(payload: bytes) -> bytes:
    return payload


_UNREADABLE = {
    "truncated": Damage(truncated, is_readable=False),
    "garbled": Damage(garbled, is_readable=False),
}
_UNFIT = Damage(_unchanged, is_readable=True)


class Malformed:
    """The kind as a plug-in."""

    name = "malformed"
    description = "payloads are cut off, garbled or hold values out of range"
    stage = Stage.PAYLOAD
    parameters = (
        *SENDERS,
        Parameter("messages_ratio", 0.01, "share of the messages that are malformed", high=1.0),
        Parameter("form", "mixed", "what is wrong with them", choices=("mixed", *FORMS)),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        ratio, form = given.number("messages_ratio"), given.word("form")

        def spoilt(met: Met) -> Passed | None:
            is_chosen = met.draws.uniform() < ratio
            which = FORMS[int(met.draws.uniform() * len(FORMS))] if form == "mixed" else form
            if met.is_count or not is_chosen:
                return None
            return ((0, damaged(met.outgoing, which)),)

        return MessageFault(given, spoilt)


def damaged(outgoing: Outgoing, form: str) -> Outgoing:
    """The message in that form; one without a number to spoil is garbled instead."""
    ranged = [
        column.name
        for column in columns_of(outgoing.message)
        if column.kind == "f64" and not column.is_mark and column.high is not None
    ]
    if form != "out_of_range" or not ranged:
        return replace(outgoing, damage=_UNREADABLE.get(form, _UNREADABLE["garbled"]))
    alone = cut(outgoing.whole, *outgoing.bounds)
    spoilt = alone.with_columns({ranged[0]: np.full(alone.n_rows, FAR_OUT)})
    return Outgoing(outgoing.kind, outgoing.source_id, spoilt, damage=_UNFIT)


PLUGIN = Malformed()
