"""What a login tells: how many packs, their codes, and the reporting period that is agreed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from openvrc.contracts.gbt32960.message import Message
from openvrc.contracts.gbt32960.nodes import Tree
from openvrc.contracts.gbt32960.units import PACK_CODE_BYTES, Edition

REPORT_PERIOD_S = 30.0
"""Longest time between two reports of a driving vehicle (2016 and 2025, annex B)."""
MAX_CODES_TEXT = 4000


def profile_columns(messages: Sequence[Message]) -> dict[str, Any]:
    """Columns of `vehicle_profile` from logins; a driven run's mark is not part of a login."""
    return {
        "report_period_s": np.full(len(messages), REPORT_PERIOD_S, np.float32),
        "pack_codes": [codes_text(message) for message in messages],
    }


def codes_text(message: Message) -> str:
    """Codes of the packs, separated by commas; only what is printable in them."""
    return ",".join(_codes(message.head.edition, message.tree))[:MAX_CODES_TEXT]


def _codes(edition: Edition, tree: Tree) -> Iterator[str]:
    length = PACK_CODE_BYTES if edition is Edition.Y2025 else tree["code_length"]
    codes: bytes = tree["codes"]
    for at in range(0, len(codes), length) if length else ():
        text = codes[at : at + length].decode("ascii", "replace")
        yield "".join(c for c in text if c.isprintable() and c != ",").strip()
