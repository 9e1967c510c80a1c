// One battery: charge, current, heat and cells over time, fault history, and its place in the fleet.

import type { App } from "../app";
import { get, part } from "../lib/api";
import { Chart, type ChartSpec } from "../lib/chart";
import { el, sync } from "../lib/dom";
import { decimal, fixed, ms, timeText } from "../lib/format";
import { t } from "../lib/i18n";
import { Order } from "../lib/order";
import type { Alert } from "../lib/types";
import { CellChart } from "./cells";
import { HealthPanel } from "./health";
import { badness, MEASURES, type Battery, type BatteryFrame } from "./types";

const FRAMES = 600;
const CHART_PX = 150;

interface Answer {
  items: BatteryFrame[];
  profile: Record<string, unknown> | null;
  alerts: Alert[];
}

export class BatteryDetail {
  readonly element = el("div", { class: "cards battery-detail" });
  private readonly charge = new Chart();
  private readonly current = new Chart();
  private readonly heat = new Chart();
  private readonly spread = new Chart();
  private readonly curve = new Chart();
  private readonly charging = new Chart();
  private readonly health: HealthPanel;
  private readonly resistance = new Chart();
  private readonly cells = new CellChart();
  private readonly head = el("div", { class: "panel w12" });
  private readonly faults = el("div", { class: "panel w6" });
  private readonly cohort = el("div", { class: "panel w6" });
  private readonly order = new Order();
  private answer: Answer | null = null;
  shownId = "";

  constructor(private readonly app: App) {
    const panel = (width: string, name: string, ...content: HTMLElement[]): HTMLElement =>
      el("div", { class: `panel ${width}` }, el("h3", {}, t(name)), ...content);
    this.health = new HealthPanel(app);
    this.element.append(this.head,
      panel("w6", "Charge and voltage", this.charge.element), panel("w6", "Current (positive discharges)", this.current.element),
      panel("w6", "Probe temperatures", this.heat.element), panel("w6", "Cell voltages: highest, median, lowest", this.spread.element),
      panel("w12", "All cells over time", this.cells.element),
      this.health.element, panel("w6", "Charging curve", this.charging.element),
      panel("w6", "Voltage over charge", this.curve.element), panel("w6", "Resistance from load steps", this.resistance.element),
      this.faults, this.cohort);
  }

  async load(id: string, fleet: Battery[]): Promise<void> {
    this.element.hidden = !id;
    this.shownId = id;
    if (!id) return;
    void this.health.load(id);
    const run = this.app.runKey;
    const isNewest = this.order.begin();
    const answer = await get<Answer>(`/v1/vehicles/${part(id)}/battery${this.app.where({ limit: FRAMES })}`).catch(() => null);
    if (!answer || run !== this.app.runKey || id !== this.shownId || !isNewest()) return;
    this.answer = answer;
    this.answer.items.sort((a, b) => (a.sampled_at < b.sampled_at ? -1 : 1));
    this.draw(id, fleet);
  }

  draw(id: string, fleet: Battery[]): void {
    if (!this.answer) return;
    const { items, profile, alerts } = this.answer;
    const facts = profile ? `${profile.model ?? ""} · ${String(profile.chemistry ?? "").toUpperCase()} · ${decimal(profile.rated_capacity_ah as number, 0)} Ah · ${profile.cells_in_series ?? "?"} ${t("cells")} · ${profile.probe_count ?? "?"} ${t("probes")}` : t("no profile was sent");
    sync(this.head, el("h3", {}, id, el("small", {}, facts), el("span", { class: "grow" }),
      el("button", { type: "button", class: "small", onclick: () => this.app.showView("map") }, t("Show on map"))));
    this.drawCharts(items);
    this.cells.draw(items);
    this.drawFaults(alerts);
    this.drawCohort(fleet.find((battery) => battery.vehicle_id === id), fleet);
  }

  private drawCharts(items: BatteryFrame[]): void {
    const column = (name: keyof BatteryFrame, scale = 1): (number | null)[] => items.map((frame) => (typeof frame[name] === "number" ? (frame[name] as number) * scale : null));
    const base = { theme: this.app.theme, height: CHART_PX, timesMs: items.map((frame) => ms(frame.sampled_at)) };
    this.charge.draw({ ...base, unit: "%", unit2: "V", lines: [
      { name: "SoC", values: column("soc_ratio", 100), digits: 1 },
      { name: t("pack voltage"), values: column("pack_voltage_v"), axis: "y2", digits: 1 },
    ] });
    this.current.draw({ ...base, unit: "A", lines: [{ name: t("current"), values: column("pack_current_a"), digits: 1 }] });
    const probes = Math.max(0, ...items.map((frame) => frame.probe_temperatures_degc?.length ?? 0));
    this.heat.draw({ ...base, unit: "°C", hasLegend: false, lines: Array.from({ length: probes }, (_, i) => ({
      name: `${t("probe")} ${i + 1}`, values: items.map((frame) => frame.probe_temperatures_degc?.[i] ?? null), digits: 1,
    })) });
    const sorted = items.map((frame) => (frame.cell_voltages_v ?? []).filter((v): v is number => v !== null).sort((a, b) => a - b));
    const at = (share: number): (number | null)[] => sorted.map((list) => list[Math.min(list.length - 1, Math.floor(share * list.length))] ?? null);
    this.spread.draw({ ...base, unit: "V", hasLegend: false, lines: [
      { name: t("highest cell"), values: at(1) }, { name: t("median cell"), values: at(0.5) }, { name: t("lowest cell"), values: at(0) },
    ] });
    scatter(this.curve, { ...base, unit: "V" }, items.map((f) => [f.soc_ratio === undefined ? NaN : f.soc_ratio * 100, f.pack_voltage_v ?? NaN]), "SoC %");
    const charging = items.filter((frame) => frame.charging_state?.includes("charging") && !frame.charging_state.startsWith("not"));
    scatter(this.charging, { ...base, unit: "kW" }, charging.map((f) => [f.soc_ratio === undefined ? NaN : f.soc_ratio * 100, ((f.pack_voltage_v ?? NaN) * -(f.pack_current_a ?? NaN)) / 1000]), "SoC %", t("Nothing was charged in the frames shown."));
    this.drawResistance(items, base);
  }

  // R = dU/dI over steps of the load that are large beside the noise of both sensors.
  private drawResistance(items: BatteryFrame[], base: Pick<ChartSpec, "theme" | "height">): void {
    const steps: [number, number][] = [];
    for (let i = 1; i < items.length; i++) {
      const [a, b] = [items[i - 1]!, items[i]!];
      const [di, du] = [(b.pack_current_a ?? NaN) - (a.pack_current_a ?? NaN), (b.pack_voltage_v ?? NaN) - (a.pack_voltage_v ?? NaN)];
      const gapMs = ms(b.sampled_at) - ms(a.sampled_at);
      if (Math.abs(di) < 15 || gapMs > 3000) continue;
      const milliohm = (-du / di) * 1000;
      if (milliohm > 0 && milliohm < 1000) steps.push([ms(b.sampled_at), milliohm]);
    }
    if (steps.length < 3) return this.resistance.clear(t("Too few load steps of 15 A and more."));
    this.resistance.draw({ ...base, timesMs: steps.map(([at]) => at), unit: "mΩ", points: true, lines: [{ name: t("pack resistance"), values: steps.map(([, r]) => r), digits: 0 }] });
  }

  private drawFaults(alerts: Alert[]): void {
    const rows = alerts.map((alert) => el("tr", { tabindex: 0, "data-key": alert.id, "data-severity": alert.severity, onclick: () => this.openAlert(alert), onkeydown: (e: KeyboardEvent) => e.key === "Enter" && this.openAlert(alert) },
      el("td", {}, el("span", { class: "severity" }, t(alert.severity))), el("td", {}, t(alert.title)), el("td", {}, alert.component ?? ""),
      el("td", { class: "time" }, timeText(alert.started_at)), el("td", {}, t(alert.state))));
    sync(this.faults, el("h3", {}, t("Fault history")),
      rows.length ? el("table", { class: "grid" }, el("tbody", {}, ...rows)) : el("p", { class: "none" }, t("No battery alert so far.")));
  }

  private openAlert(alert: Alert): void {
    this.app.selectAlert(alert.id);
    this.app.showView("alerts");
  }

  private drawCohort(mine: Battery | undefined, fleet: Battery[]): void {
    const mates = fleet.filter((battery) => battery.model === mine?.model);
    const rows = MEASURES.flatMap((measure) => {
      const value = mine && measure.of(mine);
      const values = mates.map(measure.of).filter((v): v is number => v !== null).sort((a, b) => a - b);
      if (value == null || values.length < 2) return [];
      const rank = values.filter((v) => (measure.worse === "high" ? v <= value : v >= value)).length / values.length;
      const bar = el("i");
      bar.style.width = `${rank * 100}%`;
      const bad = badness(measure, value);
      return [el("div", { class: "stage-row" }, el("span", {}, t(measure.name)),
        el("div", { class: `bar ${bad > 0.75 ? "bad" : bad > 0.4 ? "care" : ""}` }, bar),
        el("span", {}, `${fixed(value, measure.digits)} ${measure.unit}, ${t("median")} ${fixed(values[Math.floor(values.length / 2)], measure.digits)}`))];
    });
    sync(this.cohort, el("h3", {}, t("Beside packs of the same model"), el("small", {}, t("share of {n} packs that are no worse", { n: mates.length }))),
      el("div", { class: "stages" }, ...rows));
  }
}

function scatter(chart: Chart, base: Pick<ChartSpec, "theme" | "height" | "unit">, points: [number, number][], xName: string, none = t("Nothing to show.")): void {
  const known = points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)).sort((a, b) => a[0] - b[0]);
  if (!known.length) return chart.clear(none);
  chart.draw({ ...base, xName, points: true, timesMs: known.map(([x]) => x), lines: [{ name: base.unit, values: known.map(([, y]) => y), digits: 1 }] });
}
