"""What a person should do about a finding, in one form for all battery rules."""

from __future__ import annotations

from typing import Any


def drive_on(why: str) -> dict[str, Any]:
    """Evidence of an advice that asks for nothing now."""
    return {"action_text": f"Drive on. {why}"}


def workshop(days: int, why: str = "") -> dict[str, Any]:
    """Evidence of an advice to have it looked at within so many days."""
    return {
        "action_text": f"Workshop within {days} days. {why}".strip(),
        "action_within_days": days,
    }


def stop_and_leave(why: str = "Keep 15 m away and call the fire brigade.") -> dict[str, Any]:
    """Evidence of an advice to stop at once."""
    return {"action_text": f"Stop, leave the car. {why}", "action_within_days": 0}
