// The small elements on the map: an alert's mark, a roadside unit's name, a signal's countdown.

import { el, setText } from "../lib/dom";
import { ms } from "../lib/format";
import { t } from "../lib/i18n";
import type { Alert, Charger, RoadEvent, SignalState } from "../lib/types";

const CONFLICT = "traffic.conflict"; // two who are about to meet

export function alertPin(alert: Alert, onOpen: (id: string) => void): HTMLElement {
  const mark = el("button", {
    type: "button",
    class: "alert-pin",
    title: `${t(alert.title)}: ${alert.subject_id}`,
    "aria-label": `${t(alert.title)}: ${alert.subject_id}`,
    "data-severity": alert.severity,
    onclick: () => onOpen(alert.id),
  });
  mark.append(el("i", {}, el("b", {}, alert.rule === CONFLICT ? "×" : "!")));
  return mark;
}

export const namePin = (name: string): HTMLElement => el("span", { class: "name-pin" }, el("span", {}, name));

export const eventPin = (event: RoadEvent): HTMLElement => el("span", { class: "event-pin", "data-kind": event.kind }, el("i"), el("b", {}, t(event.kind.replace("_", " "))));

export const stationPin = (): HTMLElement => el("span", { class: "station-pin" }, el("span", {}));

/** How many of a station's connectors are taken, and its load. */
export function updateStation(pin: HTMLElement, connectors: readonly Charger[]): void {
  const taken = connectors.filter(({ state }) => state === "charging" || state === "occupied").length;
  const watts = connectors.reduce((sum, { power_w: power }) => sum + (power ?? 0), 0);
  pin.classList.toggle("faulted", connectors.some(({ state }) => state === "faulted" || state === "offline"));
  setText(pin.firstElementChild!, `${taken}/${connectors.length} · ${(watts / 1000).toFixed(0)} kW`);
}

export const countdownPin = (): HTMLElement => el("span", { class: "countdown" }, el("span", {}));

/** Seconds until the phase's likely end, or that nothing is known. */
export function updateCountdown(pin: HTMLElement, state: SignalState, isStale: boolean, nowMs: number): void {
  pin.dataset.phase = isStale ? "stale" : state.phase;
  const until = ms(state.likely_end_at ?? state.max_end_at ?? null);
  const left = Math.max(0, Math.ceil((until - nowMs) / 1000));
  setText(pin.firstElementChild!, isStale ? t("stale") : Number.isFinite(until) ? String(left) : "·");
}
