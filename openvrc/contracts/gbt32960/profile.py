"""What logins and answers to queries tell: codes of the packs, the reporting period that is set.

A login says nothing of the period. A terminal that is asked for its parameters answers with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from openvrc.contracts.gbt32960.message import Message
from openvrc.contracts.gbt32960.nodes import VALUE, Field, Tree
from openvrc.contracts.gbt32960.parameters import OF_2016, OF_2025, REPORT_PERIOD
from openvrc.contracts.gbt32960.units import PACK_CODE_BYTES, Command, Edition

MAX_CODES_TEXT = 4000
_PERIOD = {Edition.Y2016: OF_2016[REPORT_PERIOD], Edition.Y2025: OF_2025[REPORT_PERIOD]}


def profile_columns(messages: Sequence[Message]) -> dict[str, Any]:
    """Columns of `vehicle_profile`; a driven run's mark is not part of these frames."""
    periods = [report_period_s(message) for message in messages]
    return {
        "report_period_s": np.array([np.nan if p is None else p for p in periods], np.float32),
        "pack_codes": [codes_text(message) for message in messages],
    }


def report_period_s(message: Message) -> float | None:
    """The period that a terminal answers to a query; None for other frames and for no value."""
    if message.head.command != Command.QUERY:
        return None
    field = _PERIOD[message.head.edition]
    assert isinstance(field, Field)
    listed = message.tree.get("parameters", [])
    for pair in listed if isinstance(listed, list) else ():
        if isinstance(pair, dict) and pair["parameter"] == REPORT_PERIOD:
            return field.value(pair[VALUE])
    return None


def codes_text(message: Message) -> str:
    """Codes of the packs, separated by commas; only what is printable in them."""
    if message.head.command != Command.VEHICLE_LOGIN:
        return ""
    return ",".join(_codes(message.head.edition, message.tree))[:MAX_CODES_TEXT]


def _codes(edition: Edition, tree: Tree) -> Iterator[str]:
    length = PACK_CODE_BYTES if edition is Edition.Y2025 else tree["code_length"]
    codes: bytes = tree["codes"]
    for at in range(0, len(codes), length) if length else ():
        text = codes[at : at + length].decode("ascii", "replace")
        yield "".join(c for c in text if c.isprintable() and c != ",").strip()
