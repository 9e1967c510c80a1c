"""Topics: `vrc/v1/{zone}/{kind}/{source_id}/{message}[/{codec}]`, and their parsing.

A topic without a codec level is JSON. Downlink is `.../{source_id}/down/{message}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN

PREFIX = "vrc/v1"
KINDS = ("vehicle", "rsu", "signal", "charger", "zone", "edge")
"""Kinds of senders; `zone` is whoever drives a zone's run, `edge` the aggregator itself."""

SHAPE = f"{PREFIX}/{{zone}}/{{{'|'.join(KINDS)}}}/{{source_id}}/{{message}}[/{{codec}}]"
DEFAULT_CODEC = "json"
DOWN = "down"
TOPICS_KEPT = 100_000
"""Parsed topics remembered: every sender repeats its few topics for ever."""
_TOPIC_ID = re.compile(TOPIC_ID_PATTERN)


@dataclass(frozen=True)
class Topic:
    """One parsed topic."""

    zone: str
    kind: str
    source_id: str
    message: str
    codec: str = DEFAULT_CODEC

    def __str__(self) -> str:
        tail = "" if self.codec == DEFAULT_CODEC else f"/{self.codec}"
        return f"{PREFIX}/{self.zone}/{self.kind}/{self.source_id}/{self.message}{tail}"


def down_topic(zone: str, kind: str, source_id: str, message: str) -> str:
    """The topic of what is said to a sender."""
    return f"{PREFIX}/{zone}/{kind}/{source_id}/{DOWN}/{message}"


def is_down(text: str) -> bool:
    """Whether a topic is of what is said to a sender, not by one."""
    levels = text.split("/")
    return len(levels) == 7 and levels[5] == DOWN


@lru_cache(maxsize=TOPICS_KEPT)
def parse_topic(text: str) -> Topic:
    """The parts of a topic. Raises ContractError that says which level is wrong."""
    levels = text.split("/")
    if len(levels) not in (6, 7) or "/".join(levels[:2]) != PREFIX:
        raise ContractError("topic", text, SHAPE)
    _, _, zone, kind, source_id, message, *codec = levels
    if kind not in KINDS:
        raise ContractError("topic kind", kind, "one of " + ", ".join(KINDS))
    if message not in MESSAGES:
        raise ContractError("topic message", message, "one of " + ", ".join(MESSAGES))
    if kind not in MESSAGES[message].senders:
        expected = " or ".join(MESSAGES[message].senders)
        raise ContractError("topic kind", kind, f"{expected} for {message}")
    for name, level in (("zone", zone), ("source_id", source_id)):
        if not _TOPIC_ID.match(level):
            raise ContractError(f"topic {name}", level, f"text matching {TOPIC_ID_PATTERN}")
    return Topic(zone, kind, source_id, message, *codec)


def subscription(zone: str = "+", message: str = "+") -> list[str]:
    """MQTT filters for everything senders say in a zone ("+" for all zones), both codec forms."""
    return [f"{PREFIX}/{zone}/+/+/{message}", f"{PREFIX}/{zone}/+/+/{message}/+"]
