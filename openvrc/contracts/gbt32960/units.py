"""Data units by command: what stands between the head and the check byte (sections 7, annex B)."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from openvrc.contracts.gbt32960 import bodies_2016, bodies_2025, parameters
from openvrc.contracts.gbt32960 import shared_bodies as s
from openvrc.contracts.gbt32960.nodes import REST, Field, Node, Run

PACK_CODE_BYTES = 24
"""Length of a pack's code in the 2025 edition (GB/T 34014)."""


class Edition(StrEnum):
    """Which edition a frame follows; told by its two start bytes."""

    Y2016 = "2016"
    Y2025 = "2025"

    @property
    def start(self) -> bytes:
        """The two bytes that a frame begins with."""
        return b"##" if self is Edition.Y2016 else b"$$"


EDITION_OF_START = {edition.start: edition for edition in Edition}


class Command(IntEnum):
    """Command ids that both editions or the newer one define."""

    VEHICLE_LOGIN = 0x01
    REALTIME = 0x02
    REISSUE = 0x03
    VEHICLE_LOGOUT = 0x04
    PLATFORM_LOGIN = 0x05
    PLATFORM_LOGOUT = 0x06
    HEARTBEAT = 0x07
    CALIBRATE_TIME = 0x08
    ACTIVATE = 0x09
    ACTIVATION_REPLY = 0x0A
    EXCHANGE_KEY = 0x0B
    QUERY = 0x80
    SET = 0x81
    CONTROL = 0x82


REPORTS = (Command.REALTIME, Command.REISSUE)


class Response(IntEnum):
    """Response flags. `COMMAND` marks a frame that is no reply."""

    SUCCESS = 0x01
    ERROR = 0x02
    VIN_DUPLICATE = 0x03
    VIN_UNKNOWN = 0x04
    SIGNATURE_ERROR = 0x05
    STRUCTURE_ERROR = 0x06
    DECRYPTION_ERROR = 0x07
    COMMAND = 0xFE


class Encryption(IntEnum):
    """How the data unit is encrypted."""

    NONE = 0x01
    RSA = 0x02
    AES = 0x03
    SM2 = 0x04
    SM4 = 0x05
    ABNORMAL = 0xFE
    INVALID = 0xFF


TIME = Field("time", 6, "Beijing time", has_codes=False, form="time")
SERIAL = s.plain("serial", 2, "serial number of the login that day", low=1, high=65_531)
_ICCID = Field("iccid", 20, "ICCID of the SIM card", has_codes=False, form="text")
_CODE_BYTE = Field("byte", 1, "codes of the battery packs", has_codes=False, form="text")

LOGIN_2016: tuple[Node, ...] = (
    TIME,
    SERIAL,
    _ICCID,
    s.plain("packs", 1, "number of battery packs", high=250),
    s.plain("code_length", 1, "length of a pack's code", high=50),
    Run("codes", None, _CODE_BYTE, lambda read: int(read["packs"] * read["code_length"])),
)
LOGIN_2025: tuple[Node, ...] = (
    TIME,
    SERIAL,
    _ICCID,
    Run(
        "packs_of_bms",
        s.length("count", 1, "number of battery management systems", 20),
        s.plain("packs", 1, "battery packs of one BMS", high=50),
    ),
    Run("codes", None, _CODE_BYTE, lambda read: sum(read["packs_of_bms"]) * PACK_CODE_BYTES),
)
LOGOUT: tuple[Node, ...] = (TIME, SERIAL)
PLATFORM_LOGIN: tuple[Node, ...] = (
    TIME,
    SERIAL,
    Field("user", 12, "user of the platform", has_codes=False, form="text"),
    Field("password", 20, "password of the platform", has_codes=False, form="text"),
    s.flag("encryption", "encryption rule", {e.value: e.name for e in Encryption if e < 0xFE}),
)
KEY_EXCHANGE: tuple[Node, ...] = (
    s.flag("kind", "kind of key", {2: "RSA", 3: "AES", 4: "SM2", 5: "SM4"}),
    s.blob("key", 2, "key"),
    Field("valid_from", 6, "start of validity, Beijing time", has_codes=False, form="time"),
    Field("valid_to", 6, "end of validity, Beijing time", has_codes=False, form="time"),
)
ACTIVATION: tuple[Node, ...] = (
    TIME,
    Field("chip_id", 16, "id of the security chip", has_codes=False, form="text"),
    s.blob("public_key", 2, "public key"),
    Field("vin", 17, "vehicle identification number", has_codes=False, form="text"),
    *s.SIGNATURE,  # without the FF that announces it in a report
)
ACTIVATION_REPLY: tuple[Node, ...] = (
    s.flag("status", "activation", {1: "succeeded", 2: "failed"}),
    s.flag("info", "why", {0: "fine", 1: "chip is active already", 2: "VIN duplicate"}),
)
QUERY: tuple[Node, ...] = (TIME, parameters.ASKED)
SET: dict[Edition, tuple[Node, ...]] = {
    Edition.Y2016: (TIME, parameters.listed(parameters.OF_2016)),
    Edition.Y2025: (TIME, parameters.listed(parameters.OF_2025)),
}
"""A setting, and a terminal's answer to a query."""
CONTROL: tuple[Node, ...] = (
    TIME,
    s.flag("control", "what to do", parameters.CONTROLS),
    Run("content", None, Field("byte", 1, "parameters of the control", has_codes=False,
                               form="bytes"), lambda read: int(read[REST])),
)  # fmt: skip

_COMMON: dict[int, tuple[Node, ...]] = {
    Command.VEHICLE_LOGOUT: LOGOUT,
    Command.PLATFORM_LOGIN: PLATFORM_LOGIN,
    Command.PLATFORM_LOGOUT: LOGOUT,
    Command.HEARTBEAT: (),
    Command.CALIBRATE_TIME: (),
    Command.QUERY: QUERY,
    Command.CONTROL: CONTROL,
}
FROM_PLATFORMS = (Command.ACTIVATION_REPLY, Command.QUERY, Command.SET, Command.CONTROL)
"""Commands that go down to terminals."""
UNITS: dict[Edition, dict[int, tuple[Node, ...]]] = {
    Edition.Y2016: {
        **_COMMON,
        Command.VEHICLE_LOGIN: LOGIN_2016,
        Command.SET: SET[Edition.Y2016],
    },
    Edition.Y2025: {
        **_COMMON,
        Command.SET: SET[Edition.Y2025],
        Command.VEHICLE_LOGIN: LOGIN_2025,
        Command.ACTIVATE: ACTIVATION,
        Command.ACTIVATION_REPLY: ACTIVATION_REPLY,
        Command.EXCHANGE_KEY: KEY_EXCHANGE,
    },
}
BODIES: dict[Edition, dict[int, tuple[str, tuple[Node, ...]]]] = {
    Edition.Y2016: bodies_2016.BODIES,
    Edition.Y2025: bodies_2025.BODIES,
}
LOWEST_CUSTOM, HIGHEST_CUSTOM = 0x80, 0xFE


def body_of(edition: Edition, kind: int) -> tuple[str, tuple[Node, ...]] | None:
    """Name and nodes of a report's body; None for a type that nobody defined."""
    if LOWEST_CUSTOM <= kind <= HIGHEST_CUSTOM:
        return "custom", s.CUSTOM
    return BODIES[edition].get(kind)


def command_name(command: int) -> str:
    """Name of a command, or its range.

    >>> command_name(2), command_name(0xC5)
    ('realtime', 'platform custom')
    """
    if command in Command._value2member_map_:
        return Command(command).name.lower()
    if command <= 0x7F:
        return "reserved up"
    return "reserved down" if command <= 0xBF else "platform custom"
