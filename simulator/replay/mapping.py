"""A mapping: which column of a foreign log is which field of ours, in which unit.

A TOML file with

    message = "battery_state"            # optional, this is the default
    [time]
    column = "tboxTime"
    format = "iso"                       # or a strptime format, "unix_s", "unix_ms"
    time_zone = "Asia/Shanghai"          # needed where the log's times name no offset
    [columns.vehicle_speed_mps]          # a field of the message
    column = "vehSpeed"
    unit = "km/h"
    [columns.probe_temperatures_degc]    # a list field: {n} counts from 1
    column = "T_{n}"
    sentinels = [255, 511]               # raw values that mean "no value"
    offset_candidates = [0, -40]         # take the one that fits ...
    offset_reference = "BMSProbeTempMax" # ... this column, the list's highest value
    [columns.charging_state]
    column = "BMSChargeStatus"
    values = { 1 = "parked_charging" }   # codes of an enumeration; others become null
    [profile]                            # fields of vehicle_profile, optional
    chemistry = "nmc"

Every value is (raw * scale + offset), then brought from `unit` to ours. Columns a log lacks are
left out.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from openvrc.contracts.columns import columns_of
from simulator.replay.options import RecordingError

FACTOR_OF_UNIT = {
    "": 1.0,
    "1": 1.0,
    "%": 0.01,
    "m/s": 1.0,
    "km/h": 1.0 / 3.6,
    "m": 1.0,
    "km": 1000.0,
    "V": 1.0,
    "mV": 0.001,
    "A": 1.0,
    "mA": 0.001,
    "ohm": 1.0,
    "kohm": 1000.0,
    "Mohm": 1e6,
    "degC": 1.0,
}
"""Units a log may use, as factors to ours."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeColumn(_Strict):
    """Where the times are and how they are written."""

    column: str
    format: str = "iso"
    time_zone: str | None = None

    @field_validator("time_zone")
    @classmethod
    def _is_a_known_time_zone(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is no IANA time zone such as Asia/Shanghai") from error
        return value


class MappedColumn(_Strict):
    """One field's source."""

    column: str
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    sentinels: tuple[float, ...] = ()
    values: dict[str, str] = Field(default_factory=dict)
    offset_candidates: tuple[float, ...] = ()
    offset_reference: str | None = None

    @field_validator("unit")
    @classmethod
    def _is_a_known_unit(cls, value: str) -> str:
        if value not in FACTOR_OF_UNIT:
            raise ValueError(f"{value!r} is no known unit, expected one of {list(FACTOR_OF_UNIT)}")
        return value

    @property
    def factor(self) -> float:
        """Our unit per the log's unit."""
        return FACTOR_OF_UNIT[self.unit]


class Mapping(_Strict):
    """A mapping file, checked."""

    message: Literal["battery_state"] = "battery_state"
    time: TimeColumn
    columns: dict[str, MappedColumn]
    profile: dict[str, Any] = Field(default_factory=dict)

    @field_validator("columns")
    @classmethod
    def _are_fields(cls, value: dict[str, MappedColumn]) -> dict[str, MappedColumn]:
        _check_fields("battery_state", value)
        kinds = {c.name: c for c in columns_of("battery_state")}
        for name, mapped in value.items():
            if unknown := set(mapped.values.values()) - set(kinds[name].values):
                known = kinds[name].values
                raise ValueError(f"{name}: values {sorted(unknown)}, expected of {known}")
            if ("{n}" in mapped.column) != (kinds[name].kind == "f32_list"):
                raise ValueError(
                    f"{name}: column {mapped.column!r}, lists and only lists have {{n}}"
                )
        return value

    @field_validator("profile")
    @classmethod
    def _are_profile_fields(cls, value: dict[str, Any]) -> dict[str, Any]:
        _check_fields("vehicle_profile", value)
        return value


def _check_fields(message: str, given: dict[str, Any]) -> None:
    known = [c.name for c in columns_of(message) if not c.is_mark and c.name not in _IDENTITY]
    for name in given:
        if name not in known:
            raise ValueError(f"{name!r} is no field of {message}, expected of {known}")


_IDENTITY = (
    "source_id", "subject_id", "session", "seq", "id_kind", "sampled_at_ns", "published_at_ns",
)  # fmt: skip


def read_mapping(path: Path) -> Mapping:
    """A mapping file. Raises RecordingError that names the file and what is wrong in it."""
    try:
        return Mapping.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RecordingError(f"mapping {path}: {error.strerror}") from error
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RecordingError(f"mapping {path.name}: {'; '.join(faults)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecordingError(f"mapping {path.name}: {error}") from error
