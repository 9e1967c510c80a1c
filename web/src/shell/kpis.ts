// Key figures of the run, over every view.

import type { App } from "../app";
import { el, setText } from "../lib/dom";
import { count, decimal, percent, short } from "../lib/format";
import { t } from "../lib/i18n";
import type { Account, EdgeInShort, Kpi } from "../lib/types";

const SUMS = ["sent", "stored", "pending", "rejected", "missing"] as const;
const FILLING_RATIO = 0.5;
const TILES: [string, string, string][] = [
  ["vehicles", "Vehicles", ""],
  ["speed", "Mean speed", "km/h"],
  ["delay", "Delay", "s/km"],
  ["alerts", "Open alerts", ""],
  ["rate", "Records", "/s"],
  ["latency", "Latency p99", "ms"],
];

export class Kpis {
  private readonly values = new Map<string, HTMLElement>();

  constructor(
    root: HTMLElement,
    app: App,
  ) {
    root.setAttribute("aria-label", t("Key figures"));
    const sums = SUMS.map((id) => this.cell(id, t(id[0]!.toUpperCase() + id.slice(1))));
    root.append(...TILES.map(([id, name, unit]) => this.tile(id, t(name), unit)),
      el("div", { class: "kpi wide", title: t("What became of every record sent") }, el("div", { class: "sums" }, ...sums)));
    app.on("kpi", (kpi) => this.take(kpi));
    app.on("run", () => this.clear());
    app.live.on("alerts", () => this.set("alerts", count(app.live.speaking.length)));
    app.live.on("segments", () => this.set("delay", decimal(delaySecondsPerKm(app), 1)));
  }

  private tile(id: string, name: string, unit: string): HTMLElement {
    const value = el("span", { "data-kpi": id }, "–");
    this.values.set(id, value);
    return el("div", { class: "kpi" }, el("div", { class: "name" }, name),
      el("div", { class: "value" }, value, el("span", { class: "unit" }, unit)));
  }

  private cell(id: string, name: string): HTMLElement {
    const value = el("div", { class: "value", "data-kpi": id }, "–");
    this.values.set(id, value);
    return el("div", {}, el("div", { class: "name" }, name), value);
  }

  private set(id: string, text: string): void {
    setText(this.values.get(id)!, text);
  }

  private clear(): void {
    for (const value of this.values.values()) setText(value, "–");
  }

  private take(kpi: Kpi): void {
    this.set("vehicles", count(kpi.vehicles));
    this.set("speed", decimal(kpi.mean_speed_mps === null ? null : kpi.mean_speed_mps * 3.6, 1));
    this.set("rate", count(kpi.records_per_s));
    this.set("latency", count(kpi.latency_p99_ms));
    this.takeSums(kpi.accounting);
    this.takeEdges(kpi.edges);
  }

  // What holds an edge up shows on what is pending there, before anything is lost.
  private takeEdges(edges: EdgeInShort[]): void {
    const said = edges
      .filter((edge) => edge.problem || edge.is_silent || edge.fill_ratio >= FILLING_RATIO)
      .map((edge) => `${edge.edge_id}: ${edge.is_silent ? t("silent") : edge.problem || t("filling")}, `
        + `${t("spool")} ${percent(edge.fill_ratio)}, ${count(edge.spool_records)} ${t("waiting")}`);
    const pending = this.values.get("pending")!;
    pending.classList.toggle("care", said.length > 0);
    if (said.length > 0) pending.title = said.join("\n");
  }

  private takeSums(account: Partial<Account>): void {
    const rejected = account.rejected ? Object.values(account.rejected).reduce((sum, n) => sum + n, 0) : null;
    for (const id of SUMS) {
      const value = id === "rejected" ? rejected : account[id];
      this.set(id, short(value));
      this.values.get(id)!.title = count(value);
    }
    this.values.get("missing")!.classList.toggle("bad", (account.missing ?? 0) > 0);
    this.values.get("rejected")!.classList.toggle("care", (rejected ?? 0) > 0);
  }
}

/** Time lost against driving at the limit, per kilometre driven, in the newest windows. */
function delaySecondsPerKm(app: App): number | null {
  let [lostS, drivenM] = [0, 0];
  for (const { subject_id: id, vehicle_s: seconds, distance_m: metres } of app.live.segments.values()) {
    const segment = app.roads.segments.get(id);
    if (!segment || seconds == null || metres == null) continue;
    lostS += Math.max(0, seconds - metres / segment.speed_limit_mps);
    drivenM += metres;
  }
  return drivenM ? (1000 * lostS) / drivenM : null;
}
