"""Parameters of a terminal in queries and settings (2016 table B.12, 2025 table B.8)."""

from __future__ import annotations

from openvrc.contracts.gbt32960 import shared_bodies as s
from openvrc.contracts.gbt32960.nodes import VALUE, Choice, Field, Run

REPORT_PERIOD = 0x02
"""Longest time between two reports in normal operation."""
_DOMAIN_BYTES, _PUBLIC_DOMAIN_BYTES = 0x04, 0x0D
_YES_NO = {1: "yes", 2: "no"}


def _seconds(width: int, title: str, low: int, high: int, over: int = 1) -> Field:
    return Field(VALUE, width, title, "s", low=low, high=high, over=over)


def _domain(title: str, length_tag: int) -> Run:
    """Text as long as another parameter before it says."""
    character = Field("byte", 1, title, has_codes=False, form="text")
    return Run(VALUE, None, character, lambda read: int(read.get(str(length_tag), 0)))


def _text(title: str) -> Field:
    return Field(VALUE, 5, title, has_codes=False, form="text")


_COMMON: dict[int, Field | Run] = {
    0x01: _seconds(2, "period of storing in the terminal", 0, 60_000, over=1000),
    0x04: s.length(VALUE, 1, "length of the platform's domain name"),
    0x05: _domain("domain name of the platform", _DOMAIN_BYTES),
    0x06: Field(VALUE, 2, "port of the platform", high=65_531),
    0x07: _text("hardware version"),
    0x08: _text("firmware version"),
    0x09: _seconds(1, "period of heartbeats", 1, 240),
    0x0A: _seconds(2, "time-out of the terminal's replies", 1, 600),
    0x0B: _seconds(2, "time-out of the platform's replies", 1, 600),
    0x0C: Field(VALUE, 1, "pause after three logins", "s", low=1, high=240, times=60),
    0x0D: s.length(VALUE, 1, "length of the public platform's domain name"),
    0x0E: _domain("domain name of the public platform", _PUBLIC_DOMAIN_BYTES),
    0x0F: Field(VALUE, 2, "port of the public platform", high=65_531),
    0x10: Field(VALUE, 1, "sampling for inspection", words=_YES_NO),
}
OF_2016: dict[int, Field | Run] = {
    **_COMMON,
    REPORT_PERIOD: _seconds(2, "period of reports", 1, 600),
    0x03: _seconds(2, "period of reports in an alarm", 0, 60_000, over=1000),
}
OF_2025: dict[int, Field | Run] = {
    **_COMMON,
    REPORT_PERIOD: _seconds(1, "period of reports", 1, 30),
    0x03: _seconds(1, "period of reports in an alarm", 0, 1),
}


def listed(of_tag: dict[int, Field | Run]) -> Choice:
    """A count of parameters, then each with its number."""
    tag = s.plain("parameter", 1, "number of the parameter")
    return Choice("parameters", s.counted("count", 1, "number of parameters", 252), tag, of_tag)


ASKED = Run(
    "parameters",
    s.counted("count", 1, "number of parameters", 252),
    s.plain("parameter", 1, "number of the parameter"),
)
CONTROLS = {
    1: "upgrade", 2: "switch off", 3: "reset", 4: "factory settings", 5: "disconnect",
    6: "alarm or warning", 7: "begin sampling",
}  # fmt: skip
