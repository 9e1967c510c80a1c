"""From findings to alerts, purely: pending > active > recovering > cleared, storms, late data."""

from __future__ import annotations

from cloud.alerting.alert import (
    OPEN_STATES,
    Alert,
    AlertState,
    AlertTransition,
    Change,
    alert_id_of,
    transition_from_json,
    transition_to_json,
)
from cloud.alerting.book import AlertBook

__all__ = [
    "OPEN_STATES",
    "Alert",
    "AlertBook",
    "AlertState",
    "AlertTransition",
    "Change",
    "alert_id_of",
    "transition_from_json",
    "transition_to_json",
]
