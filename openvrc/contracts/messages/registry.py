"""The table of message types: one row each; everything else is looked up here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages import platform, roadside, vehicle
from openvrc.contracts.messages.record import EdgeMarks, Record


@dataclass(frozen=True)
class MessageType:
    """One row: a message's name, contract, what the edge adds, who may send it."""

    name: str
    model: type[Record]
    marks: type[EdgeMarks] = EdgeMarks
    senders: tuple[str, ...] = ("vehicle",)
    is_stored: bool = True
    """Whether it becomes rows of a time series (control messages do not)."""
    is_numbered: bool = True
    """Whether its records take part in the accounting by sequence number."""
    description: str = ""


_RSU_OR_SIGNAL = ("rsu", "signal")
_ROWS = (
    MessageType(
        "vehicle_state", vehicle.VehicleState, vehicle.VehicleStateMarks, ("vehicle", "rsu")
    ),
    MessageType("battery_state", vehicle.BatteryState, senders=("vehicle", "rsu")),
    MessageType("drive_state", vehicle.DriveState, senders=("vehicle", "rsu")),
    MessageType("vehicle_profile", vehicle.VehicleProfile, senders=("vehicle", "rsu")),
    MessageType("rsu_objects", roadside.RsuObject, senders=("rsu",)),
    MessageType("loop_counts", roadside.LoopCount, senders=("rsu",)),
    MessageType("signal_state", roadside.SignalState, senders=_RSU_OR_SIGNAL),
    MessageType("intersection_map", roadside.IntersectionMap, senders=_RSU_OR_SIGNAL),
    MessageType("road_event", roadside.RoadEvent, senders=("vehicle", "rsu", "edge", "zone")),
    MessageType("rsu_status", roadside.RsuStatus, senders=("rsu",)),
    MessageType("charger_state", roadside.ChargerState, senders=("charger",)),
    MessageType("advisory", roadside.Advisory, senders=("edge", "zone"), is_stored=False),
    MessageType("segment_state", platform.SegmentState, senders=("edge",), is_numbered=False),
    MessageType(
        "finding", platform.EdgeFinding, senders=("edge",), is_stored=False, is_numbered=False
    ),
    MessageType(
        "zone_announce",
        platform.ZoneAnnounce,
        senders=("zone", "rsu", "edge"),
        is_stored=False,
        is_numbered=False,
    ),
    MessageType(
        "tick", platform.Tick, senders=("zone", "edge"), is_stored=False, is_numbered=False
    ),
    MessageType(
        "source_status",
        platform.SourceStatus,
        senders=("vehicle", "rsu", "signal", "charger", "zone"),
        is_stored=False,
        is_numbered=False,
    ),
    MessageType("dead_letter", platform.DeadLetter, senders=("edge",), is_numbered=False),
    MessageType(
        "source_ledger",
        platform.SourceLedger,
        senders=("edge",),
        is_stored=False,
        is_numbered=False,
    ),
)

MESSAGES: dict[str, MessageType] = {row.name: row for row in _ROWS}


@cache
def message_type(name: str) -> MessageType:
    """The row of a message. Raises ContractError that names the known ones."""
    try:
        return MESSAGES[name]
    except KeyError:
        raise ContractError("message", name, "one of " + ", ".join(MESSAGES)) from None
