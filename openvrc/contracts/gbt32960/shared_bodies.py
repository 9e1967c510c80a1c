"""Fields that both editions share, and their makers."""

from __future__ import annotations

from openvrc.contracts.gbt32960.nodes import Field, Run

ON_OFF = {1: "on", 2: "off"}
STATUS = {1: "started", 2: "off", 3: "other"}
CHARGING = {
    1: "charging while parked",
    2: "charging while driving",
    3: "not charging",
    4: "charging complete",
}
MODE = {1: "electric", 2: "hybrid", 3: "fuel"}
MOTOR_STATE = {1: "consuming", 2: "generating", 3: "off", 4: "ready"}
HIGHEST_LEVEL_2016 = {
    0: "no fault",
    1: "level 1: does not affect driving",
    2: "level 2: restrict driving",
    3: "level 3: stop at once or call for rescue",
}
HIGHEST_LEVEL_2025 = {**HIGHEST_LEVEL_2016, 4: "level 4: thermal event"}


def flag(name: str, title: str, words: dict[int, str]) -> Field:
    """One byte that is an enumeration."""
    return Field(name, 1, title, words=words)


def place(name: str, title: str, high: int, width: int = 1) -> Field:
    """The number of a pack, a motor, a cell, ..., from 1 on."""
    return Field(name, width, title, low=1, high=high)


def plain(name: str, width: int, title: str, *, low: int = 0, high: int | None = None) -> Field:
    """A number without unit and without reserved codes."""
    return Field(name, width, title, low=low, high=high, has_codes=False)


def temperature(name: str, title: str) -> Field:
    """One byte, -40 to +210 degC."""
    return Field(name, 1, title, "degC", high=250, zero=40)


def speed_kmh(high: int) -> Field:
    """0.1 km/h a step, in m/s: raw / 36."""
    return Field("speed_mps", 2, "vehicle speed", "m/s", high=high, over=36)


ODOMETER = Field("odometer_m", 4, "distance driven in all", "m", high=9_999_999, times=100)
SOC = Field("soc_ratio", 1, "state of charge", "1", high=100, over=100)


def tenth_v(name: str, title: str, high: int) -> Field:
    """0.1 V a step."""
    return Field(name, 2, title, "V", high=high, over=10)


def tenth_a(name: str, title: str, high: int, zero_a: int) -> Field:
    """0.1 A a step, raw 0 is -`zero_a`; positive is discharge."""
    return Field(name, 2, title, "A", high=high, zero=10 * zero_a, over=10)


def counted(name: str, width: int, title: str, high: int | None = None) -> Field:
    """How many elements follow; "abnormal" and "invalid" in its place mean none."""
    return Field(name, width, title, high=high)


def length(name: str, width: int, title: str, high: int | None = None) -> Field:
    """How many bytes or elements follow, without reserved codes."""
    return Field(name, width, title, high=high, has_codes=False)


def fault_lists(most: int) -> tuple[Run, ...]:
    """Four lists of the maker's own fault codes, 4 bytes each."""
    return tuple(
        Run(
            f"{part}_faults",
            counted("count", 1, f"number of {part} faults", most),
            Field("code", 4, f"{part} fault code", has_codes=False),
        )
        for part in FAULT_PARTS
    )


FAULT_PARTS = ("storage", "motor", "engine", "other")
ALARM_FLAGS = Field(
    "flags", 4, "general alarm flags, bit 0 least significant", has_codes=False, form="flags"
)

GEAR = Field("gear", 1, "gear, braking and driving force", has_codes=False, form="flags")
POSITION_STATUS = Field(
    "status", 1, "bit 0 invalid fix, bit 1 south, bit 2 west", has_codes=False, form="flags"
)
LONGITUDE = Field(
    "lon_deg", 4, "longitude without its sign", "deg", high=180_000_000, over=1_000_000
)
LATITUDE = Field("lat_deg", 4, "latitude without its sign", "deg", high=90_000_000, over=1_000_000)

CUSTOM = (
    Run(
        "content",
        length("length", 2, "length of the user's own data", 65_531),
        Field("byte", 1, "user's own data", has_codes=False, form="bytes"),
    ),
)


def blob(name: str, width: int, title: str) -> Run:
    """A length, then that many bytes."""
    element = Field("byte", 1, title, has_codes=False, form="bytes")
    return Run(name, length("length", width, f"length of {title}"), element)


SIGNATURE = (
    Field(
        "algorithm",
        1,
        "signature algorithm",
        words={1: "SM2", 2: "RSA", 3: "ECC"},
        has_codes=False,
    ),
    blob("r", 2, "signature value R"),
    blob("s", 2, "signature value S"),
)


def probes(name: str, width: int, title: str = "probe temperature", high: int = 250) -> Run:
    """A count of `width` bytes, then one temperature a byte."""
    element = Field("probe_degc", 1, title, "degC", high=high, zero=40)
    return Run(name, counted("count", width, "number of probes"), element)
