"""One key's life: pending > active > recovering > cleared, in event time.

A track belongs to one (run, rule, subject, component). Its methods fold one finding or one
watermark and return the changes that people should hear of, in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from cloud.alerting.alert import Alert, Change, alert_from_json, alert_to_json
from openvrc.contracts.detection import Finding, Rule, Severity
from openvrc.contracts.units import NS_PER_S

SEVERITY_HOLD_NS = 30 * NS_PER_S
"""A lower severity must hold this long at least: a value that swings around a limit would
otherwise page people at each swing (the hysteresis of alarm management, ISA-18.2)."""

UPDATE_EVERY_NS = 10 * NS_PER_S
"""New evidence alone is told at most this often: a detector may raise with every sample."""

TrackState = Literal["pending", "active", "recovering", "cleared"]
Step = tuple[Change, Alert]


@dataclass
class Track:
    """State of one key; `alert` is what the next transition will show."""

    alert: Alert
    state: TrackState
    pending_for_ns: int
    recovering_for_ns: int
    actionable_for_ns: int
    last_at_ns: int
    """Event time of the newest raise that was taken."""
    told_at_ns: int = 0
    is_dirty: bool = False
    """Evidence has changed since it was last told."""
    lower_severity: int | None = None
    """Highest severity since raises fell below the alert's, at `lower_since_ns`."""
    lower_since_ns: int = 0
    is_dismissed: bool = False
    """Cleared by hand while the condition held: quiet until it ends or gets worse."""
    tells_a_trait: bool = False
    """See `Rule`."""

    @classmethod
    def begin(cls, alert: Alert, rule: Rule, at_ns: int) -> Self:
        """A pending track."""
        return cls(
            alert,
            "pending",
            pending_for_ns=int(rule.pending_for_s * NS_PER_S),
            recovering_for_ns=int(rule.recovering_for_s * NS_PER_S),
            actionable_for_ns=int(rule.actionable_for_s * NS_PER_S),
            last_at_ns=at_ns,
            tells_a_trait=rule.tells_a_trait,
        )

    def raise_(self, finding: Finding, now_ns: int) -> list[Step]:
        """A raise that belongs to this episode; `now_ns` is the time it came out."""
        if self.state == "pending":
            return self._raise_pending(finding, now_ns)
        if self.is_dismissed and finding.severity <= self.alert.severity:
            return []
        was = self.alert
        had_ended = self.state != "active"
        self.state, self.is_dismissed = "active", False
        self.alert = self.alert.changed(state="active", cleared_at_ns=None, is_unknown=False)
        self._take_severity(finding.severity, finding.at_ns)
        self._take_details(finding)
        is_news = had_ended or was.is_unknown or was.severity != self.alert.severity
        if is_news or now_ns - self.told_at_ns >= UPDATE_EVERY_NS:
            return [self._tell("updated", now_ns)]
        return []

    def _raise_pending(self, finding: Finding, now_ns: int) -> list[Step]:
        severity = max(self.alert.severity, finding.severity)
        self.alert = self.alert.changed(severity=severity, is_unknown=False)
        self._take_details(finding)
        if finding.at_ns - self.alert.started_at_ns >= self.pending_for_ns:
            return [self._open(now_ns)]
        return []

    def clear(self, finding: Finding, now_ns: int) -> list[Step]:
        """The condition ended. A pending track that never opened returns nothing: forget it."""
        if self.state in ("recovering", "cleared"):
            self.is_dismissed = False
            return []
        ended_at_ns = max(finding.at_ns, self.alert.started_at_ns)
        steps: list[Step] = []
        if self.state == "pending":
            if ended_at_ns - self.alert.started_at_ns < self.pending_for_ns:
                return []
            steps.append(self._open(now_ns))
        if finding.evidence:
            self.alert = self.alert.changed(evidence=dict(finding.evidence))
        self.alert = self.alert.changed(cleared_at_ns=ended_at_ns, is_unknown=False)
        if self.recovering_for_ns == 0:
            return [*steps, self.end(now_ns)]
        self.state = "recovering"
        self.alert = self.alert.changed(state="recovering")
        return [*steps, self._tell("recovering", now_ns)]

    def mark_unknown(self, now_ns: int) -> list[Step]:
        """The subject went silent: said, never a reason to clear."""
        if self.alert.is_unknown or self.state == "cleared":
            return []
        self.alert = self.alert.changed(is_unknown=True)
        return [] if self.state == "pending" else [self._tell("updated", now_ns)]

    def advance(self, watermark_ns: int) -> list[Step]:
        """What the passing of event time alone changes."""
        alert = self.alert
        if self.state == "pending":
            has_held = watermark_ns - alert.started_at_ns >= self.pending_for_ns
            return [self._open(watermark_ns)] if has_held and not alert.is_unknown else []
        if self.state == "recovering":
            assert alert.cleared_at_ns is not None
            is_over = watermark_ns - alert.cleared_at_ns >= self.recovering_for_ns
            return [self.end(watermark_ns)] if is_over else []
        if self.state != "active":
            return []
        self._lower_when_held(watermark_ns)
        is_due = self.is_dirty and watermark_ns - self.told_at_ns >= UPDATE_EVERY_NS
        if is_due or self.alert.severity != alert.severity:
            return [self._tell("updated", watermark_ns)]
        return []

    def end(self, now_ns: int) -> Step:
        """Cleared; `alert.cleared_at_ns` says when the condition ended."""
        self.state, self.lower_severity = "cleared", None
        self.alert = self.alert.changed(state="cleared")
        return self._tell("cleared", now_ns)

    def dismiss(self, now_ns: int) -> Step:
        """Cleared by hand."""
        self.is_dismissed = self.state == "active"
        at_ns = max(now_ns, self.alert.started_at_ns)
        self.alert = self.alert.changed(cleared_at_ns=self.alert.cleared_at_ns or at_ns)
        return self.end(now_ns)

    def continues(self, started_at_ns: int) -> bool:
        """Whether a raise of an episode that started then belongs to this one."""
        if self.state in ("pending", "active") or started_at_ns == self.alert.started_at_ns:
            return True
        assert self.alert.cleared_at_ns is not None
        return started_at_ns - self.alert.cleared_at_ns <= self.recovering_for_ns

    def is_forgettable(self, watermark_ns: int) -> bool:
        """Whether nothing that may still come could refer to it."""
        if self.state != "cleared" or self.is_dismissed or self.alert.cleared_at_ns is None:
            return False
        keep_ns = max(self.actionable_for_ns, self.recovering_for_ns)
        return watermark_ns - self.alert.cleared_at_ns > keep_ns

    def _open(self, now_ns: int) -> Step:
        self.state = "active"
        self.alert = self.alert.changed(state="active", detected_at_ns=now_ns)
        return self._tell("opened", now_ns)

    def _tell(self, change: Change, now_ns: int) -> Step:
        self.told_at_ns, self.is_dirty = now_ns, False
        return change, self.alert

    def _take_details(self, finding: Finding) -> None:
        if finding.at_ns < self.last_at_ns:
            return  # older than what is shown
        self.last_at_ns = finding.at_ns
        self.is_dirty = True
        self.alert = self.alert.changed(
            evidence=dict(finding.evidence),
            confidence=finding.confidence,
            segment_id=finding.segment_id or self.alert.segment_id,
            lat_deg=self.alert.lat_deg if finding.lat_deg is None else finding.lat_deg,
            lon_deg=self.alert.lon_deg if finding.lon_deg is None else finding.lon_deg,
        )

    def _take_severity(self, severity: Severity, at_ns: int) -> None:
        if severity >= self.alert.severity:
            self.alert = self.alert.changed(severity=severity)
            self.lower_severity = None
        elif self.lower_severity is None:
            self.lower_severity, self.lower_since_ns = int(severity), at_ns
        else:
            self.lower_severity = max(self.lower_severity, int(severity))
        self._lower_when_held(at_ns)

    def _lower_when_held(self, now_ns: int) -> None:
        hold_ns = max(SEVERITY_HOLD_NS, self.recovering_for_ns)
        if self.lower_severity is not None and now_ns - self.lower_since_ns >= hold_ns:
            self.alert = self.alert.changed(severity=Severity(self.lower_severity))
            self.lower_severity = None

    def to_json(self) -> dict[str, Any]:
        """JSON values, for a checkpoint."""
        return self.__dict__ | {"alert": alert_to_json(self.alert)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        return cls(**{**values, "alert": alert_from_json(values["alert"])})
