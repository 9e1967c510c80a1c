"""What SUMO's words mean in ours: vehicle types, light bits, signal letters."""

from __future__ import annotations

from dataclasses import dataclass

LIGHT_RIGHT_BLINKER = 1
LIGHT_LEFT_BLINKER = 2
LIGHT_EMERGENCY_BLINKER = 4
LIGHT_BRAKE = 8
"""Bits of SUMO's `signals` (https://sumo.dlr.de/docs/TraCI/Vehicle_Signalling.html)."""

PHASE_OF_LETTER = {
    "r": "red",
    "u": "red_amber",
    "y": "amber",
    "Y": "amber",
    "G": "green",
    "g": "green_permissive",
    "s": "green_permissive",  # right-turn arrow: go after a stop, giving way
    "o": "flashing",
    "O": "off",
}
"""Letters of a SUMO signal state (https://sumo.dlr.de/docs/Simulation/Traffic_Lights.html)."""


@dataclass(frozen=True)
class Body:
    """Class and size of a vehicle type."""

    vehicle_class: str | None
    length_m: float = float("nan")
    width_m: float = float("nan")


# SUMO's default length and width by vehicle class
# (https://sumo.dlr.de/docs/Vehicle_Type_Parameter_Defaults.html); first match wins.
_BODY_OF_WORD = (
    (("bus", "coach"), Body("bus", 12.0, 2.5)),
    (("tram", "rail"), Body("tram", 22.0, 2.4)),
    (("trailer", "semi"), Body("truck", 16.5, 2.55)),
    (("lkw", "truck", "lorry", "hgv", "delivery"), Body("truck", 7.1, 2.4)),
    (("moped", "scooter", "motorcycle", "krad"), Body("motorcycle", 2.2, 0.9)),
    (("bicycle", "bike", "rad"), Body("bicycle", 1.6, 0.65)),
    (("pedestrian", "person", "ped_"), Body("pedestrian", 0.215, 0.478)),
    (("emergency", "police", "ambulance", "fire"), Body("emergency", 6.5, 2.16)),
    (("pkw", "car", "passenger", "taxi", "default_vehtype"), Body("car", 5.0, 1.8)),
)


def body_of(type_id: str) -> Body:
    """Class and size by the words in a type's id; unknown (None, NaN) if it has none of them.

    >>> body_of("LKW_special").vehicle_class
    'truck'
    """
    lowered = type_id.lower()
    for words, body in _BODY_OF_WORD:
        if any(word in lowered for word in words):
            return body
    return Body(None)
