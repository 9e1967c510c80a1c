"""All alerts of one run: findings and watermarks in, transitions out.

The key of an alert is (rule, subject, component) within the run. A finding from late data is
taken as current while no newer finding of its key contradicts it and it is younger than the
rule's `actionable_for_s`; otherwise it is history: told once, with state "historical".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from cloud.alerting.alert import (
    Alert,
    AlertTransition,
    Change,
    alert_from_json,
    alert_id_of,
    alert_to_json,
)
from cloud.alerting.storm import STORM_RULE, Storm
from cloud.alerting.track import Step, Track
from openvrc.contracts.detection import Finding, Rule, Severity
from openvrc.contracts.units import NS_PER_S

Key = tuple[str, str, str]
"""(rule, subject_id, component)"""

BEGIN_MARGIN_NS = 60 * NS_PER_S
"""More than any zone allows its records to be late, so the first real watermark lies behind it."""
HISTORY_KEPT = 1_000
"""Historical alerts remembered, so that a repeated late finding is told once."""


class AlertBook:
    """The alerts of one run. Event time only; no clock of its own."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.sequence = 0
        self._tracks: dict[Key, Track] = {}
        self._storms: dict[tuple[str, str], Storm] = {}
        self._history: dict[str, Alert] = {}
        self._watermark_ns: dict[str, int] = {}

    def take(self, finding: Finding, rule: Rule, zone: str, origin: str) -> list[AlertTransition]:
        """Fold one finding of a detector with that rule, said in that zone."""
        key = (finding.rule, finding.subject_id, finding.component)
        track = self._tracks.get(key)
        zone = track.alert.zone if track is not None else zone
        now_ns = max(finding.at_ns, self._watermark_ns.get(zone, finding.at_ns))
        if finding.phase == "raise":
            if finding.is_late and not self._is_current(finding, track, rule, zone):
                return self._tell_history(self._alert_of(finding, rule, zone, origin, now_ns))
            return self._raise(key, finding, rule, zone, origin, now_ns)
        if track is None:
            return self._end_history(finding)
        if finding.phase == "unknown":
            return self._tell(track.mark_unknown(now_ns), now_ns)
        if finding.is_late and finding.at_ns < track.last_at_ns:
            return self._end_history(finding)
        steps = track.clear(finding, now_ns)
        if track.state == "pending":
            del self._tracks[key]
        return self._tell_opening(track, steps, finding.at_ns)

    def begin(self, zone: str, zone_time_ns: int) -> None:
        """The zone's clock stood there when its run began: what is far older is history.

        Without it, late data that came before the first tick would be taken for current.
        """
        self._watermark_ns.setdefault(zone, zone_time_ns - BEGIN_MARGIN_NS)

    def advance(self, zone: str, watermark_ns: int) -> list[AlertTransition]:
        """The zone's watermark has come to `watermark_ns`."""
        self._watermark_ns[zone] = max(watermark_ns, self._watermark_ns.get(zone, watermark_ns))
        told: list[AlertTransition] = []
        for key, track in list(self._tracks.items()):
            if track.alert.zone != zone:
                continue
            told += self._tell_opening(track, track.advance(watermark_ns), watermark_ns)
            if track.is_forgettable(watermark_ns):
                del self._tracks[key]
        for storm in [storm for storm in self._storms.values() if storm.zone == zone]:
            finding = storm.advance(watermark_ns)
            if finding is not None:
                told += self.take(finding, STORM_RULE, zone, self._origin_of(finding))
        return told

    def clear(self, alert_id: str) -> list[AlertTransition]:
        """An operator says it is over; nothing if no such alert is open."""
        for track in self._tracks.values():
            if track.alert.id == alert_id and track.state in ("active", "recovering"):
                at_ns = self._watermark_ns.get(track.alert.zone, track.last_at_ns)
                return self._tell([track.dismiss(at_ns)], at_ns)
        return []

    def open_alerts(self) -> list[Alert]:
        """Active and recovering ones."""
        states = ("active", "recovering")
        return [track.alert for track in self._tracks.values() if track.state in states]

    def _raise(
        self, key: Key, finding: Finding, rule: Rule, zone: str, origin: str, now_ns: int
    ) -> list[AlertTransition]:
        track = self._tracks.get(key)
        told: list[AlertTransition] = []
        if track is not None and not track.continues(finding.started_at_ns):
            if track.state == "recovering":
                told += self._tell([track.end(now_ns)], finding.at_ns)
            track = None
        if track is None:
            alert = self._alert_of(finding, rule, zone, origin, now_ns)
            track = self._tracks[key] = Track.begin(alert, rule, finding.at_ns)
        return told + self._tell_opening(track, track.raise_(finding, now_ns), finding.at_ns)

    def _is_current(self, finding: Finding, track: Track | None, rule: Rule, zone: str) -> bool:
        if finding.is_superseded:
            return False
        watermark_ns = self._watermark_ns.get(zone, finding.at_ns)
        if watermark_ns - finding.at_ns > rule.actionable_for_s * NS_PER_S:
            return False
        ended_at_ns = track.alert.cleared_at_ns if track is not None else None
        return ended_at_ns is None or finding.at_ns > ended_at_ns

    def _alert_of(self, finding: Finding, rule: Rule, zone: str, origin: str, now_ns: int) -> Alert:
        who = (self.run_id, finding.rule, finding.subject_id, finding.component)
        return Alert(
            id=alert_id_of(*who, finding.started_at_ns),
            run_id=self.run_id,
            origin=origin,
            zone=zone,
            rule=finding.rule,
            kind=finding.rule.split(".", 1)[0],
            severity=finding.severity,
            state="active",
            subject_type=finding.subject_type,
            subject_id=finding.subject_id,
            component=finding.component,
            segment_id=finding.segment_id,
            lat_deg=finding.lat_deg,
            lon_deg=finding.lon_deg,
            started_at_ns=finding.started_at_ns,
            detected_at_ns=now_ns,
            cleared_at_ns=None,
            confidence=finding.confidence,
            title=rule.title,
            advice=rule.advice,
            evidence=dict(finding.evidence),
        )

    def _tell_opening(self, track: Track, steps: list[Step], at_ns: int) -> list[AlertTransition]:
        """As `_tell`, with a look at storms when an alert opens."""
        told: list[AlertTransition] = []
        for change, alert in steps:
            is_opening = change == "opened" and alert.rule != STORM_RULE.name
            if is_opening and alert.severity < Severity.CRITICAL and not track.tells_a_trait:
                told += self._fold_into_storm(track, at_ns)
            # A storm changes the track after the step was made: tell with what it changed.
            alert = alert.changed(folded_into=track.alert.folded_into)  # noqa: PLW2901
            told += self._tell([(change, alert)], at_ns)
        return told

    def _fold_into_storm(self, track: Track, at_ns: int) -> list[AlertTransition]:
        alert = track.alert
        storm = self._storms.setdefault((alert.rule, alert.zone), Storm(alert.rule, alert.zone))
        was_calm = storm.started_at_ns is None
        if not storm.takes(alert):
            return []
        told: list[AlertTransition] = []
        if was_calm:
            told = self.take(storm.raised(at_ns), STORM_RULE, alert.zone, alert.origin)
        speaker = self._tracks[(STORM_RULE.name, alert.zone, storm.component)].alert
        track.alert = alert.changed(folded_into=speaker.id)
        return told

    def _tell(self, steps: list[Step], at_ns: int) -> list[AlertTransition]:
        told = []
        for change, alert in steps:
            self.sequence += 1
            told.append(AlertTransition(alert, change, self.sequence, at_ns))
        return told

    def _tell_history(self, alert: Alert) -> list[AlertTransition]:
        track = self._tracks.get((alert.rule, alert.subject_id, alert.component))
        if track is not None and track.alert.id == alert.id:
            return []  # the episode is known as it happened
        known = self._history.get(alert.id)
        if known is not None and alert.severity <= known.severity:
            return []
        return self._keep_history(alert.changed(state="historical"))

    def _end_history(self, finding: Finding) -> list[AlertTransition]:
        who = (self.run_id, finding.rule, finding.subject_id, finding.component)
        known = self._history.get(alert_id_of(*who, finding.started_at_ns))
        if known is None or known.cleared_at_ns is not None or finding.phase != "clear":
            return []
        return self._keep_history(known.changed(cleared_at_ns=finding.at_ns))

    def _keep_history(self, alert: Alert) -> list[AlertTransition]:
        self._history[alert.id] = alert
        while len(self._history) > HISTORY_KEPT:
            del self._history[next(iter(self._history))]
        change: Change = "historical"
        return self._tell([(change, alert)], alert.started_at_ns)

    def _origin_of(self, finding: Finding) -> str:
        key = (finding.rule, finding.subject_id, finding.component)
        return self._tracks[key].alert.origin

    def snapshot(self) -> dict[str, Any]:
        """JSON values from which `restore` continues exactly."""
        return {
            "sequence": self.sequence,
            "watermark_ns": dict(self._watermark_ns),
            "tracks": [track.to_json() for track in self._tracks.values()],
            "storms": [storm.to_json() for storm in self._storms.values()],
            "history": [alert_to_json(alert) for alert in self._history.values()],
        }

    @classmethod
    def restore(cls, run_id: str, values: Mapping[str, Any]) -> Self:
        """The book that `snapshot` was taken of."""
        book = cls(run_id)
        book.sequence = values["sequence"]
        book._watermark_ns = dict(values["watermark_ns"])
        for track in map(Track.from_json, values["tracks"]):
            alert = track.alert
            book._tracks[(alert.rule, alert.subject_id, alert.component)] = track
        for storm in map(Storm.from_json, values["storms"]):
            book._storms[(storm.rule, storm.zone)] = storm
        book._history = {a.id: a for a in map(alert_from_json, values["history"])}
        return book
