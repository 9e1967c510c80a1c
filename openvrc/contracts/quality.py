"""What a sender's own protocol says is wrong with a battery frame, as bits of `quality_bits`.

Three bits a signal: the sender marks it abnormal, marks it invalid, or sends a raw value outside
the protocol's range; in all three cases the signal itself is absent from the record. Then single
bits for statements of one frame that contradict each other, or that could not be used.
"""

from __future__ import annotations

SIGNALS = (
    "pack_voltage_v",
    "pack_current_a",
    "soc_ratio",
    "insulation_ohm",
    "charging_state",
    "odometer_m",
    "vehicle_speed_mps",
    "cell_voltages_v",
    "probe_temperatures_degc",
    "bms_alarm_level",
)
STATES = ("abnormal", "invalid", "out_of_range")
STATEMENTS = (
    "cell_extremes_disagree",
    "probe_extremes_disagree",
    "pack_voltages_disagree",
    "list_misplaced",
    "position_invalid",
    "position_out_of_range",
    "datum_unknown",
    "rest_unread",
)
_FIRST_STATEMENT = len(SIGNALS) * len(STATES)
NAMES = (
    *(f"{signal}.{state}" for signal in SIGNALS for state in STATES),
    *STATEMENTS,
)
"""Name of each bit, bit 0 first; never reordered, only added to."""


def signal_bit(signal: str, state: str) -> int:
    """The mask of a signal's state.

    >>> signal_bit("pack_voltage_v", "invalid")
    2
    """
    return 1 << (SIGNALS.index(signal) * len(STATES) + STATES.index(state))


def statement_bit(statement: str) -> int:
    """The mask of a statement about the whole frame."""
    return 1 << (_FIRST_STATEMENT + STATEMENTS.index(statement))


def names_of(bits: int) -> list[str]:
    """Names of the set bits, lowest first.

    >>> names_of(signal_bit("soc_ratio", "abnormal") | statement_bit("position_invalid"))
    ['soc_ratio.abnormal', 'position_invalid']
    """
    return [name for place, name in enumerate(NAMES) if bits >> place & 1]
