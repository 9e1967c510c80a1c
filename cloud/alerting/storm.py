"""Alert storms: too many alerts of one rule and zone at once are told as one.

When a cable is cut or a limit is set wrongly, hundreds of alerts of one rule open within seconds;
nobody reads them. From the 51st in a minute of event time on, they are folded into one
`platform.alert_storm`; critical ones are never folded, nor are those of rules that tell a trait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cloud.alerting.alert import Alert
from openvrc.contracts.detection import Finding, Rule, Severity
from openvrc.contracts.units import NS_PER_S

STORM_LIMIT = 50
STORM_WINDOW_NS = 60 * NS_PER_S

STORM_RULE = Rule(
    name="platform.alert_storm",
    title="Alert storm",
    meaning="More than 50 alerts of one rule opened in one zone within a minute.",
    advice="Look for one common cause (a sensor, a map, a limit) before the single alerts.",
    recovering_for_s=60.0,
)


@dataclass
class Storm:
    """Openings of one rule in one zone."""

    rule: str
    zone: str
    opened_at_ns: deque[int] = field(default_factory=deque)
    """Openings within the last minute of event time, in order of their coming out."""
    started_at_ns: int | None = None
    """Set while the storm lasts."""
    n_folded: int = 0
    worst: int = 0
    """Highest severity folded."""
    has_news: bool = False

    @property
    def component(self) -> str:
        """The storm alert's component."""
        return self.rule

    def takes(self, alert: Alert) -> bool:
        """Count an opening; whether it is to be folded."""
        self.opened_at_ns.append(alert.detected_at_ns)
        self._forget_before(alert.detected_at_ns - STORM_WINDOW_NS)
        if self.started_at_ns is None:
            if len(self.opened_at_ns) <= STORM_LIMIT:
                return False
            self.started_at_ns = alert.detected_at_ns
        self.n_folded += 1
        self.worst = max(self.worst, int(alert.severity))
        self.has_news = True
        return True

    def raised(self, at_ns: int) -> Finding:
        """The storm as a finding."""
        return self._finding("raise", at_ns)

    def advance(self, watermark_ns: int) -> Finding | None:
        """News at a tick: more were folded, or the storm is over."""
        self._forget_before(watermark_ns - STORM_WINDOW_NS)
        if self.started_at_ns is None:
            return None
        if len(self.opened_at_ns) <= STORM_LIMIT:
            over = self._finding("clear", watermark_ns)
            self.started_at_ns, self.n_folded, self.worst = None, 0, 0
            return over
        if not self.has_news:
            return None
        self.has_news = False
        return self.raised(watermark_ns)

    def _finding(self, phase: Any, at_ns: int) -> Finding:
        assert self.started_at_ns is not None
        return Finding(
            rule=STORM_RULE.name,
            phase=phase,
            subject_type="zone",
            subject_id=self.zone,
            at_ns=at_ns,
            started_at_ns=self.started_at_ns,
            severity=Severity(self.worst),
            component=self.component,
            evidence={
                "rule": self.rule,
                "folded_count": self.n_folded,
                "limit_per_minute": STORM_LIMIT,
                "text": f"{self.n_folded} more alerts of {self.rule} in zone {self.zone}.",
            },
        )

    def _forget_before(self, limit_ns: int) -> None:
        while self.opened_at_ns and self.opened_at_ns[0] <= limit_ns:
            self.opened_at_ns.popleft()

    def to_json(self) -> dict[str, Any]:
        """JSON values, for a checkpoint."""
        return self.__dict__ | {"opened_at_ns": list(self.opened_at_ns)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        return cls(**{**values, "opened_at_ns": deque(values["opened_at_ns"])})
