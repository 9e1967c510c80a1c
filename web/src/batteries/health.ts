// Measured health of one pack: SoH with its interval, resistance, weakest cell, life, and what it rests on.

import type { App } from "../app";
import { get, part } from "../lib/api";
import { el, sync } from "../lib/dom";
import { count, decimal, percent } from "../lib/format";
import { t } from "../lib/i18n";
import type { HealthAnswer } from "./types";

const EVERY_MS = 60_000; // it is folded anew each time
const LEAST_SHOWN = 0.5; // the scale of the bar begins here

const METHODS: Record<string, string> = {
  charge_windows: t("charges"), windows_and_anchors: t("charges and rests beside packs of its model"), bms: t("what the BMS displays"),
  rated_capacity_unknown: t("nothing: the rated capacity is not known"), rated_capacity_contradicted: t("nothing: more than the rated capacity was measured"),
  no_charge_window: t("nothing: no charge of 30 % was seen"),
};

export class HealthPanel {
  readonly element = el("div", { class: "panel w6" });
  private readonly body = el("div");
  private shown = "";
  private readMs = 0;

  constructor(private readonly app: App) {
    this.element.append(el("h3", {}, t("Measured health")), this.body);
  }

  async load(id: string): Promise<void> {
    const key = `${this.app.runKey} ${id}`;
    if (key === this.shown && Date.now() - this.readMs < EVERY_MS) return;
    if (key !== this.shown) this.body.replaceChildren(el("p", { class: "none" }, "…"));
    [this.shown, this.readMs] = [key, Date.now()];
    const answer = await get<HealthAnswer>(`/v1/vehicles/${part(id)}/battery/health${this.app.where()}`).catch(() => null);
    if (key !== this.shown) return;
    if (!answer) this.readMs = 0; // asked again with the next look
    this.draw(answer);
  }

  private draw(answer: HealthAnswer | null): void {
    const health = answer?.health;
    if (!answer || !health) return this.body.replaceChildren(el("p", { class: "none" }, t("Nothing to show.")));
    const row = (name: string, value: string): HTMLElement => el("div", {}, el("dt", {}, t(name)), el("dd", {}, value));
    const { usage, remaining } = health;
    const km = (metres: number | null): string => (metres === null ? "?" : count(metres / 1000));
    sync(this.body,
      ...sohBar(health),
      el("dl", { class: "facts" },
        row("rests on", METHODS[health.soh_method] ?? health.soh_method),
        row("capacity", health.capacity_ah === null ? "–" : `${decimal(health.capacity_ah, 1)} Ah, ${t("{n} charges", { n: health.n_charge_windows })}`),
        row("resistance at 25 °C", health.resistance_ohm === null ? "–" : `${decimal(health.resistance_ohm * 1000, 0)} mΩ`),
        row("against its beginning", health.resistance_ratio === null ? "–" : percent(health.resistance_ratio)),
        row("weakest cell", health.weakest_cell === null ? "–" : String(health.weakest_cell)),
        row("full cycles", decimal(usage.full_cycles, 1)),
        row("energy out", usage.energy_out_kwh == null ? "–" : `${decimal(usage.energy_out_kwh, 1)} kWh`),
        row("left until 80 %", remaining.low_m === null && remaining.high_m === null ? "–" : `${km(remaining.low_m)} – ${km(remaining.high_m)} km`)),
      el("p", { class: "status" }, t(answer.is_whole ? "of all {n} stored frames" : "of the newest {n} frames; vrc analyse reads all", { n: count(answer.frames) })));
  }
}

function sohBar({ soh_ratio: soh, soh_low_ratio: low, soh_high_ratio: high }: NonNullable<HealthAnswer["health"]>): (HTMLElement | string)[] {
  if (soh === null) return [el("div", { class: "tiles" }, el("div", {}, el("b", {}, "–"), el("span", {}, t("State of health"))))];
  const at = (ratio: number): string => `${Math.max(0, Math.min(1, (ratio - LEAST_SHOWN) / (1.1 - LEAST_SHOWN))) * 100}%`;
  const [span, mark] = [el("i", { class: "span" }), el("i", { class: "mark" })];
  if (low !== null && high !== null) [span.style.left, span.style.right] = [at(low), `calc(100% - ${at(high)})`];
  else span.hidden = true;
  mark.style.left = at(soh);
  const interval = low === null || high === null ? t("no interval") : `${percent(low, 1)} – ${percent(high, 1)} (90 %)`;
  return [el("div", { class: "tiles" }, el("div", {}, el("b", {}, percent(soh, 1)), el("span", {}, `${t("State of health")}, ${interval}`))),
    el("div", { class: "bar interval" }, span, mark)];
}
