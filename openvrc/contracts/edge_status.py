"""What an edge says of itself each second: how full its stages are, and what holds it up.

Sent to `POST /v1/edges/{edge_id}` beside the data and its accounts, so that it comes through while
those wait. `/metrics` of the edge and `GET /v1/accounting` show the same figures.
"""

from __future__ import annotations

from openvrc.contracts.messages.record import Frozen
from openvrc.contracts.units import quantity


class EdgeStatus(Frozen):
    """Figures as of `at_ns`; counts are since the spool began."""

    at_ns: int = quantity("When this was so, wall clock, UTC epoch", unit="ns", low=0)
    epoch: int = quantity("Spool epoch", low=0, privacy="public")
    zone: str = quantity("Zone it serves, + for all", max_length=96, privacy="public")
    queue_messages: int = quantity("Messages received and not yet decoded", low=0)
    queue_limit: int = quantity("How many of them there may be", low=0)
    spool_records: int = quantity("Records on disk, not yet in the cloud: pending", low=0)
    spool_bytes: int = quantity("Bytes of the spool", unit="B", low=0)
    spool_limit_bytes: int = quantity("Bytes at which it is full", unit="B", low=0)
    spool_oldest_s: float = quantity("Age of the oldest entry", unit="s", low=0, decimals=1)
    is_full: bool = quantity("Full: nothing more is acknowledged")
    problem: str = quantity("What holds it up, empty while all is well", max_length=600)
    acknowledged: int = quantity("Messages acknowledged to the broker since the start", low=0)
    sent: int = quantity("Records that senders have numbered, and unnumbered units", low=0)
    received: int = quantity("Distinct units received", low=0)
    forwarded: int = quantity("Records admitted to the spool and not given up", low=0)
    rejected: dict[str, int] = quantity("Units rejected here, by reason")
    dropped: int = quantity("Records given up because the spool was full", low=0)
    expired: int = quantity("Records given up because of their age", low=0)
    missing: int = quantity("Numbers that never came", low=0)
    duplicates: int = quantity("Units that came again", low=0)

    @property
    def fill_ratio(self) -> float:
        """How full the spool is, 1 is full."""
        return self.spool_bytes / self.spool_limit_bytes if self.spool_limit_bytes else 0.0
