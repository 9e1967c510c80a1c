"""What a server asks of everybody, and what a session wants done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from openvrc.contracts.reasons import Reason


@dataclass(frozen=True)
class Rules:
    """What a server asks of everybody."""

    users: Mapping[str, str] = field(default_factory=dict)
    """Password of each platform."""
    needs_login: bool = True
    needs_signature: bool = False
    max_vehicles: int = 1
    """Vehicles that may log in on a connection that is no platform's."""
    max_logins: int = 20
    """Logins on such a connection altogether: more is a flood."""
    asks_period: bool = False
    """Whether a terminal is asked for its reporting period after its login."""
    max_garbage_bytes: int = 65_536
    """Bytes without a frame since the last good one."""


@dataclass
class Outcome:
    """What is to be done with one frame or with garbage."""

    reply: bytes = b""
    deliveries: list[tuple[str, str, bytes]] = field(default_factory=list)
    """(source_id, codec, payload)"""
    logged_in: str = ""
    logged_out: str = ""
    close: str = ""
    """Why the connection is to be closed."""
    refused: Reason | None = None
