"""The general alarm flags by bit; bit 0 is the least significant of the big-endian four bytes.

The text never spells the order out; the tables that number bits elsewhere (gear, position status)
have bit 0 least significant, and so do most senders. Names: 2016 table 18, 2025 table B.
"""

from __future__ import annotations

NAMES_2016 = (
    "temperature_difference",
    "battery_over_temperature",
    "storage_over_voltage",
    "storage_under_voltage",
    "soc_low",
    "cell_over_voltage",
    "cell_under_voltage",
    "soc_high",
    "soc_jump",
    "storage_mismatch",
    "cell_inconsistency",
    "insulation",
    "dcdc_temperature",
    "brake_system",
    "dcdc_status",
    "motor_controller_temperature",
    "high_voltage_interlock",
    "motor_temperature",
    "storage_over_charge",
)
NAMES_2025 = (
    *NAMES_2016,
    "motor_over_speed",
    "motor_over_current",
    "supercap_over_temperature",
    "supercap_over_voltage",
    "storage_thermal_event",
    "hydrogen_leak",
    "hydrogen_pressure",
    "hydrogen_temperature",
    "stack_over_temperature",
)
THERMAL_EVENT_BIT = 23
"""2025: always level 4."""


def names_of(flags: int, is_2025: bool) -> list[str]:
    """Names of the set flags, reserved ones as `bit_N`.

    >>> names_of(0b1000_0000_0010, False)
    ['battery_over_temperature', 'insulation']
    """
    return [name_of(bit, is_2025) for bit in range(32) if flags >> bit & 1]


def name_of(bit: int, is_2025: bool) -> str:
    """Name of one flag.

    >>> name_of(23, True), name_of(23, False)
    ('storage_thermal_event', 'bit_23')
    """
    names = NAMES_2025 if is_2025 else NAMES_2016
    return names[bit] if bit < len(names) else f"bit_{bit}"
