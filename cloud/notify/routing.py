"""Which alerts are told, where and when: alerts and the time in, notices out; no clock, no I/O.

An alert that opens, or rises, waits `group_wait_s` for others of its group; what is acknowledged is
not repeated, what nobody acknowledges is escalated once. Snoozed, silenced and inhibited alerts
wait until that ends, and are never told of if they are over before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from zoneinfo import ZoneInfo

from cloud.notify.base import Event, Facts
from cloud.notify.config import NotifyConfig, RouteConfig

RANK = {"info": 0, "warning": 1, "serious": 2, "critical": 3}
MOST_ALERTS = 20_000
"""Open alerts that are kept; beyond it the oldest are forgotten, and told of no more."""


@dataclass(frozen=True)
class Silence:
    """A window in which matching alerts notify nobody; globs, times in s of UTC epoch."""

    begins_s: float
    ends_s: float
    zone: str = "*"
    rule: str = "*"
    subject: str = "*"

    def covers(self, alert: Facts, now_s: float) -> bool:
        """Whether it silences an alert now."""
        return (
            self.begins_s <= now_s < self.ends_s
            and fnmatchcase(alert["zone"], self.zone)
            and fnmatchcase(alert["rule"], self.rule)
            and fnmatchcase(alert["subject_id"], self.subject)
        )


@dataclass(frozen=True)
class Notice:
    """What is to be told by some channels."""

    route: str
    channels: tuple[str, ...]
    event: Event
    alerts: tuple[Facts, ...]


@dataclass
class _Told:
    severity: str
    at_s: float
    is_escalated: bool = False


@dataclass
class _Group:
    pending: dict[str, float] = field(default_factory=dict)
    """Alerts that wait, and since when."""
    told: dict[str, _Told] = field(default_factory=dict)
    cleared: dict[str, Facts] = field(default_factory=dict)
    last_s: float = 0.0


class Router:
    """The state of all routes."""

    def __init__(self, config: NotifyConfig) -> None:
        self._config = config
        self._alerts: dict[str, dict[str, Any]] = {}
        self._groups: dict[tuple[str, tuple[str, ...]], _Group] = {}

    def know(self, alerts: Iterable[Facts], now_s: float) -> None:
        """Open alerts that were told of before a restart: they are repeated, not told anew."""
        for alert in alerts:
            self._keep(alert)
            for route in self._routes(alert):
                group = self._group(route, alert)
                group.told[alert["id"]] = _Told(alert["severity"], now_s)
                group.last_s = now_s

    def take(self, alert: Facts, now_s: float) -> None:
        """One alert as it stands after a change, or after what somebody did."""
        known = self._keep(alert)
        if known["is_open"]:
            for route in self._routes(known):
                _fold(self._group(route, known), known, now_s)
            return
        for group in self._groups.values():  # also of routes that its severity left meanwhile
            _end(group, known)
        del self._alerts[known["id"]]

    def advance(self, now_s: float, silences: Iterable[Silence] = ()) -> list[Notice]:
        """What is due at this moment (s of UTC epoch)."""
        silences = list(silences)
        notices: list[Notice] = []
        for route in self._config.route:
            groups = [(k, g) for k, g in self._groups.items() if k[0] == route.name]
            for key, group in groups:
                notices += self._due(route, group, now_s, silences)
                if not (group.pending or group.told or group.cleared):
                    del self._groups[key]
        return notices

    def _keep(self, alert: Facts) -> dict[str, Any]:
        # A transition does not say who acknowledged; what is known of that stays.
        kept = {**self._alerts.pop(alert["id"], {}), **alert}
        self._alerts[alert["id"]] = kept
        while len(self._alerts) > MOST_ALERTS:
            del self._alerts[next(iter(self._alerts))]
        return kept

    def _routes(self, alert: Facts) -> list[RouteConfig]:
        if alert.get("folded_into") or alert["state"] == "historical":
            return []
        return [route for route in self._config.route if _matches(route, alert)]

    def _group(self, route: RouteConfig, alert: Facts) -> _Group:
        key = tuple(str(alert[name]) for name in route.group_by)
        return self._groups.setdefault((route.name, key), _Group())

    def _due(
        self, route: RouteConfig, group: _Group, now_s: float, silences: list[Silence]
    ) -> list[Notice]:
        if not is_within(route.hours, route.time_zone, now_s):
            return []
        group.pending = {i: at for i, at in group.pending.items() if i in self._alerts}
        group.told = {i: told for i, told in group.told.items() if i in self._alerts}
        loud = [i for i in group.pending if self._is_loud(self._alerts[i], now_s, silences)]
        found: list[Notice] = []
        if loud and now_s - min(group.pending[i] for i in loud) >= route.group_wait_s:
            found.append(self._notice(route, "raised", loud))
            for alert_id in loud:
                del group.pending[alert_id]
                before = group.told.get(alert_id)
                severity = self._alerts[alert_id]["severity"]
                group.told[alert_id] = _Told(severity, before.at_s if before else now_s)
            group.last_s = now_s
        if group.cleared:
            cleared = tuple(_worst_first(group.cleared.values()))
            group.cleared = {}
            if route.sends_cleared:
                found.append(Notice(route.name, tuple(route.channels), "cleared", cleared))
        return found + self._reminders(route, group, now_s, silences)

    def _reminders(
        self, route: RouteConfig, group: _Group, now_s: float, silences: list[Silence]
    ) -> list[Notice]:
        owed = [
            i
            for i in group.told
            if not self._alerts[i].get("acknowledged_by")
            and self._is_loud(self._alerts[i], now_s, silences)
        ]
        found = []
        late = [i for i in owed if self._is_late(route, group.told[i], now_s)]
        if late:
            for alert_id in late:
                group.told[alert_id].is_escalated = True
            found.append(self._notice(route, "escalated", late, route.escalate_to))
        if owed and route.repeat_s and now_s - group.last_s >= route.repeat_s:
            group.last_s = now_s
            found.append(self._notice(route, "repeated", owed))
        return found

    def _is_late(self, route: RouteConfig, told: _Told, now_s: float) -> bool:
        wanted = bool(route.escalate_after_s and route.escalate_to) and not told.is_escalated
        return wanted and now_s - told.at_s >= route.escalate_after_s

    def _is_loud(self, alert: Facts, now_s: float, silences: list[Silence]) -> bool:
        if (alert.get("snoozed_until_s") or 0.0) > now_s:
            return False
        return not any(s.covers(alert, now_s) for s in silences) and not self._is_inhibited(alert)

    def _is_inhibited(self, alert: Facts) -> bool:
        for rule in self._config.inhibit:
            if fnmatchcase(alert["rule"], rule.source):
                continue  # what inhibits is not inhibited
            if not any(fnmatchcase(alert["rule"], target) for target in rule.targets):
                continue
            if any(_is_source(other, rule.source, alert) for other in self._alerts.values()):
                return True
        return False

    def _notice(
        self, route: RouteConfig, event: Event, ids: list[str], channels: Iterable[str] = ()
    ) -> Notice:
        alerts = tuple(_worst_first(dict(self._alerts[i]) for i in ids))
        return Notice(route.name, tuple(channels) or tuple(route.channels), event, alerts)


def _fold(group: _Group, alert: Facts, now_s: float) -> None:
    told = group.told.get(alert["id"])
    if told is None or RANK[alert["severity"]] > RANK[told.severity]:
        group.pending.setdefault(alert["id"], now_s)


def _end(group: _Group, alert: Facts) -> None:
    group.pending.pop(alert["id"], None)
    if group.told.pop(alert["id"], None):
        group.cleared[alert["id"]] = dict(alert)


def is_within(hours: str | None, time_zone: str, now_s: float) -> bool:
    """Whether a moment lies in `08:00-18:00` of a time zone; a span may pass midnight.

    >>> is_within("22:00-06:00", "UTC", 3600.0), is_within("08:00-18:00", "UTC", 3600.0)
    (True, False)
    """
    if hours is None:
        return True
    begin, end = hours.split("-")
    now = datetime.fromtimestamp(now_s, ZoneInfo(time_zone)).strftime("%H:%M")
    return begin <= now < end if begin <= end else now >= begin or now < end


def _matches(route: RouteConfig, alert: Mapping[str, Any]) -> bool:
    return (
        alert["origin"] in route.origins
        and RANK[alert["severity"]] >= RANK[route.min_severity]
        and any(fnmatchcase(alert["rule"], rule) for rule in route.rules)
        and any(fnmatchcase(alert["zone"], zone) for zone in route.zones)
    )


def _is_source(other: Facts, source: str, alert: Facts) -> bool:
    same = ("run_id", "subject_id")
    return fnmatchcase(other["rule"], source) and all(other[n] == alert[n] for n in same)


def _worst_first(alerts: Iterable[Facts]) -> list[Facts]:
    return sorted(alerts, key=lambda a: (-RANK[a["severity"]], a["started_at"] or "", a["id"]))
