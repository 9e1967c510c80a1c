// How an alert is said in the list and on its page.

import { el } from "../lib/dom";
import { duration, ms } from "../lib/format";
import { t } from "../lib/i18n";
import { RANK, type Alert } from "../lib/types";

export const OVERDUE_MS = 120_000; // an unacknowledged serious alert of this age has no owner
export const NOTICE_RANK = RANK.serious;

export function whatText(alert: Alert): string {
  const subject = `${t(alert.subject_type)} ${alert.subject_id}`;
  if (!alert.component) return subject;
  const [kind, ...rest] = alert.component.split(":"); // `cell:51`, `cells:1-4`, `lane:0`, or the name of a signal
  return `${subject}, ${rest.length ? `${t(kind!)} ${rest.join(":")}` : kind}`;
}

export function whereText(alert: Alert): string {
  const parts: string[] = [];
  if (alert.segment_id && alert.segment_id !== alert.subject_id) parts.push(`${t("on")} ${alert.segment_id}`);
  if (alert.lat_deg !== null && alert.lon_deg !== null) parts.push(`${alert.lat_deg.toFixed(5)}, ${alert.lon_deg.toFixed(5)}`);
  if (alert.is_unknown) parts.push(t("silent: state unknown"));
  return parts.join(" · ");
}

export function sinceText(startedAt: string, zoneTimeMs: number): string {
  const time = startedAt.slice(11, 19);
  const age = duration((zoneTimeMs - ms(startedAt)) / 1000);
  return age ? `${t("since")} ${time} (${age})` : `${t("since")} ${time}`;
}

/** A badge for anything that did not happen in the world just now. */
export function originBadge(origin: string): HTMLElement | null {
  return !origin || origin === "live" ? null : el("span", { class: "badge", "data-origin": origin }, t(origin));
}

export function isSnoozed(alert: Alert, nowMs: number): boolean {
  return ms(alert.snoozed_until_at ?? null) > nowMs;
}

/** Serious, old and nobody's: it must be seen from across the room. */
export function isOverdue(alert: Alert, zoneTimeMs: number, nowMs: number): boolean {
  if (alert.acknowledged_by || RANK[alert.severity] < NOTICE_RANK || isSnoozed(alert, nowMs)) return false;
  return zoneTimeMs - ms(alert.detected_at) > OVERDUE_MS;
}

/** Unacknowledged first, worst first, newest first; snoozed ones last. */
export function byUrgency(nowMs: number): (a: Alert, b: Alert) => number {
  return (a, b) =>
    Number(isSnoozed(a, nowMs)) - Number(isSnoozed(b, nowMs)) ||
    Number(Boolean(a.acknowledged_by)) - Number(Boolean(b.acknowledged_by)) ||
    RANK[b.severity] - RANK[a.severity] ||
    (a.started_at < b.started_at ? 1 : -1);
}
