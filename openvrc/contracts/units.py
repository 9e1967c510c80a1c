"""How a contract field carries its unit, range, resolution, meaning and privacy class.

`quantity(...)` makes a pydantic field whose `json_schema_extra` holds these facts; columns,
range checks, JSON Schema, AsyncAPI and SQL columns are derived from them and nothing repeats
them by hand (DESIGN rule 1).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field

Privacy = Literal["public", "vehicle", "personal"]
"""public: about the road or the platform; vehicle: about one vehicle; personal: tells where a
person is or was (position in time, permanent ids)."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
ABSENT_I64 = -(2**63)
"""Stands for "absent" in int64 columns, which have no NaN."""


def quantity(
    description: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    decimals: int | None = None,
    privacy: Privacy = "vehicle",
    wide: bool = False,
    default: Any = ...,
    max_length: int | None = None,
) -> Any:
    """A contract field: its meaning, SI unit, inclusive range and resolution.

    `decimals` is the resolution at which senders quantise, so that a value is the same number
    after every codec; `wide` asks for a float64 column where float32 is too coarse (degrees).
    """
    extra: dict[str, Any] = {"unit": unit, "privacy": privacy}
    if decimals is not None:
        extra["decimals"] = decimals
    if wide:
        extra["wide"] = True
    bounds: dict[str, Any] = {}
    if low is not None:
        bounds["ge"] = low
    if high is not None:
        bounds["le"] = high
    if max_length is not None:
        bounds["max_length"] = max_length
    return Field(default, description=description, json_schema_extra=extra, **bounds)


def iso_from_ns(time_ns: int) -> str:
    """ISO 8601 UTC with milliseconds, rounded down.

    >>> iso_from_ns(1_767_225_600_123_456_789)
    '2026-01-01T00:00:00.123Z'
    """
    days, rest_ms = divmod(int(time_ns) // 1_000_000, 86_400_000)
    minutes, ms = divmod(rest_ms, 60_000)
    return f"{_date(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}.{ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _date(days: int) -> str:
    """Of days since the epoch; kept, because strftime is most of what a time costs (10 us)."""
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days):%Y-%m-%d}"


def ns_from_iso(text: str) -> int:
    """Nanoseconds since the UTC epoch of an ISO 8601 time that names its offset.

    Raises ValueError for a time without an offset: guessing a zone is how data goes wrong.

    >>> ns_from_iso('2026-01-01T00:00:00Z')
    1767225600000000000
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no UTC offset, expected e.g. 2026-01-01T00:00:00Z")
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000
