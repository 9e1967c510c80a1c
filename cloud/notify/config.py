"""The file of channels and routes (`VRC_NOTIFY_FILE`), as TOML.

[[channel]]
name = "ops"                 # how routes call it
type = "webhook"             # a plug-in of cloud.notify
options = { url = "https://...", secret = "..." }

[[route]]
name = "worst"
channels = ["ops"]
rules = ["battery.*"]        # globs; zones and kinds alike
min_severity = "serious"
origins = ["live"]           # replayed and simulated alerts tell nobody unless named here
hours = "18:00-08:00"        # in time_zone; without: always
group_by = ["zone", "rule"]
group_wait_s = 10
repeat_s = 3600
escalate_after_s = 300
escalate_to = ["manager"]

[[inhibit]]                  # while the source is open, the targets of its subject are silent
source = "battery.thermal_event"
targets = ["battery.*"]
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from openvrc.contracts.errors import SettingsError

Severity = Literal["info", "warning", "serious", "critical"]
GroupField = Literal["zone", "rule", "kind", "subject_id"]
HOURS_PATTERN = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChannelConfig(_Part):
    """One channel."""

    name: str = Field(min_length=1, max_length=64)
    type: str
    options: dict[str, Any] = Field(default_factory=dict)


class RouteConfig(_Part):
    """Which alerts go to which channels, and how often."""

    name: str = Field(min_length=1, max_length=64)
    channels: list[str] = Field(min_length=1)
    rules: list[str] = ["*"]
    zones: list[str] = ["*"]
    min_severity: Severity = "warning"
    origins: list[Literal["live", "replay", "simulated"]] = ["live"]
    hours: str | None = Field(None, pattern=HOURS_PATTERN)
    time_zone: str = "UTC"
    group_by: list[GroupField] = ["zone", "rule"]
    group_wait_s: float = Field(10.0, ge=0, le=3600)
    repeat_s: float = Field(4 * 3600.0, ge=0, description="0 never")
    escalate_after_s: float = Field(0.0, ge=0, description="0 never")
    escalate_to: list[str] = Field(default_factory=list)
    sends_cleared: bool = True


class InhibitConfig(_Part):
    """What is not told while something worse of the same subject is open."""

    source: str
    targets: list[str] = Field(min_length=1)


class NotifyConfig(_Part):
    """The whole file."""

    channel: list[ChannelConfig] = Field(default_factory=list)
    route: list[RouteConfig] = Field(default_factory=list)
    inhibit: list[InhibitConfig] = [
        InhibitConfig(source="battery.thermal_event", targets=["battery.*"])
    ]

    @model_validator(mode="after")
    def _names_are_known(self) -> NotifyConfig:
        names = [channel.name for channel in self.channel]
        if len(set(names)) < len(names):
            raise ValueError("two channels have one name")
        for route in self.route:
            unknown = {*route.channels, *route.escalate_to} - set(names)
            if unknown:
                raise ValueError(f"route {route.name!r} names no channel: {sorted(unknown)}")
        return self


def read_config(path: Path) -> NotifyConfig:
    """The file's content. Raises SettingsError that never repeats an option's value."""
    try:
        return NotifyConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"VRC_NOTIFY_FILE is {path}: {error}") from error
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"VRC_NOTIFY_FILE is {path}: {places}") from error
