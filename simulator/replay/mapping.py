"""A mapping: which column of a foreign log is which field of ours, in which unit.

A TOML file with

    message = "battery_state"            # the default; or "vehicle_state", "rsu_objects"
    [subject]                            # who a row is about; without it the file is one vehicle
    column = "vehicle_id"
    [source]                             # of rsu_objects: the unit that perceives, one of
    column = "camera"                    # ... a column, or
    name = "rsu-1"                       # ... one unit for all rows
    [plane]                              # positions in metres, instead of lat_deg and lon_deg
    x_column = "x"
    y_column = "y"
    origin_lat_deg = 50.78               # where x and y are 0
    origin_lon_deg = 6.06
    x_bearing_deg = 90.0                 # which way x points, 0 north; y is 90 deg to its left
    is_y_down = false                    # true for the pixels of an image
    [time]
    column = "tboxTime"
    format = "iso"                       # or a strptime format, "unix_s", "unix_ms", "relative_s"
    scale = 1.0                          # of relative_s: 0.04 for numbers of frames at 25 a second
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
    values = { 1 = "parked_charging" }   # numbers or words of an enumeration; others become null
    [profile]                            # fields of vehicle_profile, optional
    chemistry = "nmc"

Every value is (raw * scale + offset), then brought from `unit` to ours. Columns a log lacks are
left out.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from openvrc.contracts.columns import columns_of
from simulator.replay.options import RecordingError

DEFAULT_MESSAGE = "battery_state"
UNITS = {
    "1": ("1", 1.0),
    "%": ("1", 0.01),
    "m/s": ("m/s", 1.0),
    "km/h": ("m/s", 1.0 / 3.6),
    "mph": ("m/s", 0.44704),
    "kn": ("m/s", 1852.0 / 3600.0),
    "ft/s": ("m/s", 0.3048),
    "m/s2": ("m/s2", 1.0),
    "ft/s2": ("m/s2", 0.3048),
    "g": ("m/s2", 9.80665),
    "deg": ("deg", 1.0),
    "rad": ("deg", 57.29577951308232),
    "deg/s": ("deg/s", 1.0),
    "rad/s": ("deg/s", 57.29577951308232),
    "m": ("m", 1.0),
    "km": ("m", 1000.0),
    "cm": ("m", 0.01),
    "ft": ("m", 0.3048),
    "V": ("V", 1.0),
    "mV": ("V", 0.001),
    "A": ("A", 1.0),
    "mA": ("A", 0.001),
    "ohm": ("ohm", 1.0),
    "kohm": ("ohm", 1000.0),
    "Mohm": ("ohm", 1e6),
    "degC": ("degC", 1.0),
}
"""Units a log may use: which of ours each leads to, and the factor."""
UNIT_AS_OURS = ""
"""What a column without a unit has: it is in ours already."""


def factor_of(unit: str) -> float:
    """Our unit per the log's unit."""
    return 1.0 if unit == UNIT_AS_OURS else UNITS[unit][1]


def _check_unit(name: str, unit: str, ours: str) -> None:
    """Raises ValueError for a unit that does not lead to ours; codes and counts have none."""
    leads = [word for word, (to, _) in UNITS.items() if to == ours] or ["1"]
    if unit not in (UNIT_AS_OURS, *leads):
        raise ValueError(f"{name}: unit {unit!r}, expected one of {leads}")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeColumn(_Strict):
    """Where the times are and how they are written."""

    column: str
    format: str = "iso"
    scale: float = Field(default=1.0, gt=0)
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

    @property
    def factor(self) -> float:
        """Our unit per the log's unit."""
        return factor_of(self.unit)


class SubjectColumn(_Strict):
    """Who a row is about: a vehicle, or a unit's track."""

    column: str


class SourceColumn(_Strict):
    """Which unit says a row."""

    column: str | None = None
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.:@-]{1,96}$")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.column is None) == (self.name is None):
            raise ValueError("expected either column or name")
        return self


class Plane(_Strict):
    """Positions in metres of a plane that touches the earth at its origin."""

    x_column: str
    y_column: str
    unit: str = "m"
    origin_lat_deg: float = Field(ge=-90, le=90)
    origin_lon_deg: float = Field(ge=-180, le=180)
    x_bearing_deg: float = 90.0
    is_y_down: bool = False

    @field_validator("unit")
    @classmethod
    def _is_of_length(cls, value: str) -> str:
        _check_unit("plane", value, "m")
        return value


class Mapping(_Strict):
    """A mapping file, checked."""

    message: Literal["battery_state", "vehicle_state", "rsu_objects"] = "battery_state"
    time: TimeColumn
    columns: dict[str, MappedColumn] = Field(default_factory=dict)
    subject: SubjectColumn | None = None
    source: SourceColumn | None = None
    plane: Plane | None = None
    profile: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _are_fields(self) -> Self:
        _check_fields(self.message, self.columns)
        _check_places(self)
        kinds = {c.name: c for c in columns_of(self.message)}
        for name, mapped in self.columns.items():
            if kinds[name].kind == "text":
                raise ValueError(f"{name}: texts cannot be mapped")
            _check_unit(name, mapped.unit, kinds[name].unit)
            if unknown := set(mapped.values.values()) - set(kinds[name].values):
                known = kinds[name].values
                raise ValueError(f"{name}: values {sorted(unknown)}, expected of {known}")
            if ("{n}" in mapped.column) != (kinds[name].kind == "f32_list"):
                raise ValueError(
                    f"{name}: column {mapped.column!r}, lists and only lists have {{n}}"
                )
        return self

    @field_validator("profile")
    @classmethod
    def _are_profile_fields(cls, value: dict[str, Any]) -> dict[str, Any]:
        _check_fields("vehicle_profile", value)
        return value


def _check_places(mapping: Mapping) -> None:
    """Who says it and where it is, as each message needs it."""
    is_battery = mapping.message == "battery_state"
    for name in ("subject", "source", "plane"):
        if is_battery and getattr(mapping, name) is not None:
            raise ValueError(f"[{name}] is not for battery_state, a file is one vehicle")
    if is_battery:
        return
    named = {"lat_deg", "lon_deg"} & mapping.columns.keys()
    if len(named) != (0 if mapping.plane else 2):
        raise ValueError("expected either columns.lat_deg and columns.lon_deg, or [plane]")
    if mapping.message == "rsu_objects" and (mapping.source is None or mapping.subject is None):
        raise ValueError("rsu_objects: expected [subject] (the track) and [source] (the unit)")
    if mapping.message == "vehicle_state" and mapping.source is not None:
        raise ValueError("[source] is for rsu_objects, vehicles speak for themselves")


def _check_fields(message: str, given: dict[str, Any]) -> None:
    known = [c.name for c in columns_of(message) if not c.is_mark and c.name not in _IDENTITY]
    for name in given:
        if name not in known:
            raise ValueError(f"{name!r} is no field of {message}, expected of {known}")


_IDENTITY = (
    "source_id", "subject_id", "session", "seq", "id_kind", "sampled_at_ns", "published_at_ns",
)  # fmt: skip


def message_of(path: Path | None) -> str | None:
    """Which message a mapping is for; the default where the file cannot be read. Never raises."""
    if path is None:
        return None
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("message", DEFAULT_MESSAGE))
    except (OSError, ValueError):
        return DEFAULT_MESSAGE


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
