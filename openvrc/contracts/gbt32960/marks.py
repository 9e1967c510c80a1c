"""Whose run a frame belongs to: OpenVRC's own use of the user's custom body.

The protocol knows no simulated vehicles. What our simulator sends says so in custom body FD, which
other platforms skip by its length: the magic, then origin and run, each ended by a newline. A
terminal without it is live.
"""

from __future__ import annotations

import re

from openvrc.contracts.messages.record import TOPIC_ID_PATTERN

MARK_TYPE = 0xFD
MAGIC = b"OpenVRC\0"
SIMULATED_ICCID = b"OPENVRC-SIMULATED-00"
"""A login has no custom body: one with this card is a simulated terminal's and no live profile."""
LIVE = ("live", "live")
_RUN = re.compile(TOPIC_ID_PATTERN)
_ORIGINS = ("live", "replay", "simulated")


def write_mark(run_id: str, origin: str) -> bytes:
    """Content of the custom body.

    >>> read_mark(write_mark("run-1", "simulated"))
    ('run-1', 'simulated')
    """
    return MAGIC + f"{origin}\n{run_id}\n".encode()


def read_mark(content: bytes) -> tuple[str, str] | None:
    """(run_id, origin); None for somebody else's custom body."""
    if not content.startswith(MAGIC):
        return None
    origin, _, rest = content[len(MAGIC) :].decode("ascii", "replace").partition("\n")
    run_id = rest.partition("\n")[0]
    return (run_id, origin) if origin in _ORIGINS and _RUN.match(run_id) else None
