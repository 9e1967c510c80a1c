"""All alerts of one run (signatures; the body follows)."""

from __future__ import annotations

from typing import Any

from cloud.alerting.alert import AlertTransition
from openvrc.contracts.detection import Finding, Rule


class AlertBook:
    """The alerts of one run."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def take(self, finding: Finding, rule: Rule, zone: str, origin: str) -> list[AlertTransition]:
        """Fold one finding."""
        raise NotImplementedError

    def advance(self, zone: str, watermark_ns: int) -> list[AlertTransition]:
        """The zone's watermark has moved."""
        raise NotImplementedError

    def clear(self, alert_id: str) -> list[AlertTransition]:
        """An operator clears one."""
        raise NotImplementedError

    def snapshot(self) -> dict[str, Any]:
        """JSON values."""
        raise NotImplementedError
